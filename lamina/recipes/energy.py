"""Energy-based models: restricted Boltzmann machines."""

from functools import partial
from typing import Literal

import torch

from lamina.core import Run, select
from lamina.data.batches import Batches, in_order
from lamina.data.dataset import Data
from lamina.data.examples import whole
from lamina.optim.schedules import linear_to_zero
from lamina.optim.wrappers import regularized
from lamina.recipes.harmoniums import likelihood
from lamina.recipes.inputs import bernoulli, gaussian
from lamina.recipes.registry import recipe
from lamina.systems.energy.rbm import RBM


@recipe(
    paper="Tieleman (2008), Training RBMs using approximations to the likelihood gradient; size, AIS and figure of"
    " Salakhutdinov & Murray (2008), On the quantitative analysis of deep belief networks, section 5.1 (CD-25)",
    figure="log_likelihood",
    unit="nats",
    published=-86.34,
    measure=likelihood,
    quick={"hidden": 20, "epochs": 5},
)
def rbm(
    data: Data,
    seed: int = 0,
    hidden: int = 500,
    k: int = 1,
    persistent: bool = True,
    chains: int = 100,
    lr: float = 0.1,
    batch: int = 100,
    epochs: int = 100,
    momentum: float = 0.0,
    decay: float = 0.0,
    sparsity: float = 0.0,
    target: float = 0.1,
    visible: Literal["bernoulli", "gaussian"] = "bernoulli",
    binarize: bool = True,
) -> Run:
    """Train a restricted Boltzmann machine by (persistent) contrastive divergence, with lr falling linearly to zero.

    The visible bias starts at the log-odds of the data's means (Hinton 2010, section 8.1). No validation data chooses
    the epoch, as the likelihood is out of reach while training; the last weights are kept.

    Args:
        data: values in 0..1, or any for Gaussian units.
        seed: of the initial weights, chains, order of the examples and Gibbs sampling.
        hidden: hidden units.
        k: Gibbs steps an update.
        persistent: let the chains run on from update to update (PCD); otherwise start them at the batch (CD).
        chains: persistent chains.
        lr: first learning rate; Gaussian units want about 0.01.
        batch: examples in an update.
        epochs: passes over the training data.
        momentum: of the gradient.
        decay: weight of the L2 penalty on W.
        sparsity: weight of the penalty that pulls hidden units to the target activity.
        target: mean activity of a hidden unit where sparsity is above zero.
        visible: binary units for values in 0..1, or Gaussian ones for any; data for the latter is standardized.
        binarize: draw each grey value as a fresh bit in every update; otherwise feed grey values to binary units.
    """
    x = select(whole(data.train), ("x",))["x"]
    units = gaussian(x) if visible == "gaussian" else bernoulli(x, binarize)
    bias = units.matching(units.standard(x).mean(0), len(x))
    sgd = partial(torch.optim.SGD, lr=lr, momentum=momentum, fused=True)
    return Run(
        system=RBM(units, hidden, bias, k, chains if persistent else 0, sparsity, target),
        train=Batches(data.train, batch, seed=seed),
        test=in_order(data.test),
        optimizer=regularized(sgd, l2=decay) if decay else sgd,
        epochs=epochs,
        schedules={"lr": linear_to_zero(lr)},
        seed=seed,
    )


@recipe(
    paper="Salakhutdinov & Murray (2008), On the quantitative analysis of deep belief networks, section 5.1 (CD-25)",
    figure="log_likelihood",
    unit="nats",
    published=-86.34,
    measure=likelihood,
    quick={"hidden": 20, "epochs": 5},
)
def rbm_long(data: Data, seed: int = 0, hidden: int = 500, lr: float = 0.1, epochs: int = 300) -> Run:
    """Train the machine of `rbm` three times as long. The paper takes up to 25 steps from the data, we one persistent.

    Args:
        data: values in 0..1.
        seed: of the initial weights, chains, order of the examples and Gibbs sampling.
        hidden: hidden units.
        lr: first learning rate, falling linearly to zero.
        epochs: passes over the training data.
    """
    return rbm(data, seed=seed, hidden=hidden, lr=lr, epochs=epochs)
