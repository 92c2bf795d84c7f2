"""Experiments with few labels."""

from functools import partial

import torch
from torch import Tensor

from lamina.core import Batch, Run
from lamina.data.batches import Batches, Beside, in_order
from lamina.data.dataset import Data
from lamina.data.examples import Examples, Mapped, subset, whole
from lamina.optim.schedules import linear_to_zero
from lamina.recipes.registry import recipe
from lamina.systems.semisupervised.ladder import Ladder


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
        labels: training examples whose class is used.
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
    if labels < classes:
        raise ValueError(f"{labels} labels cannot cover {classes} classes; give at least one of each")
    if len(costs) != len(hidden) + 2:
        raise ValueError(f"{len(hidden)} hidden layers need {len(hidden) + 2} costs, got {len(costs)}")
    widths = (int(torch.Size(data.shape).numel()), *hidden, classes)
    labelled = subset(data.train, balanced(whole(data.train)["y"], labels, seed))
    return Run(
        system=Ladder(widths, costs, noise),
        train=Beside(
            full_batches(Mapped(data.train, without_label), batch, seed),
            full_batches(labelled, batch, seed),
        ),
        valid=in_order(data.valid),
        test=in_order(data.test),
        optimizer=partial(torch.optim.Adam, lr=lr, fused=True),
        schedules={"lr": linear_to_zero(lr, begin=2 / 3)},
        epochs=epochs,
        keep="last",
    )


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
