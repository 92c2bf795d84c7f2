"""Convolutional encoders of sparse codes, and the stages of feature extraction that are made of them.

    tanh:    z_k = g_k tanh(W_k ⋆ x + d_k)
    shrink:  z_k = g_k h(W_k ⋆ x + d_k; θ_k)                     h(u; θ) = sign(u) max(|u| - θ, 0)
    stage:   pool(normalize(|z|))                               ⋆: correlation at every place

- Kavukcuoglu, Sermanet, Boureau, Gregor, Mathieu & LeCun (2010), Learning convolutional feature hierarchies for visual
  recognition, section 2.2.
- Stages: Jarrett, Kavukcuoglu, Ranzato & LeCun (2009), What is the best multi-stage architecture for object
  recognition?, section 2.1: filters with gains, rectification, local contrast normalization, average pooling.

Differs from the paper: its shrinkage is a smooth one; here it is piecewise linear, with a threshold that is learned.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lamina.modules.contrast import LocalContrast

Squash = Literal["tanh", "shrink"]
THRESHOLD = 0.1  # at the beginning


class ConvEncoder(nn.Module):
    """A convolution, a squashing function, and a gain for every map.

    Args:
        channels: of the images.
        codes: maps of the code.
        side: of the square filters.
        padding: zeros around the images.
        squash: what follows the convolution.
    """

    def __init__(self, channels: int, codes: int, side: int, padding: int = 0, squash: Squash = "tanh") -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, codes, side, padding=padding)
        self.g = nn.Parameter(torch.ones(codes, 1, 1))
        self.theta = nn.Parameter(torch.full((codes, 1, 1), THRESHOLD)) if squash == "shrink" else None

    @torch.no_grad()
    def reset_scale(self) -> None:
        """Put gains and thresholds back where they began; filters and biases stay.

        Codes are small and sparse, which PSD's dictionary asks for; a stage's normalization takes their scale away.
        """
        self.g.fill_(1)
        if self.theta is not None:
            self.theta.fill_(THRESHOLD)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch codes _h _w"]:
        u: Tensor = self.conv(x)
        squashed = u.tanh() if self.theta is None else (u - self.theta).relu() - (-u - self.theta).relu()
        return self.g * squashed


class Rectify(nn.Module):
    """The absolute value."""

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return x.abs()


def stage(
    shape: tuple[int, ...], encoder: ConvEncoder, window: int, pool: int
) -> tuple[nn.Sequential, tuple[int, ...]]:
    """Return a stage for maps of a shape, and the shape of what it gives.

    Args:
        shape: (channels, height, width).
        encoder: filters, which may be trained elsewhere.
        window: side of the window of local contrast normalization.
        pool: side of the squares that are averaged.

    Raises:
        ValueError: nothing would be left of the maps.
    """
    side, codes = encoder.conv.kernel_size[0], encoder.conv.out_channels
    height, width = (length - side + 1 for length in shape[1:])
    if pool < 1 or min(height, width) < pool:
        raise ValueError(
            f"filters of {side} pixels and pools of {pool} leave nothing of maps of {shape[1]}x{shape[2]}; take smaller"
        )
    normalize = LocalContrast((codes, height, width), window)
    pooled = (codes, height // pool, width // pool)
    return nn.Sequential(encoder, Rectify(), normalize, nn.AvgPool2d(pool)), pooled
