"""Boltzmann machines: the encoder problem, and any small binary data."""

import math
import statistics
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from lamina.core import Run
from lamina.data.batches import Batches, in_order
from lamina.data.dataset import Data
from lamina.recipes.inputs import bernoulli, gather, rows
from lamina.recipes.registry import recipe
from lamina.systems.energy.boltzmann import BoltzmannMachine
from lamina.train.trainer import Epoch, Trainer


@torch.no_grad()
def solved(run: Run) -> dict[str, float]:
    """Return whether a run has solved its encoder problem.

    `distinct` is the share of patterns with a hidden code of their own, `completed` the share of patterns that the
    machine completes from each group of visible units alone; `solved` is 1 if both are whole. Codes and completions
    are the exact means, rounded.
    """
    model = run.system
    assert isinstance(model, BoltzmannMachine)
    x = torch.unique(gather(run.train, None, run.device)["x"].flatten(1), dim=0)
    codes = torch.unique(model.encode(x).gt(0.5), dim=0)
    group = torch.arange(model.visible, device=x.device) * model.groups // model.visible
    found = [model.complete(x, group == known).gt(0.5).eq(x.bool()).all(1) for known in range(model.groups)]
    distinct, completed = len(codes) / len(x), float(torch.stack(found).all(0).float().mean())
    return {"solved": float(distinct == completed == 1), "distinct": distinct, "completed": completed}


def trials(data: Data, seeds: Sequence[int], **arguments: Any) -> dict[str, float]:
    """Return the share of seeds whose run of `boltzmann_encoder` gets solved, and the median cycle at which one is."""
    cycles = []
    for seed in seeds:
        run = boltzmann_encoder(data, seed=seed, **arguments)
        done = (event.number for event in Trainer(run) if isinstance(event, Epoch) and solved(run)["solved"])
        cycles.append(next(done, math.inf))
    return {"solved": sum(map(math.isfinite, cycles)) / len(cycles), "median_cycles": statistics.median(cycles)}


def reliability(run: Run) -> dict[str, float]:
    """Return the figures of `trials` for a run's settings and ten seeds from its own on; it trains ten machines."""
    assert isinstance(run.train, Batches)
    arguments = dict(run.origin["arguments"])
    seed = arguments.pop("seed")
    return trials(Data("patterns", run.train.examples), range(seed, seed + 10), **arguments)


@recipe(
    paper="Ackley, Hinton & Sejnowski (1985), A learning algorithm for Boltzmann machines, section 4.1 (4-2-4 encoder)",
    figure="solved",
    published=1.0,
    data="encoder",
    measure=reliability,
)
def boltzmann_encoder(
    data: Data,
    seed: int = 0,
    hidden: int = 2,
    groups: int = 2,
    lateral: bool = False,
    exact: bool = False,
    fixed: bool = True,
    lr: float = 0.3,
    batch: int = 8,
    epochs: int = 3000,
    noise: tuple[float, float] = (0.1, 0.03),
    collect: int = 10,
) -> Run:
    """Train a Boltzmann machine whose groups of visible units can reach each other through hidden units alone.

    The paper's: annealing at temperatures 2, 1.5, 1.2 and 1, noisy clamping, and steps of one size. Steps of 0.2
    and noise of (0.15, 0.05) are its numbers (from memory); the defaults here get solved sooner and more often. An
    epoch of the encoder data is a learning cycle, every pattern twice. The epoch with the best validation metric is
    kept, which is -log p of the patterns where the hidden units and those of a group are at most 20.

    Args:
        data: values in 0..1; grey values are drawn as bits.
        seed: of the initial weights, the order of the examples and all sampling.
        hidden: hidden units.
        groups: parts of the visible units, of one size, that are not coupled; 1 couples all units.
        lateral: couple hidden units to each other.
        exact: enumerate the states of the hidden units and of one group, at most 20 units, instead of sampling.
        fixed: move every coupling and bias by lr up or down, as the paper does; otherwise by lr times the gradient.
        lr: learning rate; the paper's step of 2 at temperature 10 is 0.2.
        batch: examples in an update.
        epochs: passes over the data.
        noise: probabilities that clamping turns a unit that is on off, and one that is off on.
        collect: sweeps at temperature 1 over which statistics are taken.

    Raises:
        ValueError: values outside 0..1, or a size that makes no sense.
    """
    bernoulli(rows(data), binarize=True)
    sign = partial(torch.optim.Adam, lr=lr, betas=(0.0, 0.0), fused=True)  # the gradient over its absolute value
    sgd = partial(torch.optim.SGD, lr=lr, fused=True)
    return Run(
        system=BoltzmannMachine(data.shape, hidden, groups, lateral, exact, noise, collect=collect),
        train=Batches(data.train, batch, seed=seed),
        valid=in_order(data.valid),
        test=in_order(data.test),
        optimizer=sign if fixed else sgd,
        epochs=epochs,
    )
