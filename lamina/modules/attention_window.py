"""A window of Gaussian filters that looks at a part of an image, or writes one, and moves by gradients.

    g_X = ½ (A + 1)(g̃_X + 1),   g_Y = ½ (B + 1)(g̃_Y + 1),   δ = (max(A, B) - 1) / (N - 1) δ̃           (eq. 22 to 24)
    μ_X[i] = g_X + (i - N/2 - ½) δ                                                                      (eq. 19)
    F_X[i, a] = exp(-(a - μ_X[i])² / 2σ²) / Z_X,   Σ_a F_X[i, a] = 1,   F_Y alike                       (eq. 25 and 26)
    read(x) = γ F_Y x F_Xᵀ   (N, N),   write(w) = 1/γ F_Yᵀ w F_X   (B, A)                               (eq. 27 and 29)

for an image of width A and height B, pixels counted from 1, and five numbers g̃_X, g̃_Y, log σ², log δ̃, log γ a window.
Gregor, Danihelka, Graves, Rezende & Wierstra (2015), "DRAW: a recurrent neural network for image generation", section
3.2. All channels of an image are seen through the same window.

Differs from the paper: N = 1 has δ = (max(A, B) - 1) δ̃, where eq. 24 would divide by zero. The rows are normalized
as a softmax, so they sum to one wherever the window lies. Windows begin wide (`start`).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

NUMBERS = 5  # of a window: g̃_X, g̃_Y, log σ², log δ̃, log γ


class Window(NamedTuple):
    """The filters of a batch of windows, and γ."""

    rows: Float[Tensor, "batch N height"]  # F_Y
    columns: Float[Tensor, "batch N width"]  # F_X
    gain: Float[Tensor, "batch"]


class Windows(nn.Module):
    """Windows of one or more kinds on images of one size, each of N × N filters.

    Images are (batch, height, channels, width), so that neither product needs a transposed copy.

    Args:
        height: of an image, B.
        width: of an image, A.
        sides: N of each kind, such as that of the reading and that of the writing window.

    Raises:
        ValueError: a side below 1, or larger than the image.
    """

    def __init__(self, height: int, width: int, sides: tuple[int, ...]) -> None:
        super().__init__()
        if min(sides) < 1 or max(sides) > max(height, width):
            raise ValueError(
                f"windows on images of {height}x{width} need sides of 1..{max(height, width)}, got {sides}"
            )
        self.height, self.width, self.sides = height, width, sides
        spread = torch.eye(len(sides)).repeat_interleave(torch.tensor(sides), 1)
        offsets = torch.cat([(torch.arange(side) - (side - 1) / 2) * self.span(side) for side in sides])
        self.spread: Tensor
        self.apart: Tensor
        self.pixels: Tensor
        self.register_buffer("spread", spread, persistent=False)  # from a number of each kind to one of each filter
        self.register_buffer("apart", spread * offsets, persistent=False)
        self.register_buffer("pixels", torch.arange(1.0, 1 + max(height, width)), persistent=False)

    def span(self, side: int) -> float:
        """Return δ of a window of N = `side` that spans the image, with δ̃ = 1."""
        return (max(self.height, self.width) - 1) / max(side - 1, 1)

    def start(self) -> Float[Tensor, "5 kinds"]:
        """Return numbers that spread each window over the whole image, as N × N tiles of δ = max(A, B) / N pixels.

        Filters have σ = δ / 2, so that together they see each pixel. The last kind, which writes, has 1/γ = δ², so that
        a patch of ones writes ones on average; the others have γ = δ, so that what they read of independent pixels
        varies about as much as a pixel does. With γ = 1 a wide window, whose filters' sums of one are spread thinly,
        would write hardly anything, and read nearly the same from all images.
        """
        spans = torch.tensor([self.span(side) for side in self.sides]).clamp_min(1.0)
        tiles = max(self.height, self.width) / torch.tensor(self.sides)
        numbers = torch.zeros(NUMBERS, len(self.sides))
        numbers[2] = 2 * torch.log(tiles / 2)
        numbers[3] = torch.log(tiles / spans)
        numbers[4] = torch.log(tiles)
        numbers[4, -1] *= -2
        return numbers

    def forward(self, numbers: Float[Tensor, "batch 5 kinds"]) -> list[Window]:
        """Return the window of each kind."""
        horizontal, vertical, log_variance, log_spacing, log_gain = numbers.unbind(1)
        offsets = log_spacing.exp() @ self.apart
        precision = (-0.5 * log_variance.neg().exp() @ self.spread)[:, :, None]
        filters = []
        for center, size in ((vertical, self.height), (horizontal, self.width)):
            means = torch.add(offsets, (center + 1) @ self.spread, alpha=0.5 * (size + 1))
            distances = self.pixels[:size] - means[:, :, None]
            filters.append(torch.split((distances.square() * precision).softmax(2), list(self.sides), 1))
        return [Window(*parts) for parts in zip(*filters, log_gain.exp().unbind(1), strict=True)]


def read(images: Float[Tensor, "batch height channels width"], window: Window) -> Float[Tensor, "batch N channels N"]:
    """Return γ F_Y x F_Xᵀ."""
    batch, _, channels, width = images.shape
    lines = torch.bmm(window.rows * window.gain[:, None, None], images.flatten(2))
    patch = torch.bmm(lines.view(batch, -1, width), window.columns.transpose(1, 2))
    return patch.view(batch, -1, channels, patch.shape[2])


def write(
    canvas: Float[Tensor, "batch height channels width"], patch: Float[Tensor, "batch N channels N"], window: Window
) -> Float[Tensor, "batch height channels width"]:
    """Return the canvas with 1/γ F_Yᵀ w F_X added."""
    batch, side = patch.shape[:2]
    lines = torch.bmm(patch.reshape(batch, -1, side), window.columns / window.gain[:, None, None])
    flat = torch.baddbmm(canvas.flatten(2), window.rows.transpose(1, 2), lines.view(batch, side, -1))
    return flat.view(canvas.shape)
