"""A step of a memory's heads, forward and backward, one row of the batch after the other, compiled for the CPU.

The equations are those of `lamina.modules.addressing`, whose operations in torch are the oracle. All inner loops run
over the slots, which lie side by side, so that the compiler turns them into vector instructions.

Of a step are kept: the numbers after their functions (`act`), and for each head K, c and v, and at last 1/|M_i|.
"""

import math

import numpy as np
from numba import njit

from lamina.kernels.vector_math import exp, log

EPSILON = (
    1e-6  # added to squared norms, as in the code of Graves et al. (2016), so that nearly empty slots match no key
)
DELTA = 1e-20  # added to weights, so that their logarithm is finite
ZERO, ONE = np.float32(0), np.float32(1)  # as in float32, so that it is not left for float64
KEPT = 3  # rows of numbers, one for each slot, that are kept of a head
SMALL, TINY = np.float32(EPSILON), np.float32(DELTA)


@njit(inline="always", fastmath=True)
def sigmoid(x):
    """Return 1 / (1 + e⁻ˣ)."""
    e = math.exp(-abs(x))
    return (ONE if x >= 0 else e) / (ONE + e)


@njit(inline="always", fastmath=True)
def softplus(x):
    """Return log(1 + eˣ)."""
    return max(x, ZERO) + math.log1p(math.exp(-abs(x)))


@njit(inline="always", fastmath=True)
def softmax(x):
    """Replace numbers by their softmax."""
    peak, total = x[0], ZERO
    for i in range(1, len(x)):
        peak = max(peak, x[i])
    for i in range(len(x)):
        x[i] = exp(x[i] - peak)
    for i in range(len(x)):
        total += x[i]
    total = ONE / total
    for i in range(len(x)):
        x[i] *= total


@njit(inline="always", fastmath=True)
def dot(a, b):
    """Return the scalar product."""
    total = ZERO
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@njit(inline="always", fastmath=True)
def add(scale, a, b):
    """Add a multiple of a to b."""
    for i in range(len(a)):
        b[i] += scale * a[i]


@njit(inline="always", fastmath=True)
def sum_of_shifts(u, shift, v, sign):
    """Fill v_i = Σ_j s_j u_{i − sign j}, j from −S to S, around the circle."""
    slots, reach = len(u), len(shift) // 2
    v[:] = ZERO
    for j in range(len(shift)):
        by = (sign * (j - reach)) % slots
        for i in range(slots - by):
            v[i + by] += shift[j] * u[i]
        for i in range(by):
            v[i] += shift[j] * u[i + slots - by]


@njit(inline="always", fastmath=True)
def rolled_product(a, u, by):
    """Return Σ_i a_i u_{i − by}, around the circle."""
    total, slots = ZERO, len(u)
    by %= slots
    for i in range(slots - by):
        total += a[i + by] * u[i]
    for i in range(by):
        total += a[i] * u[i + slots - by]
    return total


@njit(inline="always", fastmath=True)
def mixed(gate, content, before, u):
    """Fill u = g c + (1 − g) w."""
    for i in range(len(u)):
        u[i] = before[i] + gate * (content[i] - before[i])


@njit(inline="always", fastmath=True)
def address(x, y, width, M, inverse, before, kept, u, w):
    """Fill a head's numbers y after their functions, K, c and v in kept, and its weights, given the raw numbers x."""
    for m in range(width):
        y[m] = math.tanh(x[m])
    y[width], y[width + 1], y[width + 2] = softplus(x[width]), sigmoid(x[width + 1]), ONE + softplus(x[width + 2])
    y[width + 3 :] = x[width + 3 :]
    softmax(y[width + 3 :])
    alike, content, moved = kept[0], kept[1], kept[2]
    alike[:] = ZERO
    for m in range(width):
        add(y[m], M[m], alike)
    norm = ONE / math.sqrt(dot(y[:width], y[:width]) + SMALL)
    for i in range(len(w)):
        alike[i] *= norm * inverse[i]
    for i in range(len(w)):
        content[i] = y[width] * alike[i]
    softmax(content)
    mixed(y[width + 1], content, before, u)
    sum_of_shifts(u, y[width + 3 :], moved, 1)
    for i in range(len(w)):
        w[i] = y[width + 2] * log(moved[i] + TINY)
    softmax(w)


@njit(inline="always", fastmath=True)
def write(M, weights, raw, numbers, begin, reads, new):
    """Fill e and a of the heads that write, and the memory after they have erased and then added."""
    width = len(M)
    new[:] = M
    for h in range(reads, len(weights)):
        at = begin + 2 * (h - reads) * width
        for m in range(width):
            numbers[at + m] = sigmoid(raw[at + m])
            for i in range(len(weights[h])):
                new[m, i] *= ONE - numbers[at + m] * weights[h, i]
    for h in range(reads, len(weights)):
        at = begin + 2 * (h - reads) * width + width
        for m in range(width):
            numbers[at + m] = math.tanh(raw[at + m])
            add(numbers[at + m], weights[h], new[m])


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def forward(raw, before, memory, act, kept, found, weights, after):
    """Fill act, kept, what is read, weights and the memory after, given raw numbers, weights and memory before."""
    heads, slots = before.shape[1:]
    reads, width = found.shape[1:]
    each = (raw.shape[1] - 2 * (heads - reads) * width) // heads
    u = np.empty(slots, raw.dtype)
    for row in range(len(raw)):
        M, inverse = memory[row], kept[row, KEPT * heads]
        inverse[:] = SMALL
        for m in range(width):
            for i in range(slots):
                inverse[i] += M[m, i] * M[m, i]
        for i in range(slots):
            inverse[i] = ONE / math.sqrt(inverse[i])
        for h in range(heads):
            x, y = raw[row, h * each : (h + 1) * each], act[row, h * each : (h + 1) * each]
            mine, w = kept[row, KEPT * h : KEPT * (h + 1)], weights[row, h]
            address(x, y, width, M, inverse, before[row, h], mine, u, w)
            if h < reads:
                for m in range(width):
                    found[row, h, m] = dot(M[m], w)
        write(M, weights[row], raw[row], act[row], heads * each, reads, after[row])


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def backward(before, memory, act, kept, weights, dfound, dweights, dafter, draw, dbefore, dmemory):
    """Fill the gradients of the raw numbers, and of weights and memory before."""
    heads, slots = before.shape[1:]
    reads, width = dfound.shape[1:]
    each = (act.shape[1] - 2 * (heads - reads) * width) // heads
    dw, left = np.empty((heads, slots), act.dtype), np.empty(slots, act.dtype)
    spare = np.empty((3, slots), act.dtype)
    for row in range(len(act)):
        M, dM, numbers = memory[row], dmemory[row], act[row]
        dw[:] = dweights[row]
        unwrite(M, weights[row], dafter[row], numbers, heads * each, reads, dw, left, dM, draw[row])
        for h in range(heads):
            y, dx = numbers[h * each : (h + 1) * each], draw[row, h * each : (h + 1) * each]
            w = weights[row, h]
            if h < reads:
                for m in range(width):
                    add(dfound[row, h, m], M[m], dw[h])
                    add(dfound[row, h, m], w, dM[m])
            mine = kept[row, KEPT * h : KEPT * (h + 1)]
            readdress(y, width, before[row, h], mine, w, dw[h], spare, dx, dbefore[row, h])
            unmatch(y, width, M, mine[0], kept[row, KEPT * heads], spare[0], spare[1], dx, dM)


@njit(inline="always", fastmath=True)
def unwrite(M, weights, dnew, numbers, begin, reads, dw, left, dM, dx):
    """Fill the gradient of the memory, and those of e and a in dx; add to those of the weights that write."""
    heads, width = len(weights), len(M)
    for m in range(width):
        dM[m] = dnew[m]
        for h in range(reads, heads):
            at = begin + 2 * (h - reads) * width + m
            erase, adds, w = numbers[at], numbers[at + width], weights[h]
            left[:] = M[m]  # of the memory, after the other heads have erased
            for other in range(reads, heads):
                if other != h:
                    for i in range(len(left)):
                        left[i] *= ONE - numbers[begin + 2 * (other - reads) * width + m] * weights[other, i]
            erased, added = ZERO, ZERO
            for i in range(len(left)):
                erased += dnew[m, i] * left[i] * w[i]
                added += dnew[m, i] * w[i]
                dw[h, i] += dnew[m, i] * (adds - left[i] * erase)
            dx[at] = -erased * erase * (ONE - erase)
            dx[at + width] = added * (ONE - adds * adds)
            for i in range(len(left)):
                dM[m, i] *= ONE - erase * w[i]


@njit(inline="always", fastmath=True)
def readdress(y, width, before, kept, w, dw, spare, dx, dbefore):
    """Fill the gradients of β, g, γ and s in dx, of the weights before, and of K in spare[0]."""
    alike, content, moved = kept[0], kept[1], kept[2]
    d, u, du = spare[0], spare[1], spare[2]
    shift, power, gate = y[width + 3 :], y[width + 2], y[width + 1]
    mean, total = dot(w, dw), ZERO
    for i in range(len(w)):
        slope = w[i] * (dw[i] - mean)
        total += slope * log(moved[i] + TINY)
        d[i] = power * slope / (moved[i] + TINY)
    dx[width + 2] = total * (ONE - math.exp(ONE - power))  # σ(x) where γ − 1 = softplus(x)
    mixed(gate, content, before, u)
    sum_of_shifts(d, shift, du, -1)
    mean, reach = ZERO, len(shift) // 2
    for j in range(len(shift)):
        dx[width + 3 + j] = rolled_product(d, u, j - reach)
        mean += shift[j] * dx[width + 3 + j]
    for j in range(len(shift)):
        dx[width + 3 + j] = shift[j] * (dx[width + 3 + j] - mean)
    dx[width + 1] = (dot(du, content) - dot(du, before)) * gate * (ONE - gate)
    mean = gate * dot(du, content)
    for i in range(len(w)):
        dbefore[i] = (ONE - gate) * du[i]
        d[i] = content[i] * (gate * du[i] - mean)
    dx[width] = dot(d, alike) * (ONE - math.exp(-y[width]))
    for i in range(len(w)):
        d[i] *= y[width]


@njit(inline="always", fastmath=True)
def unmatch(y, width, M, alike, inverse, d, left, dx, dM):
    """Fill the gradient of the key in dx, and add to that of the memory, given d, that of K."""
    square = dot(y[:width], y[:width]) + SMALL
    norm, drift = ONE / math.sqrt(square), dot(d, alike) / square
    for i in range(len(d)):
        left[i] = d[i] * alike[i] * inverse[i] * inverse[i]
        d[i] *= norm * inverse[i]
    for m in range(width):
        key = y[m]
        dx[m] = (dot(d, M[m]) - drift * key) * (ONE - key * key)
        for i in range(len(d)):
            dM[m, i] += key * d[i] - left[i] * M[m, i]
