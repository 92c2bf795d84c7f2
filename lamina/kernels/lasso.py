"""Sparse codes of least energy, one coordinate after the other, compiled for the CPU.

    E(z) = ½ zGzᵀ - z·c + λ |z|₁,        r = c - zG:  minus the slope of the first two terms
    z_j ← h(r_j + G_jj z_j; λ) / G_jj,   h(u; θ) = sign(u) max(|u| - θ, 0)                       (exact in z_j)

A step that leaves z_j at zero costs a comparison, one that moves it a row of G. The coordinates that are not zero are
gone through until they rest, then all of them once more; that ends when no slope of E is longer than the tolerance.
Friedman, Hastie & Tibshirani (2010), Regularization paths for generalized linear models via coordinate descent,
sections 2.2 and 2.6. `lamina.optim.fista` is the oracle.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Numbers = NDArray[np.floating]


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def descend(gram: Numbers, r: Numbers, z: Numbers, sparsity: float, tolerance: float, sweeps: int) -> None:
    """Move codes z (batch, codes), in place, to the least energy; r (batch, codes) must be c - zG, and stays so.

    `sweeps` is the most that are made over all coordinates, and over those that are not zero between two of these.
    """
    everywhere = np.arange(len(gram))
    for row in range(len(z)):
        for _ in range(sweeps):
            if sweep(gram, r[row], z[row], sparsity, everywhere) <= tolerance:
                break
            moving = np.flatnonzero(z[row])
            for _ in range(sweeps):
                if sweep(gram, r[row], z[row], sparsity, moving) <= tolerance:
                    break


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def sweep(gram: Numbers, r: Numbers, z: Numbers, sparsity: float, coordinates: NDArray[np.int64]) -> float:
    """Put coordinates, one after the other, where E is least in each; return the steepest slope that was met."""
    worst = 0.0
    for j in coordinates:
        curve = gram[j, j]
        u = r[j] + curve * z[j]
        size = abs(u) - sparsity
        new = 0.0 if size <= 0 or curve <= 0 else (size if u > 0 else -size) / curve
        step = new - z[j]
        if step != 0:
            worst = max(worst, abs(step) * curve)
            z[j] = new
            for k in range(len(r)):
                r[k] -= step * gram[j, k]
    return worst
