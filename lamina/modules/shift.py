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
        down, right = torch.randint(2 * self.pixels + 1, (2, count, 1), device=x.device)
        rows, columns = (torch.arange(side, device=x.device) for side in (height, width))
        example = torch.arange(count, device=x.device)[:, None, None]
        moved = wide.permute(0, 2, 3, 1)[example, (rows + down)[:, :, None], (columns + right)[:, None, :]]
        return moved.permute(0, 3, 1, 2)

    def extra_repr(self) -> str:
        return f"pixels={self.pixels}"
