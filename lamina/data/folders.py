"""Folders of the user's: pictures by class or with a list of labels, and .npy files that may be larger than memory."""

import hashlib
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from lamina.data.dataset import Data
from lamina.data.examples import Arrays, Examples, whole
from lamina.data.fetch import sha256_of
from lamina.data.images import SUFFIXES, common_shape, say
from lamina.data.splits import assemble
from lamina.data.stream import ImageFolder, OnDisk
from lamina.data.tables import LABELS, read_table

LARGE = 1 << 30  # bytes: more pictures are decoded anew each time, larger files are not hashed
PARTS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
INPUTS = ("x", "images", "image", "data", "features", "inputs")
TARGETS = (*LABELS, "labels", "classes", "targets")


def read_pictures(folder: Path, seed: int = 0) -> Data:
    """Return the data set in a folder of pictures.

    It has a subfolder for each class, or a .csv of file names and labels, or only pictures, which are unlabelled then;
    or it has subfolders train, test and valid that are so. Training pictures beside the folders of the classes have no
    label.

    Raises:
        ValueError: there is no picture, or one cannot be read.
    """
    subfolders = {PARTS[sub.name.lower()]: sub for sub in folders(folder) if sub.name.lower() in PARTS}
    parts = subfolders if "train" in subfolders else {"train": folder}
    listed = {part: listing(sub, part == "train") for part, sub in parts.items()}
    shape = common_shape(listed["train"][0])
    files = [path for paths, _ in listed.values() for path in paths]
    small = len(files) * math.prod(shape) * 4 <= LARGE
    examples: dict[str, Examples] = {part: ImageFolder(paths, shape) for part, (paths, _) in listed.items()}
    if small:
        examples = {part: Arrays(**whole(pictures)) for part, pictures in examples.items()}
    labels = {part: found for part, (_, found) in listed.items()}
    return assemble(str(folder), examples, labels, seed, fingerprint(folder, files))


def listing(folder: Path, training: bool) -> tuple[list[Path], list[str] | None]:
    """Return the pictures of a folder and their labels, empty for training pictures beside the folders of the classes.

    Raises:
        ValueError: there is none, or the folder of a class is empty, or a listed picture is not there.
    """
    if tables := sorted(folder.glob("*.csv")):
        return listed_in(tables[0])
    loose = pictures(path for path in folder.iterdir() if path.is_file())
    if not folders(folder):
        if not loose:
            raise ValueError(f"{folder} holds no picture")
        return loose, None
    if loose and not training:
        say(f"{folder}: {len(loose)} pictures beside the folders of the classes are left out")
    files = loose if training else []
    labels = [""] * len(files)
    for sub in folders(folder):
        found = pictures(sub.rglob("*"))
        if not found:
            raise ValueError(f"{sub} holds no picture; remove the folder or fill it")
        files += found
        labels += [sub.name] * len(found)
    return files, labels


def listed_in(path: Path) -> tuple[list[Path], list[str] | None]:
    """Return the pictures that a .csv lists in its first column, and their labels.

    Raises:
        ValueError: one is not there.
    """
    table = read_table(path)
    label = table.label()
    names = [str(name) for name in next(iter(table.columns.values()))]
    files = [path.parent / name for name in names]
    for row, file in enumerate(files):
        if not file.is_file():
            raise ValueError(f"{path}, row {row + 1}: there is no picture {file}")
    return files, None if label is None else table.columns[label].tolist()


def pictures(paths: Iterable[Path]) -> list[Path]:
    """Return which paths are pictures, in order."""
    return sorted(path for path in paths if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))


def folders(parent: Path) -> list[Path]:
    """Return the subfolders, in order."""
    return sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))


def read_stored(folder: Path, seed: int = 0) -> Data:
    """Return the data set in a folder of .npy files, such as x.npy, y.npy, x_test.npy, y_test.npy.

    Inputs stay on disk and are not searched for bad values; labels are read.

    Raises:
        ValueError: they cannot be read, or there is no x.
    """
    files = {path.stem: path for path in sorted(folder.glob("*.npy"))}
    examples, labels = dict[str, Examples](), {}
    for part, (x, y) in grouped(folder, files).items():
        examples[part] = OnDisk({"x": files[x]})
        labels[part] = None if y is None else labels_in(files[y])
    return assemble(str(folder), examples, labels, seed, fingerprint(folder, list(files.values())))


def labels_in(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """Return an array of labels.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        return np.asarray(np.load(path))
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"cannot read {path}: {' '.join(str(error).split())}") from None


def grouped(where: Path, names: Iterable[str]) -> dict[str, tuple[str, str | None]]:
    """Return which names are x and y of which part: "x_test" and "images" are told by their words.

    Raises:
        ValueError: there is no x, or a part has only y.
    """
    x, y = dict[str, str](), dict[str, str]()
    for name in names:
        tokens = name.lower().split("_")
        part = next((PARTS[token] for token in tokens if token in PARTS), "train")
        kind = "_".join(token for token in tokens if token not in PARTS)
        if kind in INPUTS:
            x[part] = name
        elif kind in TARGETS:
            y[part] = name
    if "train" not in x or y.keys() - x.keys():
        raise ValueError(f"{where} holds {', '.join(names)}; it takes x and y, and perhaps x_test and y_test")
    return {part: (name, y.get(part)) for part, name in x.items()}


def fingerprint(path: Path, files: Sequence[Path]) -> dict[str, str]:
    """Return the sha256 of files, under a key that says of what: of many one hash, of large ones names and sizes."""
    sizes = {os.path.relpath(file, path.parent): file.stat().st_size for file in files}
    if sum(sizes.values()) > LARGE:
        return {f"{path.name} (names and sizes)": hashlib.sha256(repr(sorted(sizes.items())).encode()).hexdigest()}
    if len(files) == 1:
        return {path.name: sha256_of(files[0])}
    hashes = sorted((os.path.relpath(file, path.parent), sha256_of(file)) for file in files)
    return {f"{path.name} ({len(files)} files)": hashlib.sha256(repr(hashes).encode()).hexdigest()}
