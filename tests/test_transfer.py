"""Errors of linear classifiers against scikit-learn's own, on features that tell all, something, or nothing."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from lamina.data.dataset import Data
from lamina.data.examples import Arrays
from lamina.recipes.semisupervised import balanced
from lamina.recipes.transfer import STRENGTHS, halves, linear_errors, markdown, of_shape, raw

SCRIPT = Path(__file__).parents[1] / "examples" / "transfer.py"


def clouds(count=120, seed=0):
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % 4
    x = 1.5 * torch.nn.functional.one_hot(y, 4) + torch.randn(count, 4, generator=generator)
    return Arrays(x=x, y=y)


def data():
    return Data("clouds", clouds(), clouds(seed=1), clouds(400, seed=2), tuple("abcd"))


def test_halves_of_the_classes():
    first, second = halves(data())
    assert [first.classes, second.classes] == [("a", "b"), ("c", "d")]
    for half, low in ((first, 0), (second, 2)):
        for part, whole in ((half.train, clouds()), (half.test, clouds(400, seed=2))):
            chosen = whole.fields["y"] // 2 == low // 2
            assert torch.equal(part.fields["x"], whole.fields["x"][chosen])
            assert torch.equal(part.fields["y"], whole.fields["y"][chosen] - low)
    with pytest.raises(ValueError, match="need four"):
        halves(first)


def test_errors_are_those_of_scikit_learn_on_the_same_labels(monkeypatch):
    monkeypatch.setattr("lamina.recipes.transfer.STRENGTHS", STRENGTHS[-1:])
    parts = data()
    x, y = parts.train.fields["x"], parts.train.fields["y"]
    mean, scale = x.mean(0), x.std()
    asked = balanced(y, 12, 7)
    model = LogisticRegression(C=STRENGTHS[-1], max_iter=2000).fit(
        ((x - mean) / scale)[asked].numpy(), y[asked].numpy()
    )
    test = parts.test.fields
    expected = 1 - model.score(((test["x"] - mean) / scale).numpy(), test["y"].numpy())
    assert linear_errors(raw, parts, [12], [7]) == {12: [expected]}


def test_strength_is_chosen_on_validation_examples():
    """No strength errs less often on test examples that are the validation examples."""
    parts = data()
    same = Data("clouds", parts.train, parts.valid, parts.valid, parts.classes)
    ((best,),) = linear_errors(raw, same, [8], [0]).values()
    for strength in STRENGTHS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("lamina.recipes.transfer.STRENGTHS", (strength,))
            ((other,),) = linear_errors(raw, same, [8], [0]).values()
        assert best <= other


def test_features_that_tell_all_or_nothing():
    parts = data()
    top = {
        tuple(x.tolist()): int(y)
        for part in (parts.train, parts.valid, parts.test)
        for x, y in zip(part.fields["x"], part.fields["y"], strict=True)
    }

    def known(x):
        return torch.nn.functional.one_hot(torch.tensor([top[tuple(row.tolist())] for row in x]), 4).float()

    def noise(x):
        return torch.randn(len(x), 3, generator=torch.Generator().manual_seed(len(x)))

    assert linear_errors(known, parts, [4, 8], [0, 1]) == {4: [0.0, 0.0], 8: [0.0, 0.0]}
    ((error,),) = linear_errors(noise, parts, [40], [0]).values()
    assert error == pytest.approx(0.75, abs=0.1)  # 400 test examples: a deviation of 0.02


def test_moving_and_scaling_all_features_changes_nothing():
    assert linear_errors(lambda x: 8 * x + 2, data(), [8], [0]) == linear_errors(raw, data(), [8], [0])


@pytest.mark.parametrize("count", [3, 121])
def test_numbers_of_labels_that_do_not_fit(count):
    with pytest.raises(ValueError, match=r"must lie in 4..120"):
        linear_errors(raw, data(), [count], [0])


def test_table():
    page = markdown({"codes": {5: [0.1, 0.2], 10: [0.05]}, "none": {5: [0.3], 10: [0.25]}})
    assert page.splitlines()[0] == "| features | 5 labels | 10 labels |"
    assert page.splitlines()[2:] == ["| codes | 15.00 ± 7.07 % | 5.00 % |", "| none | 30.00 % | 25.00 % |"]


def test_shape_of_another_set():
    """Squares of one gray become squares of that gray; what has the shape is left alone; rows of other lengths fail."""
    gray = torch.arange(4.0).div(4)[:, None, None, None].expand(4, 1, 6, 6)
    parts = Data(
        "squares", Arrays(x=gray, y=torch.arange(4)), Arrays(x=gray[:2], y=torch.arange(2)), classes=tuple("abcd")
    )
    fitted = of_shape(parts, (3, 4, 5))
    for part, count in ((fitted.train, 4), (fitted.valid, 2)):
        torch.testing.assert_close(part.fields["x"], gray[:count, :, :1, :1].expand(-1, 3, 4, 5))
        assert part.fields["y"].tolist() == list(range(count))
    assert (fitted.test, fitted.classes) == (None, parts.classes)
    assert of_shape(parts, (1, 6, 6)) is parts
    with pytest.raises(ValueError, match="rows of 4 numbers where the system needs rows of 5"):
        of_shape(data(), (5,))


@pytest.fixture
def script(monkeypatch):
    """Run the script, and return its exit status."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["transfer.py", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        return end.value.code

    return run


QUICK = ("--epochs", "1", "--each", "1", "2", "--draws", "1", "--set", "hidden=8", "latent=2")


def test_script(script, capsys):
    assert script("digits", *QUICK) == 0
    head, _, codes, none = capsys.readouterr().out.strip().splitlines()[-4:]
    assert head == "| features | 5 labels | 10 labels |"
    assert codes.startswith("| vae |")
    assert none.startswith("| none |")


def test_script_with_a_source_of_another_shape(script, tmp_path, capsys):
    np.savez(tmp_path / "source.npz", x=np.random.default_rng(0).random((30, 12, 10, 3)))
    assert script("digits", "--source", tmp_path / "source.npz", *QUICK) == 0
    head = capsys.readouterr().out.strip().splitlines()[-4]
    assert head == "| features | 10 labels | 20 labels |"


def test_script_told_to_measure(script, tmp_path, monkeypatch):
    """Records of pairs and methods, a table of them between the page's marks, and nothing measured twice."""
    page, records = tmp_path / "page.md", tmp_path / "records"
    page.write_text("before\n<!-- transfer -->\nold\n<!-- /transfer -->\nafter\n")
    kept = runpy.run_path(str(SCRIPT))
    monkeypatch.setitem(kept["cells"].__globals__, "PAIRS", (("digits", None, 1),))
    monkeypatch.setitem(kept["cells"].__globals__, "METHODS", {"none": (), "vae": ("hidden=8", "latent=2")})
    words = ["--table", *QUICK[2:7], "--records", str(records), "--page", str(page)]
    monkeypatch.setattr(sys, "argv", ["transfer.py", *words])
    for _ in range(2):
        assert kept["main"]() == 0
        lines = page.read_text().splitlines()
        assert (lines[0], lines[-1]) == ("before", "after")
        assert lines[2] == "Features of digits (0 to 4); test error on digits (5 to 9):"
        assert [line.split(" | ")[0] for line in lines[6:8]] == ["| none", "| vae hidden=8 latent=2 epochs=1"]
        monkeypatch.setitem(kept["cells"].__globals__, "measured", None)
    files = sorted(path.name for path in records.glob("*"))
    assert files == ["none-half-digits-0.json", "vae-hidden=8-latent=2-epochs=1-half-digits-0.json"]
    record = json.loads((records / files[1]).read_text())
    assert {"seed", "commit", "versions", "machine", "started", "errors", "source", "target"} <= record.keys()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give the data to classify"),
        (("nowhere",), "no data set or file 'nowhere'"),
        (("empty.csv",), "empty.csv"),
        (("three.csv",), "three.csv has 3 classes: two sets of two need four"),
        (("digits", "--recipe", "nosuch"), "unknown recipe 'nosuch'"),
        (("digits", "--recipe", "ebgan"), "does not encode"),
        (("digits", "--source", "three.csv"), "rows of 2 numbers where the system needs pictures"),
        (("digits", "--each", "500"), "numbers of labels must lie in"),
        (("digits", "--set", "nosuch=1"), "unknown option '--nosuch'"),
        (("digits", "--epochs", "0"), "epochs must be at least 1"),
    ],
)
def test_bad_input_is_one_line(script, words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "three.csv").write_text("\n".join(["a,b,label", *(f"0.{i},0.5,{'uvw'[i % 3]}" for i in range(30))]))
    assert script(*words) == 2
    err = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lamina: ")]
    assert len(err) == 1
    assert message in err[0]
