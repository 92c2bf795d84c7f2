"""Experiments with stacked what-where auto-encoders."""

from functools import partial

import torch

from lamina.core import Run
from lamina.data.batches import Beside, in_order
from lamina.data.dataset import Data
from lamina.data.examples import Mapped, subset
from lamina.modules.standardize import Standardize
from lamina.optim.schedules import linear_to_zero
from lamina.recipes.inputs import everything, rows
from lamina.recipes.registry import recipe
from lamina.recipes.semisupervised import chosen, full_batches, without_label
from lamina.systems.semisupervised.swwae import PAPER, SWWAE


@recipe(
    paper="Zhao et al. (2015), Stacked what-where auto-encoders (100 labels, with dropout)",
    figure="error",
    published=0.0871,
    quick={"network": "(16)5c-2p-(32)3c-(32)3c-2p-(64)3c-2p", "epochs": 12},
)
def swwae(
    data: Data,
    seed: int = 0,
    labels: int = 100,
    network: str = PAPER,
    reconstruction: float = 1.0,
    middle: float = 0.1,
    dropout: float = 0.3,
    noise: float = 0.5,
    beta: float | None = None,
    epochs: int = 20,
    batch: int = 50,
    few: int = 25,
    lr: float = 2e-3,
) -> Run:
    """Train a classifier on a few labelled images, with a decoder that must restore all images from pooled maps.

    Every update takes `batch` unlabelled examples and `few` labelled ones, or all if there are fewer. The last epoch is
    kept: choosing one by validation labels would use more labels than `labels`.

    Args:
        data: classified images.
        seed: of the labelled examples, the weights, the order of the examples, the noise and the dropout.
        labels: training examples whose class is used; 0 for all that have one.
        network: the paper's notation for convolutions and poolings: "(64)5c-2p" is 64 maps of 5x5 filters and then
            2x2 pooling, which comes last.
        reconstruction: weight of the image's squared error.
        middle: weight of the squared errors between stages.
        dropout: share of the numbers of every pooled map that is left out in training.
        noise: standard deviation of the noise on the standardized image in training, which the decoder must take away.
        beta: sharpness of soft pooling; None takes the maximum.
        epochs: passes over the unlabelled examples.
        batch: unlabelled examples in an update.
        few: labelled examples in an update.
        lr: first learning rate of Adam, falling linearly to zero.

    Raises:
        ValueError: the data has no classes or no images, there are fewer labels than classes, or a network, weight or
            share makes no sense.
    """
    classes = data.labels()
    return Run(
        system=SWWAE(
            Standardize.fitted(rows(data)), data.shape, classes, network, reconstruction, middle, dropout, noise, beta
        ),
        train=Beside(
            full_batches(Mapped(everything(data), without_label), batch, seed),
            full_batches(subset(data.train, chosen(data, labels, seed)), few, seed),
        ),
        valid=in_order(data.valid),
        test=in_order(data.test),
        optimizer=partial(torch.optim.Adam, lr=lr, fused=True),
        schedules={"lr": linear_to_zero(lr)},
        epochs=epochs,
        keep="last",
    )
