"""Experiments with generative networks."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Adam

from lamina.core import Precision, Run
from lamina.data.batches import Batches, in_order
from lamina.data.dataset import Data
from lamina.modules.maxout import Maxout
from lamina.optim.schedules import linear_to_zero
from lamina.recipes.generated import measure_generator
from lamina.recipes.registry import recipe
from lamina.systems.generative.gan import GAN, ConditionalGAN, Goal

SEEN = 10_000  # examples whose mean the last layer begins with


class Joined(nn.Module):
    """A network that reads its inputs laid side by side as one vector, such as noise and a class.

    Args:
        layers: what reads the vector, one after the other.
    """

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, *inputs: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        outputs: Tensor = self.layers(torch.cat([x.flatten(1) for x in inputs], 1))
        return outputs


@recipe(
    paper="Goodfellow et al. (2014), Generative adversarial nets, table 1",
    figure="parzen",
    unit="nats",
    published=225.0,
    measure=measure_generator,
    quick={"epochs": 10},
)
def gan(
    data: Data,
    seed: int = 0,
    conditional: bool = False,
    goal: Goal = "non-saturating",
    noise: int = 100,
    hidden: int = 400,
    units: int = 100,
    pieces: int = 5,
    batch: int = 100,
    generator_lr: float = 1e-3,
    discriminator_lr: float = 2e-4,
    average: float = 0.999,
    epochs: int = 60,
    precision: Precision = "fp32",
) -> Run:
    """Train a ReLU generator against a maxout discriminator with dropout, on images or vectors.

    Differs from the paper: the authors' settings (hidden=1200, units=240, SGD at 0.1 with momentum rising from 0.5 to
    0.7 over 250 epochs, weights within ±0.05 and ±0.005) take hours on a CPU. To end within minutes, the networks are
    smaller, the optimizer is Adam with a rate for each player, half of the run at full rates and half going down to
    zero; the generator's weights are drawn after He et al. (2015), and an average of the weights is kept.

    Args:
        data: images or vectors with values in 0..1.
        seed: of the weights and of every random number in training.
        conditional: give both players the class, so that examples of a wanted class can be drawn.
        goal: what the generator minimizes.
        noise: numbers of noise an example.
        hidden: units of each of the generator's two hidden layers.
        units: maxout units of each of the discriminator's two hidden layers.
        pieces: linear functions a maxout unit.
        batch: examples of a batch.
        generator_lr: learning rate of the generator in the first half.
        discriminator_lr: learning rate of the discriminator in the first half.
        average: decay per update of the moving average of the weights that is kept; 0 keeps the last weights.
        epochs: passes over the data.
        precision: number format of the forward pass.

    Raises:
        ValueError: values outside 0..1, or no classes to condition on.
    """
    shape, classes = data.shape, data.labels() if conditional else 0
    features = int(torch.Size(shape).numel())
    generator = Joined(
        *(nn.Linear(noise + classes, hidden), nn.ReLU()),
        *(nn.Linear(hidden, hidden), nn.ReLU()),
        *(nn.Linear(hidden, features), nn.Sigmoid(), nn.Unflatten(1, shape)),
    )
    discriminator = Joined(
        *(nn.Dropout(0.2), Maxout(features + classes, units, pieces)),
        *(nn.Dropout(0.5), Maxout(units, units, pieces)),
        *(nn.Dropout(0.5), nn.Linear(units, 1)),
    )
    for layer in linear_layers(generator):
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    for layer in linear_layers(discriminator):
        nn.init.uniform_(layer.weight, -0.005, 0.005)
        nn.init.zeros_(layer.bias)
    with torch.no_grad():
        linear_layers(generator)[-1].bias.copy_(marginals(data))
    return Run(
        system=ConditionalGAN(generator, discriminator, classes, noise, goal)
        if conditional
        else GAN(generator, discriminator, noise, goal),
        train=Batches(data.train, batch, seed=seed),
        valid=in_order(data.valid),
        test=in_order(data.test),
        optimizer=lambda parameters: Adam(parameters, betas=(0.5, 0.999), fused=True),
        schedules={
            "generator.lr": linear_to_zero(generator_lr, begin=0.5),
            "discriminator.lr": linear_to_zero(discriminator_lr, begin=0.5),
        },
        epochs=epochs,
        average=average or None,
        precision=precision,
    )


@recipe(
    paper="Radford et al. (2016), Unsupervised representation learning with DCGANs, table 3; Mirza & Osindero (2014)",
    figure="nearest_error",
    published=0.0628,
    measure=measure_generator,
    quick={"epochs": 10},
)
def gan_conditional(
    data: Data, seed: int = 0, noise: int = 100, hidden: int = 400, batch: int = 100, epochs: int = 60
) -> Run:
    """Train the networks of `gan` with the class shown to both, so that examples of a wanted class can be drawn.

    Args:
        data: labelled images or vectors with values in 0..1.
        seed: of the weights and of every random number in training.
        noise: numbers of noise an example.
        hidden: units of each of the generator's two hidden layers.
        batch: examples of a batch.
        epochs: passes over the data.

    Raises:
        ValueError: values outside 0..1, or no labels.
    """
    return gan(data, seed=seed, conditional=True, noise=noise, hidden=hidden, batch=batch, epochs=epochs)


def linear_layers(network: nn.Module) -> list[nn.Linear]:
    """Return the linear layers of a network, those within maxout units too, from input to output."""
    return [layer for layer in network.modules() if isinstance(layer, nn.Linear)]


def marginals(data: Data) -> Float[Tensor, " features"]:
    """Return the logits of the mean of each number of an example.

    Raises:
        ValueError: values outside 0..1, which a sigmoid cannot draw.
    """
    x = data.train.fetch(torch.arange(min(len(data.train), SEEN)))["x"].flatten(1)
    if x.min() < 0 or x.max() > 1:
        raise ValueError(f"x must lie in 0..1, found {x.min():.3g}..{x.max():.3g}: rescale it")
    return x.mean(0).logit(1e-7)  # the bound of pylearn2's init_sigmoid_bias_from_array
