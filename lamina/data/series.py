"""Frames that follow each other: those of the user's table or arrays, and films of a ball in a box.

An example is a frame, `x`, with the frames before it, `past` (frames, *shape of x), the nearest last. Each sequence is
cut in time: its first 80 % to learn from, the next 10 % to choose with, the last 10 % to report on. A frame's past may
reach back into the part before.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from lamina.core import Batch
from lamina.data.dataset import Data
from lamina.data.examples import Arrays, Examples, Mapped, as_tensor
from lamina.data.folders import fingerprint
from lamina.data.tables import read_table

PAST = 10  # frames before each
PARTS = (0.8, 0.9)  # where a sequence is cut

SIDE = 12  # of the ball's box, in pixels
RADIUS = 1.6  # of the ball
SPEED = 1.2  # in pixels a frame


def ball(seed: int = 0, films: int = 100, length: int = 100) -> Data:
    """Films of a ball that flies straight and bounces off the walls of a box, in pictures of 12 x 12 grey pixels.

    Args:
        seed: unused; the films are always the same.
        films: how many, each with its own place and direction to begin with.
        length: frames of each.

    Raises:
        ValueError: the films are too short.
    """
    rng = np.random.default_rng(0)
    inside = SIDE - 1 - 2 * RADIUS  # where the center may go, less the wall on its left
    angle = rng.uniform(0, 2 * np.pi, films)
    velocity = SPEED * np.stack([np.cos(angle), np.sin(angle)], 1)
    way = rng.uniform(0, inside, (films, 1, 2)) + velocity[:, None] * np.arange(length)[:, None]
    center = RADIUS + inside - np.abs(way % (2 * inside) - inside)  # unfolded, walls are mirrors
    pixel = np.arange(SIDE)
    row, column = center[..., 0, None, None] - pixel[:, None], center[..., 1, None, None] - pixel
    frames = np.clip(RADIUS + 0.5 - np.hypot(row, column), 0, 1)
    return from_frames(list(frames[:, :, None]), name="ball")


def read_series(path: Path, past: int = PAST) -> Data:
    """Return the rows of a table, .csv, .tsv or .parquet, as one sequence; a column named sequence tells several apart.

    Raises:
        ValueError: it cannot be read, or is too short.
    """
    if path.suffix.lower() not in (".csv", ".tsv", ".parquet"):
        raise ValueError(f"{path} is no table of frames: give .csv, .tsv or .parquet, or use from_frames in Python")
    table = read_table(path)
    rows, mark = table.features("sequence"), table.columns.get("sequence")
    begins = [] if mark is None else (np.flatnonzero(mark[1:] != mark[:-1]) + 1).tolist()
    return from_frames(np.split(rows, begins), past, f"series:{path}", fingerprint(path, [path]))


def from_frames(
    sequences: Sequence[NDArray[np.floating] | Tensor],
    past: int = PAST,
    name: str = "frames",
    hashes: Mapping[str, str] | None = None,
) -> Data:
    """Return a data set of sequences of frames.

    Args:
        sequences: each of shape (frames, ...).
        past: frames before each that an example has; so many first ones of a sequence are no examples.
        name: what reports call it.
        hashes: sha256 of the files they came from.

    Raises:
        ValueError: there are too few frames, or a value is no finite number.
    """
    made = [as_tensor(sequence) for sequence in sequences]
    if past < 1 or not made or any(frames.ndim < 2 or not frames.is_floating_point() for frames in made):
        raise ValueError(f"{name} needs sequences of shape (frames, ...) with float values, and a past of at least 1")
    if not all(bool(frames.isfinite().all()) for frames in made):
        raise ValueError(f"{name} holds a value that is no finite number; fill it in or cut the sequence there")
    frames, ends = torch.cat(made), np.cumsum([len(sequence) for sequence in made]).tolist()
    places = [torch.arange(end - len(one) + past, end) for one, end in zip(made, ends, strict=True) if len(one) > past]
    cut = [torch.tensor_split(some, [round(share * len(some)) for share in PARTS]) for some in places]
    parts = [windows(frames, torch.cat(some), past) for some in zip(*cut, strict=True)]
    if len(parts) < 3 or not all(map(len, parts)):
        raise ValueError(f"{name} is too short: it takes 10 frames after the first {past} of a sequence")
    train, valid, test = parts
    return Data(name, train, valid, test, hashes=hashes or {})


def windows(frames: Float[Tensor, "frames ..."], places: Int64[Tensor, "examples"], past: int) -> Examples:
    """Return the frames at some places with those before each."""
    shift = torch.arange(-past, 0)

    def fetch(batch: Batch) -> Batch:
        place = batch["place"]
        before = frames.index_select(0, (place[:, None] + shift).flatten())
        return {"x": frames.index_select(0, place), "past": before.view(len(place), past, *frames.shape[1:])}

    return Mapped(Arrays(place=places), fetch)
