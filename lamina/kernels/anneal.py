"""Gibbs sweeps of many chains over the units of a Boltzmann machine, compiled for the CPU.

    p(s_i = 1 | all others) = σ((b_i + Σ_j C_ij s_j) / T):   on if u (1 + exp(-(b_i + C_i s) / T)) < 1, u uniform

A few chains at a time go through all their sweeps, so that their states stay in the processor's cache. The random bits
are those of `lamina.kernels.flips`, numbered by sweep, unit and chain, so that the number of threads changes nothing.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit
from torch import Tensor

from lamina.kernels.flips import word
from lamina.kernels.threads import in_threads

CHAINS = 32  # that go through all sweeps together
BITS, UNIT = np.uint64(11), 2.0**-53  # a word's number of 53 bits


def anneal(
    s: Float[Tensor, "units chains"],
    C: Float[Tensor, "units units"],
    b: Float[Tensor, " units"],
    free: Int[Tensor, " free"],
    temperatures: Sequence[float],
    collect: int,
) -> Float[Tensor, "collect chains units"]:
    """Draw the units `free` in turn, once at each temperature; return the states after the last `collect` of these.

    Args:
        s: where the chains start; it stays as it is.
        C: symmetric couplings.
        b: biases.
        free: numbers of the units to draw; the others are held.
        temperatures: one for each sweep.
        collect: sweeps whose states are returned.
    """
    out = s.new_empty(collect, s.shape[1], len(s))
    seed = np.uint64(torch.empty((), dtype=torch.int64).random_().item())
    start, couplings, biases, order, states = (t.detach().contiguous().numpy() for t in (s, C, b, free, out))
    slopes = 1 / np.asarray(temperatures)
    in_threads(
        s.shape[1], lambda part: run(start, couplings, biases, order, slopes, seed, part.start, part.stop, states)
    )
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def run(start, C, b, free, slopes, seed, begin, end, out):
    """Run the chains from `begin` to `end`; `slopes` are one over the temperatures."""
    units, chains = start.shape
    unseen = len(slopes) - len(out)
    field = np.empty(CHAINS, C.dtype)
    for first in range(begin, end, CHAINS):
        last = min(first + CHAINS, end)
        s = start[:, first:last].copy()
        for sweep in range(len(slopes)):
            for i in free:
                field[:] = b[i]
                for j in range(units):
                    c = C[i, j]
                    if c != 0:
                        for n in range(last - first):
                            field[n] += c * s[j, n]
                number = np.uint64((sweep * units + i) * chains + first)
                for n in range(last - first):
                    u = np.float64(word(seed, number + np.uint64(n)) >> BITS) * UNIT
                    s[i, n] = u * (1 + np.exp(-field[n] * slopes[sweep])) < 1
            if sweep >= unseen:
                for n in range(last - first):
                    for i in range(units):
                        out[sweep - unseen, first + n, i] = s[i, n]
