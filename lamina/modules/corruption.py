"""Noise that destroys part of an input, for a network to repair: Vincent et al. (2010), section 3.3.

Unlike dropout, what is left is not rescaled, and the noise is there whenever the module is called.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Masking(nn.Module):
    """Set a share of the numbers to zero.

    Args:
        share: of the numbers, 0..1.

    Raises:
        ValueError: a share outside 0..1.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = checked(share)

    def forward(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
        return torch.rand_like(x).ge_(self.share).mul_(x)


class SaltAndPepper(nn.Module):
    """Set a share of the numbers to zero or one, either with the same probability.

    Args:
        share: of the numbers, 0..1.

    Raises:
        ValueError: a share outside 0..1.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = checked(share)

    def forward(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
        draw = torch.rand_like(x)
        return torch.where(draw < self.share, (draw < self.share / 2).to(x.dtype), x)


class GaussianNoise(nn.Module):
    """Add Gaussian noise.

    Args:
        deviation: its standard deviation.

    Raises:
        ValueError: a negative deviation.
    """

    def __init__(self, deviation: float) -> None:
        super().__init__()
        if deviation < 0:
            raise ValueError(f"a standard deviation is at least 0, got {deviation}")
        self.deviation = deviation

    def forward(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
        return torch.randn_like(x).mul_(self.deviation).add_(x)


def checked(share: float) -> float:
    """Return a share; ValueError if it is outside 0..1."""
    if not 0 <= share <= 1:
        raise ValueError(f"a share of numbers to destroy lies in 0..1, got {share}")
    return share
