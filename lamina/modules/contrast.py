"""Local contrast normalization: every place of an image is compared with its neighborhood.

    m(p) = Σ_q w(q) x̄(p + q)                       x̄: mean over the channels, w: a Gaussian window of sum 1
    u = x - m
    s(p)² = Σ_q w(q) ū²(p + q)                      ū²: mean of u² over the channels
    v = u / max(s, mean of s over the image)

Jarrett, Kavukcuoglu, Ranzato & LeCun (2009), What is the best multi-stage architecture for object recognition?,
section 2.1. Near the border the window is cut off, and its weights again have sum 1.

With `apart` m is the local mean of each channel for itself: of a color image the even colors are then gone, too, which
otherwise outweigh the edges.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class LocalContrast(nn.Module):
    """Subtract the local mean and divide by the local deviation, with a way back for examples that are known.

    Args:
        shape: of an image or of feature maps: (channels, height, width).
        window: side of the window, an odd number; its Gaussian has a deviation of a sixth of that.
        apart: subtract from each channel its own mean.

    Raises:
        ValueError: a shape that is no image's, or an even window.
    """

    def __init__(self, shape: tuple[int, ...], window: int = 9, apart: bool = False) -> None:
        super().__init__()
        if len(shape) != 3:
            raise ValueError(f"local contrast is that of images, but an example has the shape {shape}: leave it out")
        if window < 1 or window % 2 == 0:
            raise ValueError(f"the window of local contrast must have an odd side, got {window}")
        self.shape, self.features, self.apart = shape, math.prod(shape), apart
        line = torch.exp(-((torch.arange(window) - window // 2) / (window / 6)).square() / 2)
        w = torch.outer(line, line)[None, None]
        self.w: Tensor
        self.coverage: Tensor
        self.register_buffer("w", w / w.sum(), persistent=False)
        self.register_buffer("coverage", smooth(torch.ones(1, 1, *shape[1:]), self.w), persistent=False)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        m, s = self.moments(x)
        return (x - m) / s

    def standard(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features"]:
        """Return v as rows."""
        v: Tensor = self(x)
        return v.flatten(1)

    def restored(
        self, v: Float[Tensor, "batch features"], like: Float[Tensor, "batch channels height width"] | None = None
    ) -> Float[Tensor, "batch channels height width"]:
        """Return raw input for v with the local mean and deviation of the examples `like`, or of mean 0 and scale 1."""
        u = v.reshape(-1, *self.shape)
        if like is None:
            return u
        m, s = self.moments(like)
        return u * s + m

    def directions(self, v: Float[Tensor, "batch features"]) -> Float[Tensor, "batch channels height width"]:
        """Return how raw input changes along v, up to contrast."""
        return v.reshape(-1, *self.shape)

    def moments(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> tuple[Float[Tensor, "batch #channels height width"], Float[Tensor, "batch 1 height width"]]:
        """Return what is subtracted and what is divided by."""
        m = x if self.apart else x.mean(1, keepdim=True)
        m = smooth(m.flatten(0, 1)[:, None], self.w).view_as(m) / self.coverage
        variance = smooth((x - m).square().mean(1, keepdim=True), self.w) / self.coverage
        s = variance.clamp_min(1e-12).sqrt()  # the root has no slope at zero
        return m, torch.maximum(s, s.mean((2, 3), keepdim=True)).clamp_min(1e-3)


def smooth(x: Float[Tensor, "batch 1 height width"], w: Float[Tensor, "1 1 side side"]) -> Tensor:
    """Return sums over the window at every place; the outside is zero."""
    return F.conv2d(x, w.to(x.dtype), padding=w.shape[-1] // 2)
