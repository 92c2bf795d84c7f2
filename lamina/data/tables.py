"""Tables of features and labels: .csv, .tsv and .parquet."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

LABELS = ("label", "class", "target", "y")


@dataclass(frozen=True)
class Table:
    """Named columns of equal length, as they came: numbers, or anything else as objects."""

    path: Path
    columns: dict[str, NDArray[Any]]

    def features(self, without: str | None) -> NDArray[np.float32]:
        """Return all columns but one as numbers (rows, columns).

        Raises:
            ValueError: a value is missing or no number; the message names its row and column.
        """
        names = [name for name in self.columns if name != without]
        if not names:
            raise ValueError(f"{self.path} has no column of features")
        return np.stack([self.numbers(name) for name in names], axis=1)

    def numbers(self, name: str) -> NDArray[np.float32]:
        """Return a column as numbers."""
        column = self.columns[name]
        try:
            with np.errstate(over="ignore"):
                values = column.astype(np.float32)
            bad = np.flatnonzero(~np.isfinite(values))
        except (ValueError, TypeError):
            bad = np.flatnonzero([not is_number(value) for value in column])
        if len(bad):
            raise ValueError(f"{self.path}, row {bad[0] + 1}, column '{name}': {trouble(column[bad[0]])}")
        return values

    def label(self) -> str | None:
        """Return which column holds the labels.

        It is the one named label, class, target or y; or else the last, if it holds words, or whole numbers most of
        which occur more than once.
        """
        for name in self.columns:
            if name.strip().lower() in LABELS:
                return name
        last = list(self.columns)[-1]
        column = self.columns[last]
        if len(self.columns) == 1:
            return None
        if column.dtype.kind not in "biuf":
            return last
        values = column.astype(np.float64)
        repeated = 2 <= len(np.unique(values)) <= max(2, len(values) // 2)
        return last if repeated and bool((values == np.round(values)).all()) else None


def read_table(path: Path) -> Table:
    """Return the table in a file; a .csv may lack a head, its columns are then 1, 2, ...

    Raises:
        ValueError: it cannot be read, or has no row.
    """
    try:
        columns = read_parquet(path) if path.suffix.lower() == ".parquet" else read_csv(path)
    except (ValueError, OSError) as error:
        raise ValueError(f"cannot read {path}: {' '.join(str(error).split())}") from None
    if not columns or not len(next(iter(columns.values()))):
        raise ValueError(f"{path} has no row")
    return Table(path, columns)


def read_parquet(path: Path) -> dict[str, NDArray[Any]]:
    """Return the columns of a .parquet file."""
    try:
        from pyarrow import parquet
    except ImportError:
        raise ValueError("it takes pyarrow: pip install 'lamina[tables]'") from None
    table = parquet.read_table(path)
    return {name: table.column(name).to_numpy() for name in table.column_names}


def read_csv(path: Path) -> dict[str, NDArray[Any]]:
    """Return the columns of a .csv or .tsv file, by pandas if it is installed, which is quicker."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        first = file.readline()
        delimiter = max("\t;,", key=first.count)
        head = next(csv.reader([first], delimiter=delimiter), [])
        named = not all(is_number(value) for value in head)
        names = [value.strip() for value in head] if named else [str(i + 1) for i in range(len(head))]
        if len(set(names)) < len(names):
            raise ValueError(f"two columns have the same name: {', '.join(names)}")
        if not named:
            file.seek(0)
        rows = pandas_columns(file, delimiter) if find_spec("pandas") else plain_columns(file, delimiter)
    if rows and len(rows) != len(names):
        raise ValueError(f"the first row has {len(rows)} values under {len(names)} names")
    return dict(zip(names, rows, strict=False))


def pandas_columns(file: TextIO, delimiter: str) -> list[NDArray[Any]]:
    """Return the columns of what is left of a file."""
    import pandas

    try:
        frame = pandas.read_csv(
            file, sep=delimiter, header=None, keep_default_na=False, na_values=[""], low_memory=False
        )
    except pandas.errors.EmptyDataError:
        return []
    return [frame[name].to_numpy() for name in frame.columns]


def plain_columns(file: TextIO, delimiter: str) -> list[NDArray[Any]]:
    """Return the columns of what is left of a file, without pandas.

    Raises:
        ValueError: rows differ in length.
    """
    rows = [row for row in csv.reader(file, delimiter=delimiter) if row]
    for i, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise ValueError(f"row {i + 1} has {len(row)} values, the first has {len(rows[0])}")
    return [as_column(column) for column in zip(*rows, strict=True)]


def as_column(words: Sequence[str]) -> NDArray[Any]:
    """Return a column as numbers if all its words read as such."""
    column = np.array(words, dtype=object)
    try:
        return column.astype(np.float64)
    except ValueError:
        return column


def is_number(value: Any) -> bool:
    """Return whether a value is a number or reads as one; neither a missing value nor an infinite one is."""
    try:
        return math.isfinite(float(value))
    except (ValueError, TypeError):
        return False


def trouble(value: Any) -> str:
    """Return in words what is wrong with a value, and the mend."""
    if value is None or value == "" or value != value:  # noqa: PLR0124 - NaN is what differs from itself
        return "the value is missing; fill it in or leave the row out"
    return f"'{value}' is no number; leave the column out or write it as numbers"
