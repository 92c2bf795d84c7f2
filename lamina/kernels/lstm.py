"""The LSTM cell after its matrix products, each pass over the numbers once.

    i, f, o = sigmoid(a),  g = tanh(a),   c' = f c + i g,   h' = o tanh(c'),   sigmoid(x) = ½ + ½ tanh(x/2)

tanh is the rational approximation of `lamina.kernels.conv_pool`, exact to 3e-7; as it is plain arithmetic, the compiler
turns the loops over a row into vector instructions. `lamina.modules.recurrent` calls this, and has the same in torch's
operations, which are the oracle.
"""

import numpy as np
from numba import njit

from lamina.kernels import conv_pool

P = tuple(np.float32(p) for p in conv_pool.P)
Q = tuple(np.float32(q) for q in conv_pool.Q)
LARGEST, HALF, ONE = np.float32(conv_pool.LARGEST), np.float32(0.5), np.float32(1)


@njit(inline="always", fastmath=True)
def tanh(x):
    """Return tanh x."""
    x = min(max(x, -LARGEST), LARGEST)
    s = x * x
    p = (((((P[0] * s + P[1]) * s + P[2]) * s + P[3]) * s + P[4]) * s + P[5]) * s + P[6]
    return x * p / (((Q[0] * s + Q[1]) * s + Q[2]) * s + Q[3])


@njit(cache=True, fastmath=True, error_model="numpy", nogil=True)
def forward(a, c, gates, new, squashed, h):
    """Fill the gates (batch, 4 hidden), c', tanh(c') and h', given a and c."""
    hidden = c.shape[1]
    for row in range(len(c)):
        for k in range(3 * hidden):
            gates[row, k] = HALF + HALF * tanh(HALF * a[row, k])
        for k in range(3 * hidden, 4 * hidden):
            gates[row, k] = tanh(a[row, k])
        for j in range(hidden):
            new[row, j] = gates[row, hidden + j] * c[row, j] + gates[row, j] * gates[row, 3 * hidden + j]
        for j in range(hidden):
            squashed[row, j] = tanh(new[row, j])
        for j in range(hidden):
            h[row, j] = gates[row, 2 * hidden + j] * squashed[row, j]


@njit(cache=True, fastmath=True, error_model="numpy", nogil=True)
def backward(dh, dnew, gates, c, squashed, da, dc):
    """Fill the gradients of a and c, given those of h' and c'."""
    hidden = c.shape[1]
    for row in range(len(c)):
        for j in range(hidden):
            i, f = gates[row, j], gates[row, hidden + j]
            o, g = gates[row, 2 * hidden + j], gates[row, 3 * hidden + j]
            t = squashed[row, j]
            d = dh[row, j] * o * (ONE - t * t) + dnew[row, j]
            da[row, j] = d * g * i * (ONE - i)
            da[row, hidden + j] = d * c[row, j] * f * (ONE - f)
            da[row, 2 * hidden + j] = dh[row, j] * t * o * (ONE - o)
            da[row, 3 * hidden + j] = d * i * (ONE - g * g)
            dc[row, j] = d * f
