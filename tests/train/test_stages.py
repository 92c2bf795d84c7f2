"""Runs that come before another: trained in order, resumed exactly, each in its own folder."""

import signal

import pytest
import torch
from toys import Small, examples, run_of, weights

from lamina.core import Run
from lamina.data.batches import Batches
from lamina.train.display import Lines
from lamina.train.fit import Interrupted, fit
from lamina.train.folder import Folder


class Stopping(Batches):
    """Batches that send SIGINT before batch `at` of the first epoch."""

    at = -1

    def epoch(self, k, start=0):
        for i, batch in enumerate(super().epoch(k, start), start):
            if k == 0 and i == self.at:
                signal.raise_signal(signal.SIGINT)
            yield batch


def staged(trace=None, stops=(-1, -1)):
    """A run whose system is trained twice before: alone, and with a layer redrawn at random."""
    run = run_of()
    first, second = (Stopping(examples(), 10) for _ in stops)
    first.at, second.at = stops

    def before():
        yield Run(run.system, first, run.optimizer, epochs=2)
        torch.nn.init.normal_(run.system.net[0].weight)  # the same after a resume
        yield Run(run.system, second, run.optimizer, epochs=2)
        if trace is not None:
            trace.append(weights(run))

    run.before = before
    return run


def test_trains_the_runs_before_in_order():
    trace = []
    run = staged(trace)
    start = weights(run)
    result = fit(run)
    assert not torch.equal(start, trace[0])
    assert not torch.equal(trace[0], weights(run))
    assert result.epochs == 3
    alone = run_of()
    fit(alone)
    assert not torch.equal(weights(alone), weights(run))


@pytest.mark.parametrize(("number", "stops"), [(1, (3, -1)), (2, (-1, 2))])
def test_resume_equals_no_stop(tmp_path, number, stops):
    whole = staged()
    expected = fit(whole, tmp_path / "whole")
    with pytest.raises(Interrupted, match=rf"stage {number}; go on with: lamina train --resume \S+part\W"):
        fit(staged(stops=stops), tmp_path / "part")
    again = staged()
    result = fit(again, tmp_path / "part", resume=True)
    assert torch.equal(weights(whole), weights(again))
    assert result.best == expected.best


def test_ended_stages_are_not_trained_again(tmp_path, capsys):
    fit(staged(), tmp_path / "run")
    before = (tmp_path / "run" / "stage-1" / "weights.safetensors").stat().st_mtime_ns
    fit(staged(), tmp_path / "run", resume=True, display=Lines())
    assert capsys.readouterr().err == "stage 1\nstage 2\n"
    assert (tmp_path / "run" / "stage-1" / "weights.safetensors").stat().st_mtime_ns == before


def test_stages_compute_where_the_run_does(tmp_path):
    run = staged()
    run.precision = "bf16"
    fit(run, tmp_path / "run")
    settings = Folder(tmp_path / "run" / "stage-1").description()["settings"]
    assert settings["precision"] == "bf16"
    assert isinstance(run.system, Small)
