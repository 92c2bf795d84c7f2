"""Weights of recurrent networks to begin with.

    orthogonal:  UᵀU = g² I, so that linear units neither forget nor explode at g = 1
    identity:    U = g I and no bias, so that rectified units keep their values
    radius:      U drawn as before and scaled so that its largest |eigenvalue| is g

Saxe et al. (2014), Exact solutions to the nonlinear dynamics of learning in deep linear neural networks (orthogonal);
Le et al. (2015), A simple way to initialize recurrent networks of rectified linear units (identity); Jaeger (2001), The
"echo state" approach, and Sutskever et al. (2013), On the importance of initialization and momentum in deep learning,
section 4 (spectral radius, 1.1 there).
"""

from collections.abc import Iterator
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Start = Literal["uniform", "orthogonal", "identity", "radius"]


def recurrent_matrices(module: nn.Module) -> Iterator[Float[Tensor, "hidden hidden"]]:
    """Yield the square matrices from units to units, that of each gate by itself, to look at or to change in place."""
    for name, weight in module.named_parameters():
        if "weight_hh" in name:
            yield from weight.detach().tensor_split(len(weight) // weight.shape[1])


@torch.no_grad()
def start(module: nn.Module, kind: Start, gain: float = 1.0) -> None:
    """Draw the recurrent matrices of a network anew.

    Args:
        module: a cell, or what holds some.
        kind: how; "uniform" leaves torch's own draw, of ±1/√hidden.
        gain: g.

    Raises:
        ValueError: a gain of zero or less.
    """
    if gain <= 0:
        raise ValueError(f"the recurrent weights are scaled by more than 0, got {gain}")
    for matrix in recurrent_matrices(module):
        if kind == "orthogonal":
            nn.init.orthogonal_(matrix, gain)
        elif kind == "identity":
            nn.init.eye_(matrix).mul_(gain)
        elif kind == "radius":
            matrix.mul_(gain / radius(matrix))
    if kind == "identity":
        for name, bias in module.named_parameters():
            if "bias" in name:
                bias.zero_()


def radius(matrix: Float[Tensor, "hidden hidden"]) -> Float[Tensor, ""]:
    """Return the largest absolute eigenvalue."""
    largest: Tensor = torch.linalg.eigvals(matrix).abs().max()
    return largest
