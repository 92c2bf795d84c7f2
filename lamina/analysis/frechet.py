"""The Fréchet distance of two sets of features, taken for two Gaussians.

    d² = |μ − ν|² + tr(S + T − 2 (S^½ T S^½)^½)

with means μ, ν and covariances S, T of the two sets: the smallest mean squared distance of pairs that are drawn
together, one from each Gaussian. For centered rows A and B with S = AᵀA and T = BᵀB, the trace of the last root is the
sum of the singular values of A Bᵀ. Those of the triangular factors of A and B are the same, and need no square root of
a matrix that may be singular.

Features are what a classifier's last layer sees. Distances in features of different classifiers cannot be compared,
and a finite sample is always some way off: state the classifier, the number of examples, and the distance of as many
real ones.

Dowson & Landau (1982), The Fréchet distance between multivariate normal distributions. Heusel et al. (2017), GANs
trained by a two time-scale update rule converge to a local Nash equilibrium, equation 6.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from lamina.core import Encodes

BATCH = 1000  # examples that are encoded at once


@torch.no_grad()
def frechet_distance(a: Float[Tensor, "rows features"], b: Float[Tensor, "others features"]) -> float:
    """Return the squared distance d² of two sets of features.

    Raises:
        ValueError: a set of fewer than two, which has no covariance.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"a Fréchet distance needs at least 2 examples of each kind, got {len(a)} and {len(b)}")
    a, b = a.double(), b.double()
    means = (a.mean(0) - b.mean(0)).square().sum()
    first, second = factor(a), factor(b)
    common = torch.linalg.matrix_norm(first @ second.T, "nuc")
    return max(0.0, float(means + first.square().sum() + second.square().sum() - 2 * common))


def factor(x: Float[Tensor, "rows features"]) -> Float[Tensor, "rank features"]:
    """Return R with RᵀR the covariance of the rows."""
    triangle: Tensor = torch.linalg.qr((x - x.mean(0)) / math.sqrt(len(x) - 1), mode="r").R
    return triangle


@torch.no_grad()
def encoded(system: Encodes, x: Float[Tensor, "examples *shape"]) -> Float[Tensor, "examples features"]:
    """Return what a system encodes examples as, some at a time."""
    return torch.cat([system.encode(part).flatten(1) for part in torch.split(x, BATCH)])
