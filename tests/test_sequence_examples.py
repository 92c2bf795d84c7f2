"""The examples of recurrent networks run as they stand, at toy size."""

import json
import runpy
import sys
from functools import partial
from pathlib import Path

import pytest

from lamina.data.problems import PROBLEMS
from lamina.data.standard import SIZED
from lamina.recipes.records import BEGIN, END

EXAMPLES = Path(__file__).parents[1] / "examples"


SMALL = (60, 20, 20)


@pytest.fixture
def run(monkeypatch):
    for name in ("adding", "temporal_order"):
        monkeypatch.setitem(SIZED, name, partial(PROBLEMS[name], sizes=SMALL))

    def run(name, *words):
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        return runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")

    return run


def test_the_table_is_made_cell_by_cell_and_nothing_is_trained_twice(run, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"above\n{BEGIN}{END}\nbelow\n")
    places = ["--records", tmp_path / "records", "--runs", tmp_path / "runs", "--page", page]
    toy = ["--set", "epochs=1", "hidden=4", "batch=20", "--problems", "adding", "--methods", "LSTM", "leaky units"]
    for steps in (["4"], ["4", "6"]):
        with pytest.raises(SystemExit) as end:
            run("sequences", *toy, "--steps", *steps, *places)
        assert end.value.code == 0
    records = [json.loads(path.read_text()) for path in (tmp_path / "records").glob("*.json")]
    assert {(record["method"], record["data"]["name"]) for record in records} == {
        (method, data) for method in ("LSTM", "leaky units") for data in ("adding:4", "adding:6")
    }
    lines = page.read_text().splitlines()
    assert lines[0] == "above"
    assert lines[-1] == "below"
    assert [cell.strip() for cell in lines[4].split("|")[1:4]] == ["method", "T = 4", "T = 6"]
    assert [line.split("|")[1].strip() for line in lines[6:8]] == ["leaky units", "LSTM"]


def test_the_picture_of_gradients(run, tmp_path):
    words = ["--data", "temporal_order:10", "--cells", "rnn", "lstm", "--hidden", "4", "--epochs", "2"]
    run("gradients_through_time", tmp_path / "reach.png", *words)
    assert (tmp_path / "reach.png").stat().st_size > 1000
