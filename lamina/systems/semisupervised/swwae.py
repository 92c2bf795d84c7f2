"""Stacked what-where auto-encoder: a convolutional classifier whose every pooling can be undone.

Pooling keeps the maxima, "what", for the layers above, and hands their places, "where", to the decoder, which puts what
it has restored back in these places. With h⁰ the standardized image and stages m = 1..M:

    h̃⁰ = h⁰ + noise,   h̃ᵐ = dropout(hᵐ)            (in training)
    aᵐ = convolutions(h̃ᵐ⁻¹),   whatᵐ, whereᵐ = pool(aᵐ),   hᵐ = relu(whatᵐ),   logits = W h̃ᴹ + b
    ĥᴹ = h̃ᴹ,   âᵐ = unpool(ĥᵐ, whereᵐ),   ĥᵐ⁻¹ = relu(transposed convolutions(âᵐ)),   no relu for the image ĥ⁰
    loss = −log p(y | x) + λ_rec mean (h⁰ − ĥ⁰)² + λ_M Σ_{0<m<M} mean (hᵐ − ĥᵐ)²

The first term is over labelled examples, the others are over unlabelled ones and are means over the numbers of a layer.
Zhao, Mathieu, Goroshin & LeCun (2015), Stacked what-where auto-encoders, sections 3 and 4.

Differs from the paper: windows at the edge are pooled although they are not whole, so that no pixel is lost; squared
errors are means over the numbers of a layer, so that λ does not depend on the size of the images; maps are rectified
after pooling, which gives the same maxima for a fourth of the work. Dropout is on all pooled maps, and in training the
encoder sees the image with Gaussian noise, which the paper has not; either may be zero.
"""

import math
import re

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lamina.core import System, Terms
from lamina.modules.corruption import GaussianNoise
from lamina.modules.standardize import Standardize
from lamina.modules.what_where import WhatWhere, sides_after

PAPER = "(64)5c-2p-(64)3c-(64)3c-2p-(128)3c-2p"  # for MNIST; the classes' full layer follows


class Stage(nn.Module):
    """Convolutions and a pooling, with what undoes them.

    Args:
        channels: of the input.
        convolutions: maps and side of the filters of each; images keep their size.
        pool: pools what the last one gives.
        image: whether the input is an image; anything else is rectified, and so is what is restored of it.
    """

    def __init__(self, channels: int, convolutions: list[tuple[int, int]], pool: WhatWhere, image: bool) -> None:
        super().__init__()
        up: list[nn.Module] = []
        down: list[nn.Module] = []
        for maps, side in convolutions:
            up += [nn.Conv2d(channels, maps, side, padding=side // 2), nn.ReLU()]
            down = [nn.ConvTranspose2d(maps, channels, side, padding=side // 2), nn.ReLU(), *down]
            channels = maps
        self.up, self.down = nn.Sequential(*up[:-1]), nn.Sequential(*(down[:-1] if image else down))
        self.pool = pool
        for layer in (*self.up, *self.down):
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                assert layer.bias is not None
                nn.init.normal_(layer.weight, std=math.sqrt(2 / (layer.in_channels * layer.kernel_size[0] ** 2)))
                nn.init.zeros_(layer.bias)

    def forward(self, h: Float[Tensor, "batch channels height width"]) -> tuple[Tensor, Tensor]:
        """Return the rectified "what", and "where"."""
        what, where = self.pool(self.up(h))
        return what.relu(), where

    def restored(self, what: Tensor, where: Tensor, shape: torch.Size) -> Float[Tensor, "batch channels height width"]:
        """Return an input of the given shape."""
        h: Tensor = self.down(self.pool.unpool(what, where, *shape[2:]))
        return h


class SWWAE(System):
    """Tells classes from few labels, as its pooled maps must also give every image back.

    Args:
        inputs: applied to raw images first.
        shape: channels, height and width of an image.
        classes: how many.
        network: the paper's notation, such as "(64)5c-2p": 64 maps of 5x5 filters, then 2x2 pooling, which comes last.
        reconstruction: weight λ_rec of the image's squared error.
        middle: weight λ_M of the squared errors between stages.
        dropout: share of the numbers of every "what" that is left out in training.
        noise: standard deviation of the noise on the standardized image in training.
        beta: sharpness of soft pooling; None takes the maximum.

    Raises:
        ValueError: no image, or a network, weight or share that makes no sense.
    """

    def __init__(
        self,
        inputs: Standardize,
        shape: tuple[int, ...],
        classes: int,
        network: str = PAPER,
        reconstruction: float = 1.0,
        middle: float = 0.1,
        dropout: float = 0.3,
        noise: float = 0.5,
        beta: float | None = None,
    ) -> None:
        super().__init__()
        if len(shape) != 3:
            raise ValueError(f"swwae needs images (channels, height, width), got shape {shape}; for rows use ladder")
        if min(reconstruction, middle) < 0 or not 0 <= dropout < 1:
            raise ValueError(
                f"weights are at least 0 and dropout in 0..1, got {reconstruction}, {middle} and {dropout}"
            )
        self.inputs, self.corrupt = inputs, GaussianNoise(noise)
        self.reconstruction, self.middle = reconstruction, middle
        self.stages = nn.ModuleList()
        channels, height, width = shape
        for convolutions, size in parsed(network):
            self.stages.append(Stage(channels, convolutions, WhatWhere(size, beta), image=not self.stages))
            channels = convolutions[-1][0]
            height, width = sides_after(size, height, width)
        self.dropout, self.output = nn.Dropout(dropout), nn.Linear(channels * height * width, classes)
        # pooling is several times faster in this layout on a processor; torch's stubs lack the argument
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.no_grad()
    def predict(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch classes"]:
        """Return class probabilities."""
        return self.logits(x).softmax(1)

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch features"]:
        """Return "what" at the top."""
        return self.ascend(self.inputs(x))[-1].flatten(1)

    @torch.no_grad()
    def reconstruct(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
        """Return the images that the decoder makes of the top's "what" and of "where" on the way, in raw form."""
        h, places, top = self.ascend(self.inputs(x))
        return self.descend(top, h, places)[0] * self.inputs.scale + self.inputs.mean

    def logits(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch classes"]:
        a: Tensor = self.output(self.ascend(self.inputs(x))[-1].flatten(1))
        return a

    def ascend(self, image: Float[Tensor, "batch channels height width"]) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Return h⁰ to hᴹ, where¹ to whereᴹ, and hᴹ as the decoder and the classes' layer see it."""
        h, places, below = [image], list[Tensor](), image
        for stage in self.stages:
            what, where = stage(below)
            h.append(what)
            places.append(where)
            below = self.dropout(what)
        return h, places, below

    def descend(self, top: Tensor, h: list[Tensor], places: list[Tensor]) -> list[Tensor]:
        """Return ĥ⁰ to ĥᴹ; of h, only the shapes are looked at."""
        restored = [top]
        for level in reversed(range(len(self.stages))):
            stage = self.stages[level]
            assert isinstance(stage, Stage)
            restored.insert(0, stage.restored(restored[0], places[level], h[level].shape))
        return restored

    def loss(
        self,
        x: Float[Tensor, "labelled *shape"],
        y: Int[Tensor, " labelled"],
        unlabelled: Float[Tensor, "batch *shape"],
    ) -> Terms:
        """Return the cross-entropy in nats, and the weighted squared errors of the image and between the stages."""
        few = len(x)
        image = self.inputs(torch.cat([x, unlabelled]))
        h, places, top = self.ascend(self.corrupt(image))
        terms = {"nll": F.cross_entropy(self.output(top[:few].flatten(1)), y)}
        if self.reconstruction or self.middle:
            targets = [part[few:] for part in (image, *h[1:-1])]
            restored = self.descend(top[few:], [part[few:] for part in h], [part[few:] for part in places])
            errors = [F.mse_loss(ours, given) for ours, given in zip(restored, targets, strict=False)]
            terms["reconstruction"] = self.reconstruction * errors[0]
            if errors[1:]:
                terms["middle"] = self.middle * torch.stack(errors[1:]).sum()
        return terms

    def metrics(self, x: Float[Tensor, "batch *shape"], y: Int[Tensor, " batch"]) -> Terms:
        a = self.logits(x)
        return {"error": (a.argmax(1) != y).float().mean(), "nll": F.cross_entropy(a, y)}


def parsed(network: str) -> list[tuple[list[tuple[int, int]], int]]:
    """Return the stages that the paper's notation names: maps and filter side of each convolution, and the pooling.

    Raises:
        ValueError: it is not of that form.
    """
    stage = r"((?:\([1-9]\d*\)\d*[13579]c-)+)([1-9]\d*)p"
    if not re.fullmatch(f"{stage}(-{stage})*", network):
        raise ValueError(f"a network is like '{PAPER}', with odd sides of filters and a pooling last, got '{network}'")
    return [
        ([(int(maps), int(side)) for maps, side in re.findall(r"\((\d+)\)(\d+)c", convolutions)], int(size))
        for convolutions, size in re.findall(stage, network)
    ]
