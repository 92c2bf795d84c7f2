"""Laplacian pyramid of images, and small convolutional networks that work at one of its levels.

With d, which averages an image over blocks of 2×2 pixels, and u, which enlarges by bilinear interpolation,

    I_0 = I,   I_{k+1} = d(I_k)                                (images, ever coarser)
    h_k = I_k − u(I_{k+1}) for k < K,   h_K = I_K              (the pyramid)
    I_k = u(I_{k+1}) + h_k                                     (reconstruction, exact for any d and u)

Burt & Adelson (1983), The Laplacian pyramid as a compact image code, sections 2 and 3. Denton, Chintala, Szlam & Fergus
(2015), Deep generative image models using a Laplacian pyramid of adversarial networks, section 2.2.

Differs from the papers: a block of d takes the place of a Gaussian filter. Sizes that do not halve are rounded up.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Size = tuple[int, int]

Images = Float[Tensor, "batch channels height width"]


class Pyramid(nn.Module):
    """Takes images apart into residuals of falling size and a coarse image, and puts them together.

    Args:
        sizes: height and width of the images of each level, the finest first.

    Raises:
        ValueError: there is no level, or one is not smaller than that before it.
    """

    def __init__(self, sizes: Sequence[Size]) -> None:
        super().__init__()
        fits = all(max(small) < max(large) and min(small) <= min(large) for large, small in pairwise(sizes))
        if not sizes or min(sizes[-1]) < 1 or not fits:
            raise ValueError(f"each level of a pyramid must be smaller than that before it, got {list(sizes)}")
        self.sizes = tuple(sizes)

    def images(self, x: Images) -> list[Tensor]:
        """Return I_0 … I_K, the image at every size."""
        found = [x]
        for size in self.sizes[1:]:
            found.append(F.adaptive_avg_pool2d(found[-1], size))
        return found

    def up(self, image: Images, level: int) -> Float[Tensor, "batch channels higher wider"]:
        """Return u(image) in the size of a level."""
        return F.interpolate(image, self.sizes[level], mode="bilinear", align_corners=False)

    def build(self, x: Images) -> list[Tensor]:
        """Return h_0 … h_K."""
        images = self.images(x)
        low = [self.up(coarse, level) for level, coarse in enumerate(images[1:])]
        return [image - smooth for image, smooth in zip(images, low, strict=False)] + images[-1:]

    def reconstruct(self, pyramid: Sequence[Tensor]) -> Images:
        """Return the images whose pyramid it is."""
        image = pyramid[-1]
        for level in reversed(range(len(pyramid) - 1)):
            image = self.up(image, level) + pyramid[level]
        return image


def halved(size: Size, levels: int) -> tuple[Size, ...]:
    """Return the sizes of a pyramid in which each is half of that before it, rounded up.

    >>> halved((28, 28), 3)
    ((28, 28), (14, 14), (7, 7))

    Raises:
        ValueError: no level, or more than the size can be halved.
    """
    if not 1 <= levels <= 1 + math.ceil(math.log2(max(size))):
        raise ValueError(f"images of {size[0]}×{size[1]} cannot have {levels} levels: choose another number")
    return tuple((math.ceil(size[0] / 2**k), math.ceil(size[1] / 2**k)) for k in range(levels))


class Planes(nn.Module):
    """Lays beside an image's channels one more for noise or a class, made by a linear map or by reshaping alone.

    Args:
        size: height and width.
        classes: entries of the one-hot code that a linear map makes a channel of; 0 for none.
    """

    def __init__(self, size: Size, classes: int = 0) -> None:
        super().__init__()
        self.size = size
        self.of_class = nn.Linear(classes, math.prod(size), bias=False) if classes else None

    def forward(self, planes: Sequence[Tensor], code: Sequence[Tensor]) -> Images:
        if self.of_class is not None:
            planes = [*planes, self.of_class(code[0])]
        return torch.cat([plane.reshape(len(plane), -1, *self.size) for plane in planes], 1)


class ResidualGenerator(nn.Module):
    """Noise (batch, height · width), a low-pass image and perhaps a class, to the image's high-pass residual.

    Args:
        shape: channels, height, width of the image.
        classes: of the one-hot code; 0 where there is none.
        hidden: channels of the two hidden layers.
        kernel: height and width of the filters, odd.
        stride: 2 works at half the size in between, for a quarter of the cost.
    """

    def __init__(self, shape: tuple[int, ...], classes: int, hidden: int, kernel: int = 3, stride: int = 2) -> None:
        super().__init__()
        channels, *size = shape
        self.size = size[0], size[1]
        self.planes = Planes(self.size, classes)
        inputs, pad = channels + 1 + bool(classes), kernel // 2
        self.layers = nn.Sequential(
            *(nn.Conv2d(inputs, hidden, kernel, stride, pad), nn.ReLU()),
            *(nn.Conv2d(hidden, hidden, kernel, 1, pad), nn.ReLU()),
            nn.ConvTranspose2d(hidden, channels, kernel + stride - 1, stride, pad),  # no pixel gets more than another
        )

    def forward(
        self, noise: Float[Tensor, "batch noise"], low: Images, *code: Float[Tensor, "batch classes"]
    ) -> Images:
        residual: Tensor = self.layers(self.planes((noise, low), code))
        return residual[..., : self.size[0], : self.size[1]]


class ImageDiscriminator(nn.Module):
    """An image, its low-pass image and perhaps its class, to the logit of its being real.

    Args:
        shape: channels, height, width of the image.
        classes: of the one-hot code; 0 where there is none.
        hidden: channels of the two layers.
        kernel: height and width of the filters, odd.
        stride: of the first layer; that of the second is 2.
        paired: look at the low-pass image too; else at the image alone, as published.
        dropout: share of the last layer's inputs left out.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        hidden: int,
        kernel: int = 5,
        stride: int = 2,
        paired: bool = True,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        channels, *size = shape
        self.paired, self.planes = paired, Planes((size[0], size[1]), classes)
        inputs, pad = channels * (1 + paired) + bool(classes), kernel // 2
        height, width = (math.ceil(math.ceil(n / stride) / 2) for n in size)
        self.layers = nn.Sequential(
            *(nn.Conv2d(inputs, hidden, kernel, stride, pad), nn.LeakyReLU(0.2)),
            *(nn.Conv2d(hidden, hidden, kernel, 2, pad), nn.LeakyReLU(0.2)),
            *(nn.Flatten(), nn.Dropout(dropout), nn.Linear(hidden * height * width, 1)),
        )

    def forward(self, x: Images, low: Images, *code: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch 1"]:
        logits: Tensor = self.layers(self.planes((x, low) if self.paired else (x,), code))
        return logits
