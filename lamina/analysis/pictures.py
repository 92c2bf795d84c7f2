"""Pictures of what was learned: images in a grid, filters, curves. Plots need matplotlib (`lamina[report]`)."""

import io
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from lamina.train.range_test import Range, smoothed

GAP = 128  # grey level between the images of a grid
WIDEST = 96  # pixels to which large images are reduced in a report
TILE = 56  # width in pixels that smaller images are enlarged to

Points = Sequence[tuple[float, float]]

INK, SOFT, TRAIN, HELD = "#000001", "#000002", "#000003", "#000004"
THEME = {INK: "currentColor", SOFT: "var(--line)", TRAIN: "var(--train)", HELD: "var(--accent)"}
"""Colors of a chart, and what the page's style sheet, which knows light from dark, puts in their place."""


def grid(
    images: Float[Tensor, "count channels height width"], columns: int | None = None, scale: int | None = None
) -> Image.Image:
    """Return images with values in 0..1 beside and below each other, with grey between them.

    Of images that are neither grey nor in color, with 1 or 3 channels, the first channel is shown.

    Args:
        images: values outside 0..1 are clipped.
        columns: images in a row; as many as rows if not given.
        scale: pixels that each pixel becomes; if not given, small images are enlarged to about 56 pixels.

    Raises:
        ValueError: there is no image, or no column or scale.
    """
    count, channels, height, width = images.shape
    columns = math.ceil(math.sqrt(count)) if columns is None else columns
    scale = max(1, round(TILE / max(height, width, 1))) if scale is None else scale
    if count < 1 or columns < 1 or scale < 1:
        raise ValueError(f"a grid needs images, columns and a scale, got {count}, {columns} and {scale}")
    shown = images if channels == 3 else images[:, :1]
    levels = shown.detach().cpu().nan_to_num().clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).numpy()
    levels = levels.repeat(scale, 1).repeat(scale, 2)
    _, height, width, channels = levels.shape
    columns, gap = min(columns, count), scale
    rows = math.ceil(count / columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), GAP, np.uint8)
    for i, image in enumerate(levels):
        y, x = i // columns * (height + gap), i % columns * (width + gap)
        sheet[y : y + height, x : x + width] = image
    return Image.fromarray(sheet[:, :, 0] if channels == 1 else sheet)


def as_images(x: Tensor, shape: Sequence[int]) -> Float[Tensor, "count channels height width"] | None:
    """Return examples as images of a data set's shape, flat ones too; None if the data or `x` are no images."""
    if len(shape) != 3 or not x.is_floating_point() or x[0].numel() != math.prod(shape):
        return None
    return x.reshape(-1, *shape)


def pictures(images: Float[Tensor, "count channels height width"]) -> list[Image.Image]:
    """Return each image by itself, no larger than 96 pixels; larger ones are averaged over areas."""
    longest = max(images.shape[2:])
    if longest > WIDEST:
        images = F.interpolate(images, scale_factor=WIDEST / longest, mode="area")
    return [grid(image[None]) for image in images]


def filters(system: nn.Module, shape: Sequence[int]) -> tuple[str, Float[Tensor, "count channels height width"]] | None:
    """Return the weights that meet images of a shape, and their name; None if there are none.

    They are the first that are convolution kernels on the images' channels, or a matrix with a row for every unit and
    a column for every pixel; or else the first with a row for every pixel. Each is scaled to -1..1 and shown as 0..1.
    """
    if len(shape) != 3:
        return None
    pixels, transposed = math.prod(shape), None
    for name, weight in system.named_parameters():
        if weight.ndim == 4 and weight.shape[1] == shape[0] and min(weight.shape[2:]) > 1:
            return name, centered(weight)
        if weight.ndim == 2 and weight.shape[1] == pixels:
            return name, centered(weight.reshape(-1, *shape))
        if weight.ndim == 2 and weight.shape[0] == pixels and transposed is None:
            transposed = name, weight.t().reshape(-1, *shape)
    return None if transposed is None else (transposed[0], centered(transposed[1]))


def centered(
    weights: Float[Tensor, "count channels height width"],
) -> Float[Tensor, "count channels height width"]:
    """Return each filter as an image in which grey is zero and its largest weight black or white."""
    weights = weights.detach().float()
    return 0.5 + 0.5 * weights / weights.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-12)


def chart(train: Points, held: Points, kept: float | None, unit: str, label: str) -> str:
    """Return an inline SVG of a training curve, a held-out curve, and a mark at what was kept.

    A training curve of many points is pale, with its running mean on top. Values that are positive and spread over
    more than a factor of 20 are on a logarithmic axis.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    settings = {"svg.fonttype": "none", "svg.hashsalt": label, "font.size": 9.0, "axes.edgecolor": SOFT}
    settings |= {"text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK}
    with rc_context(settings):  # type: ignore[arg-type]  # any setting by name
        figure = Figure(figsize=(4.2, 2.5), layout="constrained")
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(which="both", length=0)
        axes.grid(axis="y", color=SOFT, linewidth=0.6)
        axes.set_xlabel(unit)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        values = [y for _, y in (*train, *held)]
        if min(values) > 0 and max(values) > 20 * min(values):
            logarithmic(axes, max(values) / min(values))
        if kept is not None:
            axes.axvline(kept, color=INK, linewidth=0.8, linestyle=(0, (3, 3)))
        draw(axes, train, TRAIN)
        axes.plot(*columns_of(held), color=HELD, linewidth=1.6, marker="o", markersize=3 if len(held) < 60 else 0)
        drawn = io.BytesIO()
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
    svg = re.sub(r"<metadata>.*?</metadata>", "", drawn.getvalue().decode(), flags=re.DOTALL)
    svg = svg[svg.index("<svg") :]
    for color, themed in THEME.items():
        svg = svg.replace(color, themed)
    return re.sub(r' id="([^"]*)"', lambda found: found[0] if f"#{found[1]}" in svg else "", svg)


def plot_range(found: Range, path: Path) -> None:
    """Write a plot of a learning-rate range test as PNG, SVG or PDF, by the name of the file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    means = smoothed(found.losses)
    axes.plot(found.rates, found.losses, color="0.75", linewidth=1, label="loss")
    axes.plot(found.rates, means, color="tab:blue", label="its exponential mean")
    axes.axvline(found.suggestion, color="tab:red", linestyle="--", label=f"suggestion {found.suggestion:.2g}")
    room = 0.1 * (means[0] - min(means)) or 1.0
    axes.set_ylim(min(found.losses) - room, means[0] + 4 * room)  # a diverging end would hide the rest
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def draw(axes: Any, points: Points, color: str) -> None:
    """Draw a curve, and its running mean where it has many points."""
    x, y = columns_of(points)
    window = len(y) // 25
    if window < 2:
        axes.plot(x, y, color=color, linewidth=1.4)
        return
    axes.plot(x, y, color=color, linewidth=0.7, alpha=0.4)
    middle = x[(window - 1) // 2 : len(x) - window // 2]
    axes.plot(middle, np.convolve(y, np.full(window, 1 / window), "valid"), color=color, linewidth=1.6)


def columns_of(points: Points) -> tuple[list[float], list[float]]:
    """Return the x and the y of points."""
    return [x for x, _ in points], [y for _, y in points]


def logarithmic(axes: Any, ratio: float) -> None:
    """Make the upward axis logarithmic, with plain numbers at its ticks."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if ratio > 1000 else (1.0, 3.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
