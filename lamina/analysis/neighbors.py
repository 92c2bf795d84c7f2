"""Nearest neighbors, and what they say of generated examples.

Two figures. The error on real examples of a nearest-neighbor classifier whose stored examples were all generated, with
the labels that they were generated for: low only if every class is drawn right (Radford, Metz & Chintala 2016, section
5.3). And the leave-one-out accuracy with which the nearest neighbor of an example tells real from generated: 1/2 where
both come from one distribution, above it where they can be told apart, below it where the generator copies the real
examples at hand (Lopez-Paz & Oquab 2017, Revisiting classifier two-sample tests, section 3).
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

CELLS = 1 << 22  # numbers of a block of distances: 16 MiB in float32, where the blocks' cost per number is flat


def affinities(
    points: Float[Tensor, "points features"], x: Float[Tensor, "examples features"]
) -> Iterator[Float[Tensor, "block points"]]:
    """Yield −|x − p|²/2 for all pairs, some rows of `x` at a time, each block from one matrix product.

    Raises:
        ValueError: no point.
    """
    if not len(points):
        raise ValueError("distances need at least one point to be measured to")
    center = points.mean(0)  # distances stay, rounding shrinks
    points, x = points - center, x - center
    squares = points.square().sum(1) / -2
    for rows in torch.split(x, max(1, CELLS // len(points))):
        yield torch.addmm(squares, rows, points.T).sub_(rows.square().sum(1, keepdim=True) / 2)


@torch.no_grad()
def nearest(points: Float[Tensor, "points *shape"], x: Float[Tensor, "examples *shape"]) -> Int[Tensor, " examples"]:
    """Return the index of the point nearest to each example (Euclidean; the first of equals)."""
    return torch.cat([block.argmax(1) for block in affinities(points.flatten(1), x.flatten(1))])


def nearest_error(
    points: Float[Tensor, "points *shape"],
    labels: Int[Tensor, " points"],
    x: Float[Tensor, "examples *shape"],
    y: Int[Tensor, " examples"],
) -> float:
    """Return the fraction of examples whose nearest point has another label than theirs."""
    return float((labels[nearest(points, x)] != y).float().mean())


@torch.no_grad()
def two_sample_accuracy(real: Float[Tensor, "real *shape"], fake: Float[Tensor, "fake *shape"]) -> tuple[float, float]:
    """Return the fractions of real and of fake examples whose nearest other example is of their own kind.

    The two numbers differ in what they blame: a generator that draws few kinds of examples has a high second one, and
    one that misses real examples a high first one. They mean most with as many real as fake examples.
    """
    pool = torch.cat((real, fake)).flatten(1)
    found, start = [], 0
    for block in affinities(pool, pool):
        rows = torch.arange(len(block), device=pool.device)
        block[rows, start + rows] = -torch.inf  # an example is not its own neighbor
        found.append(block.argmax(1))
        start += len(block)
    faked = torch.cat(found) >= len(real)
    return float((~faked[: len(real)]).float().mean()), float(faked[len(real) :].float().mean())
