"""Pictures of one shape whose every factor is known: what shape, size, angle, position and brightness it has.

A pixel's value is brightness · clip(½ - d, 0, 1), with d its center's signed distance in pixels from the edge of the
shape; for the ellipse it is exact along the short axis. All factors are independent and uniform, as in the sprites of
Matthey, Higgins, Hassabis & Lerchner (2017), "dSprites", but drawn from intervals where those have a lattice.
"""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from lamina.data.dataset import Data
from lamina.data.plane import drawn

SHAPES = ("square", "ellipse", "cross")
FACTORS = ("shape", "size", "angle", "x", "y", "brightness")
LOW = (0.0, 0.12, 0.0, 0.35, 0.35, 0.4)  # a square of half side 0.2 reaches 0.28 from its center, so all stays inside
HIGH = (0.0, 0.20, 90.0, 0.65, 0.65, 1.0)
CHUNK = 500  # pictures drawn at once, so that their intermediates stay in the cache


def factors(seed: int = 0, count: int = 10_000, held: int = 2000, side: int = 32) -> Data:
    """Grey pictures of a square, an ellipse or a cross, with the factors they were drawn from; nothing is downloaded.

    The fields are `x` (1, side, side), `y`, the number of the shape, and `factors`, in the order of `FACTORS`. Training
    and validation pictures are drawn from `seed`, the 10,000 test pictures are always the same.

    Args:
        seed: of the training and validation pictures.
        count: training pictures.
        held: validation pictures.
        side: pixels in a row and in a column.

    Raises:
        ValueError: no training or validation pictures are wanted, or they are too small to tell the shapes apart.
    """
    if side < 16:
        raise ValueError(f"shapes cannot be told apart on {side} x {side} pixels: take a side of at least 16")

    def some(rng: np.random.Generator, count: int) -> dict[str, NDArray[np.generic]]:
        values = rng.uniform(LOW, HIGH, (count, len(FACTORS)))
        y = rng.integers(len(SHAPES), size=count)
        values[:, 0] = y
        return {"x": draw(values, side), "y": y, "factors": values}

    return drawn("factors", some, seed, count, held, SHAPES)


def draw(values: Float[np.ndarray, "count factors"], side: int = 32) -> Float[np.ndarray, "count 1 side side"]:
    """Return the pictures that have given factors.

    Args:
        values: in the order of `FACTORS`: the number of the shape; half the length of the square, ellipse or cross;
            degrees from the right downward; the center from the left and from the top; the value of the shape's
            pixels. Lengths are by the side of the picture.
        side: pixels in a row and in a column.
    """
    chunks = [drawn_at_once(values[i : i + CHUNK], side) for i in range(0, len(values), CHUNK)]
    return np.concatenate(chunks)[:, None]


def drawn_at_once(values: Float[np.ndarray, "count factors"], side: int) -> Float[np.ndarray, "count side side"]:
    """Return pictures, all of their pixels at once."""
    shape, size, angle, x, y, brightness = values.astype(np.float32).T[:, :, None, None]
    pixels = (np.arange(side, dtype=np.float32) + 0.5) / side
    right, down = pixels - x, pixels[:, None] - y
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    along, across = np.abs(right * cos + down * sin), np.abs(down * cos - right * sin)
    beam = size / 3  # half the width of a beam of the cross
    longer, shorter = np.maximum(along, across), np.minimum(along, across)
    square = longer - size
    ellipse = (np.hypot(along, 2 * across) - size) / 2
    cross = np.maximum(longer - size, shorter - beam)
    distance = np.where(shape == 0, square, np.where(shape == 1, ellipse, cross))
    picture: NDArray[np.float32] = brightness * np.clip(0.5 - distance * side, 0, 1)
    return picture
