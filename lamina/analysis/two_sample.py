"""Whether a network can learn to tell generated examples from real ones: the classifier two-sample test.

As many real and generated examples are mixed, and cut into halves. A classifier learns from one half; t is the share
of the other half, of m examples, that it takes for what they are. Of two samples of one distribution nothing can be
learned, and the null distribution is

    m t ~ Binomial(m, 1/2),   t ≈ N(1/2, 1/4m),   p = P(N(1/2, 1/4m) ≥ t)

Where they differ, t is at most 1/2 + V/2 with the total variation V of the two distributions, whatever the classifier.
Lopez-Paz & Oquab (2017), Revisiting classifier two-sample tests, section 3.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lamina.core import Run
from lamina.data.batches import Batches
from lamina.data.examples import Arrays
from lamina.modules.lenet import lenet5
from lamina.modules.mlp import mlp
from lamina.modules.standardize import Standardize
from lamina.optim.schedules import one_cycle
from lamina.systems.vision.classifier import Classifier
from lamina.train.evaluate import evaluate, seeded
from lamina.train.fit import fit

LR = 0.02  # largest rate of stochastic gradient descent with momentum 0.9, for batches of 64
HIDDEN = 20  # units of the network for rows, as in the paper's section 4.1

Maker = Callable[[tuple[int, ...], int], nn.Sequential]
"""Makes a network from the shape of an example and a number of classes."""


@dataclass(frozen=True)
class TwoSample:
    """What a two-sample test found.

    Args:
        accuracy: share of the held-out examples that were taken for what they are.
        held: number of those.
        p: probability of that accuracy or a higher one for two samples of one distribution.
    """

    accuracy: float
    held: int
    p: float


def two_sample_test(
    real: Float[Tensor, "real *shape"],
    fake: Float[Tensor, "fake *shape"],
    network: Maker | None = None,
    epochs: int = 5,
    seed: int = 0,
) -> TwoSample:
    """Return whether a classifier learns to tell two samples apart; the larger is cut to the size of the smaller.

    Args:
        real: examples.
        fake: other examples.
        network: LeNet-5 for images and a perceptron of 20 units for rows, if not given.
        epochs: passes over the half that is learned from.
        seed: of the halves, and of all that training draws.

    Raises:
        ValueError: fewer than two examples of a kind.
    """
    count, device = min(len(real), len(fake)), str(real.device)
    if count < 2:
        raise ValueError(f"a two-sample test needs at least 2 examples of each kind, got {len(real)} and {len(fake)}")
    x = torch.cat([real[:count], fake[:count]]).cpu()  # the classifier's batches go to where it is
    y = torch.arange(2 * count) // count
    with seeded(device, seed):
        order = torch.randperm(2 * count)
        learn, held = (Arrays(x=x[half], y=y[half]) for half in order.chunk(2))
        classifier = learned(learn, network or usual(x), epochs, device, seed)
        error = evaluate(classifier, Batches(held, 1000, shuffle=False), device)["error"]
    return TwoSample(1 - error, len(held), tail(1 - error, len(held)))


def tail(accuracy: float, held: int) -> float:
    """Return the probability of an accuracy or a higher one by guessing.

    >>> tail(0.5, 100), round(tail(0.6, 100), 4)
    (0.5, 0.0228)
    """
    return math.erfc((accuracy - 0.5) * math.sqrt(2 * held)) / 2


def usual(x: Float[Tensor, "examples *shape"]) -> Maker:
    """Return the maker of the network that suits images, or rows."""
    return lenet5 if x.ndim == 4 else lambda shape, classes: mlp(shape, (HIDDEN,), classes)


def learned(examples: Arrays, network: Maker, epochs: int, device: str, seed: int) -> Classifier:
    """Return a classifier that was trained on examples."""
    x = examples.fields["x"]
    classifier = Classifier(Standardize.fitted(x), network(tuple(x.shape[1:]), 2))
    sgd = partial(torch.optim.SGD, lr=LR, momentum=0.9, fused=True)
    batches = Batches(examples, min(64, len(x)), seed=seed)
    fit(Run(classifier, batches, sgd, epochs, schedules={"lr": one_cycle(LR)}, device=device, seed=seed))
    return classifier
