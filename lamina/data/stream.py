"""Data larger than memory: arrays on disk, and pictures that are decoded when they are asked for."""

import itertools
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from numpy.typing import NDArray
from torch import Tensor

from lamina.core import Batch
from lamina.data.examples import Examples, as_tensor
from lamina.data.images import as_input, decode

WORKERS = min(8, os.cpu_count() or 1)
BUFFERS = 1000  # places that one reading call may fill; POSIX grants 1024


@dataclass(frozen=True)
class Rows:
    """An array in a .npy file, of which rows are read.

    They are read by position and not through a memory map: around each row that is touched a map may keep so much
    resident that it is soon the whole file.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int

    @classmethod
    def of(cls, path: Path) -> "Rows":
        """Read the head of a file.

        Raises:
            ValueError: it is no .npy file of numbers, or cut short.
        """
        try:
            found = np.load(path, mmap_mode="r")
        except (ValueError, EOFError, OSError) as error:
            raise ValueError(f"cannot read {path}: {' '.join(str(error).split())}") from None
        if not isinstance(found, np.memmap) or found.dtype.kind not in "biuf" or found.ndim == 0:
            raise ValueError(f"{path} holds no array of numbers")
        if np.isfortran(found):
            raise ValueError(f"{path} is stored column by column; save it with np.ascontiguousarray")
        return cls(path, found.shape, found.dtype, found.offset)

    def read(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        """Return the rows at `indices`.

        Raises:
            ValueError: the file has become shorter.
        """
        picked = np.empty((len(indices), *self.shape[1:]), self.dtype)
        if not picked.size:
            return picked
        rows = picked.reshape(len(indices), -1).view(np.uint8)
        size, order = rows.shape[1], indices.argsort(kind="stable")
        places = indices[order]  # in the file's order; rows that follow each other there are read at once
        full = np.arange(1, len(indices)) % BUFFERS == 0
        cuts = [0, *(np.flatnonzero((np.diff(places) != 1) | full) + 1).tolist(), len(indices)]
        with self.path.open("rb", buffering=0) as file:
            for begin, end in itertools.pairwise(cuts):
                parts = [memoryview(rows[i]) for i in order[begin:end].tolist()]
                count = os.preadv(file.fileno(), parts, self.offset + int(places[begin]) * size)
                if count != size * len(parts):
                    raise ValueError(f"{self.path} has become shorter while it was used")
        return picked.astype(picked.dtype.newbyteorder("="), copy=False)


class OnDisk:
    """Examples in .npy files, of which a batch at a time is in memory.

    Bytes of `x` are scaled to 0..1 and its pictures get their channel axis as they are fetched.

    Args:
        files: a folder, each of whose .npy files is a field, or the file of each field.

    Raises:
        ValueError: no file, one that cannot be read, or lengths that differ.
    """

    def __init__(self, files: Path | str | Mapping[str, Path]) -> None:
        if not isinstance(files, Mapping):
            files = {path.stem: path for path in sorted(Path(files).glob("*.npy"))}
        if not files:
            raise ValueError("there is no .npy file to read")
        self.rows = {name: Rows.of(path) for name, path in files.items()}
        lengths = {name: found.shape[0] for name, found in self.rows.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the fields differ in length: {lengths}")
        self.length = next(iter(lengths.values()))

    def __len__(self) -> int:
        return self.length

    def fetch(self, indices: Int64[Tensor, " batch"]) -> Batch:
        fetched = {name: torch.from_numpy(found.read(indices.numpy())) for name, found in self.rows.items()}
        return {name: as_input(value) if name == "x" else as_tensor(value) for name, value in fetched.items()}


class ImageFolder:
    """Pictures that are decoded as they are fetched, by several threads.

    Args:
        paths: of the pictures.
        shape: (channels, height, width) that they are brought to.
    """

    def __init__(self, paths: Sequence[Path], shape: tuple[int, int, int]) -> None:
        self.paths, self.shape = paths, shape

    def __len__(self) -> int:
        return len(self.paths)

    def fetch(self, indices: Int64[Tensor, " batch"]) -> Batch:
        with ThreadPoolExecutor(WORKERS) as pool:
            pictures = list(pool.map(lambda i: decode(self.paths[i], self.shape), indices.tolist()))
        return {"x": torch.stack(pictures).float().div_(255)}


class Labelled:
    """Examples with their labels, which are in memory, laid beside them."""

    def __init__(self, examples: Examples, y: Int64[Tensor, " examples"]) -> None:
        self.examples, self.y = examples, y

    def __len__(self) -> int:
        return len(self.y)

    def fetch(self, indices: Int64[Tensor, " batch"]) -> Batch:
        return self.examples.fetch(indices) | {"y": self.y[indices]}
