"""Convolutional generator and discriminator (DCGAN) for images of any size, of a given class or not.

With h₀ a map of a few pixels and c channels of the image, the generator doubles the side of its map at every layer,

    h₀ = relu(BN(W [z, y])),   hₗ = relu(BN(Kₗ ⋆ hₗ₋₁ + Vₗ y)),   G(z, y) = sigmoid(K ⋆ h + b)

where ⋆ is a transposed convolution of stride 2, and the discriminator halves it, with leaky units and strided
convolutions. Maps double in number wherever their sides halve. The paper lays the class beside the input of each layer
as planes of ones and zeros; the convolution of such a plane is a number for each map (but for the border), so here it
is added as one: Vₗ y. The discriminator's last layer has a row of weights for each class.

The layer beside the pixels has kernels of 6×6, which is a 3×3 convolution over blocks of 2×2 pixels: it is computed as
that, which takes less time. The others have 4×4. Maps lie in memory with channels last.

Radford, Metz & Chintala (2016), Unsupervised representation learning with deep convolutional generative adversarial
networks, section 3.

Differs from the paper: kernels of 5×5 there. Its networks for digits have one full hidden layer of 1,024 units each,
which may be had here (`hidden`); those for photographs have none. Its generator of photographs ends in tanh, for pixels
in −1..1: this is the sigmoid for pixels in 0..1. It draws the gains of the normalization around one; here they are one.
"""

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

SMALLEST = 4  # pixels of the smallest map, where the image allows it
DEVIATION = 0.02  # of the first weights; section 4
SLOPE = 0.2  # of the leaky units; section 4


class Generator(nn.Module):
    """Noise, and the one-hot code of a class if there are any, to images with values in 0..1.

    Args:
        shape: (channels, height, width) of an image.
        noise: numbers of noise an example.
        width: maps of half the image's side; twice as many of a fourth, and so on.
        hidden: units of a full hidden layer before the maps; 0 for no such layer.
        classes: length of the code; 0 for none.

    Raises:
        ValueError: `shape` is not that of an image.
    """

    def __init__(
        self, shape: tuple[int, ...], noise: int = 100, width: int = 32, hidden: int = 256, classes: int = 0
    ) -> None:
        super().__init__()
        (self.channels, self.height, self.breadth), (halvings, *self.least) = shape_of(shape), layout(shape)
        widths = [width << i for i in reversed(range(halvings))]
        self.full = Layer(nn.Linear(noise + classes, hidden, bias=False), nn.BatchNorm1d(hidden)) if hidden else None
        self.first = nn.Linear((hidden or noise) + classes, widths[0] * math.prod(self.least), bias=False)
        self.norm = nn.BatchNorm2d(widths[0])
        self.layers = nn.ModuleList(
            Layer(nn.ConvTranspose2d(low, high, 4, 2, 1, bias=False), nn.BatchNorm2d(high), classes)
            for low, high in pairwise(widths)
        )
        self.last = nn.Conv2d(width, 4 * self.channels, 3, padding=1)
        self.apply(initialize)

    def forward(
        self, noise: Float[Tensor, "batch noise"], code: Float[Tensor, "batch classes"] | None = None
    ) -> Float[Tensor, "batch {self.channels} {self.height} {self.breadth}"]:
        h = beside(noise, code)
        if self.full is not None:
            h = beside(F.relu(self.full(h, None)), code)
        h = self.first(h).unflatten(1, (*self.least, -1)).permute(0, 3, 1, 2)  # channels last
        h = F.relu(self.norm(h))
        for layer in self.layers:
            h = F.relu(layer(h, code))
        x = F.pixel_shuffle(self.last(h), 2).sigmoid()
        return x[:, :, : self.height, : self.breadth]


class Discriminator(nn.Module):
    """Images, and the one-hot codes of their classes if there are any, to logits of being real.

    Args:
        shape: (channels, height, width) of an image.
        width: maps of half the image's side; twice as many of a fourth, and so on.
        hidden: units of a full hidden layer after the maps; 0 for no such layer.
        classes: length of the code; 0 for none.

    Raises:
        ValueError: `shape` is not that of an image.
    """

    def __init__(self, shape: tuple[int, ...], width: int = 32, hidden: int = 256, classes: int = 0) -> None:
        super().__init__()
        (channels, height, breadth), (halvings, *least) = shape_of(shape), layout(shape)
        self.missing = (-breadth % 2**halvings, -height % 2**halvings)
        widths = [width << i for i in range(halvings)]
        self.first = Layer(nn.Conv2d(4 * channels, width, 3, padding=1), nn.Identity(), classes)
        self.layers = nn.ModuleList(
            Layer(nn.Conv2d(low, high, 4, 2, 1, bias=False), nn.BatchNorm2d(high), classes)
            for low, high in pairwise(widths)
        )
        features = widths[-1] * math.prod(least)
        self.full = Layer(nn.Linear(features, hidden, bias=False), nn.BatchNorm1d(hidden), classes) if hidden else None
        self.last = nn.Linear(hidden or features, max(1, classes))
        self.apply(initialize)

    def forward(
        self, x: Float[Tensor, "batch channels height width"], code: Float[Tensor, "batch classes"] | None = None
    ) -> Float[Tensor, "batch 1"]:
        right, below = self.missing
        if right or below:
            x = F.pad(x, (0, right, 0, below))
        h = F.leaky_relu(self.first(F.pixel_unshuffle(x, 2), code), SLOPE)
        for layer in self.layers:
            h = F.leaky_relu(layer(h, code), SLOPE)
        h = h.permute(0, 2, 3, 1).flatten(1)
        if self.full is not None:
            h = F.leaky_relu(self.full(h, code), SLOPE)
        logits: Tensor = self.last(h)
        return logits if code is None else (logits * code).sum(1, keepdim=True)


class Layer(nn.Module):
    """A linear map or a convolution, a number that the class adds to each unit or map, and batch normalization.

    Args:
        weights: the linear map or the convolution.
        norm: what normalizes its output.
        classes: length of the code; 0 for none.
    """

    def __init__(self, weights: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, norm: nn.Module, classes: int = 0) -> None:
        super().__init__()
        outputs = weights.out_features if isinstance(weights, nn.Linear) else weights.out_channels
        self.weights, self.norm = weights, norm
        self.shift = nn.Linear(classes, outputs, bias=False) if classes else None

    def forward(
        self, h: Float[Tensor, "batch maps *sides"], code: Float[Tensor, "batch classes"] | None
    ) -> Float[Tensor, "batch _maps *_sides"]:
        h = self.weights(h)
        if self.shift is not None:
            h = h + self.shift(code).unflatten(1, (-1, *[1] * (h.ndim - 2)))
        out: Tensor = self.norm(h)
        return out


def beside(
    h: Float[Tensor, "batch features"], code: Float[Tensor, "batch classes"] | None
) -> Float[Tensor, "batch both"]:
    """Return rows with their codes after them, if there are any."""
    return h if code is None else torch.cat([h, code], 1)


def initialize(layer: nn.Module) -> None:
    """Draw a layer's weights as the paper does, with channels last in memory, and set its biases to zero."""
    if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        if layer.weight.ndim == 4:
            layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
        nn.init.normal_(layer.weight, 0, DEVIATION)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def shape_of(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return channels, height and width.

    Raises:
        ValueError: `shape` is not that of an image.
    """
    if len(shape) != 3:
        raise ValueError(f"a DCGAN needs images (channels, height, width), got shape {shape}; for rows use gan")
    channels, height, width = shape
    return channels, height, width


def layout(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return how often the sides are halved, and height and width of the smallest map; sides are rounded up to fit.

    Two halvings at least, and as many more as give whole sides of 4 pixels or more.

    >>> layout((1, 28, 28)), layout((3, 32, 32)), layout((3, 64, 48))
    ((2, 7, 7), (3, 4, 4), (3, 8, 6))
    """
    height, width = (math.ceil(side / 4) for side in shape_of(shape)[1:])
    halvings = 2
    while height % 2 == width % 2 == 0 and min(height, width) >= 2 * SMALLEST:
        height, width, halvings = height // 2, width // 2, halvings + 1
    return halvings, height, width
