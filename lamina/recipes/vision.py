"""Classifiers of images, and of anything that is a row of numbers."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from lamina.core import Run, Schedule
from lamina.data.batches import Batches, in_order
from lamina.data.dataset import Data
from lamina.data.examples import spread
from lamina.modules.lenet import lenet5 as lenet5_module
from lamina.modules.lenet import lenet5_1998 as lenet5_1998_module
from lamina.modules.mlp import mlp as mlp_module
from lamina.modules.shift import Shift
from lamina.modules.standardize import Standardize
from lamina.optim.schedules import one_cycle
from lamina.optim.wrappers import Maker, projected
from lamina.optim.wrappers import max_norm as bounded
from lamina.recipes.registry import recipe
from lamina.systems.vision.classifier import Classifier

SLOW: dict[str, Any] = {"epochs": 20, "batch": 64, "lr": 0.02, "decay": 5e-4, "shift": 1}
FAST: dict[str, Any] = {"epochs": 6, "batch": 256, "lr": 0.2, "decay": 1e-3, "shift": 1}
LECUN = "LeCun, Bottou, Bengio & Haffner (1998), Gradient-based learning applied to document recognition, III.C"
SRIVASTAVA = "Srivastava et al. (2014), Dropout, table 2"


@recipe(paper=LECUN, figure="error", published=0.0095, quick={"fast": True})
def lenet5(
    data: Data,
    seed: int = 0,
    fast: bool = False,
    epochs: int | None = None,
    batch: int | None = None,
    lr: float | None = None,
    decay: float | None = None,
    shift: int | None = None,
) -> Run:
    """Train the tutorial's LeNet-5, with the learning rate rising and falling in one cycle.

    Args:
        data: labelled images; small ones are enlarged.
        seed: of the weights, the order of the examples and the shifts.
        fast: reach 99 % on MNIST in seconds: other defaults for all that follows.
        epochs: passes over the data; 20, or 6 if fast.
        batch: examples in an update; 64, or 256 if fast.
        lr: largest learning rate; 0.02, or 0.2 if fast.
        decay: weight decay; 0.0005, or 0.001 if fast.
        shift: largest random shift of training images in pixels; 1.

    Raises:
        ValueError: the data are not labelled images.
    """
    chosen: dict[str, Any] = {"epochs": epochs, "batch": batch, "lr": lr, "decay": decay, "shift": shift}
    chosen = (FAST if fast else SLOW) | {name: value for name, value in chosen.items() if value is not None}
    return convolutional(data, seed, lenet5_module(data.shape, data.labels()), **chosen)


@recipe(paper=LECUN, figure="error", published=0.0095, quick={"epochs": 6})
def lenet5_1998(data: Data, seed: int = 0, epochs: int = 20, batch: int = 64, lr: float = 0.002, shift: int = 0) -> Run:
    """Train LeNet-5 as it was published, but for its optimizer, with the learning rate rising and falling in one cycle.

    Args:
        data: labelled images; small ones are enlarged.
        seed: of the weights, the codes, the order of the examples and the shifts.
        epochs: passes over the data.
        batch: examples in an update.
        lr: largest learning rate.
        shift: largest random shift of training images in pixels.

    Raises:
        ValueError: the data are not labelled images.
    """
    network = lenet5_1998_module(data.shape, data.labels())
    return convolutional(data, seed, network, epochs, batch, lr, 0.0, shift, rubbish=0.1)


@recipe(paper=SRIVASTAVA + " (2 layers of 800 units, Simard et al. 2003)", figure="error", published=0.0160)
def mlp(
    data: Data,
    seed: int = 0,
    hidden: tuple[int, ...] = (800,),
    norm: bool = False,
    dropout: tuple[float, float] = (0.0, 0.0),
    max_norm: float = 0.0,
    epochs: int = 30,
    batch: int = 100,
    lr: float = 0.05,
    decay: float = 0.0,
) -> Run:
    """Train a multilayer perceptron of rectified units, with the learning rate rising and falling in one cycle.

    Args:
        data: labelled images or rows; the order of the numbers plays no part.
        seed: of the weights, the order of the examples and the dropout.
        hidden: units of every hidden layer.
        norm: normalize every hidden layer over the batch.
        dropout: share of the inputs, and of the hidden units, left out.
        max_norm: largest norm of a unit's incoming weights; 0 sets no bound.
        epochs: passes over the data.
        batch: examples in an update.
        lr: largest learning rate.
        decay: weight decay.

    Raises:
        ValueError: the data have no labels, or a size or share makes no sense.
    """
    network = mlp_module(data.shape, hidden, data.labels(), dropout, norm)
    sgd = partial(torch.optim.SGD, lr=lr, momentum=0.9, nesterov=True, weight_decay=decay, fused=True)
    optimizer = projected(sgd, bounded(max_norm)) if max_norm else sgd
    return classifier(data, seed, network, optimizer, batch, epochs, {"lr": one_cycle(lr)})


@recipe(paper=SRIVASTAVA + " (ReLU, 3 layers of 1024 units)", figure="error", published=0.0125, quick={"epochs": 30})
def mlp_dropout(
    data: Data,
    seed: int = 0,
    hidden: tuple[int, ...] = (1024, 1024, 1024),
    dropout: tuple[float, float] = (0.2, 0.5),
    max_norm: float = 0.0,
    epochs: int = 100,
    batch: int = 100,
    lr: float = 0.001,
) -> Run:
    """Train a multilayer perceptron that leaves units out at random.

    Args:
        data: labelled images or rows.
        seed: of the weights, the order of the examples and the dropout.
        hidden: units of every hidden layer.
        dropout: share of the inputs, and of the hidden units, left out.
        max_norm: largest norm of a unit's incoming weights; 0 sets no bound.
        epochs: passes over the data.
        batch: examples in an update.
        lr: largest learning rate of Adam.
    """
    network = mlp_module(data.shape, hidden, data.labels(), dropout)
    return thinned(data, seed, network, max_norm, epochs, batch, lr)


@recipe(
    paper=SRIVASTAVA + " (ReLU + max-norm, 3 layers of 1024 units)",
    figure="error",
    published=0.0106,
    quick={"epochs": 30},
)
def mlp_max_norm(data: Data, seed: int = 0, max_norm: float = 1.0, epochs: int = 100, lr: float = 0.001) -> Run:
    """Train the network of `mlp_dropout` with a bound on every unit's incoming weights.

    Args:
        data: labelled images or rows.
        seed: of the weights, the order of the examples and the dropout.
        max_norm: largest norm of a unit's incoming weights.
        epochs: passes over the data.
        lr: largest learning rate of Adam.
    """
    return mlp_dropout(data, seed=seed, max_norm=max_norm, epochs=epochs, lr=lr)


@recipe(
    paper="Goodfellow et al. (2013), Maxout networks, table 1 (permutation invariant)",
    figure="error",
    published=0.0094,
    quick={"epochs": 40},
)
def maxout(
    data: Data,
    seed: int = 0,
    hidden: tuple[int, ...] = (240, 240),
    pieces: int = 5,
    dropout: tuple[float, float] = (0.2, 0.5),
    max_norm: float = 1.0,
    epochs: int = 200,
    batch: int = 100,
    lr: float = 0.001,
) -> Run:
    """Train a maxout network with dropout and a bound on every piece's incoming weights.

    Args:
        data: labelled images or rows.
        seed: of the weights, the order of the examples and the dropout.
        hidden: maxout units of every hidden layer.
        pieces: linear functions a unit.
        dropout: share of the inputs, and of the hidden units, left out.
        max_norm: largest norm of a piece's incoming weights; 0 sets no bound.
        epochs: passes over the data.
        batch: examples in an update.
        lr: largest learning rate of Adam.
    """
    network = mlp_module(data.shape, hidden, data.labels(), dropout, pieces=pieces)
    return thinned(data, seed, network, max_norm, epochs, batch, lr)


def convolutional(
    data: Data,
    seed: int,
    network: nn.Sequential,
    epochs: int,
    batch: int,
    lr: float,
    decay: float,
    shift: int,
    rubbish: float | None = None,
) -> Run:
    """Return a run of SGD with momentum on a convolutional network."""
    sgd = partial(torch.optim.SGD, lr=lr, momentum=0.9, weight_decay=decay, fused=True)
    inputs = [Shift(shift)] if shift else []
    return classifier(data, seed, network, sgd, batch, epochs, {"lr": one_cycle(lr)}, inputs, rubbish)


def thinned(data: Data, seed: int, network: nn.Sequential, limit: float, epochs: int, batch: int, lr: float) -> Run:
    """Return a run of Adam on a network with dropout, whose noise would drown the first gradients at full weights."""
    *weights, last = (weight for weight in network.parameters() if weight.ndim > 1)
    with torch.no_grad():
        last.zero_()
        for weight in weights:
            weight.mul_(0.5)
    adam = partial(torch.optim.Adam, lr=lr, fused=True)
    optimizer = projected(adam, bounded(limit)) if limit else adam
    return classifier(data, seed, network, optimizer, batch, epochs, {"lr": one_cycle(lr, warmup=0.1)})


def classifier(
    data: Data,
    seed: int,
    network: nn.Sequential,
    optimizer: Maker,
    batch: int,
    epochs: int,
    schedules: Mapping[str, Schedule],
    inputs: Sequence[nn.Module] = (),
    rubbish: float | None = None,
) -> Run:
    """Return a run of a classifier; `inputs` come before the normalization, which is fitted on training data."""
    normalization = Standardize.fitted(spread(data.train)["x"])
    whole = any(isinstance(layer, nn.BatchNorm1d) for layer in network)  # statistics of few examples are poor
    return Run(
        system=Classifier(nn.Sequential(*inputs, normalization), network, rubbish),
        train=Batches(data.train, min(batch, len(data.train)), tail=not whole, seed=seed),
        valid=in_order(data.valid),
        test=in_order(data.test),
        optimizer=optimizer,
        schedules=schedules,
        epochs=epochs,
    )
