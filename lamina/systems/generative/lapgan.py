"""Laplacian pyramid of adversarial networks: a coarse image is drawn, then its details, level by level.

With the pyramid I_k, h_k and u of `lamina.modules.pyramid`, noise z_k and l_k = u(I_{k+1}), images are drawn by

    I_K = G_K(z_K),   I_k = l_k + G_k(z_k, l_k)   for k = K − 1 … 0                                      (sampling)

and each level is a game of its own over real images, in which l_k is made from the real image (sections 2.2 and 3):

    min_{G_k} max_{D_k} E[log D_k(l_k + h_k)] + E[log(1 − D_k(l_k + G_k(z_k, l_k)))]                     (level k)

The discriminator sees the sum of residual and low-pass image, and may see the latter beside it. No level waits for
another, so all are trained side by side. With one level, K = 0, this is a GAN. Given the class y, both players of each
level see it.

Denton, Chintala, Szlam & Fergus (2015), Deep generative image models using a Laplacian pyramid of adversarial networks,
algorithm 1 and equation 3.

Differs from the paper: discriminators are also given the low-pass image, and may leave it out, as there; without it a
generator has no need to keep to the low-pass image. Noise has mean 0 and variance 1, and −log D is in place of
log(1 − D) unless that is asked for, as in `lamina.systems.generative.gan`.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from lamina.core import Objective, System, Terms
from lamina.modules.pyramid import Pyramid
from lamina.systems.generative.gan import GOALS, Goal, cross_entropy, energy_distance, noise_like, report

Codes = tuple[Tensor, ...]
"""The one-hot code of the classes, or nothing."""


class Level(nn.Module):
    """The two players of one level.

    Args:
        generator: noise (batch, noise) and what is given -> residual.
        discriminator: image and what is given -> logits (batch, 1) of being real.
        noise: numbers of noise an example.

    Given are the low-pass image, but at the coarsest level, and after it the code if there are classes.
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module, noise: int) -> None:
        super().__init__()
        self.generator, self.discriminator, self.noise = generator, discriminator, noise

    def generated(self, count: int, low: Tensor | None, code: Codes) -> Float[Tensor, "{count} *shape"]:
        """Return images with the given low-pass part; at the coarsest level there is none."""
        noise = noise_like(next(self.generator.parameters()), count, self.noise)
        residual: Tensor = self.generator(noise, *given(low, code))
        return residual if low is None else low + residual

    def logits(self, image: Tensor, low: Tensor | None, code: Codes) -> Float[Tensor, "batch 1"]:
        """Return the discriminator's logits of images."""
        found: Tensor = self.discriminator(image, *given(low, code))
        return found


class Levels(nn.Module):
    """A pyramid with the players of each of its levels.

    Args:
        pyramid: of the images.
        players: of each level, the finest first.
        goal: what the generators minimize.
    """

    def __init__(self, pyramid: Pyramid, players: Sequence[Level], goal: Goal = "non-saturating") -> None:
        super().__init__()
        assert len(players) == len(pyramid.sizes)
        self.pyramid, self.goal = pyramid, goal
        self.players = nn.ModuleList(players)

    def level(self, k: int) -> Level:
        player = self.players[k]
        assert isinstance(player, Level)
        return player

    @torch.no_grad()
    def sample(self, count: int, code: Codes) -> Float[Tensor, "{count} channels height width"]:
        """Return images drawn from the coarsest level to the finest."""
        coarsest = len(self.players) - 1
        image = self.level(coarsest).generated(count, None, code)
        for k in reversed(range(coarsest)):
            image = self.level(k).generated(count, self.pyramid.up(image, k), code)
        return image

    def real(self, k: int, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return I_k and l_k of real images."""
        images = self.pyramid.images(x)
        return images[k], self.pyramid.up(images[k + 1], k) if k + 1 < len(images) else None

    def discrimination(self, k: int, x: Tensor, code: Codes) -> Terms:
        """Return what the discriminator of level k minimizes."""
        level, (image, low) = self.level(k), self.real(k, x)
        real = level.logits(image, low, code)
        with torch.no_grad():
            fake = level.generated(len(x), low, code)
        terms = cross_entropy(real, level.logits(fake, low, code))
        return {f"{name}_{k}": term for name, term in terms.items()}

    def generation(self, k: int, x: Tensor, code: Codes) -> Terms:
        """Return what the generator of level k minimizes."""
        level, (_, low) = self.level(k), self.real(k, x)
        logits = level.logits(level.generated(len(x), low, code), low, code)
        return {f"generator_{k}": GOALS[self.goal](logits).mean()}

    def metrics(self, x: Tensor, code: Codes) -> Terms:
        """Return the energy distance of images to drawn ones, and of each level given real low-pass images its game."""
        terms = {"energy_distance": energy_distance(x.flatten(1), self.sample(len(x), code).flatten(1))}
        for k in range(len(self.players)):
            level, (image, low) = self.level(k), self.real(k, x)
            fake = level.generated(len(x), low, code)
            found = report(image, fake, level.logits(image, low, code), level.logits(fake, low, code))
            terms |= {f"{name}_{k}": term for name, term in found.items()}
        return terms


class LAPGAN(System):
    """Draws images from coarse to fine; each level has two players that train each other.

    The first metric is the energy distance of held-out images to drawn ones. The figures of level k that follow are
    those of `GAN`, with the low-pass images of held-out images.

    Args:
        levels: the pyramid and the players.
    """

    def __init__(self, levels: Levels) -> None:
        super().__init__()
        self.levels = levels

    def sample(self, count: int) -> Float[Tensor, "{count} channels height width"]:
        return self.levels.sample(count, ())

    def discrimination(self, k: int, x: Float[Tensor, "batch channels height width"]) -> Terms:
        return self.levels.discrimination(k, x, ())

    def generation(self, k: int, x: Float[Tensor, "batch channels height width"]) -> Terms:
        return self.levels.generation(k, x, ())

    def metrics(self, x: Float[Tensor, "batch channels height width"]) -> Terms:
        return self.levels.metrics(x, ())

    def objectives(self) -> tuple[Objective, ...]:
        return games(self.levels, self.discrimination, self.generation)


class ConditionalLAPGAN(System):
    """A LAPGAN of labeled images: all players are also given the class, as a one-hot code.

    Args:
        levels: the pyramid and the players.
        classes: number of classes.
    """

    def __init__(self, levels: Levels, classes: int) -> None:
        super().__init__()
        self.levels, self.classes = levels, classes

    def sample(self, count: int) -> Float[Tensor, "{count} channels height width"]:
        """Return images of the classes 0, 1, … in turn."""
        device = next(self.levels.parameters()).device
        return self.sample_of(torch.arange(count, device=device) % self.classes)

    def sample_of(self, y: Int[Tensor, " batch"]) -> Float[Tensor, "batch channels height width"]:
        """Return an image of each of the given classes."""
        return self.levels.sample(len(y), self.code(y))

    def code(self, y: Int[Tensor, " batch"]) -> Codes:
        return (F.one_hot(y, self.classes).to(next(self.levels.parameters()).dtype),)

    def discrimination(
        self, k: int, x: Float[Tensor, "batch channels height width"], y: Int[Tensor, " batch"]
    ) -> Terms:
        return self.levels.discrimination(k, x, self.code(y))

    def generation(self, k: int, x: Float[Tensor, "batch channels height width"], y: Int[Tensor, " batch"]) -> Terms:
        return self.levels.generation(k, x, self.code(y))

    def metrics(self, x: Float[Tensor, "batch channels height width"], y: Int[Tensor, " batch"]) -> Terms:
        return self.levels.metrics(x, self.code(y))

    def objectives(self) -> tuple[Objective, ...]:
        return games(self.levels, self.discrimination, self.generation)


def given(low: Tensor | None, code: Codes) -> tuple[Tensor, ...]:
    """Return what a level's players see beside noise or image."""
    return code if low is None else (low, *code)


def games(
    levels: Levels, discrimination: Callable[..., Terms], generation: Callable[..., Terms]
) -> tuple[Objective, ...]:
    """Return the two objectives of each level, the finest first, from losses that ask for the level's number."""
    found: list[Objective] = []
    for k in range(len(levels.players)):
        level = levels.level(k)
        found.append(Objective(f"discriminator_{k}", partial(discrimination, k), level.discriminator))
        found.append(Objective(f"generator_{k}", partial(generation, k), level.generator))
    return tuple(found)
