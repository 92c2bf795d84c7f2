"""exp and log against NumPy's in float64."""

import numpy as np
from numba import njit

from lamina.kernels.vector_math import exp, log


@njit
def of_each(x, which):
    found = np.empty_like(x)
    for i in range(len(x)):
        found[i] = exp(x[i]) if which else log(x[i])
    return found


def test_exp():
    x = np.linspace(-79.9, 87, 100_001).astype(np.float32)
    np.testing.assert_allclose(of_each(x, True), np.exp(x.astype(np.float64)), rtol=3e-7)
    assert not of_each(np.array([-81, -1000, -3e38], np.float32), True).any()


def test_log():
    x = np.concatenate([np.logspace(-37, 38, 100_001), np.linspace(0.5, 2, 10_001)]).astype(np.float32)
    np.testing.assert_allclose(of_each(x, False), np.log(x.astype(np.float64)), rtol=3e-7, atol=6e-8)
