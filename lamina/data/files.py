"""The user's own data: arrays, torch datasets, files and folders, checked and split (`lamina.data.splits`)."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from numpy.typing import NDArray
from torch import Tensor

from lamina.core import Batch
from lamina.data.dataset import Data
from lamina.data.examples import Arrays, Examples
from lamina.data.folders import fingerprint, grouped, read_pictures, read_stored
from lamina.data.images import as_input, fit_to, read_image, say
from lamina.data.splits import assemble, relabel
from lamina.data.tables import LABELS, Table, is_number, read_table

__all__ = ["fit_to", "from_arrays", "from_dataset", "read", "read_image", "read_rows", "relabel"]

PIXELS = 64  # columns from which a table of whole numbers up to 255 is taken for pictures


def from_arrays(
    x: Any,
    y: Any = None,
    valid: tuple[Any, Any] | None = None,
    test: tuple[Any, Any] | None = None,
    name: str = "arrays",
    seed: int = 0,
) -> Data:
    """Return a data set of arrays, lists or tensors.

    Args:
        x: rows of features; or pictures (examples, height, width), with channels before or after these two. Bytes, and
            pictures with values up to 255, are scaled to 0..1.
        y: a label for each example, numbers or words; None for unlabelled data.
        valid: x and y to choose with; a tenth of the examples if not given.
        test: x and y to report on; a tenth of the examples if not given.
        name: what reports call it.
        seed: of the choice of validation examples.

    Raises:
        ValueError: lengths differ, a value is no finite number, or a class is seen only in `valid` or `test`.
    """
    given = {"train": (x, y), "valid": valid, "test": test}
    return in_memory(name, {part: pair for part, pair in given.items() if pair is not None}, seed)


def from_dataset(
    dataset: torch.utils.data.Dataset[Any],
    valid: torch.utils.data.Dataset[Any] | None = None,
    test: torch.utils.data.Dataset[Any] | None = None,
    name: str = "dataset",
    seed: int = 0,
) -> Data:
    """Return a data set of torch datasets, whose items are fetched when they are needed.

    Args:
        dataset: items are x, (x, y) or {"x": x, "y": y}. Labels are read from its `targets`, as torchvision has them,
            or else by one pass over the items.
        valid: items to choose with; a tenth if not given.
        test: items to report on; a tenth if not given.
        name: what reports call it.
        seed: of the choice of validation examples.

    Raises:
        ValueError: as `from_arrays`, or the dataset has no length.
    """
    given = {"train": dataset, "valid": valid, "test": test}
    parts = {part: Items(found) for part, found in given.items() if found is not None}
    return assemble(name, parts, {part: items.labels() for part, items in parts.items()}, seed)


class Items:
    """The inputs of a torch dataset as examples."""

    def __init__(self, dataset: Any) -> None:
        if isinstance(dataset, torch.utils.data.IterableDataset):
            raise ValueError("an IterableDataset has no examples to pick from; give a dataset with a length")
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def fetch(self, indices: Int64[Tensor, " batch"]) -> Batch:
        values = [item_of(self.dataset[i])[0] for i in indices.tolist()]
        tensors = [value if isinstance(value, Tensor) else torch.from_numpy(np.array(value)) for value in values]
        if len(shapes := {tuple(tensor.shape) for tensor in tensors}) > 1:
            raise ValueError(f"the dataset's items differ in shape: {sorted(shapes)[:2]}; give it a transform")
        return {"x": as_input(torch.stack(tensors))}

    def labels(self) -> NDArray[Any] | None:
        """Return the label of each item, or None if they have none."""
        if (targets := getattr(self.dataset, "targets", None)) is not None:
            return np.asarray(targets)
        found = [item_of(self.dataset[i])[1] for i in range(len(self))]
        return None if not found or found[0] is None else np.asarray(found)


def item_of(item: Any) -> tuple[Any, Any]:
    """Return x and y of a dataset's item; y is None if it has none."""
    if isinstance(item, Mapping):
        return item["x"], item.get("y")
    if isinstance(item, tuple | list):
        return item[0], item[1] if len(item) > 1 else None
    return item, None


def read(path: Path, seed: int = 0) -> Data:
    """Return the data set in a file or folder.

    Raises:
        ValueError: it cannot be used; one line says why.
    """
    suffix = path.suffix.lower()
    if path.is_dir() or suffix in (".txt", ".jsonl"):
        from lamina.data.story_files import holds_stories, read_stories

        if holds_stories(path):
            return read_stories(path, seed)
    if path.is_dir():
        return read_stored(path, seed) if any(path.glob("*.npy")) else read_pictures(path, seed)
    if suffix in (".txt", ".jsonl"):
        from lamina.data.text import read_text

        return read_text(path)
    if suffix == ".npz":
        pairs = read_npz(path)
    elif suffix in (".csv", ".tsv", ".parquet"):
        table = read_table(path)
        label = table.label()
        none = "no column is a label; name one 'label' in the first line if there is one"
        say(f"{path.name}: " + (none if label is None else f"column '{label}' is the label"))
        pairs = {"train": (table.features(label), None if label is None else table.columns[label])}
    else:
        known = ".npz, .csv, .tsv, .parquet, .txt, .jsonl, a folder of pictures or a folder of .npy"
        raise ValueError(f"{path} is of no kind that can be read: {known}")
    return in_memory(str(path), pairs, seed, fingerprint(path, [path]))


def read_rows(path: Path, columns: int | None = None) -> Examples:
    """Return the inputs in a file, for prediction; labels in it are left out.

    Args:
        path: .npz, .csv, .tsv or .parquet.
        columns: numbers in a row; a table with one more has its label last.

    Raises:
        ValueError: it cannot be read.
    """
    if path.suffix.lower() == ".npz":
        pairs = read_npz(path)
        return Arrays(x=inputs(str(path), {"train": pairs["train"][0]})["train"])
    if path.suffix.lower() not in (".csv", ".tsv", ".parquet"):
        raise ValueError(f"{path} holds no rows that can be read: give .npz, .csv, .tsv, .parquet or a picture")
    table = read_table(path)
    return Arrays(x=inputs(str(path), {"train": table.features(label_to_drop(table, columns))})["train"])


def label_to_drop(table: Table, columns: int | None) -> str | None:
    """Return the column of a table for prediction that is surely a label."""
    last = list(table.columns)[-1]
    if named := [name for name in table.columns if name.strip().lower() in LABELS]:
        return named[0]
    words = not any(is_number(value) for value in table.columns[last])
    return last if words or len(table.columns) - 1 == columns else None


def in_memory(
    name: str, pairs: Mapping[str, tuple[Any, Any]], seed: int, hashes: Mapping[str, str] | None = None
) -> Data:
    """Return a data set of x and y of each part."""
    x = inputs(name, {part: pair[0] for part, pair in pairs.items()})
    parts = {part: Arrays(x=value) for part, value in x.items()}
    return assemble(name, parts, {part: pair[1] for part, pair in pairs.items()}, seed, hashes)


def inputs(name: str, given: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the inputs of each part in the library's form.

    Raises:
        ValueError: a value is no finite number, or there is but one axis.
    """
    made = {}
    for part, values in given.items():
        array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
        if array.dtype.kind not in "biuf" or array.ndim < 2:
            raise ValueError(f"{name} needs x as rows of numbers, got {array.dtype} of shape {array.shape}")
        x = as_input(torch.from_numpy(np.ascontiguousarray(array)))
        finite = x.flatten(1).isfinite().all(1)
        if not finite.all():
            row = int((~finite).nonzero()[0]) + 1
            raise ValueError(f"{name}: {part} example {row} holds a value that is no finite number; leave it out")
        made[part] = x
    return {part: x / 255 for part, x in made.items()} if are_pixels(name, made["train"]) else made


def are_pixels(name: str, x: Tensor) -> bool:
    """Return whether values are 0..255 and mean 0..1, and say so."""
    if not x.numel() or (x.dim() == 2 and (x.shape[1] < PIXELS or bool((x != x.round()).any()))):
        return False
    low, high = x.aminmax()
    pixels = x.dim() in (2, 4) and low >= 0 and 1.5 < high <= 255
    if pixels:
        say(f"{name}: values up to {high:.0f} are taken for pixels and divided by 255")
    return bool(pixels)


def read_npz(path: Path) -> dict[str, tuple[Any, Any]]:
    """Return x and y of each part of a .npz file.

    Raises:
        ValueError: it cannot be read or lacks x.
    """
    try:
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
            if isinstance(found, np.ndarray):
                raise ValueError("it holds one array; save it with np.savez(file, x=..., y=...)")
            arrays = {name: found[name] for name in found.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"cannot read {path}: {' '.join(str(error).split())}") from None
    return {part: (arrays[x], None if y is None else arrays[y]) for part, (x, y) in grouped(path, arrays).items()}
