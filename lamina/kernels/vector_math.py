"""exp and log in float32 as plain arithmetic, so that the compiler turns loops over them into vector instructions.

    eˣ = 2ⁿ eʳ,   n = round(x / ln 2),   |r| ≤ ½ ln 2;         log x = e ln 2 + log m,   ½√2 ≤ m < √2

with the polynomials for eʳ and log m, and ln 2 in two parts, of the Cephes library (Moshier 1992, expf.c and logf.c).
Relative errors are below 3e-7. exp is 0 where x < −80, so that no number is subnormal, which processors are slow at.
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

LEAST = np.float32(-80)
HALF, ONE, ZERO = np.float32(0.5), np.float32(1), np.float32(0)
LOG2E, HIGH, LOW = np.float32(1.44269504088896341), np.float32(0.693359375), np.float32(-2.12194440e-4)
EXP = tuple(
    np.float32(p)
    for p in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
)
LOG = tuple(
    np.float32(p)
    for p in (
        *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
        *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
    )
)
ROOT = np.float32(0.707106781186547524)
BIAS, HALFWAY, PLACES = np.int32(127), np.int32(126), np.int32(23)  # of the exponent in a float32
FRACTION, OF_HALF = np.int32(0x007FFFFF), np.int32(0x3F000000)


def to_float(context, bits):
    """Return the number that 32 bits are."""
    return types.float32(types.int32), lambda _, builder, __, given: builder.bitcast(given[0], ir.FloatType())


def to_bits(context, number):
    """Return the 32 bits of a number."""
    return types.int32(types.float32), lambda _, builder, __, given: builder.bitcast(given[0], ir.IntType(32))


as_float: Any = intrinsic(to_float)
as_bits: Any = intrinsic(to_bits)


@njit(inline="always", fastmath=True)
def exp(x):
    """Return eˣ for x below 88."""
    bounded = max(x, LEAST)
    n = np.float32(math.floor(bounded * LOG2E + HALF))
    r = bounded - n * HIGH - n * LOW
    p = ((((EXP[0] * r + EXP[1]) * r + EXP[2]) * r + EXP[3]) * r + EXP[4]) * r + EXP[5]
    y = (p * r * r + r + ONE) * as_float((np.int32(n) + BIAS) << PLACES)
    return y if x >= LEAST else ZERO


@njit(inline="always", fastmath=True)
def log(x):
    """Return the logarithm of a positive number that is not subnormal."""
    bits = as_bits(x)
    e = np.float32((bits >> PLACES) - HALFWAY)
    m = as_float((bits & FRACTION) | OF_HALF)
    low = m < ROOT
    e = e - ONE if low else e
    m = m + m - ONE if low else m - ONE
    z = m * m
    p = (((LOG[0] * m + LOG[1]) * m + LOG[2]) * m + LOG[3]) * m + LOG[4]
    p = (((p * m + LOG[5]) * m + LOG[6]) * m + LOG[7]) * m + LOG[8]
    return m + (p * m * z + LOW * e - HALF * z) + HIGH * e
