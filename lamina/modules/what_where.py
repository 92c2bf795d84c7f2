"""Pooling that says what is largest in each window and where, and unpooling that puts it back there.

Within a window of p × p numbers z at places t, hard pooling takes the maximum, and soft pooling averages with weights
that prefer what is large:

    hard    what = max z,                        where = argmax z
    soft    what = Σ_t w_t z_t,                  where = Σ_t w_t t,      w = softmax(β z)

As β grows, soft becomes hard. Unpooling gives zeros but at `where`; a soft place lies between up to four numbers, which
share `what` as in bilinear interpolation, so that the gradient reaches `where` too. Windows at the lower and right edge
are smaller where a side is no multiple of p.

Zhao, Mathieu, Goroshin & LeCun (2015), Stacked what-where auto-encoders, section 3; the switches are those of Zeiler,
Taylor & Fergus (2011), Adaptive deconvolutional networks.
"""

import math

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F


class WhatWhere(nn.Module):
    """Pools images over windows of `size` × `size` numbers, and unpools.

    Args:
        size: side of a window; windows do not overlap.
        beta: sharpness of soft pooling, above zero; None takes the maximum.

    Raises:
        ValueError: a size below one, or a sharpness that is not above zero.
    """

    def __init__(self, size: int, beta: float | None = None) -> None:
        super().__init__()
        if size < 1 or (beta is not None and beta <= 0):
            raise ValueError(f"pooling needs a size of at least 1 and beta above 0, got {size} and {beta}")
        self.size, self.beta = size, beta

    def forward(
        self, x: Float[Tensor, "batch maps height width"]
    ) -> tuple[Float[Tensor, "batch maps _rows _columns"], Shaped[Tensor, "batch maps _rows _columns *two"]]:
        """Return what and where: a maximum's place in its map, or the row and column of a mean place in its window."""
        if self.beta is None:
            what, where = F.max_pool2d(x, self.size, ceil_mode=True, return_indices=True)
            return what, where
        z = self.windows(x)
        weights = (self.beta * z).softmax(-1)
        return (weights * z).sum(-1), weights @ self.places(z)

    def unpool(
        self,
        what: Float[Tensor, "batch maps rows columns"],
        where: Shaped[Tensor, "batch maps rows columns *two"],
        height: int,
        width: int,
    ) -> Float[Tensor, "batch maps {height} {width}"]:
        """Return maps of the given size that are zero but where each window's `what` stood."""
        if self.beta is None:
            return F.max_unpool2d(what, where, [self.size, self.size], output_size=(height, width))
        distances = (where[..., None, :] - self.places(what)).abs()
        shares = (1 - distances).clamp_min(0).prod(-1)
        rows, columns = what.shape[2:]
        z = (what[..., None] * shares).reshape(*what.shape, self.size, self.size)
        maps = z.transpose(3, 4).reshape(*what.shape[:2], rows * self.size, columns * self.size)
        return maps[:, :, :height, :width]

    def windows(
        self, x: Float[Tensor, "batch maps height width"]
    ) -> Float[Tensor, "batch maps _rows _columns _places"]:
        """Return the numbers of each window, row by row; what lies beyond the edge has no weight."""
        height, width = x.shape[2:]
        least = torch.finfo(x.dtype).min / 2
        whole = F.pad(x, (0, -width % self.size, 0, -height % self.size), value=least)
        rows, columns = sides_after(self.size, height, width)
        cut = whole.reshape(*x.shape[:2], rows, self.size, columns, self.size)
        return cut.transpose(3, 4).flatten(4)

    def places(self, like: Tensor) -> Float[Tensor, "places 2"]:
        """Return the row and column of each number of a window."""
        side = torch.arange(self.size, dtype=like.dtype, device=like.device)
        return torch.cartesian_prod(side, side)


def sides_after(size: int, height: int, width: int) -> tuple[int, int]:
    """Return height and width of pooled maps."""
    return math.ceil(height / size), math.ceil(width / size)
