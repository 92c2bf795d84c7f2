"""Generative adversarial networks: a generator that learns by fooling a discriminator.

With noise z, generated examples G(z), and D(x) = sigmoid(discriminator(x)) the probability that x is real, the game is

    min_G max_D V(D, G) = E[log D(x)] + E[log(1 − D(G(z)))]          (1)

For a fixed generator, D*(x) = p(x) / (p(x) + p_G(x)) (2) and V(D*, G) = −log 4 + 2 JSD(p, p_G) (theorem 1): a best
discriminator that cannot tell the two apart has V = −log 4. The discriminator minimizes −V/2, its cross-entropy in
nats an example. The generator maximizes log D(G(z)) ("non-saturating", section 3), or minimizes log(1 − D(G(z)))
("minimax", equation 1). Given the class y, both players see it.

Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville & Bengio (2014), Generative adversarial nets,
algorithm 1 with k = 1. Mirza & Osindero (2014), Conditional generative adversarial nets, equation 2.

Differs from the paper: the noise is uniform with mean 0 and variance 1, as in the authors' code. That code moves both
players at once over the same generated examples; here, as in algorithm 1, the discriminator moves first and the
generator answers with new ones.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from lamina.core import Objective, System, Terms

Goal = Literal["non-saturating", "minimax"]

GOALS: dict[Goal, Callable[[Tensor], Tensor]] = {
    "non-saturating": lambda fake: F.softplus(-fake),  # −log D(G(z))
    "minimax": lambda fake: -F.softplus(fake),  # log(1 − D(G(z)))
}
"""What the generator minimizes, given the discriminator's logits for generated examples."""

CHUNK = 1000  # examples that are generated at once, so that any number of them fits in memory


class GAN(System):
    """A generator and a discriminator that train each other.

    Which generator is best cannot be read from the game's value, which depends as much on the discriminator. The first
    metric is therefore the energy distance between held-out and generated examples, which is zero, up to sampling, only
    for a perfect generator. The value and the discriminator's accuracies follow it.

    Args:
        generator: noise (batch, noise) -> examples.
        discriminator: examples -> logits (batch, 1) of being real.
        noise: numbers of noise an example.
        goal: what the generator minimizes.
    """

    def __init__(
        self, generator: nn.Module, discriminator: nn.Module, noise: int = 100, goal: Goal = "non-saturating"
    ) -> None:
        super().__init__()
        self.generator, self.discriminator = generator, discriminator
        self.noise, self.goal = noise, goal

    @torch.no_grad()
    def sample(self, count: int) -> Float[Tensor, "{count} *shape"]:
        z = noise_like(next(self.generator.parameters()), count, self.noise)
        return torch.cat([self.generator(some) for some in torch.split(z, CHUNK)])

    def discrimination(self, x: Float[Tensor, "batch *shape"]) -> Terms:
        """Return −V/2 of equation (1), which the discriminator minimizes."""
        return cross_entropy(self.discriminator(x), self.discriminator(self.sample(len(x))))

    def generation(self, x: Float[Tensor, "batch *shape"]) -> Terms:
        """Return what the generator minimizes, on as many new examples as there are in `x`."""
        fake = self.generator(noise_like(x, len(x), self.noise))
        return {"generator": GOALS[self.goal](self.discriminator(fake)).mean()}

    def metrics(self, x: Float[Tensor, "batch *shape"]) -> Terms:
        fake = self.sample(len(x))
        return report(x, fake, self.discriminator(x), self.discriminator(fake))

    def objectives(self) -> tuple[Objective, ...]:
        return (
            Objective("discriminator", self.discrimination, self.discriminator),
            Objective("generator", self.generation, self.generator),
        )


class ConditionalGAN(System):
    """A GAN of labeled examples: both players are also given the class, as a one-hot code.

    Args:
        generator: noise (batch, noise), code (batch, classes) -> examples.
        discriminator: examples, code -> logits (batch, 1) of being real.
        classes: number of classes.
        noise: numbers of noise an example.
        goal: what the generator minimizes.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        classes: int,
        noise: int = 100,
        goal: Goal = "non-saturating",
    ) -> None:
        super().__init__()
        self.generator, self.discriminator, self.classes = generator, discriminator, classes
        self.noise, self.goal = noise, goal

    @torch.no_grad()
    def sample(self, count: int) -> Float[Tensor, "{count} *shape"]:
        """Return examples of the classes 0, 1, … in turn."""
        device = next(self.generator.parameters()).device
        return self.sample_of(torch.arange(count, device=device) % self.classes)

    @torch.no_grad()
    def sample_of(self, y: Int[Tensor, " batch"]) -> Float[Tensor, "batch *shape"]:
        """Return an example of each of the given classes."""
        return torch.cat([self.generated(self.code(some)) for some in torch.split(y, CHUNK)])

    def generated(self, code: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch *shape"]:
        examples: Tensor = self.generator(noise_like(code, len(code), self.noise), code)
        return examples

    def code(self, y: Int[Tensor, " batch"]) -> Float[Tensor, "batch classes"]:
        return F.one_hot(y, self.classes).to(next(self.generator.parameters()).dtype)

    def discrimination(self, x: Float[Tensor, "batch *shape"], y: Int[Tensor, " batch"]) -> Terms:
        """Return −V/2 of equation (1) given y, which the discriminator minimizes."""
        code = self.code(y)
        return cross_entropy(self.discriminator(x, code), self.discriminator(self.sample_of(y), code))

    def generation(self, y: Int[Tensor, " batch"]) -> Terms:
        """Return what the generator minimizes, on new examples of the classes of the batch."""
        code = self.code(y)
        return {"generator": GOALS[self.goal](self.discriminator(self.generated(code), code)).mean()}

    def metrics(self, x: Float[Tensor, "batch *shape"], y: Int[Tensor, " batch"]) -> Terms:
        fake, code = self.sample_of(y), self.code(y)
        return report(x, fake, self.discriminator(x, code), self.discriminator(fake, code))

    def objectives(self) -> tuple[Objective, ...]:
        return (
            Objective("discriminator", self.discrimination, self.discriminator),
            Objective("generator", self.generation, self.generator),
        )


def noise_like(like: Tensor, count: int, size: int) -> Float[Tensor, "{count} {size}"]:
    """Return noise of mean 0 and variance 1, uniform, on the device and in the format of a tensor."""
    return like.new_empty(count, size).uniform_(-math.sqrt(3), math.sqrt(3))


def cross_entropy(real: Float[Tensor, "batch 1"], fake: Float[Tensor, "batch 1"]) -> Terms:
    """Return −V/2 of equation (1) in its two terms, from the discriminator's logits."""
    return {"real": F.softplus(-real).mean() / 2, "fake": F.softplus(fake).mean() / 2}


def report(
    x: Float[Tensor, "batch *shape"],
    generated: Float[Tensor, "batch *shape"],
    real: Float[Tensor, "batch 1"],
    fake: Float[Tensor, "batch 1"],
) -> Terms:
    """Return the metrics of held-out examples beside generated ones, given the discriminator's logits for both."""
    return {
        "energy_distance": energy_distance(x.flatten(1), generated.flatten(1)),
        "value": -2 * sum(cross_entropy(real, fake).values(), real.new_zeros(())),
        "accuracy_real": (real > 0).float().mean(),
        "accuracy_fake": (fake < 0).float().mean(),
    }


def energy_distance(a: Float[Tensor, "rows features"], b: Float[Tensor, "others features"]) -> Float[Tensor, ""]:
    """Return the unbiased estimate of 2E|a − b| − E|a − a′| − E|b − b′| (Székely & Rizzo 2013, equation 1)."""
    within = (torch.cdist(s, s).fill_diagonal_(0).sum() / max(len(s) * (len(s) - 1), 1) for s in (a, b))
    return 2 * torch.cdist(a, b).mean() - sum(within, a.new_zeros(()))
