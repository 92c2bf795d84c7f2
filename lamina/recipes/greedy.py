"""Greedy training: restricted Boltzmann machines one upon the other, each on the codes of the one below."""

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from lamina.core import Batch, Run, System
from lamina.data.batches import Batches
from lamina.data.examples import Examples, Mapped, spread
from lamina.optim.schedules import linear_to_zero
from lamina.systems.energy.rbm import RBM
from lamina.systems.energy.units import Bernoulli, Gaussian

CHAINS = 100  # persistent chains of every machine
EXAMPLES = 10000  # whose means biases are fitted to


def rate(lr: float, units: Bernoulli | Gaussian) -> float:
    """Return a tenth of a learning rate for Gaussian units, whose means have no bound."""
    return lr if units.binary else lr / 10


def machines(units: Bernoulli | Gaussian, hidden: tuple[int, ...], bias: Tensor, chains: int) -> list[RBM]:
    """Return the RBMs of a stack; `bias` is that of its visible units."""
    below = [units, *(Bernoulli((size,)) for size in hidden[:-1])]
    biases = [bias, *(None for _ in hidden[1:])]
    return [RBM(low, size, a, chains=chains) for low, size, a in zip(below, hidden, biases, strict=True)]


def pretrained(
    layers: Sequence[RBM], source: Examples, seed: int, epochs: int, lr: float, batch: int, upper: float = 1.0
) -> Iterator[Run]:
    """Yield runs of RBMs, each upon the codes of the one below, whose means its visible bias begins with.

    The learning rate of all but the lowest is `upper` times `lr`.
    """
    for layer in layers:
        if layer is not layers[0]:
            layer.a.data.copy_(log_odds(spread(source, EXAMPLES)["x"]))
        factor = 1.0 if layer is layers[0] else upper
        yield generative(layer, source, seed, epochs, batch, rate(factor * lr, layer.visible))
        source = Mapped(source, partial(encoded, layer))


def generative(system: System, source: Examples, seed: int, epochs: int, batch: int, lr: float) -> Run:
    """Return a run of stochastic gradient descent with a learning rate that falls linearly to zero."""
    return Run(
        system=system,
        train=Batches(source, batch, seed=seed),
        optimizer=partial(torch.optim.SGD, lr=lr, fused=True),
        schedules={"lr": linear_to_zero(lr)},
        epochs=epochs,
    )


def log_odds(h: Tensor) -> Tensor:
    """Return the biases of independent binary units that match the means of these."""
    return Bernoulli(tuple(h.shape[1:])).matching(h.mean(0), len(h))


def encoded(layer: RBM, batch: Batch) -> Batch:
    """Return the batch with its `x` as the probabilities of an RBM's hidden units."""
    x = batch["x"]
    return batch | {"x": layer.encode(x.to(layer.W.device)).to(x.device)}


def doubled(batch: Batch) -> Batch:
    """Return the batch with its `x` twice, as a row."""
    x = batch["x"].flatten(1)
    return batch | {"x": torch.cat([x, x], 1)}


@torch.no_grad()
def fill(encoder: nn.Linear, W: Tensor, b: Tensor) -> None:
    """Give a layer the weights of a machine."""
    encoder.weight.copy_(W.t())
    encoder.bias.copy_(b)
