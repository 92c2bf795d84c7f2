"""Centered gradients of Boltzmann machines, for which it does not matter whether a unit's 0 or its 1 is the rule.

With the energy in deviations from centers c, E = -Σ_l b'_lᵀ(h_l - c_l) - Σ_l (h_l - c_l)ᵀ W_l (h_(l+1) - c_(l+1)), a
step along the gradient of W and b' is, in the usual parameters b_l = b'_l - W_(l-1)ᵀc_(l-1) - W_l c_(l+1), one along

    G_l = Σ_n w_n (h_l - c_l)(h_(l+1) - c_(l+1))ᵀ          g_l = Σ_n w_n h_l - G_(l-1)ᵀ c_(l-1) - G_l c_(l+1)

w_n are the weights of examples and of chains, which sum to zero. In the usual gradient, which has c = 0, all weights of
a unit whose neighbors are often on move together, and switch it on or off for every example.

Montavon & Müller (2012), "Deep Boltzmann machines and the centering trick", section 3; as a change of the gradient
alone: Cho, Raiko & Ilin (2011), "Enhanced gradient and adaptive learning rate for training restricted Boltzmann
machines", and Melchior, Fischer & Wiskott (2016), "How to center deep Boltzmann machines".
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor


def centered(
    weight: Float[Tensor, " rows"],
    states: Sequence[Tensor],
    centers: Sequence[Tensor],
    W: Sequence[Tensor],
    b: Sequence[Tensor],
) -> Float[Tensor, ""]:
    """Return a surrogate, Σ W_l G_l + b_l g_l with G and g held fixed: its gradient is that above.

    Args:
        weight: w of each row.
        states: h of each layer, (rows, units).
        centers: c of each layer.
        W: couplings of neighboring layers.
        b: biases.
    """
    with torch.no_grad():
        g = [weight @ h for h in states]
        G = [(low * weight[:, None]).t() @ high for low, high in pairwise(states)]
        for i, slope in enumerate(G):  # the weights sum to zero, so that this is what the centers make of it
            slope.addr_(centers[i], g[i + 1], alpha=-1).addr_(g[i], centers[i + 1], alpha=-1)
        for i, slope in enumerate(G):
            g[i] = g[i] - slope @ centers[i + 1]
            g[i + 1] = g[i + 1] - centers[i] @ slope
    products = [(value * slope).sum() for value, slope in zip((*W, *b), (*G, *g), strict=True)]
    return torch.stack(products).sum()
