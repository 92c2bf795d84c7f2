"""An auto-encoder of one hidden layer by itself: plain, or with noise, penalties, and steps of its chain."""

from functools import partial
from typing import Literal

from torch.optim import Adam

from lamina.core import Run
from lamina.data.batches import Batches, in_order
from lamina.data.dataset import Data
from lamina.modules.corruption import GaussianNoise, Masking, SaltAndPepper
from lamina.optim.schedules import linear_to_zero
from lamina.recipes.inputs import bernoulli, gaussian, rows
from lamina.recipes.registry import recipe
from lamina.systems.autoencoder.autoencoder import Activation, Autoencoder

Noise = Literal["masking", "gaussian", "salt-and-pepper"]
NOISES = {"masking": Masking, "gaussian": GaussianNoise, "salt-and-pepper": SaltAndPepper}


@recipe(
    paper="Vincent et al. (2010), Stacked denoising autoencoders, sections 2 and 3; Rifai et al. (2011), Contractive"
    " auto-encoders; Goroshin & LeCun (2013), Saturating auto-encoders",
    figure="reconstruction",
    unit="nats",
    quick={"epochs": 5},
)
def autoencoder(
    data: Data,
    seed: int = 0,
    hidden: int = 500,
    activation: Activation = "sigmoid",
    tied: bool = True,
    noise: Noise = "masking",
    level: float = 0.0,
    steps: int = 1,
    contraction: float = 0.0,
    sparsity: float = 0.0,
    saturation: float = 0.0,
    visible: Literal["bernoulli", "gaussian"] = "bernoulli",
    lr: float = 1e-3,
    epochs: int = 20,
    batch: int = 100,
) -> Run:
    """Train an auto-encoder of one hidden layer: plain, unless there is noise or a penalty.

    Args:
        data: values in 0..1, or any for Gaussian units.
        seed: of the weights, the order of the examples and the noise.
        hidden: units of the code.
        activation: of the code.
        tied: decode by the transpose of the encoder's weights.
        noise: what the auto-encoder repairs.
        level: share of the numbers that noise destroys, or its standard deviation; 0 for none.
        steps: steps of the chain from which an update restores the input; more than 1 is walkback.
        contraction: weight of the squared norm of the code's Jacobian.
        sparsity: weight of the penalty that pulls hidden units to a mean activity of 0.05; they must be sigmoid ones.
        saturation: weight of the distance of hidden units from where they are flat: saturated-linear, relu or shrink.
        visible: binary units for values in 0..1, or Gaussian ones for any; data for the latter is standardized.
        lr: learning rate of Adam, falling linearly to zero.
        epochs: passes over the data.
        batch: examples in an update.

    Raises:
        ValueError: values outside 0..1 for binary units, or a size or weight that makes no sense.
    """
    x = rows(data)
    units = gaussian(x) if visible == "gaussian" else bernoulli(x, binarize=False)
    bias = units.matching(units.standard(x).mean(0), len(x))
    return Run(
        system=Autoencoder(
            *(units, hidden, NOISES[noise](level), bias, tied, activation),
            contraction=contraction,
            sparsity=sparsity,
            walkback=steps,
            saturation=saturation,
        ),
        train=Batches(data.train, batch, seed=seed),
        valid=in_order(data.valid),
        test=in_order(data.test),
        optimizer=partial(Adam, lr=lr, fused=True),
        schedules={"lr": linear_to_zero(lr)},
        epochs=epochs,
    )
