"""Every recipe trains and is measured on a device that is not the processor: no tensor is left behind."""

from dataclasses import replace

import pytest
import torch
from simulated import NAME, Device
from test_recipes import run_of

from lamina.recipes import RECIPES
from lamina.recipes.registry import figures_of
from lamina.train.fit import fit

FUSED = {"pattern_lm", "sequence", "char_lm", "word_lm"}  # torch's own cells, which want kernels of the device
SLOW = {"rbm", "rbm_long", "dbn", "dbm", "boltzmann_encoder", "stack_rnn"}  # figures that take many small operations


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
def test_recipe_trains_and_is_measured_elsewhere(name):
    run = replace(run_of(name), device=NAME, epochs=1)
    with Device(), torch.autograd.set_multithreading_enabled(False):
        fit(run)
        assert {p.device.type for p in run.system.state_dict().values()} == {NAME}
        if name not in SLOW:
            assert figures_of(run)
