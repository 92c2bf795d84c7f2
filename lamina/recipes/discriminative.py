"""Classifiers by energy: discriminative and hybrid restricted Boltzmann machines."""

from functools import partial
from typing import Literal

import torch

from lamina.core import Run, select
from lamina.data.batches import Batches, in_order
from lamina.data.dataset import Data
from lamina.data.examples import whole
from lamina.optim.schedules import one_cycle
from lamina.recipes.inputs import bernoulli, gaussian
from lamina.recipes.registry import recipe
from lamina.systems.energy.discriminative import DiscriminativeRBM

LAROCHELLE = "Larochelle & Bengio (2008), Classification using discriminative RBMs, table 1"


@recipe(paper=LAROCHELLE + " (DRBM, 500 hidden units)", figure="error", published=0.0181)
def drbm(
    data: Data,
    seed: int = 0,
    hidden: int = 500,
    generative: float = 0.0,
    k: int = 1,
    persistent: bool = False,
    chains: int = 100,
    lr: float = 0.005,
    batch: int = 100,
    epochs: int = 30,
    decay: float = 0.0,
    visible: Literal["bernoulli", "gaussian"] = "bernoulli",
    binarize: bool = True,
) -> Run:
    """Train an RBM over inputs and classes to tell the class, by Adam with the rate rising and falling in one cycle.

    The paper's form learns from grey values as they are (binarize=False), one example an update (batch=1), with plain
    gradient descent at a constant rate. Fresh bits in every update keep the machine from learning examples by heart.

    Args:
        data: labelled; values in 0..1, or any for Gaussian units.
        seed: of the initial weights, chains, order of the examples and all drawing.
        hidden: hidden units.
        generative: weight of -log p(x, y) beside -log p(y | x).
        k: Gibbs steps an update where the generative weight is above zero.
        persistent: let the chains run on from update to update (PCD); otherwise start them at the batch (CD).
        chains: persistent chains.
        lr: largest learning rate.
        batch: examples in an update.
        epochs: passes over the training data.
        decay: weight of the L2 penalty on all parameters.
        visible: binary units for values in 0..1, or Gaussian ones for any; data for the latter is standardized.
        binarize: draw each grey value as a fresh bit in every update; otherwise feed grey values to binary units.

    Raises:
        ValueError: no labels, values outside 0..1 for binary units, or a size that makes no sense.
    """
    x = select(whole(data.train), ("x",))["x"]
    units = gaussian(x) if visible == "gaussian" else bernoulli(x, binarize)
    bias = units.matching(units.standard(x).mean(0), len(x))
    return Run(
        system=DiscriminativeRBM(units, hidden, data.labels(), bias, generative, k, chains if persistent else 0),
        train=Batches(data.train, batch, seed=seed),
        valid=in_order(data.valid),
        test=in_order(data.test),
        optimizer=partial(torch.optim.Adam, lr=lr, weight_decay=decay, fused=True),
        schedules={"lr": one_cycle(lr)},
        epochs=epochs,
    )


@recipe(
    paper=LAROCHELLE + " (HDRBM, 1500 hidden units)",
    figure="error",
    published=0.0128,
)
def hdrbm(
    data: Data,
    seed: int = 0,
    hidden: int = 1500,
    generative: float = 0.01,
    lr: float = 0.005,
    epochs: int = 16,
) -> Run:
    """Train the machine of `drbm` with the generative term beside the discriminative one, by CD-1.

    Args:
        data: labelled, values in 0..1.
        seed: of the initial weights, order of the examples and all drawing.
        hidden: hidden units.
        generative: weight of -log p(x, y) beside -log p(y | x).
        lr: largest learning rate.
        epochs: passes over the training data.
    """
    return drbm(data, seed=seed, hidden=hidden, generative=generative, lr=lr, epochs=epochs)
