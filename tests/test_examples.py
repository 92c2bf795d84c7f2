"""The examples run as they stand, at toy size; that of few labels is run in tests/cli/test_reproduce.py."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def run(monkeypatch, tmp_path):
    def run(name, *words):
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")

    return run


def test_draw(run, tmp_path):
    run("draw", "digits", tmp_path / "drawing.gif", 2, 1)
    assert (tmp_path / "drawing.gif").stat().st_size > 1000


def test_latent(run, tmp_path):
    run("latent", "digits", tmp_path, 2, 1)
    assert list(tmp_path.glob("*.png"))


def test_strategies(run, tmp_path, monkeypatch):
    monkeypatch.setattr("lamina.analysis.energy_plane.POINTS", 20)
    points = np.random.default_rng(0).uniform(size=(300, 2)) @ np.array([[2.0, 1.0], [0.0, 1.0]])
    np.savetxt(tmp_path / "points.csv", points, delimiter=",", header="a,b", comments="")
    run("strategies", tmp_path / "points.csv", tmp_path / "out", 1)
    assert "energy-based GAN" in (tmp_path / "out" / "points.md").read_text()
    assert (tmp_path / "out" / "points.png").exists()


def test_transfer(run, capsys):
    run("transfer", "digits", "--epochs", 1, "--each", 1, 5, "--draws", 2)
    assert "| none |" in capsys.readouterr().out


def test_ring(run, capsys):
    run("ring", 64)
    told = capsys.readouterr().out
    assert "mount-doom" in told
    assert "of 3 right" in told
