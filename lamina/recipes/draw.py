"""DRAW: pictures drawn in several glimpses, through a window or as a whole."""

from functools import partial
from typing import Literal

import torch
from torch import Tensor

from lamina.core import Run
from lamina.data.batches import Batches, in_order
from lamina.data.dataset import Data
from lamina.modules.glimpse import Attention, Whole
from lamina.optim.schedules import linear_to_zero
from lamina.recipes.inputs import bernoulli, everything, gaussian, rows
from lamina.recipes.registry import recipe
from lamina.recipes.variational import bounds
from lamina.systems.autoencoder.draw import DRAW
from lamina.systems.energy.units import Bernoulli, Gaussian

GREGOR = "Gregor et al. (2015), DRAW: a recurrent neural network for image generation, table 1"
DRAWS = 20  # of all z for each test example


@recipe(
    paper=f"{GREGOR} (DRAW); the figure there is on bits drawn once for all",
    figure="negative_elbo",
    unit="nats",
    published=80.97,
    measure=partial(bounds, draws=DRAWS),
    quick={"epochs": 15},
)
def draw(
    data: Data,
    seed: int = 0,
    reading: int = 7,
    writing: int = 7,
    glimpses: int = 10,
    hidden: int = 256,
    latent: int = 100,
    visible: Literal["bernoulli", "gaussian"] = "bernoulli",
    binarize: bool = True,
    lr: float = 2e-3,
    clip: float = 5.0,
    batch: int = 128,
    epochs: int = 50,
) -> Run:
    """Train DRAW with attention on images.

    Differs from the paper: 10 glimpses of 7 × 7 filters instead of 64 that read 2 × 2 and write 5 × 5, and a learning
    rate that falls linearly to zero. Windows start as tiles of the whole image.

    Args:
        data: images.
        seed: of the initial weights, order of the examples and draws.
        reading: filters along each side of the window that reads.
        writing: filters along each side of the window that writes.
        glimpses: steps of the recurrent networks, T.
        hidden: units of each LSTM.
        latent: latent variables of a glimpse.
        visible: binary units for values in 0..1, or Gaussian ones for any; data for the latter is standardized.
        binarize: draw each grey value as a fresh bit in every update; otherwise feed grey values to binary units.
        lr: first learning rate of Adam, falling linearly to zero.
        clip: largest norm of the gradient.
        batch: examples in an update.
        epochs: passes over the training data.
    """
    x = rows(data)
    view = Attention(tuple(x.shape[1:]), hidden, reading, writing)
    units = gaussian(x) if visible == "gaussian" else bernoulli(x, binarize)
    return trained(data, DRAW(view, units, start(units, x), hidden, latent, glimpses), seed, lr, clip, batch, epochs)


@recipe(
    paper=f"{GREGOR} (DRAW without attention); the figure there is on bits drawn once for all",
    figure="negative_elbo",
    unit="nats",
    published=87.40,
    measure=partial(bounds, draws=DRAWS),
    quick={"epochs": 13},
)
def draw_no_attention(
    data: Data,
    seed: int = 0,
    glimpses: int = 10,
    hidden: int = 256,
    latent: int = 100,
    visible: Literal["bernoulli", "gaussian"] = "bernoulli",
    binarize: bool = True,
    lr: float = 2e-3,
    clip: float = 5.0,
    batch: int = 128,
    epochs: int = 50,
) -> Run:
    """Train DRAW without attention, on images or rows.

    Differs from the paper: 10 glimpses instead of 64, and a learning rate that falls linearly to zero.

    Args:
        data: values in 0..1, or any for Gaussian units.
        seed: of the initial weights, order of the examples and draws.
        glimpses: steps of the recurrent networks, T.
        hidden: units of each LSTM.
        latent: latent variables of a glimpse.
        visible: binary units for values in 0..1, or Gaussian ones for any; data for the latter is standardized.
        binarize: draw each grey value as a fresh bit in every update; otherwise feed grey values to binary units.
        lr: first learning rate of Adam, falling linearly to zero.
        clip: largest norm of the gradient.
        batch: examples in an update.
        epochs: passes over the training data.
    """
    x = rows(data)
    units = gaussian(x) if visible == "gaussian" else bernoulli(x, binarize)
    view = Whole(x[0].numel(), hidden)
    return trained(data, DRAW(view, units, start(units, x), hidden, latent, glimpses), seed, lr, clip, batch, epochs)


def start(units: Bernoulli | Gaussian, x: Tensor) -> Tensor:
    """Return the canvas that matches the data's means."""
    return units.matching(units.standard(x).mean(0), len(x))


def trained(data: Data, system: DRAW, seed: int, lr: float, clip: float, batch: int, epochs: int) -> Run:
    """Return the run of a system, on examples with and without a label."""
    return Run(
        system=system,
        train=Batches(everything(data), batch, seed=seed),
        valid=in_order(data.valid),
        test=in_order(data.test),
        optimizer=partial(torch.optim.Adam, lr=lr, fused=True),
        schedules={"lr": linear_to_zero(lr)},
        clip=clip,
        epochs=epochs,
        seed=seed,
    )
