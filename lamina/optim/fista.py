"""Sparse codes of least energy by proximal gradient descent: plain (ISTA), and with momentum (FISTA).

    E(z) = ½ |x - zB|² + λ |z|₁ = ½ zGzᵀ - z·c + λ |z|₁ + constant,    G = BBᵀ, c = xBᵀ
    z ← h(y - (yG - c) / L; λ / L),                                    h(u; θ) = sign(u) max(|u| - θ, 0)
    ISTA:  y = z
    FISTA: y = z + (t - 1) / t′ · (z - last z),                        t′ = (1 + √(1 + 4t²)) / 2

L is the largest eigenvalue of G. All functions take G and c, so that any quadratic function may stand for the error.
After k steps E exceeds its least value by at most 2 L |z₀ - z*|² / (k + 1)² with FISTA, and L |z₀ - z*|² / (2k) with
ISTA (Beck & Teboulle 2009, A fast iterative shrinkage-thresholding algorithm, theorems 4.4 and 3.1). E may rise for a
while with FISTA, but never above E(z₀): E(z) + L/2 |z - last z|² never rises, as the momentum is below 1.

Steps are taken on Lz, whose threshold is λ itself: one matrix product and two passes over the codes each.
"""

import itertools
from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

CHECK = 10  # steps between looks at how far the codes are from their optimum


def fista(
    gram: Float[Tensor, "codes codes"],
    correlation: Float[Tensor, "batch codes"],
    sparsity: float,
    start: Float[Tensor, "batch codes"] | None = None,
    steps: int = 100,
    tolerance: float = 0.0,
) -> Float[Tensor, "batch codes"]:
    """Return codes of least energy by proximal gradient descent with momentum.

    Args:
        gram: G, symmetric, with no negative eigenvalue.
        correlation: c.
        sparsity: λ.
        start: first codes, zero by default.
        steps: the most steps to take.
        tolerance: stop as soon as every code has a subgradient of E no longer than this; 0 takes all steps.

    Raises:
        ValueError: no step, or a negative sparsity or tolerance.
    """
    return descend(gram, correlation, sparsity, start, steps, tolerance, momenta())


def ista(
    gram: Float[Tensor, "codes codes"],
    correlation: Float[Tensor, "batch codes"],
    sparsity: float,
    start: Float[Tensor, "batch codes"] | None = None,
    steps: int = 100,
    tolerance: float = 0.0,
) -> Float[Tensor, "batch codes"]:
    """Return codes of low energy by proximal gradient descent without momentum; the arguments are those of `fista`."""
    return descend(gram, correlation, sparsity, start, steps, tolerance, itertools.repeat(0.0))


@torch.no_grad()
def descend(
    gram: Float[Tensor, "codes codes"],
    correlation: Float[Tensor, "batch codes"],
    sparsity: float,
    start: Float[Tensor, "batch codes"] | None,
    steps: int,
    tolerance: float,
    momentum: Iterable[float],
) -> Float[Tensor, "batch codes"]:
    """Return codes after proximal gradient steps with a momentum for each."""
    if steps < 1 or sparsity < 0 or tolerance < 0:
        raise ValueError(
            f"steps must be at least 1, sparsity and tolerance at least 0, got {steps}, {sparsity} and {tolerance}"
        )
    L = curvature(gram)
    S = gram.div(-L)
    S.diagonal().add_(1)
    z = torch.zeros_like(correlation) if start is None else start * L
    y, new = z.clone(), torch.empty_like(z)
    for k, beta in zip(range(1, steps + 1), momentum, strict=False):
        torch.addmm(correlation, y, S, out=new)
        F.softshrink(new, sparsity, out=new)  # type: ignore[call-arg]  # the stub lacks out
        z, new = new, z
        if tolerance and k % CHECK == 0 and float(subgradient(y, z)) <= tolerance:
            break
        torch.lerp(new, z, 1 + beta, out=y)
    return z.div_(L)


def subgradient(y: Float[Tensor, "batch codes"], z: Float[Tensor, "batch codes"]) -> Float[Tensor, ""]:
    """Return a bound on the length of the codes' shortest subgradients after a step from y, which is overwritten.

    (z - y)(G - L) is a subgradient of E at z, and no eigenvalue of G - L is beyond ±L; y and z here are times L.
    """
    lengths: Tensor = torch.linalg.vector_norm(y.sub_(z), dim=1)
    return lengths.max()


def curvature(gram: Float[Tensor, "codes codes"]) -> Float[Tensor, ""]:
    """Return the largest eigenvalue of a Gram matrix, or the least positive number if all are zero."""
    eigenvalues: Tensor = torch.linalg.eigvalsh(gram)
    return eigenvalues[-1].clamp_min(torch.finfo(gram.dtype).tiny)


def momenta() -> Iterator[float]:
    """Yield FISTA's momentum (t - 1) / t′ for one step after the other."""
    t = 1.0
    while True:
        following = (1 + (1 + 4 * t * t) ** 0.5) / 2
        yield (t - 1) / following
        t = following
