"""Boltzmann machines: binary rows of any meaning, and the encoder problem."""

import math
import statistics
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lamina.core import Run
from lamina.data.batches import Batches, in_order
from lamina.data.dataset import Data
from lamina.optim.schedules import linear_to_zero
from lamina.recipes.inputs import bernoulli, gather, rows
from lamina.recipes.registry import recipe
from lamina.systems.energy.boltzmann import LARGEST, BoltzmannMachine
from lamina.systems.energy.units import flip
from lamina.train.evaluate import evaluate, seeded
from lamina.train.trainer import Epoch, Trainer


@torch.no_grad()
def likelihood(run: Run) -> dict[str, float]:
    """Return `nll`, minus the test log-likelihood in nats per example; grey values are drawn as bits once, from seed 0.

    It is exact where the hidden units and those of a group are at most 20 together. Elsewhere log Z is estimated by
    annealed importance sampling, and given as `log_partition` with its standard error, `log_partition_error`; it errs
    on the low side, so the machine looks better than it is. With more than 20 hidden units log p is out of reach, and
    the figures are the test metrics, `pseudo_nll`.

    Raises:
        ValueError: the run has no test data.
    """
    if run.test is None:
        raise ValueError("the test log-likelihood needs test data, and this data set has none")
    model = run.system
    assert isinstance(model, BoltzmannMachine)
    if model.hidden > LARGEST:
        return evaluate(model, run.test, run.device)
    with seeded(run.device):
        v = flip(gather(run.test, None, run.device)["x"].flatten(1))
        energy = float(model.energy(v).mean())
        if model.summed <= LARGEST:
            return {"nll": energy + float(model.log_partition())}
        log_Z, error = model.estimated_log_partition()
    return {"nll": energy + log_Z, "log_partition": log_Z, "log_partition_error": error}


@recipe(
    paper="Ackley, Hinton & Sejnowski (1985), A learning algorithm for Boltzmann machines, sections 2 and 3",
    figure="nll",
    unit="nats",
    published=None,
    data="digits",
    measure=likelihood,
)
def boltzmann(
    data: Data,
    seed: int = 0,
    hidden: int = 0,
    groups: int = 1,
    lateral: bool = True,
    exact: int = 12,
    lr: float = 0.03,
    batch: int = 20,
    epochs: int = 50,
    collect: int = 10,
) -> Run:
    """Train a Boltzmann machine, fully visible or with hidden units, by Adam with lr falling linearly to zero.

    The figure is minus the test log-likelihood in nats: exact where the hidden units and those of a group are at most
    20 together; elsewhere log Z is estimated by annealed importance sampling. With more than 20 hidden units it is
    minus the pseudo-log-likelihood.

    Args:
        data: values in 0..1; grey values are drawn as bits.
        seed: of the initial weights, the order of the examples and all sampling.
        hidden: hidden units; 0 makes the machine fully visible.
        groups: parts of the visible units, of one size, that are not coupled; 1 couples all units.
        lateral: couple hidden units to each other.
        exact: hidden units and units of a group, together, up to which states are enumerated in learning; the states
            of more are sampled. At most 20.
        lr: first learning rate.
        batch: examples in an update.
        epochs: passes over the data.
        collect: sweeps at temperature 1 over which sampled statistics are taken.

    Raises:
        ValueError: values outside 0..1, or a size that makes no sense.
    """
    bernoulli(rows(data), binarize=True)
    summed = hidden + math.prod(data.shape) // max(groups, 1)
    return Run(
        system=BoltzmannMachine(data.shape, hidden, groups, lateral, summed <= exact, collect=collect),
        train=Batches(data.train, batch, seed=seed),
        valid=in_order(data.valid),
        test=in_order(data.test),
        optimizer=partial(torch.optim.Adam, lr=lr, fused=True),
        schedules={"lr": linear_to_zero(lr)},
        epochs=epochs,
    )


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
        ValueError: values outside 0..1, a size that makes no sense, or patterns that no machine can hand over.
    """
    bernoulli(rows(data), binarize=True)
    encodable(rows(data).flatten(1), hidden, groups)
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


def encodable(x: Float[Tensor, "examples visible"], hidden: int, groups: int) -> None:
    """Raise ValueError unless examples are an encoder problem: few patterns, each known from any group of its units."""
    patterns = len(torch.unique(x, dim=0))
    known = [len(torch.unique(part, dim=0)) for part in x.tensor_split(max(groups, 1), 1)]
    if hidden < 1 or groups < 2 or patterns > 2**hidden or min(known) < patterns:
        raise ValueError(
            f"no encoder problem: that has 2 groups of units or more, each of which tells all rows apart, and 2^hidden"
            f" different rows at most; here are {patterns} rows, hidden={hidden}, and groups={groups} that tell"
            f" {min(known)} apart. For other binary rows use the recipe boltzmann"
        )
