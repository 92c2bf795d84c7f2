"""The table of errors on the bAbI tasks, at toy size."""

import runpy
import sys
from pathlib import Path

import pytest

from lamina.data.standard import load
from lamina.recipes.records import BEGIN, END
from lamina.recipes.registry import figures_of
from lamina.recipes.stories import memn2n

SCRIPT = Path(__file__).parents[2] / "examples" / "babi.py"


def test_the_table_has_a_row_for_each_task(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(f"above\n{BEGIN}{END}below\n")
    script = runpy.run_path(str(SCRIPT))
    script["METHODS"]["single"] = ("memn2n", "restarts=1", "linear=1", "epochs=1")
    places = ["--records", tmp_path / "records", "--runs", tmp_path / "runs", "--page", page]
    monkeypatch.setattr(sys, "argv", ["babi.py", "--tasks", "1", "20", "--methods", "single", *map(str, places)])
    assert script["cells"]() == 0
    lines = page.read_text().splitlines()
    assert lines[2].startswith("| task | MemN2N | published | published, joint |")
    assert lines[4].endswith("| 0.1 % | 0.0 % |")
    assert lines[5].startswith("| 2 | – | 8.2 % |")
    assert [len(line.split("|")) for line in lines[2:25]] == [6] * 23  # head, rule, 20 tasks, mean
    assert lines[24] == "| mean | – | 13.8 % | 12.4 % |"  # the means of the reference
    assert len(list((tmp_path / "records").glob("*.json"))) == 2


def test_errors_of_each_task():
    run = memn2n(load("babi:1,20"), restarts=1, epochs=1)
    figures = figures_of(run)
    assert figures["error"] == pytest.approx((figures["error_1"] + figures["error_20"]) / 2, abs=1e-6)
