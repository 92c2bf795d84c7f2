"""Ladder networks with a single denoising cost: at the top (the Γ-model, dense or convolutional), or at the bottom.

Beside them, what the few labels give by themselves: a supervised network that sees no other example.
"""

import math
from dataclasses import replace
from functools import partial
from typing import Literal

from torch import nn
from torch.optim import Adam

from lamina.core import Run
from lamina.data.dataset import Data
from lamina.data.examples import Subset
from lamina.modules.lenet import lenet5
from lamina.modules.mlp import mlp
from lamina.optim.schedules import one_cycle
from lamina.recipes.registry import recipe
from lamina.recipes.semisupervised import chosen, ladder
from lamina.recipes.vision import classifier, thinned
from lamina.systems.semisupervised.ladder import Dense, Ladder

RASMUS = "Rasmus et al. (2015), Semi-supervised learning with ladder networks"
SMALLEST = 8  # pixels; two poolings and the filters leave one of them


@recipe(paper=RASMUS + ", table 1 (100 labels, Γ-model)", figure="error", published=0.0306, quick={"epochs": 40})
def ladder_gamma(
    data: Data,
    seed: int = 0,
    labels: int = 100,
    epochs: int = 150,
    batch: int = 100,
    lr: float = 0.002,
    noise: float = 0.3,
    hidden: tuple[int, ...] = (1000, 500, 250, 250, 250),
    cost: float = 0.5,
) -> Run:
    """Train the network of `ladder` with a denoising cost on the top layer alone, so without a decoder below it.

    Args:
        data: classified images or vectors.
        seed: of the labelled examples, the weights, the order of the examples and the noise.
        labels: training examples whose class is used; 0 for all that have one.
        epochs: passes over the unlabelled examples.
        batch: unlabelled examples in an update.
        lr: learning rate of Adam for two thirds of the run, from where it falls linearly to zero.
        noise: standard deviation of the noise on every layer.
        hidden: units of the hidden layers.
        cost: weight of the denoising cost; the authors' code has 0.5 for 100 labels, 10 for 1000 and 2 for all.

    Raises:
        ValueError: the data has no classes, or there are fewer labels than classes.
    """
    costs = (*[0.0] * (len(hidden) + 1), cost)
    return ladder(
        data, seed=seed, labels=labels, epochs=epochs, batch=batch, lr=lr, noise=noise, hidden=hidden, costs=costs
    )


@recipe(paper=RASMUS + ", table 1 (100 labels, bottom)", figure="error", published=0.0109, quick={"epochs": 20})
def ladder_bottom(
    data: Data,
    seed: int = 0,
    labels: int = 100,
    epochs: int = 150,
    batch: int = 100,
    lr: float = 0.002,
    noise: float = 0.3,
    hidden: tuple[int, ...] = (1000, 500, 250, 250, 250),
    cost: float = 5000.0,
) -> Run:
    """Train the network of `ladder` with a denoising cost on the input alone.

    Args:
        data: classified images or vectors.
        seed: of the labelled examples, the weights, the order of the examples and the noise.
        labels: training examples whose class is used; 0 for all that have one.
        epochs: passes over the unlabelled examples.
        batch: unlabelled examples in an update.
        lr: learning rate of Adam for two thirds of the run, from where it falls linearly to zero.
        noise: standard deviation of the noise on every layer.
        hidden: units of the hidden layers.
        cost: weight of the denoising cost; the authors' code has 5000 for 100 labels, otherwise 2000.

    Raises:
        ValueError: the data has no classes, or there are fewer labels than classes.
    """
    costs = (cost, *[0.0] * (len(hidden) + 1))
    return ladder(
        data, seed=seed, labels=labels, epochs=epochs, batch=batch, lr=lr, noise=noise, hidden=hidden, costs=costs
    )


@recipe(
    paper=RASMUS + ", table 2 (100 labels, Conv-Small, Γ-model)",
    figure="error",
    published=0.0089,
    quick={"maps": (16, 32, 32, 64), "epochs": 7},
)
def ladder_conv(
    data: Data,
    seed: int = 0,
    labels: int = 100,
    epochs: int = 150,
    batch: int = 100,
    lr: float = 0.002,
    noise: float = 0.3,
    maps: tuple[int, int, int, int] = (32, 64, 64, 128),
    cost: float = 1.0,
) -> Run:
    """Train a convolutional ladder network with a denoising cost on the top layer alone.

    Args:
        data: classified images.
        seed: of the labelled examples, the weights, the order of the examples and the noise.
        labels: training examples whose class is used; 0 for all that have one.
        epochs: passes over the unlabelled examples.
        batch: unlabelled examples in an update.
        lr: learning rate of Adam for two thirds of the run, from where it falls linearly to zero.
        noise: standard deviation of the noise on every layer.
        maps: of the convolutions but the last, which has one for each class.
        cost: weight of the denoising cost.

    Raises:
        ValueError: the data has no classes, are not images, or there are fewer labels than classes.
    """
    classes = data.labels()
    if len(data.shape) != 3 or min(data.shape[1:]) < SMALLEST:
        raise ValueError(f"{data.name} has examples of {data.shape}: give images of {SMALLEST} or more pixels a side")
    run = ladder(data, seed=seed, labels=labels, epochs=epochs, batch=batch, lr=lr, hidden=(), costs=(0.0, cost))
    layers = conv_small(data.shape[0], maps, classes)
    widths = (data.shape[0], *maps, classes, classes)
    return replace(run, system=Ladder(widths, (*[0.0] * len(layers), cost), noise, layers))


@recipe(paper=RASMUS + ", table 1 (100 labels, supervised baseline)", figure="error", published=0.2174)
def few_labels(
    data: Data,
    seed: int = 0,
    labels: int = 100,
    network: Literal["mlp", "lenet5"] = "mlp",
    hidden: tuple[int, ...] = (500, 500),
    dropout: tuple[float, float] = (0.2, 0.5),
    rounds: int = 10,
    epochs: int = 20,
    batch: int = 50,
    lr: float = 0.001,
) -> Run:
    """Train a classifier on a few labelled examples alone, those that `ladder` and its like take with the same seed.

    The last epoch is kept: choosing one by validation labels would use more labels than `labels`.

    Args:
        data: classified images or vectors.
        seed: of the labelled examples, the weights, the order of the examples and the dropout.
        labels: training examples to learn from, as many of each class; 0 for all that have one.
        network: a perceptron with dropout, or the convolutional LeNet-5, for images.
        hidden: units of the perceptron's hidden layers.
        dropout: share of the perceptron's inputs, and of its hidden units, left out.
        rounds: passes over the labelled examples in an epoch, after which it is evaluated.
        epochs: how often that.
        batch: examples in an update.
        lr: largest learning rate of Adam, which rises and falls in one cycle.

    Raises:
        ValueError: the data has no classes, there are fewer labels than classes, or rows for LeNet-5.
    """
    shape, classes = data.shape, data.labels()
    few = replace(data, train=Subset(data.train, chosen(data, labels, seed).repeat(rounds)))
    if network == "mlp":
        layers = mlp(shape, hidden, classes, dropout)
        return replace(thinned(few, seed, layers, 0.0, epochs, batch, lr), keep="last")
    adam = partial(Adam, lr=lr, fused=True)
    layers = lenet5(shape, classes)
    return replace(classifier(few, seed, layers, adam, batch, epochs, {"lr": one_cycle(lr)}), keep="last")


def conv_small(channels: int, maps: tuple[int, int, int, int], classes: int) -> list[nn.Module]:
    """Return the layers of the authors' smaller convolutional network, each pooling with the layer that it follows.

    Theirs normalizes, and adds noise, between a convolution and its pooling too, and after the mean over the pixels.
    """
    first, second, third, fourth = maps
    return [
        nn.Sequential(convolution(channels, first, 5, padding=4), nn.MaxPool2d(2)),
        convolution(first, second, 3),
        nn.Sequential(convolution(second, third, 3, padding=2), nn.MaxPool2d(2)),
        convolution(third, fourth, 3),
        convolution(fourth, classes, 1),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), Dense(classes, classes)),
    ]


def convolution(low: int, high: int, side: int, padding: int = 0) -> nn.Conv2d:
    """Return a convolution without biases, with outputs of about the variance of its inputs."""
    layer = nn.Conv2d(low, high, side, padding=padding, bias=False)
    nn.init.normal_(layer.weight, std=1 / math.sqrt(low * side**2))
    return layer
