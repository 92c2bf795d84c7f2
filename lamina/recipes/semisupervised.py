"""Experiments with few labels."""

from dataclasses import replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from lamina.core import Batch, Run
from lamina.data.batches import Batches, Beside, in_order
from lamina.data.dataset import Data
from lamina.data.examples import Examples, Mapped, subset, whole
from lamina.optim.schedules import linear_to_zero
from lamina.recipes.inputs import bernoulli, everything, gaussian, rows
from lamina.recipes.registry import recipe
from lamina.recipes.variational import vae
from lamina.systems.autoencoder.vae import VAE
from lamina.systems.energy.units import Bernoulli, Gaussian
from lamina.systems.semisupervised.ladder import Ladder
from lamina.systems.semisupervised.vae import SemiSupervisedVAE


@recipe(
    paper="Rasmus et al. (2015), Semi-supervised learning with ladder networks, table 1 (100 labels, full)",
    figure="error",
    published=0.0106,
    quick={"epochs": 20},
)
def ladder(
    data: Data,
    seed: int = 0,
    labels: int = 100,
    epochs: int = 150,
    batch: int = 100,
    lr: float = 0.002,
    noise: float = 0.3,
    hidden: tuple[int, ...] = (1000, 500, 250, 250, 250),
    costs: tuple[float, ...] = (1000.0, 10.0, 0.1, 0.1, 0.1, 0.1, 0.1),
) -> Run:
    """Train a ladder network on a few labelled examples, as many of each class, and on all others without labels.

    Every update takes `batch` unlabelled examples and as many labelled ones, or all if there are fewer. The learning
    rate is constant for two thirds of the run and then falls linearly to zero. The last epoch is kept: choosing one by
    validation labels would use more labels than `labels`.

    Args:
        data: classified images or vectors.
        seed: of the labelled examples, the weights, the order of the examples and the noise.
        labels: training examples whose class is used; 0 for all that have one.
        epochs: passes over the unlabelled examples.
        batch: unlabelled examples in an update.
        lr: learning rate of Adam at first.
        noise: standard deviation of the noise on every layer.
        hidden: units of the hidden layers.
        costs: weights of the denoising costs, from the input to the classes.

    Raises:
        ValueError: the data has no classes, there are fewer labels than classes, or not one cost a layer.
    """
    classes = data.labels()
    if len(costs) != len(hidden) + 2:
        raise ValueError(f"{len(hidden)} hidden layers need {len(hidden) + 2} costs, got {len(costs)}")
    widths = (int(torch.Size(data.shape).numel()), *hidden, classes)
    return Run(
        system=Ladder(widths, costs, noise),
        train=few_beside_all(data, labels, batch, seed),
        valid=in_order(data.valid),
        test=in_order(data.test),
        optimizer=partial(torch.optim.Adam, lr=lr, fused=True),
        schedules={"lr": linear_to_zero(lr, begin=2 / 3)},
        epochs=epochs,
        keep="last",
    )


KINGMA = "Kingma et al. (2014), Semi-supervised learning with deep generative models, table 1"


@recipe(
    paper=KINGMA + " (M1+M2, 100 labels)", figure="error", published=0.0333, quick={"pretraining": 50, "epochs": 50}
)
def m1_m2(
    data: Data,
    seed: int = 0,
    labels: int = 100,
    code: int = 30,
    code_hidden: tuple[int, ...] = (500, 500),
    visible: Literal["bernoulli", "gaussian"] = "bernoulli",
    pretraining: int = 100,
    hidden: tuple[int, ...] = (300,),
    latent: int = 10,
    share: float = 0.1,
    alpha: float = 0.5,
    epochs: int = 200,
    batch: int = 50,
    lr: float = 5e-3,
) -> Run:
    """Train a variational auto-encoder without labels (M1), and a semi-supervised one upon draws of its codes (M2).

    Every update takes `batch` unlabelled examples and as many labelled ones, or all if there are fewer. The last epoch
    is kept: choosing one by validation labels would use more labels than `labels`.

    Args:
        data: classified images or vectors; values in 0..1 for binary units.
        seed: of the labelled examples, the weights, the order of the examples and all draws.
        labels: training examples whose class is used; 0 for all that have one.
        code: numbers of a code of M1; the paper has 50, and leaves out those that carry nothing, about half.
        code_hidden: units of M1's hidden layers.
        visible: binary units for values in 0..1, or Gaussian ones for any; data for the latter is standardized.
        pretraining: passes over the data for M1.
        hidden: units of the hidden layers of M2's networks; the paper has 300 for 100 labels, otherwise 500.
        latent: numbers of the style; the paper has 50.
        share: weight of the labelled examples' bound, against that of the others; 0 takes their share of all examples,
            as the paper does.
        alpha: weight of the classifier's own loss; the paper has 0.1.
        epochs: passes over the unlabelled examples for M2.
        batch: unlabelled examples in an update of M2.
        lr: first learning rate of Adam for M2, falling linearly to zero.

    Raises:
        ValueError: the data has no classes, or there are fewer labels than classes.
    """
    first = vae(
        replace(data, train=everything(data)),
        seed=seed,
        hidden=code_hidden,
        latent=code,
        visible=visible,
        epochs=pretraining,
    )
    assert isinstance(first.system, VAE)
    units = Gaussian(torch.zeros(code), torch.ones(code))
    return replace(
        semisupervised(data, seed, labels, units, hidden, latent, share, alpha, epochs, batch, lr, first.system),
        before=lambda: [first],
    )


@recipe(paper=KINGMA + " (M2, 100 labels)", figure="error", published=0.1197, quick={"epochs": 5})
def m2(
    data: Data,
    seed: int = 0,
    labels: int = 100,
    hidden: tuple[int, ...] = (500,),
    latent: int = 50,
    visible: Literal["bernoulli", "gaussian"] = "bernoulli",
    share: float = 0.1,
    alpha: float = 0.5,
    epochs: int = 50,
    batch: int = 100,
    lr: float = 1e-3,
) -> Run:
    """Train the semi-supervised variational auto-encoder of `m1_m2` on the examples themselves.

    Args:
        data: classified images or vectors; values in 0..1 for binary units.
        seed: of the labelled examples, the weights, the order of the examples and all draws.
        labels: training examples whose class is used; 0 for all that have one.
        hidden: units of the hidden layers of every network.
        latent: numbers of the style.
        visible: binary units for values in 0..1, or Gaussian ones for any; data for the latter is standardized.
        share: weight of the labelled examples' bound, against that of the others; 0 takes their share of all examples,
            as the paper does.
        alpha: weight of the classifier's own loss; the paper has 0.1.
        epochs: passes over the unlabelled examples.
        batch: unlabelled examples in an update.
        lr: first learning rate of Adam, falling linearly to zero.

    Raises:
        ValueError: the data has no classes, or there are fewer labels than classes.
    """
    x = rows(data)
    units = gaussian(x) if visible == "gaussian" else bernoulli(x, binarize=True)
    return semisupervised(data, seed, labels, units, hidden, latent, share, alpha, epochs, batch, lr)


def semisupervised(
    data: Data,
    seed: int,
    labels: int,
    units: Bernoulli | Gaussian,
    hidden: tuple[int, ...],
    latent: int,
    share: float,
    alpha: float,
    epochs: int,
    batch: int,
    lr: float,
    codes: VAE | None = None,
) -> Run:
    """Return the run of a semi-supervised variational auto-encoder, upon the codes of another if there is one."""
    share = share or min(labels or len(data.train), len(data.train)) / len(everything(data))
    return Run(
        system=SemiSupervisedVAE(units, data.labels(), hidden, latent, share, alpha, codes),
        train=few_beside_all(data, labels, batch, seed),
        valid=in_order(data.valid),
        test=in_order(data.test),
        optimizer=partial(torch.optim.Adam, lr=lr, fused=True),
        schedules={"lr": linear_to_zero(lr)},
        epochs=epochs,
        keep="last",
    )


def few_beside_all(data: Data, labels: int, batch: int, seed: int) -> Beside:
    """Return batches of all examples without labels, and beside them of the `chosen` few with labels.

    Raises:
        ValueError: there are fewer labels than classes.
    """
    labelled = subset(data.train, chosen(data, labels, seed))
    return Beside(
        full_batches(Mapped(everything(data), without_label), batch, seed),
        full_batches(labelled, batch, seed),
    )


def chosen(data: Data, labels: int, seed: int) -> Tensor:
    """Return the indices of `labels` training examples, as many of each class as far as they last; of all if it is 0.

    Raises:
        ValueError: there are fewer labels than classes.
    """
    if labels and labels < data.labels():
        raise ValueError(f"{labels} labels cannot cover {data.labels()} classes; give at least one of each")
    return balanced(whole(data.train)["y"], labels or len(data.train), seed)


def balanced(y: Tensor, count: int, seed: int) -> Tensor:
    """Return the indices of `count` examples drawn at random, as many of each class as far as they last."""
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    order = order[y[order].argsort(stable=True)]  # class by class, at random within
    sizes = y.bincount()
    turn = torch.cat([torch.arange(int(size)) for size in sizes])  # an example's place within its class
    return order[turn.argsort(stable=True)[:count]].sort().values


def full_batches(examples: Examples, size: int, seed: int) -> Batches:
    """Return batches of one size, as statistics of small batches are poor; all examples at once if they are fewer."""
    return Batches(examples, min(size, len(examples)), tail=False, seed=seed)


def without_label(batch: Batch) -> Batch:
    """Rename what is learned from without a label."""
    return {"unlabelled": batch["x"]}
