"""Deep belief networks and deep Boltzmann machines, as generative models and as classifiers."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from lamina.core import Run
from lamina.data.batches import in_order
from lamina.data.dataset import Data
from lamina.data.examples import Mapped
from lamina.recipes.autoencoder import classifier
from lamina.recipes.greedy import CHAINS, doubled, fill, generative, machines, pretrained, rate
from lamina.recipes.harmoniums import likelihood
from lamina.recipes.inputs import bernoulli, everything, gaussian, rows
from lamina.recipes.registry import recipe
from lamina.systems.energy.dbm import DBM, MeanField, layers_of
from lamina.systems.energy.dbn import DBN, Values
from lamina.systems.energy.units import Bernoulli, Gaussian

UPPER = 0.5  # share of the rate for the upper RBMs of a DBM, which have twice as many units

Visible = Literal["bernoulli", "gaussian"]


@recipe(
    paper="Hinton, Osindero & Teh (2006), A fast learning algorithm for deep belief nets; size and figure of Murray &"
    " Salakhutdinov (2009), Evaluating probabilities under high-dimensional latent variable models",
    figure="log_likelihood",
    unit="nats",
    published=-84.55,
    measure=likelihood,
    quick={"pretraining": 20, "epochs": 30},
)
def dbn(
    data: Data,
    seed: int = 0,
    hidden: tuple[int, ...] = (500, 2000),
    pretraining: int = 40,
    pretraining_lr: float = 0.1,
    k: int = 1,
    persistent: bool = True,
    lr: float = 0.1,
    batch: int = 100,
    epochs: int = 80,
    visible: Visible = "bernoulli",
    binarize: bool = True,
) -> Run:
    """Train RBMs one upon the other, then all layers by the up-down algorithm; learning rates fall linearly to zero.

    Args:
        data: values in 0..1, or any for Gaussian units; examples without a label serve as well.
        seed: of the initial weights, chains, order of the examples and all drawing.
        hidden: units of each hidden layer, from the lowest to the top.
        pretraining: passes over the data for every RBM; 0 leaves it out.
        pretraining_lr: first learning rate of the RBMs; a tenth of it with Gaussian units.
        k: Gibbs steps of the top RBM an update.
        persistent: let the chains of the top RBM run on from update to update; otherwise start them at the batch, as in
            the paper.
        lr: first learning rate of the up-down algorithm; a tenth of it with Gaussian units.
        batch: examples in an update.
        epochs: passes over the data for the up-down algorithm.
        visible: binary units for values in 0..1, or Gaussian ones for any; data for the latter is standardized.
        binarize: draw each grey value as a fresh bit in every update; otherwise feed grey values to binary units.

    Raises:
        ValueError: fewer than two hidden layers, or values outside 0..1 for binary units.
    """
    units, bias = units_of(data, visible, binarize)
    model = DBN(units, hidden, bias, k, CHAINS if persistent else 0)
    low = machines(units, hidden[:-1], bias, CHAINS)

    def greedy() -> Iterator[Run]:
        yield from pretrained([*low, model.top], everything(data), seed, pretraining, pretraining_lr, batch)
        for i, layer in enumerate(low):
            model.adopt(i, layer)

    run = generative(model, everything(data), seed, epochs, batch, rate(lr, units))
    return replace(run, test=in_order(data.test), before=greedy if pretraining else None)


@recipe(
    paper="Vincent et al. (2010), Stacked denoising autoencoders, table 3 (DBN-3)",
    figure="error",
    published=0.0124,
    quick={"pretraining": 6, "epochs": 12},
)
def dbn_classifier(
    data: Data,
    seed: int = 0,
    hidden: tuple[int, ...] = (1000, 1000, 1000),
    pretraining: int = 15,
    pretraining_lr: float = 0.1,
    dropout: tuple[float, float] = (0.2, 0.0),
    visible: Visible = "bernoulli",
    epochs: int = 20,
    batch: int = 100,
    lr: float = 0.5,
) -> Run:
    """Train RBMs one upon the other, and then a classifier of sigmoid layers that begins with their weights.

    Args:
        data: labelled images or rows; examples without a label serve in pre-training.
        seed: of the weights, the order of the examples and all drawing.
        hidden: units of every hidden layer.
        pretraining: passes over the data for every RBM; 0 trains the classifier alone.
        pretraining_lr: first learning rate of the RBMs, falling linearly to zero; a tenth of it with Gaussian units.
        dropout: share of the inputs, and of the hidden units, left out while the classifier learns; 0 0 is the paper's.
        visible: binary units for values in 0..1, or Gaussian ones for any; data for the latter is standardized.
        epochs: passes over the data for the classifier.
        batch: examples in an update.
        lr: first learning rate of SGD with momentum for the classifier, falling linearly to zero.

    Raises:
        ValueError: the data have no labels, a size makes no sense, or values outside 0..1 for binary units.
    """
    units, bias = units_of(data, visible, binarize=False)
    layers = machines(units, hidden, bias, chains=0)
    encoders = [nn.Linear(*layer.W.shape) for layer in layers]

    def greedy() -> Iterator[Run]:
        yield from pretrained(layers, everything(data), seed, pretraining, pretraining_lr, batch)
        for encoder, layer in zip(encoders, layers, strict=True):
            fill(encoder, layer.W, layer.b)

    before = greedy if pretraining else None
    return classifier(data, seed, Values(units), encoders, epochs, batch, lr, before, dropout)


SALAKHUTDINOV = "Salakhutdinov & Hinton (2009), Deep Boltzmann machines"


@recipe(
    paper=SALAKHUTDINOV + ", section 4.1 (two layers)",
    figure="log_likelihood",
    unit="nats",
    published=-84.62,
    measure=likelihood,
    quick={"pretraining": 10, "epochs": 40},
)
def dbm(
    data: Data,
    seed: int = 0,
    hidden: tuple[int, ...] = (500, 1000),
    pretraining: int = 20,
    pretraining_lr: float = 0.1,
    steps: int = 5,
    k: int = 1,
    centering: float = 0.01,
    lr: float = 0.02,
    batch: int = 100,
    epochs: int = 120,
    visible: Visible = "bernoulli",
    binarize: bool = True,
) -> Run:
    """Train RBMs one upon the other, then all layers as one machine; learning rates fall linearly to zero.

    The paper's form takes steps=25, k=5 and epochs=500.

    Args:
        data: values in 0..1, or any for Gaussian units; examples without a label serve as well.
        seed: of the initial weights, chains, order of the examples and all drawing.
        hidden: units of each hidden layer, from the lowest to the top.
        pretraining: passes over the data for every RBM; 0 leaves it out.
        pretraining_lr: first learning rate of the lowest RBM, or a tenth of it with Gaussian units; the others have
            half of it.
        steps: mean-field steps an update.
        k: Gibbs steps of the chains an update.
        centering: how fast the centers of the gradient follow the units' means, in 0..1 an update; at 0 it is the
            paper's gradient, with which the upper layer's units all end up on or off.
        lr: first learning rate of the whole machine; a tenth of it with Gaussian units.
        batch: examples in an update.
        epochs: passes over the data for the whole machine.
        visible: binary units for values in 0..1, or Gaussian ones for any; data for the latter is standardized.
        binarize: draw each grey value as a fresh bit in every update; otherwise feed grey values to binary units.

    Raises:
        ValueError: fewer than two hidden layers, or values outside 0..1 for binary units.
    """
    units, bias = units_of(data, visible, binarize)
    model = DBM(units, hidden, bias, steps, k, CHAINS, centering)

    def greedy() -> Iterator[Run]:
        layers = layers_of(model)
        source = Mapped(everything(data), doubled)
        yield from pretrained(layers, source, seed, pretraining, pretraining_lr, batch, UPPER)
        model.compose(layers)

    run = generative(model, everything(data), seed, epochs, batch, rate(lr, units))
    return replace(run, test=in_order(data.test), before=greedy if pretraining else None)


@recipe(
    paper=SALAKHUTDINOV + ", section 4.1; dropout of Srivastava et al. (2014), Dropout, table 2",
    figure="error",
    published=0.0079,
    quick={"pretraining": 8, "epochs": 15, "dropout": (0.2, 0.0)},
)
def dbm_classifier(
    data: Data,
    seed: int = 0,
    hidden: tuple[int, ...] = (500, 1000),
    pretraining: int = 20,
    joint: int = 1,
    joint_lr: float = 2e-4,
    dropout: tuple[float, float] = (0.2, 0.5),
    visible: Visible = "bernoulli",
    epochs: int = 40,
    batch: int = 100,
    lr: float = 0.1,
) -> Run:
    """Train the machine of `dbm`, and then a classifier of x and its mean field that begins with its weights.

    Args:
        data: labelled images or rows; examples without a label serve for the machine.
        seed: of the weights, the order of the examples and all drawing.
        hidden: units of each hidden layer.
        pretraining: passes over the data for every RBM.
        joint: passes over the data for the whole machine.
        joint_lr: first learning rate of these; larger ones drive the second layer's units off.
        dropout: share of the inputs, and of the hidden units, left out while the classifier learns; 0 0 is the form of
            2009, of which 0.95 % is published.
        visible: binary units for values in 0..1, or Gaussian ones for any; data for the latter is standardized.
        epochs: passes over the data for the classifier.
        batch: examples in an update.
        lr: first learning rate of SGD with momentum for the classifier, falling linearly to zero.

    Raises:
        ValueError: the data have no labels, fewer than two hidden layers, or values outside 0..1 for binary units.
    """
    sizes, passes = {"hidden": hidden, "batch": batch}, {"pretraining": pretraining, "epochs": joint}
    first = dbm(data, seed=seed, lr=joint_lr, visible=visible, **sizes, **passes)
    machine = first.system
    assert isinstance(machine, DBM)
    widths = [len(b) for b in machine.b]
    widths[0] += widths[2]
    encoders = [nn.Linear(low, high) for low, high in pairwise(widths)]

    def before() -> Iterator[Run]:
        yield first
        fill(encoders[0], torch.cat([machine.W[0], machine.W[1].t()]), machine.b[1])
        for i, encoder in enumerate(encoders[1:], 1):
            twice = 2 if i + 1 < len(encoders) else 1  # as a layer gets from above what it gets from below
            fill(encoder, twice * machine.W[i], machine.b[i + 1])

    return classifier(data, seed, MeanField(machine), encoders, epochs, batch, lr, before, dropout)


def units_of(data: Data, visible: Visible, binarize: bool) -> tuple[Bernoulli | Gaussian, Tensor]:
    """Return units that fit the data, and the bias that matches its means."""
    x = rows(data)
    units = gaussian(x) if visible == "gaussian" else bernoulli(x, binarize)
    return units, units.matching(units.standard(x).mean(0), len(x))
