"""Every recipe trains, is measured and is used on a device that is not the processor: no tensor is left behind."""

from dataclasses import replace

import pytest
import torch
from simulated import NAME, Device
from test_recipes import run_of

from lamina.core import Answers, Encodes, Predicts, Samples, Scores
from lamina.recipes import RECIPES
from lamina.recipes.registry import figures_of
from lamina.train.evaluate import evaluating
from lamina.train.fit import fit
from lamina.train.trainer import moved

FUSED = {"pattern_lm", "sequence", "char_lm", "word_lm"}  # torch's own cells, which want kernels of the device
SLOW = {"rbm", "rbm_long", "dbn", "dbm", "boltzmann", "boltzmann_encoder", "stack_rnn"}  # figures of many small steps


def test_tensors_of_two_devices_do_not_mix():
    with Device():
        there = torch.ones(3, device=NAME)
        assert (2 * there).device.type == NAME
        assert (there[torch.tensor([0, 2])] + 1).tolist() == [2, 2]
        with pytest.raises(RuntimeError, match="two devices"):
            there + torch.ones(3)
        with pytest.raises(RuntimeError, match="two devices"):
            torch.ones(3)[torch.zeros(1, dtype=torch.long, device=NAME)]
        with pytest.raises(TypeError, match="no array"):
            there.numpy()


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in FUSED])
def test_recipe_works_elsewhere(name):
    run = replace(run_of(name), device=NAME, epochs=1)
    with Device(), torch.autograd.set_multithreading_enabled(False):
        fit(run)
        assert {p.device.type for p in run.system.state_dict().values()} == {NAME}
        if name not in SLOW:
            assert figures_of(run)
        with evaluating(run.system), torch.no_grad():
            assert {value.device.type for value in results(run.system, moved(next(run.test.epoch(0)), NAME))} <= {NAME}


def results(system, batch):
    """Yield what each verb of a system returns."""
    x = [batch[name] for name in ("x", "past", "tokens") if name in batch]
    if isinstance(system, Predicts):
        yield system.predict(*x)
    if isinstance(system, Encodes):
        yield system.encode(*x)
    if isinstance(system, Scores):
        yield system.score(*x)
    if isinstance(system, Samples):
        yield system.sample(2)
    if isinstance(system, Answers):
        yield from system.answer(batch["story"], batch["question"])
