"""Input normalization that is fitted on training data and kept inside the system, so that it takes raw input."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Standardize(nn.Module):
    """Subtract a mean and divide by a scale, both fixed.

    Args:
        mean: broadcast against one example.
        scale: the same; never zero.
    """

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.mean: Tensor
        self.scale: Tensor

    @classmethod
    def fitted(cls, x: Float[Tensor, "examples *shape"]) -> "Standardize":
        """Return what gives these examples mean 0 and standard deviation 1.

        Images share both numbers among the pixels of a channel; columns of rows have their own, and those that never
        change are only centered.
        """
        over = (0, 2, 3) if x.ndim == 4 else (0,)
        mean, scale = x.mean(over, keepdim=True)[0], x.std(over, correction=0, keepdim=True)[0]
        return cls(mean, torch.where(scale > 1e-6 * (1 + mean.abs()), scale, 1.0))  # rounding is no variation

    def forward(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
        return (x - self.mean) / self.scale
