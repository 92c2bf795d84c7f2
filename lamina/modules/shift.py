"""Random shifts of images while training, so that a network sees each at many places."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class Shift(nn.Module):
    """Move each image by up to `pixels` down or up and right or left, at random; its edge fills the gap.

    Nothing is moved in evaluation mode.
    """

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.pixels = pixels

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        if not self.training:
            return x
        count, _, height, width = x.shape
        wide = F.pad(x, [self.pixels] * 4, mode="replicate")
        places = wide.unfold(2, height, 1).unfold(3, width, 1)  # (batch, channels, down, right, height, width), a view
        down, right = torch.randint(2 * self.pixels + 1, (2, count), device=x.device)
        moved: Tensor = places[torch.arange(count, device=x.device), :, down, right]
        return moved

    def extra_repr(self) -> str:
        return f"pixels={self.pixels}"
