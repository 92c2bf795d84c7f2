"""Convolution, max-pooling and tanh as one step, several times faster than one after the other on a processor."""

import math
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lamina.kernels.threads import in_threads


class ConvPoolTanh(nn.Module):
    """Stages of convolution, 2×2 max-pooling and tanh.

    On a CPU in float32 they run in the compiled kernel of `lamina.kernels.conv_pool`; elsewhere, under autocast or
    `torch.compile`, and where the input wants a gradient, in the layers themselves. Both give the same to rounding.

    Args:
        layers: convolution, pooling, tanh; again and again. Convolutions have square kernels and no stride.
    """

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers
        self.convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
        kinds = [type(layer) for layer in layers]
        assert kinds == [nn.Conv2d, nn.MaxPool2d, nn.Tanh] * len(self.convolutions)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch maps _h _w"]:
        if not self.fits(x):
            return cast(Tensor, self.layers(x))
        pads = [int(layer.padding[0]) for layer in self.convolutions]
        parameters = [p for layer in self.convolutions for p in (layer.weight, layer.bias)]
        return cast(Tensor, Stages.apply(x, pads, *parameters))  # type: ignore[no-untyped-call]

    def fits(self, x: Tensor) -> bool:
        """Return whether the kernel can take this input."""
        plain = x.device.type == "cpu" and x.dtype == torch.float32 == self.convolutions[0].weight.dtype
        special = torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling()
        return plain and not special and not x.requires_grad


class Stages(torch.autograd.Function):
    """The stages in the kernel's layout: pixels of whole vectors of channels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, pads: list[int], *parameters: Tensor) -> Tensor:
        y, planes, places = x.permute(0, 2, 3, 1), list[Tensor](), list[Tensor]()
        for pad, weight, bias in zip(pads, parameters[::2], parameters[1::2], strict=True):
            channels = weight.shape[1]
            planes.append(padded(y, pad, filled(channels) if planes or channels > 1 else 1))
            y, where = values(planes[-1], weight, bias)
            places.append(where)
        ctx.pads = pads
        ctx.save_for_backward(*planes, *places, y, *parameters[::2])
        return y[..., : parameters[-1].numel()].permute(0, 3, 1, 2).contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        saved, levels = ctx.saved_tensors, len(ctx.pads)
        planes, places, y, weights = (
            saved[:levels],
            saved[levels : 2 * levels],
            saved[2 * levels],
            saved[2 * levels + 1 :],
        )
        slope = laid(slopes[0].permute(0, 2, 3, 1), tuple(y.shape))
        found: list[Tensor] = []
        for level in reversed(range(levels)):
            of_weight, of_bias, of_plane = gradients(planes[level], y, places[level], slope, weights[level], level > 0)
            found = [of_weight, of_bias, *found]
            if of_plane is not None:
                slope, y = (cropped(x, ctx.pads[level]).contiguous() for x in (of_plane, planes[level]))
        return None, None, *found


def values(plane: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Return one stage's y, and the places of the maxima."""
    from lamina.kernels import conv_pool

    maps, channels, side, _ = weight.shape
    count, height, width, step = plane.shape
    wide = filled(maps)
    size = (count, (height - side + 1) // 2, (width - side + 1) // 2, wide)
    y, where = plane.new_empty(size), torch.empty(size, dtype=torch.uint8)
    filters = flat(laid(weight.permute(2, 3, 1, 0), (side, side, channels, wide)))
    offsets = flat(laid(bias, (wide,)))

    def work(part: slice) -> None:
        form = (part.stop - part.start, height, width, step, side, channels)
        conv_pool.forward(flat(plane[part]), form, filters, offsets, wide, flat(y[part]), flat(where[part]))

    in_threads(count, work)
    return y, where


def gradients(
    plane: Tensor, y: Tensor, where: Tensor, slope: Tensor, weight: Tensor, inner: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the gradients of one stage's weights, biases and, unless it is the first, input; given that of y."""
    from lamina.kernels import conv_pool

    maps, channels, side, _ = weight.shape
    count, height, width, step = plane.shape
    wide = y.shape[3]
    row = math.ceil(side * step / conv_pool.LANES) * conv_pool.LANES
    of_plane = torch.zeros_like(plane) if inner else None
    rows = laid(weight.permute(0, 2, 3, 1), (maps, side, side, step)) if inner else weight

    def work(part: slice) -> tuple[Tensor, Tensor]:
        form, given, places = (
            (part.stop - part.start, height, width, step, side, row),
            flat(slope[part]),
            flat(where[part]),
        )
        of_weight = plane.new_zeros(maps, side, row)
        conv_pool.weight_gradient(flat(plane[part]), form, flat(y[part]), given, wide, maps, places, flat(of_weight))
        if of_plane is not None:
            conv_pool.input_gradient(flat(of_plane[part]), form, given, wide, maps, places, flat(rows))
        return of_weight, slope[part].sum((0, 1, 2))[:maps]

    of_weight, of_bias = (torch.stack(parts).sum(0) for parts in zip(*in_threads(count, work), strict=True))
    pixels = of_weight[:, :, : side * step].reshape(maps, side, side, step)
    return pixels[..., :channels].permute(0, 3, 1, 2).contiguous(), of_bias, of_plane


def filled(channels: int) -> int:
    """Return how many numbers a pixel of so many channels takes: a vector, or pairs of vectors."""
    return 8 if channels <= 8 else math.ceil(channels / 16) * 16


def laid(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return a tensor laid in the first corner of zeros."""
    out = x.new_zeros(size)
    out[tuple(slice(n) for n in x.shape)] = x
    return out


def padded(y: Float[Tensor, "batch height width _c"], pad: int, step: int) -> Float[Tensor, "batch _h _w {step}"]:
    """Return pixels of `step` numbers with a frame of zeros; a vector more than they take can be read."""
    count, height, width = len(y), y.shape[1] + 2 * pad, y.shape[2] + 2 * pad
    if not pad and y.shape[3] == step > 1:
        return y
    store = y.new_zeros(count * height * width * step + 8)
    plane = store[:-8].view(count, height, width, step)
    plane[:, pad : height - pad, pad : width - pad, : y.shape[3]] = y
    return plane


def cropped(plane: Float[Tensor, "batch height width step"], pad: int) -> Float[Tensor, "batch _h _w step"]:
    """Return a plane without its frame."""
    return plane[:, pad : plane.shape[1] - pad, pad : plane.shape[2] - pad]


def flat(x: Tensor) -> Any:
    """Return a contiguous tensor as a flat array that shares its memory."""
    return x.numpy().reshape(-1)
