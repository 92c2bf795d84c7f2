"""Examples with what is known of each: its class, and attributes out of the user's table.

The table (.csv, .tsv, .parquet) has a column for each attribute: 1 for what has it, 0 or -1 for what has not; or words,
each of which becomes an attribute. What its rows are of is told by the first column: names of pictures, relative to the
folder of the data or else to the table; or the names of all classes; or if it is neither, the examples in their order.
"""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from lamina.data.examples import Examples, whole
from lamina.data.files import fit_to, read_image, read_rows
from lamina.data.images import SUFFIXES
from lamina.data.tables import read_table

Marks = dict[str, Bool[Tensor, " examples"]]
"""For each class or attribute, which examples have it."""


@dataclass(frozen=True)
class Marked:
    """Examples, and which of them are of each class or have each attribute."""

    x: Float[Tensor, "examples ..."]
    marks: Marks

    def ordered(self, order: Int[Tensor, " some"]) -> "Marked":
        """Return the examples at these places."""
        return Marked(self.x[order], {name: has[order] for name, has in self.marks.items()})

    def names(self, combination: str) -> list[str]:
        """Return the names in a combination such as man+glasses.

        Raises:
            ValueError: there is no such class or attribute.
        """
        names = [combination] if combination in self.marks else combination.split("+")
        for name in names:
            if name not in self.marks:
                near = difflib.get_close_matches(name, self.marks, 1)
                known = f"known: {', '.join(self.marks)}" if self.marks else "these examples have none"
                raise ValueError(
                    f"no class or attribute '{name}'; " + (f"did you mean '{near[0]}'?" if near else known)
                )
        return names

    def having(self, combination: str) -> Bool[Tensor, " examples"]:
        """Return which examples have all that a combination names."""
        return torch.stack([self.marks[name] for name in self.names(combination)]).all(0)

    def apart(self, combinations: Sequence[str]) -> list[Float[Tensor, "some ..."]]:
        """Return the examples of each combination that have nothing which only the others name.

        Of man+glasses, man and woman, these are men with glasses, men without, and women without.

        Raises:
            ValueError: there is no such class or attribute, or no such example.
        """
        named, found = [self.names(combination) for combination in combinations], []
        for combination, own in zip(combinations, named, strict=True):
            others = sorted({name for names in named for name in names} - set(own))
            has = self.having(combination)
            for name in others:
                has = has & ~self.marks[name]
            if not has.any():
                beside = f" and not {' or '.join(others)}" if others else ""
                raise ValueError(f"no example is {' and '.join(own)}{beside}, which '{combination}' needs")
            found.append(self.x[has])
        return found


def by_class(examples: Examples, classes: Sequence[str]) -> Marked:
    """Return examples with their classes."""
    batch = whole(examples)
    return Marked(batch["x"], {name: batch["y"] == k for k, name in enumerate(classes)})


def with_attributes(known: Marked, path: Path, source: Path) -> Marked:
    """Return examples with the attributes in a table.

    Args:
        known: the examples, with their classes.
        path: of the table.
        source: where the examples come from: a folder of pictures, a file of rows, or the name of a standard set.

    Raises:
        ValueError: it cannot be read, names a picture that is not there, or has not one row for each example.
    """
    table = read_table(path)
    first, *others = table.columns
    keys = [word(value) for value in table.columns[first]]
    if all(Path(key).suffix.lower() in SUFFIXES for key in keys):
        known, rows = pictures(path, keys, source, known), torch.arange(len(keys))
    elif known.marks and sorted(keys) == sorted(known.marks):
        rows = torch.stack([known.marks[key] for key in keys]).int().argmax(0)
    else:
        others = list(table.columns)
        known = in_file(source, known) if source.is_file() else known
        rows = torch.arange(len(keys))
    if len(rows) != len(known.x):
        raise ValueError(f"{path} has {len(keys)} rows for {len(known.x)} examples: name pictures in its first column")
    if not others:
        raise ValueError(f"{path} has no column of attributes")
    marks = {name: has[rows] for column in others for name, has in marks_in(path, column, table.columns[column])}
    return replace(known, marks=known.marks | marks)


def pictures(path: Path, names: Sequence[str], source: Path, known: Marked) -> Marked:
    """Return the pictures that a table names, in the shape of the known ones; a class is a folder on their way."""
    folder = source if source.is_dir() else path.parent
    for row, name in enumerate(names):
        if not (folder / name).is_file():
            raise ValueError(f"{path}, row {row + 1}: there is no picture {folder / name}")
    shape = tuple(known.x.shape[1:])
    x = torch.stack([read_image(folder / name, shape) for name in names])
    return Marked(x, {kind: torch.tensor([kind in Path(name).parts[:-1] for name in names]) for kind in known.marks})


def in_file(source: Path, known: Marked) -> Marked:
    """Return all examples in a file of rows, in their order; which class they are of is not known."""
    shape = tuple(known.x.shape[1:])
    everything = fit_to(read_rows(source, shape[0] if len(shape) == 1 else None), shape)
    return Marked(whole(everything)["x"], {})


def marks_in(path: Path, name: str, column: NDArray[Any]) -> Iterable[tuple[str, Bool[Tensor, " rows"]]]:
    """Yield the attributes in a column: itself if it has 1 and 0 or -1, or each of its words.

    Raises:
        ValueError: it has other numbers, or lacks one.
    """
    if column.dtype.kind not in "biuf":
        for value in dict.fromkeys(item for item in column if isinstance(item, str) and item):
            yield value, torch.tensor([item == value for item in column])
        return
    for row, item in enumerate(column):
        if item not in (-1, 0, 1):
            raise ValueError(f"{path}, row {row + 1}, column '{name}': {item:g} is neither 1 nor 0 nor a word")
    yield name, torch.tensor([item == 1 for item in column])


def word(value: Any) -> str:
    """Return a value of a table as a class is named: numbers without a fraction as whole ones."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
