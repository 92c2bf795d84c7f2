"""Experiments with convolutional generative networks."""

import torch
from torch.optim import Adam

from lamina.core import Precision, Run
from lamina.data.batches import in_order
from lamina.data.dataset import Data
from lamina.modules.dcgan import Discriminator, Generator
from lamina.optim.schedules import linear_to_zero
from lamina.recipes.generated import measure_generator
from lamina.recipes.generative import marginals
from lamina.recipes.inputs import everything
from lamina.recipes.registry import recipe
from lamina.recipes.semisupervised import full_batches
from lamina.systems.generative.gan import GAN, ConditionalGAN, Goal

RADFORD = "Radford et al. (2016), Unsupervised representation learning with DCGANs, table 3"


@recipe(paper=RADFORD, figure="classifier_accuracy", measure=measure_generator, quick={"epochs": 10})
def dcgan(
    data: Data,
    seed: int = 0,
    conditional: bool = False,
    goal: Goal = "non-saturating",
    noise: int = 100,
    width: int = 32,
    hidden: int = 256,
    batch: int = 64,
    generator_lr: float = 1e-3,
    discriminator_lr: float = 5e-4,
    average: float = 0.999,
    epochs: int = 50,
    features: str = "",
    precision: Precision = "fp32",
) -> Run:
    """Train a convolutional generator against a convolutional discriminator, on images of any size.

    Differs from the paper: its settings (width=64 and hidden=1024 for digits, width=128 and hidden=0 for photographs of
    64×64; both rates 2e-4, batches of 128, up to 200 epochs) take a day on a CPU. To end within minutes, the networks
    are narrower, the rates higher, half of the run at full rates and half going down to zero, and an average of the
    weights is kept. Images without a label are used as well.

    Args:
        data: images with values in 0..1; their sides are filled up to whole multiples of 4.
        seed: of the weights and of every random number in training.
        conditional: show both players the class, so that examples of a wanted class can be drawn.
        goal: what the generator minimizes.
        noise: numbers of noise an example.
        width: maps at half the image's side; they double wherever the side halves.
        hidden: units of a full hidden layer of each player; 0 for none.
        batch: examples of a batch.
        generator_lr: learning rate of the generator in the first half.
        discriminator_lr: learning rate of the discriminator in the first half.
        average: decay per update of the moving average of the weights that is kept, which is over a fifth of the run at
            most; 0 keeps the last weights.
        epochs: passes over the data.
        features: folder of a run in whose features the Fréchet distance is measured; without one a LeNet-5 is trained.
        precision: number format of the forward pass.

    Raises:
        ValueError: no images, values outside 0..1, no classes to condition on, or batches of one.
    """
    if batch < 2:
        raise ValueError(f"batch normalization needs batches of at least 2 images, got batch={batch}")
    shape, classes = data.shape, data.labels() if conditional else 0
    generator = Generator(shape, noise, width, hidden, classes)
    discriminator = Discriminator(shape, width, hidden, classes)
    assert generator.last.bias is not None
    with torch.no_grad():
        level = marginals(data).sigmoid().reshape(shape).mean((1, 2))
        generator.last.bias.copy_(level.logit().repeat_interleave(4))  # one for each pixel of a block of 2×2
    train = full_batches(data.train if data.unlabelled is None or conditional else everything(data), batch, seed)
    return Run(
        system=ConditionalGAN(generator, discriminator, classes, noise, goal)
        if conditional
        else GAN(generator, discriminator, noise, goal),
        train=train,
        valid=in_order(data.valid),
        test=in_order(data.test),
        optimizer=lambda parameters: Adam(parameters, betas=(0.5, 0.999), fused=True),
        schedules={
            "generator.lr": linear_to_zero(generator_lr, begin=0.5),
            "discriminator.lr": linear_to_zero(discriminator_lr, begin=0.5),
        },
        epochs=epochs,
        average=max(0.0, min(average, 1 - 5 / max(1, len(train) * epochs))) or None,
        keep="last",  # the rates end at zero, and a distance of pixels tells no sharp image from a fair one
        precision=precision,
    )


@recipe(paper=RADFORD, figure="nearest_error", published=0.0298, measure=measure_generator, quick={"epochs": 10})
def dcgan_conditional(
    data: Data,
    seed: int = 0,
    noise: int = 100,
    width: int = 32,
    hidden: int = 256,
    batch: int = 64,
    epochs: int = 50,
    features: str = "",
) -> Run:
    """Train the networks of `dcgan` with the class shown to both, so that examples of a wanted class can be drawn.

    Args:
        data: labelled images with values in 0..1.
        seed: of the weights and of every random number in training.
        noise: numbers of noise an example.
        width: maps at half the image's side; they double wherever the side halves.
        hidden: units of a full hidden layer of each player; 0 for none.
        batch: examples of a batch.
        epochs: passes over the data.
        features: folder of a run in whose features the Fréchet distance is measured; without one a LeNet-5 is trained.

    Raises:
        ValueError: no images, values outside 0..1, or no labels.
    """
    sizes = {"noise": noise, "width": width, "hidden": hidden}
    return dcgan(data, seed=seed, conditional=True, batch=batch, epochs=epochs, features=features, **sizes)
