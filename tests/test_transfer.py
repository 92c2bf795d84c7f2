"""Errors of linear classifiers against scikit-learn's own, on features that tell all, something, or nothing."""

import runpy
import sys
from pathlib import Path

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from lamina.data.dataset import Data
from lamina.data.examples import Arrays
from lamina.recipes.semisupervised import balanced
from lamina.recipes.transfer import STRENGTHS, halves, linear_errors, markdown, raw

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
    assert page.splitlines()[2:] == ["| codes | 15.00 % | 5.00 % |", "| none | 30.00 % | 25.00 % |"]


def test_script(monkeypatch, capsys):
    words = ["digits", "--recipe", "vae", "--epochs", "1", "--each", "1", "2", "--draws", "1"]
    monkeypatch.setattr(sys, "argv", ["transfer.py", *words])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    head, _, codes, none = capsys.readouterr().out.strip().splitlines()[-4:]
    assert head == "| features | 5 labels | 10 labels |"
    assert codes.startswith("| vae |")
    assert none.startswith("| none |")
