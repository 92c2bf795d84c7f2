"""LeNet-5, as the tutorial draws it and as it was in 1998, as the sequence of its layers; the last gives the logits.

The tutorial's: convolution, max-pooling and tanh twice, then three full layers. The one of 1998:

    S2, S4   y = A tanh(S (coefficient Σ x + bias)),  the sum over 2×2 neighbors,  A = 1.7159, S = 2/3
    C3       each map sees the maps of table I only
    output   −yᵢ = −‖F6 − codeᵢ‖²,  the Euclidean radial basis functions of eq. 7

LeCun, Bottou, Bengio & Haffner (1998), Gradient-based learning applied to document recognition, section II.B.

Differs from the paper: the codes of the classes are drawn at random, where the paper draws stylized characters, as they
must serve any classes; and images are standardized, not mapped to −0.1..1.175.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lamina.modules.conv_pool import ConvPoolTanh

SMALLEST = 20  # pixels; two convolutions and poolings leave 2x2 of them
TABLE = (  # table I: the maps of S2 that each map of C3 sees
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (4, 5, 0), (5, 0, 1)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (3, 4, 5, 0), (4, 5, 0, 1), (5, 0, 1, 2)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5)),
)


def lenet5(shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Return the tutorial's LeNet-5: 6 and 16 maps, max-pooling, 120 and 84 units, tanh.

    Pooling comes before tanh: both orders give the same, and this one has a fourth of the squashing to do.

    Raises:
        ValueError: `shape` is not (channels, height, width).
    """
    resized = enlarged(shape)
    maps = nn.Sequential(
        *(nn.Conv2d(shape[0], 6, 5, padding=2), nn.MaxPool2d(2), nn.Tanh()),
        *(nn.Conv2d(6, 16, 5), nn.MaxPool2d(2), nn.Tanh()),
    )
    return nn.Sequential(
        *resized,
        ConvPoolTanh(maps),
        *(nn.Flatten(), nn.Linear(16 * math.prod(pooled(shape)), 120), nn.Tanh()),
        *(nn.Linear(120, 84), nn.Tanh()),
        nn.Linear(84, classes),
    )


def lenet5_1998(shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Return LeNet-5 as published; on 28x28 gray images with ten classes it has 60,000 trainable parameters.

    Raises:
        ValueError: `shape` is not (channels, height, width).
    """
    network = nn.Sequential(
        *enlarged(shape),
        *(nn.Conv2d(shape[0], 6, 5, padding=2), Squash(), Subsample(6), Squash()),
        *(TableConvolution(), Squash(), Subsample(16), Squash()),
        *(nn.Flatten(), nn.Linear(16 * math.prod(pooled(shape)), 120), Squash()),
        *(nn.Linear(120, 84), Squash()),
        Codes(84, classes),
    )
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.uniform_(layer.weight, -2.4 / layer.weight[0].numel(), 2.4 / layer.weight[0].numel())
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return network


class Squash(nn.Module):
    """1.7159 tanh(2x/3), which maps ±1 to ±1 (appendix A)."""

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return 1.7159 * torch.tanh(x * (2 / 3))


class Subsample(nn.Module):
    """The sum of 2×2 neighbors, times a coefficient and plus a bias that each map learns."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.coefficient = nn.Parameter(torch.full((maps,), 0.25))
        self.bias = nn.Parameter(torch.zeros(maps))

    def forward(self, x: Float[Tensor, "batch maps height width"]) -> Float[Tensor, "batch maps _h _w"]:
        sums = 4 * F.avg_pool2d(x, 2)
        return sums * self.coefficient[:, None, None] + self.bias[:, None, None]


class TableConvolution(nn.Module):
    """Convolution C3, with 5×5 weights for the pairs of maps of table I alone."""

    def __init__(self) -> None:
        super().__init__()
        pairs = [(to, of) for to, maps in enumerate(TABLE) for of in maps]
        self.register_buffer("place", torch.tensor([6 * to + of for to, of in pairs]), persistent=False)
        self.place: Tensor
        self.weight = nn.Parameter(torch.empty(len(pairs), 5, 5))
        self.bias = nn.Parameter(torch.zeros(len(TABLE)))
        with torch.no_grad():
            for weight, (to, _) in zip(self.weight, pairs, strict=True):
                weight.uniform_(-2.4 / (25 * len(TABLE[to])), 2.4 / (25 * len(TABLE[to])))

    def forward(self, x: Float[Tensor, "batch 6 height width"]) -> Float[Tensor, "batch 16 _h _w"]:
        filters = self.weight.new_zeros(len(TABLE) * 6, 5, 5).index_copy(0, self.place, self.weight)
        return F.conv2d(x, filters.view(len(TABLE), 6, 5, 5), self.bias)


class Codes(nn.Module):
    """Minus the squared distance of the features to each class's fixed code of −1 and +1 (eq. 7)."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.randint(2, (classes, features)) * 2.0 - 1)
        self.codes: Tensor

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch classes"]:
        return -(x[:, None] - self.codes).square().sum(2)


def enlarged(shape: tuple[int, ...]) -> list[nn.Module]:
    """Return what makes small images large enough, by whole factors.

    Raises:
        ValueError: `shape` is not that of an image.
    """
    if len(shape) != 3:
        raise ValueError(f"LeNet-5 needs images (channels, height, width), got shape {shape}; for rows use mlp")
    factor = factor_of(shape)
    return [nn.Upsample(scale_factor=factor)] if factor > 1 else []


def factor_of(shape: tuple[int, ...]) -> int:
    """Return how many times an image must be enlarged."""
    return math.ceil(SMALLEST / min(shape[1:]))


def pooled(shape: tuple[int, ...]) -> list[int]:
    """Return height and width after both convolutions and poolings."""
    return [(side * factor_of(shape) // 2 - 4) // 2 for side in shape[1:]]
