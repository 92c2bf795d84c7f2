"""How DRAW draws: its canvas after each glimpse with the window that wrote, as an animation.

The means of p(x | c_t) are shown for t = 0 … T, as in figure 7 of Gregor et al. (2015), "DRAW: a recurrent neural
network for image generation". A box reaches from the first to the last filter of the window, plus their width:

    E[a] = Σ_a F[i, a] a,   Var[a] = Σ_a F[i, a] a² - E[a]²,   from E₁ - √Var₁ to E_N + √Var_N
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor

from lamina.analysis.pictures import TILE, as_images, grid
from lamina.modules.attention_window import Window
from lamina.systems.autoencoder.draw import DRAW

BOX = (255, 64, 64)
HOLD = 8  # how many times as long the last canvas is shown


@torch.no_grad()
def drawing(
    system: DRAW, x: Float[Tensor, "count ..."] | None = None, count: int = 16
) -> tuple[Float[Tensor, "frames count ..."], Float[Tensor, "glimpses count 4"] | None]:
    """Return the canvas as means before and after each glimpse, and the boxes written to; None without attention.

    Args:
        system: a trained DRAW.
        x: examples to draw anew, at the means of q; without them new ones are drawn from the model.
        count: of new ones.
    """
    v = None if x is None else system.visible.standard(x)
    noise = system.noise(count) if v is None else torch.zeros_like(system.noise(len(v)))
    begin = system.canvas.expand(noise.shape[1], -1)
    canvases, places = [begin], []
    for glimpse in system.glimpses(noise, v):
        canvases.append(system.view.flat(glimpse.canvas))
        if glimpse.written is not None:
            places.append(boxes(glimpse.written))
    frames = [system.visible.restored(system.visible.mean(canvas)) for canvas in canvases]
    return torch.stack(frames), torch.stack(places) if places else None


def boxes(window: Window) -> Float[Tensor, "batch 4"]:
    """Return left, top, right and bottom of each window, in pixels whose centers are 0, 1, 2, ..."""
    low, high = [], []
    for bank in (window.columns, window.rows):
        pixels = torch.arange(bank.shape[2], dtype=bank.dtype, device=bank.device)
        means = bank @ pixels
        widths = (bank @ pixels.square() - means.square()).clamp_min(0).sqrt()
        low.append(means[:, 0] - widths[:, 0])
        high.append(means[:, -1] + widths[:, -1])
    return torch.stack(low + high, 1)


def write_drawing(
    system: DRAW,
    path: Path,
    x: Float[Tensor, "count ..."] | None = None,
    count: int = 16,
    shape: Sequence[int] | None = None,
    milliseconds: int = 200,
) -> None:
    """Write an animation of examples that are drawn side by side, with the writing windows in red.

    Args:
        system: a trained DRAW on values in 0..1.
        path: of the file, such as drawing.gif.
        x: examples to draw anew; without them new ones are drawn from the model.
        count: of new ones.
        shape: of one picture, (channels, height, width), where the examples are rows of pixels.
        milliseconds: that each glimpse is shown; the last is shown eight times as long.

    Raises:
        ValueError: the examples are no pictures.
    """
    frames, places = drawing(system, x, count)
    form = tuple(system.visible.shape) if shape is None else tuple(shape)
    sheets = []
    for t, canvas in enumerate(frames):
        images = as_images(canvas, form)
        if images is None:
            raise ValueError(
                f"examples of shape {tuple(canvas.shape[1:])} are no pictures of shape {form}: give another"
            )
        place = places[t - 1] if places is not None and t else None
        sheets.append(sheet(images, place))
    durations = [milliseconds] * (len(sheets) - 1) + [HOLD * milliseconds]
    sheets[0].save(path, save_all=True, append_images=sheets[1:], duration=durations, loop=0)


def sheet(images: Float[Tensor, "count channels height width"], places: Float[Tensor, "count 4"] | None) -> Image.Image:
    """Return images in a grid, with a box in each if there are boxes."""
    count, _, height, width = images.shape
    scale = max(1, round(TILE / max(height, width)))
    columns = int((count - 1) ** 0.5) + 1
    picture = grid(images, columns, scale).convert("RGB")
    pen = ImageDraw.Draw(picture)
    for i, place in enumerate([] if places is None else places.tolist()):
        x, y = i % columns * (width + 1) * scale, i // columns * (height + 1) * scale
        corners = [(value + 0.5) * scale for value in place]
        limits = (width * scale - 1, height * scale - 1) * 2
        left, top, right, bottom = (min(max(c, 0), limit) for c, limit in zip(corners, limits, strict=True))
        pen.rectangle((x + left, y + top, x + right, y + bottom), outline=BOX)
    return picture.quantize(64)
