"""What a recurrent network that draws sees of x in a glimpse, and adds to its canvas: the whole, or windows.

    read(x, x̂, h) = [x, x̂],   write(h) = W h + b                                                 (eq. 17 and 18)
    read(x, x̂, h) = γ [F_Y x F_Xᵀ, F_Y x̂ F_Xᵀ],   write(h) = 1/γ' F'_Yᵀ w F'_X                   (eq. 27 to 29)

The windows (`lamina.modules.attention_window`) and the patch w are a linear function of the same h, so one product
gives the window of this writing, what is written, and the window of the next reading. Gregor et al. (2015), "DRAW: a
recurrent neural network for image generation", sections 3.1 and 3.2.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lamina.modules.attention_window import NUMBERS, Window, Windows, read, write

SMALL = 0.01  # standard deviation of the weights that move the windows at first


class Look(NamedTuple):
    """What the decoder's units say: what to write, and where to read and to write if there are windows."""

    patch: Float[Tensor, "batch ..."]
    reading: Window | None
    writing: Window | None


class Whole(nn.Module):
    """The view without windows.

    Args:
        visible: numbers of x.
        hidden: units that the canvas is written from.

    Raises:
        ValueError: there are no units.
    """

    def __init__(self, visible: int, hidden: int) -> None:
        super().__init__()
        self.known = self.seen = visible  # numbers that are read alike in each glimpse, and of those that are not
        self.head = head_of(hidden, visible)

    def laid(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch visible"]:
        """Return flat values in the order of the canvas."""
        return v

    def flat(self, canvas: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch visible"]:
        """Return flat values in the order of x."""
        return canvas

    def opened(self, out: Float[Tensor, "batch visible"]) -> Look:
        """Return what the head's output says."""
        return Look(out, None, None)

    def read(
        self, x: Float[Tensor, "batch visible"], error: Float[Tensor, "batch visible"], look: Look
    ) -> Float[Tensor, "batch visible"]:
        """Return what is read beside what is known, x̂."""
        return error

    def written(self, canvas: Float[Tensor, "batch visible"], look: Look) -> Float[Tensor, "batch visible"]:
        """Return the canvas with the output added."""
        return canvas + look.patch


class Attention(nn.Module):
    """The view through windows, on images of any size and number of channels.

    Args:
        shape: channels, height and width of x.
        hidden: units that the windows and the canvas are written from.
        reading: N of the window that reads.
        writing: N of the window that writes.

    Raises:
        ValueError: x is no image, a window does not fit it, or there are no units.
    """

    def __init__(self, shape: tuple[int, ...], hidden: int, reading: int, writing: int) -> None:
        super().__init__()
        if len(shape) != 3:
            raise ValueError(f"attention needs images, but an example is {shape}; use draw_no_attention for rows")
        self.channels, self.height, self.width = shape
        self.windows = Windows(self.height, self.width, (reading, writing))
        self.patch = (writing, self.channels, writing)
        self.known, self.seen = 0, 2 * self.channels * reading**2
        self.head = head_of(hidden, 2 * NUMBERS + math.prod(self.patch))
        with torch.no_grad():
            self.head.weight[: 2 * NUMBERS].normal_(std=SMALL)
            self.head.bias[: 2 * NUMBERS] = self.windows.start().flatten()

    def laid(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch visible"]:
        """Return flat values in the order of the canvas: row by row, in each row channel by channel."""
        return v.view(-1, self.channels, self.height, self.width).transpose(1, 2).flatten(1)

    def flat(self, canvas: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch visible"]:
        """Return flat values in the order of x."""
        return self.image(canvas).transpose(1, 2).flatten(1)

    def image(self, canvas: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch height channels width"]:
        """Return values in the order of the canvas as an image."""
        return canvas.view(-1, self.height, self.channels, self.width)

    def opened(self, out: Float[Tensor, "batch outputs"]) -> Look:
        """Return what the head's output says."""
        numbers, patch = out[:, : 2 * NUMBERS], out[:, 2 * NUMBERS :]
        reading, writing = self.windows(numbers.reshape(-1, NUMBERS, 2))
        return Look(patch.reshape(-1, *self.patch), reading, writing)

    def read(
        self, x: Float[Tensor, "batch visible"], error: Float[Tensor, "batch visible"], look: Look
    ) -> Float[Tensor, "batch seen"]:
        """Return the patches of x and x̂."""
        assert look.reading is not None
        return read(torch.cat([self.image(x), self.image(error)], 2), look.reading).flatten(1)

    def written(self, canvas: Float[Tensor, "batch visible"], look: Look) -> Float[Tensor, "batch visible"]:
        """Return the canvas with the patch added where the window is."""
        assert look.writing is not None
        return write(self.image(canvas), look.patch, look.writing).flatten(1)


def head_of(hidden: int, outputs: int) -> nn.Linear:
    """Return the layer that says what and where to write.

    Raises:
        ValueError: there are no units.
    """
    if hidden < 1:
        raise ValueError(f"hidden must be at least 1, got {hidden}")
    return nn.Linear(hidden, outputs)
