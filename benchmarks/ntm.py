"""A sequence of the copy task to learn from: a neural Turing machine against the same op by op, per sequence.

Sequences of 10 steps of 8 bits, a memory of 128 x 20, one head that reads and one that writes, an LSTM of 100 units,
RMSProp. The plain machine has the computation of loudinthecloud/pytorch-ntm, whose own code no longer imports: a
layer for each head, each of the operations of the paper by itself, and a loop over the batch in the shift of the
weights. lamina is `fit` on `Transducer(NTM)`. All times are those of one sequence, in batches of 1, 16 or 64.
"""

from functools import partial
from typing import Any

import numpy as np

from benchmarks.results import Result, Target, timed
from benchmarks.trainer import ticking
from benchmarks.turns import Turn, Variant, compare

LENGTH, BITS, HIDDEN, SLOTS, SIZE = 10, 8, 100, 128, 20
COUNT, EPOCHS, CLIP = 1024, 100_000, 10.0
RMSPROP = {"lr": 1e-4, "alpha": 0.95, "momentum": 0.9}
BASE = "plain, batch 1"


def measure(quick: bool) -> Result:
    """Compare the time of a sequence."""
    variants: dict[str, Variant] = {f"plain, batch {batch}": partial(by_hand, batch) for batch in (1, 16)}
    variants |= {f"lamina, batch {batch}": partial(lamina, batch) for batch in (1, 16, 64)}
    costs = compare(variants, rounds=2 if quick else 20, seconds=1.0)
    targets = [Target("lamina, batch 1", "ratio", "<=", 1 / 5), Target("lamina, batch 16", "ratio", "<=", 1 / 25)]
    settings = {"length": LENGTH, "hidden": HIDDEN, "slots": SLOTS, "size": SIZE}
    return Result(timed(costs, BASE, unit=1e-3, name="ms"), targets, settings)


class PerSequence:
    """Counts every sequence of an update."""

    def __init__(self, turn: Turn, batch: int) -> None:
        self.turn, self.batch = turn, batch

    def __call__(self) -> None:
        self.turn.updates += self.batch - 1
        self.turn()


def tapes() -> Any:
    """Return the tapes to learn from."""
    from lamina.data.tapes import TASKS, drawn

    return drawn(TASKS["copy"], np.full((COUNT, 1), LENGTH), np.random.default_rng(0))


def lamina(batch: int, turn: Turn) -> None:
    """Train with `fit`."""
    import torch

    from lamina.core import Run
    from lamina.data.tapes import Tapes
    from lamina.modules.ntm import NTM
    from lamina.systems.memory.transducer import Transducer
    from lamina.train.fit import fit

    system = Transducer(NTM(BITS + 1, "lstm", HIDDEN, SLOTS, SIZE), BITS)
    rmsprop = partial(torch.optim.RMSprop, **RMSPROP)
    run = Run(system, Tapes(tapes(), batch), rmsprop, epochs=EPOCHS, clip=CLIP)
    fit(run, display=ticking(PerSequence(turn, batch)))


def layers() -> Any:
    """Return the layers of the plain machine."""
    from torch import nn

    told = SIZE + 6
    return nn.ModuleDict(
        {
            "controller": nn.LSTM(BITS + 1 + SIZE, HIDDEN),
            "reader": nn.Linear(HIDDEN, told),
            "writer": nn.Linear(HIDDEN, told + 2 * SIZE),
            "readout": nn.Linear(HIDDEN + SIZE, BITS),
        }
    )


def weights(told: Any, before: Any, memory: Any) -> Any:
    """Return a head's weights, one operation after the other."""
    import torch
    from torch.nn import functional as F

    key, beta, gate, shift, gamma = told.split([SIZE, 1, 1, 3, 1], 1)
    cosine = F.cosine_similarity(memory + 1e-16, key.unsqueeze(1) + 1e-16, dim=-1)
    content = F.softmax(F.softplus(beta) * cosine, dim=1)
    g, s = torch.sigmoid(gate), F.softmax(shift, dim=1)
    mixed = g * content + (1 - g) * before
    moved = torch.zeros_like(mixed)
    for b in range(len(mixed)):
        around = torch.cat([mixed[b, -1:], mixed[b], mixed[b, :1]])
        moved[b] = F.conv1d(around.view(1, 1, -1), s[b].view(1, 1, -1)).view(-1)
    sharp = moved ** (1 + F.softplus(gamma))
    return sharp / (sharp.sum(1, keepdim=True) + 1e-16)


def answers(net: Any, x: Any, start: Any) -> Any:
    """Return the probabilities that the bits of a batch (time, batch, inputs) are ones."""
    import torch

    batch = x.shape[1]
    memory, units = start.expand(batch, SLOTS, SIZE), None
    found, reading, writing = x.new_zeros(batch, SIZE), x.new_zeros(batch, SLOTS), x.new_zeros(batch, SLOTS)
    said = []
    for row in x:
        out, units = net["controller"](torch.cat([row, found], 1).unsqueeze(0), units)
        h = out.squeeze(0)
        reading = weights(net["reader"](h), reading, memory)
        found = torch.matmul(reading.unsqueeze(1), memory).squeeze(1)
        told, erase, add = net["writer"](h).split([SIZE + 6, SIZE, SIZE], 1)
        writing = weights(told, writing, memory)
        erased = torch.matmul(writing.unsqueeze(-1), torch.sigmoid(erase).unsqueeze(1))
        added = torch.matmul(writing.unsqueeze(-1), add.unsqueeze(1))
        memory = memory * (1 - erased) + added
        said.append(torch.sigmoid(net["readout"](torch.cat([h, found], 1))))
    return torch.stack(said)


def by_hand(batch: int, turn: Turn) -> None:
    """Train op by op."""
    import torch
    from torch.nn import functional as F

    net, fields, tick = layers(), tapes().fields, PerSequence(turn, batch)
    optimizer, start = torch.optim.RMSprop(net.parameters(), **RMSPROP), 0.1 * torch.rand(SLOTS, SIZE)
    while True:
        for rows in torch.randperm(COUNT).split(batch):
            x, y = fields["tape"][rows].transpose(0, 1), fields["y"][rows].transpose(0, 1).float()
            optimizer.zero_grad()
            F.binary_cross_entropy(answers(net, x, start)[LENGTH + 1 :], y[LENGTH + 1 :]).backward()
            torch.nn.utils.clip_grad_value_(net.parameters(), CLIP)
            optimizer.step()
            tick()
