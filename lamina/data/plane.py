"""Points of the plane: a spiral, two moons, and a mixture of Gaussians whose density is known.

Training and validation points are drawn from `seed`, test points always from the same generator, which no seed gives.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from lamina.data.dataset import Data
from lamina.data.examples import Arrays

TEST = 10_000  # points, so that the mean of a log-density has a standard error of about 0.01 nats

WEIGHTS = (0.4, 0.3, 0.2, 0.1)
MEANS = ((-2.0, 0.0), (1.5, 1.5), (1.0, -1.5), (3.0, 0.0))
FACTORS = (  # lower triangular L, with covariances L Lᵀ
    ((0.4, 0.0), (0.3, 1.0)),
    ((0.9, 0.0), (-0.4, 0.4)),
    ((0.7, 0.0), (0.5, 0.3)),
    ((0.3, 0.0), (0.0, 0.3)),
)

Draw = Callable[[np.random.Generator, int], dict[str, NDArray[np.generic]]]
"""Fields of so many examples."""


def mixture(seed: int = 0, count: int = 10_000, held: int = 2000) -> Data:
    """Points from four Gaussians, with the number of the Gaussian as label; `mixture_log_density` is their density.

    Args:
        seed: of the training and validation points.
        count: training points.
        held: validation points.
    """

    def draw(rng: np.random.Generator, count: int) -> dict[str, NDArray[np.generic]]:
        y = rng.choice(len(WEIGHTS), count, p=WEIGHTS)
        x = np.array(MEANS)[y] + np.einsum("nij,nj->ni", np.array(FACTORS)[y], rng.normal(size=(count, 2)))
        return {"x": x, "y": y}

    return drawn("mixture", draw, seed, count, held, ("0", "1", "2", "3"))


def moons(seed: int = 0, count: int = 10_000, held: int = 2000, noise: float = 0.1) -> Data:
    """Points around two half circles of radius 1 that reach into each other; the label tells which.

    Args:
        seed: of the training and validation points.
        count: training points.
        held: validation points.
        noise: standard deviation of their distance from the half circles.
    """

    def draw(rng: np.random.Generator, count: int) -> dict[str, NDArray[np.generic]]:
        y, angle = rng.integers(2, size=count), rng.uniform(0, np.pi, count)
        upper = np.stack([np.cos(angle), np.sin(angle)], 1)
        x = np.where(y[:, None] == 0, upper, np.array([1.0, 0.5]) - upper)
        return {"x": x + noise * rng.normal(size=(count, 2)), "y": y}

    return drawn("moons", draw, seed, count, held, ("upper", "lower"))


def spiral(seed: int = 0, count: int = 10_000, held: int = 2000, turns: float = 1.5, noise: float = 0.05) -> Data:
    """Points around a spiral r = φ / 2π that ends at radius `turns`, about evenly spread along it; no labels.

    Args:
        seed: of the training and validation points.
        count: training points.
        held: validation points.
        turns: of the spiral.
        noise: standard deviation of their distance from it.
    """

    def draw(rng: np.random.Generator, count: int) -> dict[str, NDArray[np.generic]]:
        radius = turns * np.sqrt(rng.uniform(size=count))
        angle = 2 * np.pi * radius
        x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
        return {"x": x + noise * rng.normal(size=(count, 2))}

    return drawn("spiral", draw, seed, count, held, ())


def mixture_log_density(x: Float[Tensor, "batch 2"]) -> Float[Tensor, "batch"]:
    """Return the log-density of `mixture` in nats; minus its mean over test points is their entropy, up to sampling."""
    weights, means, factors = (x.new_tensor(values) for values in (WEIGHTS, MEANS, FACTORS))
    z = torch.linalg.solve_triangular(factors, (x[:, None] - means)[..., None], upper=False).squeeze(-1)
    volumes = factors.diagonal(dim1=1, dim2=2).log().sum(1) + math.log(2 * math.pi)
    return torch.logsumexp(weights.log() - volumes - z.square().sum(-1) / 2, 1)


def drawn(name: str, draw: Draw, seed: int, count: int, held: int, classes: tuple[str, ...]) -> Data:
    """Return a data set of points.

    Raises:
        ValueError: no training or validation points are wanted.
    """
    if count < 1 or held < 1:
        raise ValueError(f"count and held must be at least 1, got {count} and {held}")
    rng, other = np.random.default_rng((0, seed)), np.random.default_rng((1, 0))
    train, valid, test = (Arrays(**draw(g, size)) for g, size in ((rng, count), (rng, held), (other, TEST)))
    return Data(name, train, valid, test, classes)
