"""Experiments with Laplacian pyramids of adversarial networks."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Adam

from lamina.analysis.pyramid import halves, pyramid_log_likelihood
from lamina.core import Precision, Run
from lamina.data.batches import Batches, in_order
from lamina.data.dataset import Data
from lamina.modules.pyramid import ImageDiscriminator, Pyramid, ResidualGenerator, halved
from lamina.optim.schedules import linear_to_zero
from lamina.recipes.generated import measure_generator
from lamina.recipes.generative import Joined, linear_layers, marginals
from lamina.recipes.inputs import everything, gather
from lamina.recipes.registry import recipe
from lamina.systems.generative.gan import Goal
from lamina.systems.generative.lapgan import LAPGAN, ConditionalLAPGAN, Level, Levels
from lamina.train.evaluate import evaluating, seeded

COARSE_DROPOUT = 0.2  # of the hidden units of the coarsest discriminator
WIDTH_IMAGES, IMAGES = 200, 1000  # validation and test images of the Parzen estimate level by level


def measure_pyramid(run: Run) -> dict[str, float]:
    """Return the figures of any generator, and where it can be had the Parzen log-likelihood level by level.

    Raises:
        ValueError: the run has no validation or no test examples.
    """
    figures, system = measure_generator(run), run.system
    assert run.valid is not None
    assert run.test is not None
    if isinstance(system, LAPGAN) and halves(system.levels):
        valid, test = gather(run.valid, WIDTH_IMAGES, run.device)["x"], gather(run.test, IMAGES, run.device)["x"]
        with evaluating(system), seeded(run.device, run.seed):
            figures["parzen_pyramid"] = pyramid_log_likelihood(system.levels, valid, test)
    return figures


@recipe(
    paper="Denton, Chintala, Szlam & Fergus (2015), Deep generative image models using a Laplacian pyramid of"
    " adversarial networks, sections 2.2 and 3.3",
    figure="parzen",
    unit="nats",
    published=None,
    measure=measure_pyramid,
    quick={"epochs": 12},
)
def lapgan(
    data: Data,
    seed: int = 0,
    conditional: bool = False,
    goal: Goal = "non-saturating",
    levels: int = 3,
    noise: int = 100,
    hidden: int = 400,
    channels: int = 32,
    kernel: int = 3,
    stride: int = 2,
    paired: bool = True,
    dropout: float = 0.5,
    batch: int = 100,
    generator_lr: float = 1e-3,
    discriminator_lr: float = 5e-4,
    coarse_generator_lr: float = 3e-4,
    coarse_discriminator_lr: float = 1e-3,
    average: float = 0.999,
    epochs: int = 30,
    precision: Precision = "fp32",
) -> Run:
    """Train two networks at each level of a pyramid of images.

    Differs from the paper: its players (channels=64, kernel=7, stride=1, paired=False, SGD) take hours on a CPU. Here
    the convolutional ones are narrower and work at half the size in between. The optimizer is Adam, half of the run at
    full rates and half going down to zero, and an average of the weights is kept.

    Args:
        data: images with values in 0..1, of any size.
        seed: of the weights and of every random number in training.
        conditional: give all players the class, so that images of a wanted class can be drawn.
        goal: what the generators minimize.
        levels: of the pyramid; each has half the size of that before it.
        noise: numbers of noise an image at the coarsest level; the others have one a pixel.
        hidden: units of each of the two hidden layers of both players at the coarsest level.
        channels: of each hidden layer of the convolutional players.
        kernel: height and width of the convolutional generators' filters, odd.
        stride: 2 lets the convolutional players work at half the size in between; the paper's have 1.
        paired: discriminators see the low-pass image beside the image; the paper's see the image alone.
        dropout: share of the inputs of the convolutional discriminators' last layers that is left out in training.
        batch: examples of a batch.
        generator_lr: learning rate of the convolutional generators in the first half.
        discriminator_lr: learning rate of the convolutional discriminators in the first half.
        coarse_generator_lr: learning rate of the coarsest level's generator in the first half.
        coarse_discriminator_lr: learning rate of the coarsest level's discriminator in the first half.
        average: decay per update of the moving average of the weights that is kept; 0 keeps the last weights.
        epochs: passes over the data.
        precision: number format of the forward pass.

    Raises:
        ValueError: examples that are no images, values outside 0..1, or no classes to condition on.
    """
    if len(data.shape) != 3:
        raise ValueError(f"a pyramid needs images, and {data.name} has rows of numbers: use gan for them")
    if kernel % 2 == 0:
        raise ValueError(f"filters need an odd kernel to keep their place, got {kernel}")
    depth, *size = data.shape
    classes = data.labels() if conditional else 0
    pyramid = Pyramid(halved((size[0], size[1]), levels))
    means = pyramid.images(marginals(data).sigmoid().reshape(1, *data.shape))[-1]
    players = []
    for height, width in pyramid.sizes[:-1]:
        shape = (depth, height, width)
        generator = ResidualGenerator(shape, classes, channels, kernel, stride)
        discriminator = ImageDiscriminator(shape, classes, channels, 5, stride, paired, dropout)
        players.append(Level(generator, discriminator, height * width))
    players.append(coarsest(means, classes, noise, hidden))
    made = Levels(pyramid, players, goal)
    rates = {f"generator_{k}": generator_lr for k in range(levels)}
    rates |= {f"discriminator_{k}": discriminator_lr for k in range(levels)}
    rates |= {f"generator_{levels - 1}": coarse_generator_lr, f"discriminator_{levels - 1}": coarse_discriminator_lr}
    train = data.train if conditional or data.unlabelled is None else everything(data)
    return Run(
        system=ConditionalLAPGAN(made, classes) if conditional else LAPGAN(made),
        train=Batches(train, batch, seed=seed),
        valid=in_order(data.valid),
        test=in_order(data.test),
        optimizer=partial(Adam, betas=(0.5, 0.999), fused=True),
        schedules={f"{name}.lr": linear_to_zero(lr, begin=0.5) for name, lr in rates.items()},
        epochs=epochs,
        average=average or None,
        precision=precision,
    )


@recipe(
    paper="Denton, Chintala, Szlam & Fergus (2015), Deep generative image models using a Laplacian pyramid of"
    " adversarial networks, section 2.3",
    figure="nearest_error",
    published=None,
    measure=measure_pyramid,
    quick={"epochs": 12},
)
def lapgan_conditional(
    data: Data,
    seed: int = 0,
    levels: int = 3,
    hidden: int = 400,
    channels: int = 32,
    batch: int = 100,
    epochs: int = 30,
) -> Run:
    """Train the networks of `lapgan` with the class shown to all, so that images of a wanted class can be drawn.

    Args:
        data: labelled images with values in 0..1, of any size.
        seed: of the weights and of every random number in training.
        levels: of the pyramid; each has half the size of that before it.
        hidden: units of each of the two hidden layers of both players at the coarsest level.
        channels: of each hidden layer of the convolutional players.
        batch: examples of a batch.
        epochs: passes over the data.

    Raises:
        ValueError: examples that are no images, values outside 0..1, or no labels.
    """
    sizes = {"levels": levels, "hidden": hidden, "channels": channels}
    return lapgan(data, seed=seed, conditional=True, batch=batch, epochs=epochs, **sizes)


def coarsest(means: Tensor, classes: int, noise: int, hidden: int) -> Level:
    """Return the fully connected players of the coarsest level, the generator's output at the mean image."""
    pixels = means.numel()
    generator = Joined(
        *(nn.Linear(noise + classes, hidden), nn.ReLU()),
        *(nn.Linear(hidden, hidden), nn.ReLU()),
        *(nn.Linear(hidden, pixels), nn.Sigmoid(), nn.Unflatten(1, means.shape[1:])),
    )
    discriminator = Joined(
        *(nn.Linear(pixels + classes, hidden), nn.LeakyReLU(0.2), nn.Dropout(COARSE_DROPOUT)),
        *(nn.Linear(hidden, hidden), nn.LeakyReLU(0.2), nn.Dropout(COARSE_DROPOUT)),
        nn.Linear(hidden, 1),
    )
    for layer in linear_layers(generator) + linear_layers(discriminator):
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    with torch.no_grad():
        linear_layers(generator)[-1].bias.copy_(means.flatten().logit(1e-7))
    return Level(generator, discriminator, noise)
