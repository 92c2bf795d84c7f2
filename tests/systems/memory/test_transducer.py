"""What answers cost; padding; a machine set by hand that copies exactly at any length up to its slots."""

import math

import numpy as np
import pytest
import torch

from lamina.data.tapes import TASKS, Tapes, drawn
from lamina.modules.ntm import NTM
from lamina.modules.torch_cells import LSTM
from lamina.systems.memory.transducer import Transducer
from lamina.train.evaluate import evaluate

SURE = 60.0  # log-odds that leave nothing to the other side in float32
CELLS = {
    "lstm": lambda: LSTM(9, 7),
    "ntm": lambda: NTM(9, "lstm", 7, 6, 5),
    "feedforward": lambda: NTM(9, "feedforward", 7, 6, 5, reads=2, writes=2, learned=True),
}
every = pytest.mark.parametrize("cell", CELLS)


def tape(*lengths, seed=0):
    return drawn(TASKS["copy"], np.array(lengths)[:, None], np.random.default_rng(seed))


def system_of(cell):
    torch.manual_seed(0)
    return Transducer(CELLS[cell](), 8)


def test_cost_by_hand():
    system = system_of("lstm").double()
    batch = tape(2, 3).fields
    x, y, told = batch["tape"].double(), batch["y"], batch["told"]
    p, total, wrong = system.answer(x), [0.0, 0.0], [0, 0]
    for row in range(2):
        for t in range(x.shape[1]):
            for j in range(8):
                if told[row, t]:
                    chance = float(p[row, t, j]) if y[row, t, j] else 1 - float(p[row, t, j])
                    total[row] -= math.log2(chance)
                    wrong[row] += chance < 0.5
    assert float(system.loss(x, y, told)["bits"].detach()) == pytest.approx(sum(total) / 2)
    found = system.metrics(x, y, told)
    assert float(found["bits"].detach()) == pytest.approx(sum(total) / 2)
    assert float(found["error"].detach()) == pytest.approx((wrong[0] / 16 + wrong[1] / 24) / 2)
    assert float(found["failed"].detach()) == np.mean([bool(n) for n in wrong])


def test_who_knows_nothing_needs_a_bit_a_bit():
    system = system_of("lstm")
    torch.nn.init.zeros_(system.readout.weight)
    torch.nn.init.zeros_(system.readout.bias)
    batch = next(Tapes(tape(2, 3, 4), 3).epoch(0))
    assert float(system.loss(batch["tape"], batch["y"], batch["told"])["bits"].detach()) == pytest.approx(8 * 3)


@every
def test_padding_changes_nothing(cell):
    """Loss and gradient of tapes of three lengths, padded with noise, are the mean of those of each alone."""
    system, examples = system_of(cell).double(), tape(1, 4, 2)
    batch = {name: value.double() if name == "tape" else value for name, value in examples.fields.items()}
    past = torch.arange(batch["tape"].shape[1]) >= batch["steps"][:, None]
    batch["tape"][past] = torch.randn(int(past.sum()), 9, dtype=torch.float64)
    whole = system.loss(batch["tape"], batch["y"], batch["told"])["bits"]
    alone = []
    for row, steps in enumerate(batch["steps"].tolist()):
        part = [batch[name][row : row + 1, :steps] for name in ("tape", "y", "told")]
        alone.append(system.loss(*part)["bits"])
    mean = torch.stack(alone).mean()
    torch.testing.assert_close(whole, mean)
    parameters = list(system.parameters())
    torch.testing.assert_close(torch.autograd.grad(whole, parameters), torch.autograd.grad(mean, parameters))


@every
def test_learns(cell):
    """Adam on one batch of 16 tapes: after 60 updates the answers cost less."""
    system, batch = system_of(cell), tape(*[2] * 16).fields
    adam = torch.optim.Adam(system.parameters(), lr=0.03)
    costs = []
    for _ in range(60):
        adam.zero_grad()
        loss = system.loss(batch["tape"], batch["y"], batch["told"])["bits"]
        loss.backward()
        adam.step()
        costs.append(float(loss.detach()))
    assert costs[-1] < 0.8 * costs[0]


def test_refuses_steps_of_another_size():
    with pytest.raises(ValueError, match="a step has 7 numbers, where the cell reads 9"):
        system_of("lstm").answer(torch.zeros(2, 3, 7))


def test_refuses_no_output():
    with pytest.raises(ValueError, match="at least 1 output"):
        Transducer(LSTM(2, 3), 0)


def copier(slots, bits=8):
    """Return a machine set by hand, without units that remember, which copies.

    Writer A goes on by a slot in each step and adds what comes in. At the mark writer B, which stays on slot 0, adds
    a flag there, and reader A goes to slot 1; it stays for the step that the flag takes to be read by reader B, which
    is always on slot 0, and then goes on by a slot in each step.
    """
    cell = NTM(bits + 1, "feedforward", bits + 2, slots, bits + 1, reads=2, writes=2)
    mark, flag, go, each = bits, 2 * (bits + 1) + bits, bits + 1, bits + 1 + 3 + 3
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        for j in range(bits + 1):  # units: the bits, the mark, and whether reader A shall go
            cell.control.weight[j, j] = SURE
        cell.control.weight[go, mark] = cell.control.weight[go, flag] = SURE
        cell.control.bias[go] = -SURE / 2
        own = cell.head.bias[: 4 * each].view(4, each)
        own[:, bits + 2] = -SURE  # g: by place alone
        own[:, -3:] = -SURE
        own[[1, 3], -2] = SURE  # reader B and writer B stay
        own[2, -1] = SURE  # writer A goes on
        own[0, -3] = -3 * SURE
        cell.head.weight[: 4 * each].view(4, each, -1)[0, -1, go] = SURE
        cell.head.weight[: 4 * each].view(4, each, -1)[0, -2, go] = -SURE
        told = cell.head.bias[4 * each :].view(2, 2, bits + 1)
        told[:, 0] = -SURE  # nothing is erased
        adds = cell.head.weight[4 * each :].view(2, 2, bits + 1, -1)[:, 1]
        for j in range(bits):
            adds[0, j, j] = SURE
        adds[1, bits, bits] = SURE
    system = Transducer(cell, bits)
    with torch.no_grad():
        system.readout.weight.zero_()
        system.readout.weight[:, cell.hidden : cell.hidden + bits] = 2 * SURE * torch.eye(bits)  # what reader A reads
        system.readout.bias.fill_(-SURE)
    return system


@pytest.mark.parametrize("length", [1, 2, 7, 30, 31, 32])
def test_machine_set_by_hand_copies_exactly_up_to_its_slots(length):
    system = copier(32)
    found = evaluate(system, Tapes(tape(*[length] * 8), 8))
    assert found["error"] == 0
    assert found["bits"] < 1e-6
    assert evaluate(system, Tapes(tape(*[33] * 8), 8))["error"] > 0  # one more than its slots


def test_machine_set_by_hand_copies_the_longest_tapes():
    assert evaluate(copier(128), Tapes(tape(*[120] * 4), 4))["bits"] < 1e-6
