"""Records of runs with other arguments than a form's own, and the table over numbers of labels made from them."""

import json
import runpy
import sys
from pathlib import Path

import pytest
from toys import table

from lamina.recipes.records import BEGIN, END

SCRIPT = Path(__file__).parents[2] / "examples" / "few_labels.py"


def record(told, folder, recipe, *words):
    places = ["--records", folder / "records", "--runs", folder / "runs", "--quiet"]
    told("reproduce", recipe, "--data", table(folder / "rows.csv"), *places, *words)
    return {path.stem: json.loads(path.read_text()) for path in (folder / "records").glob("*.json")}


def test_arguments_are_changed_and_named_in_the_form(told, tmp_path):
    record(told, tmp_path, "mlp", "--set", "hidden=6,5", "epochs=2", "norm=True")
    found = record(told, tmp_path, "mlp", "--set", "epochs=2")
    assert set(found) == {"mlp-full-hidden=6,5-epochs=2-norm=True-rows-0", "mlp-full-epochs=2-rows-0"}
    changed = found["mlp-full-hidden=6,5-epochs=2-norm=True-rows-0"]
    assert changed["form"] == "full hidden=6,5 epochs=2 norm=True"
    assert changed["arguments"]["hidden"] == [6, 5]
    assert [changed["arguments"][name] for name in ("epochs", "norm", "batch")] == [2, True, 100]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--set", "epochs"), "name=value"),
        (("--set", "epoch=2"), "did you mean '--epochs'"),
        (("--set", "epochs=two"), "epochs"),
        (("--set", "seed=2"), "--seeds"),
    ],
)
def test_arguments_that_do_not_fit(capsys, tmp_path, words, message):
    from lamina.cli import main

    places = ["--runs", str(tmp_path / "runs"), "--records", str(tmp_path / "records")]
    assert main(["reproduce", "mlp", *words, "--data", str(table(tmp_path / "rows.csv")), *places]) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_the_table_over_labels_is_resumed_cell_by_cell(tmp_path, monkeypatch, capsys):
    """The second call finds one record and trains the other cell alone."""
    page = tmp_path / "page.md"
    page.write_text(f"above\n{BEGIN}{END}below\n")
    script = runpy.run_path(str(SCRIPT))
    script["METHODS"]["few_labels"] = ("hidden=6", "epochs=1", "rounds=1")
    places = ["--records", tmp_path / "records", "--runs", tmp_path / "runs", "--page", page]

    def cells(*counts):
        words = ["--data", "digits", "--methods", "few_labels", "--labels", *counts, *places]
        monkeypatch.setattr(sys, "argv", ["few_labels.py", *map(str, words)])
        assert script["cells"]() == 0
        return capsys.readouterr().out

    assert "labels=20" in cells(20)
    again = cells(20, 40)
    assert "labels=20" not in again
    assert "labels=40" in again
    head, _, row, *_ = [line for line in page.read_text().splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in head.split("|")[1:5]] == ["recipe", "form", "20 labels", "40 labels"]
    assert [cell.strip() for cell in row.split("|")[1:3]] == ["few_labels", "full hidden=6 epochs=1 rounds=1"]
    assert row.count("%") == 2
    assert page.read_text().startswith("above")
    assert page.read_text().endswith("below\n")
