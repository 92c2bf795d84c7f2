"""The examples run as they stand, at toy size; more are in tests/cli/test_reproduce.py and tests/test_transfer.py."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from lamina.data.factors import factors

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def run(monkeypatch, tmp_path):
    def run(name, *words):
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")

    return run


@pytest.fixture
def ended(run):
    """Run an example that tells its exit status, and return that."""

    def ended(name, *words):
        with pytest.raises(SystemExit) as end:
            run(name, *words)
        return end.value.code

    return ended


def test_draw(ended, tmp_path):
    assert ended("draw", "digits", tmp_path / "drawing.gif", "--glimpses", 2, "--epochs", 1) == 0
    assert (tmp_path / "drawing.gif").stat().st_size > 1000


def test_draw_refuses_in_one_line(ended, tmp_path, capsys):
    rows = tmp_path / "rows.csv"
    rows.write_text("\n".join(["a,b", *(f"0.{i},0.5" for i in range(30))]))
    out = tmp_path / "drawing.gif"
    assert ended("draw") == 2
    capsys.readouterr()
    for words, message in (
        (("nowhere", out), "no data set or file 'nowhere'"),
        ((rows, out), "draw_no_attention"),
        (("english", out), "needs a field 'x'"),
        (("digits", tmp_path / "drawing.png"), "name a .gif"),
        (("digits", tmp_path / "nowhere" / "drawing.gif"), "a folder that is there"),
        (("digits", out, "--glimpses", 0), "glimpses"),
    ):
        assert ended("draw", *words) == 2
        told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lamina: ")]
        assert len(told) == 1
        assert message in told[0]
    assert not out.exists()


def test_latent(ended, tmp_path, monkeypatch):
    """Records and the table of them in the page; what has a record is not trained again."""
    monkeypatch.setattr("lamina.load_data", lambda name, seed: factors(seed, count=60, held=10, side=16))
    page, records = tmp_path / "page.md", tmp_path / "records"
    page.write_text("before\n<!-- results -->\n<!-- /results -->\nafter\n")
    words = ("--betas", 2, "--seeds", 0, "--set", "hidden=8", "epochs=1", "--records", records, "--page", page)
    for _ in range(2):
        assert ended("latent", *words) == 0
        lines = page.read_text().splitlines()
        titles = [line.split(" | ")[0] for line in lines[4:-2]]
        assert titles == [
            "| 10 principal components",
            "| VAE, β = 2 hidden=8 epochs=1",
            "| the factors themselves",
            "| codes of other pictures",
        ]
        monkeypatch.setattr("lamina.fit", None)
    assert len(list(records.glob("*"))) == 2
    assert ended("latent", "--set", "nosuch=1") == 2


def test_strategies(run, tmp_path, monkeypatch):
    monkeypatch.setattr("lamina.analysis.energy_plane.POINTS", 20)
    points = np.random.default_rng(0).uniform(size=(300, 2)) @ np.array([[2.0, 1.0], [0.0, 1.0]])
    np.savetxt(tmp_path / "points.csv", points, delimiter=",", header="a,b", comments="")
    with pytest.raises(SystemExit) as end:
        run("strategies", tmp_path / "points.csv", tmp_path / "out", 1)
    assert end.value.code == 0
    page = (tmp_path / "out" / "points.md").read_text()
    assert "energy-based GAN" in page
    assert all(word in page for word in ("1 epochs, seed 0; commit ", "torch ", " cores, "))
    assert (tmp_path / "out" / "points.png").exists()


@pytest.mark.parametrize(
    ("rows", "told"),
    [(None, "no data set or file"), (np.zeros((0, 2)), "toy.csv"), (np.ones((300, 3)), "toy.csv has 3")],
)
def test_strategies_of_what_is_no_plane(run, tmp_path, capsys, rows, told):
    if rows is not None:
        np.savetxt(tmp_path / "toy.csv", rows, delimiter=",", header=",".join("abc"[: rows.shape[1]]), comments="")
    with pytest.raises(SystemExit) as end:
        run("strategies", tmp_path / "toy.csv", tmp_path / "out", 1)
    assert end.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("lamina: ")
    assert told in last


def test_ring(run, capsys):
    run("ring", 64)
    told = capsys.readouterr().out
    assert "mount-doom" in told
    assert "of 3 right" in told
