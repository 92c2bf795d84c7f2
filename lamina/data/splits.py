"""From labelled examples to a `Data` with its standard splits.

What has no test examples of its own gets a tenth held out, the same whatever the seed, so that figures compare; what
has no validation examples gets a tenth held out by the seed. Both are drawn class by class.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from numpy.typing import NDArray
from torch import Tensor

from lamina.data.dataset import Data
from lamina.data.examples import Arrays, Examples, Mapped, subset
from lamina.data.images import say
from lamina.data.stream import Labelled
from lamina.data.tables import is_number

MINUS_ONE = ("-1", "-1.0")
HELD = 0.1  # share of all examples that is held out


def assemble(
    name: str,
    parts: Mapping[str, Examples],
    labels: Mapping[str, Any],
    seed: int,
    hashes: Mapping[str, str] | None = None,
) -> Data:
    """Return a data set of examples and the labels of each part ("train", "valid", "test"; None: unlabelled).

    Training examples whose label is None, NaN or an empty word are set aside as `Data.unlabelled`; so are those with
    -1, scikit-learn's sign for no label, beside two or more classes none of which is a negative number. Where no
    training example has a label, the whole data set is without.

    Raises:
        ValueError: no example, labels that are missing or do not fit, one class only, or a class that training lacks.
    """
    for part, examples in parts.items():
        if not len(examples):
            raise ValueError(f"{name} has no {part} example")
        if labels[part] is not None and len(labels[part]) != len(examples):
            raise ValueError(f"{name} has {len(labels[part])} labels for {len(examples)} {part} examples")
    parts, labels, unlabelled = set_aside(name, parts, labels)
    codes, classes = encode(name, labels)
    joined = {part: labelled(examples, codes[part]) if codes else examples for part, examples in parts.items()}
    total = len(joined["train"])
    y = codes.get("train", torch.zeros(total, dtype=torch.int64))
    rows, held = torch.arange(total), {}
    for part, part_seed in (("test", 0), ("valid", seed)):
        if part not in joined:
            rows, held[part] = hold(name, rows, y[rows], max(1, round(HELD * total)), part_seed)
    made = joined | {part: subset(joined["train"], chosen) for part, chosen in held.items()}
    train = subset(joined["train"], rows) if held else joined["train"]
    return Data(name, train, made["valid"], made["test"], classes, dict(hashes or {}), unlabelled)


def set_aside(
    name: str, parts: Mapping[str, Examples], labels: Mapping[str, Any]
) -> tuple[Mapping[str, Examples], Mapping[str, Any], Examples | None]:
    """Return parts and labels without the training examples that have no label, and those; None if all have one."""
    values = np.asarray([] if labels["train"] is None else labels["train"])
    lacking = np.array([is_lacking(value) for value in values] if values.ndim == 1 else [], dtype=bool)
    note = "no label"
    if (marked := minus_ones(values[~lacking])).any():
        lacking[np.flatnonzero(~lacking)[marked]] = True
        note = "the label -1, which is read as none (if it is a class, give it a name or another number)"
    if not lacking.any():
        return parts, labels, None
    if lacking.all():
        say(f"{name}: no training example has a label, so all data are taken without")
        return parts, dict.fromkeys(labels), None
    say(f"{name}: {lacking.sum()} training examples have {note}; only recipes for few labels learn from them")
    aside, kept = (torch.from_numpy(np.flatnonzero(rows)) for rows in (lacking, ~lacking))
    train = parts["train"]
    return (
        {**parts, "train": subset(train, kept)},
        {**labels, "train": values[~lacking]},
        subset(train, aside),
    )


def is_lacking(value: Any) -> bool:
    """Return whether a label is missing."""
    return value is None or value == "" or bool(value != value)  # noqa: PLR0124 - NaN differs from itself


def minus_ones(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which labels are -1: none if the others are of a single class, or one of them is a negative number."""
    words = values.astype(str)
    marked: NDArray[np.bool_] = np.isin(words, MINUS_ONE)
    classes = np.unique(words[~marked])
    real = len(classes) == 1 or any(word.startswith("-") and is_number(word) for word in classes)
    return np.zeros_like(marked) if real else marked


def encode(name: str, labels: Mapping[str, Any]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return labels as class numbers, and the names of the classes: in the order of numbers, or of the alphabet.

    Raises:
        ValueError: as `assemble` says.
    """
    given = {part: np.asarray(values) for part, values in labels.items() if values is not None}
    if not given:
        return {}, ()
    if lacking := labels.keys() - given.keys():
        raise ValueError(f"{name} has no labels for its {' and '.join(sorted(lacking))} examples")
    ends = np.cumsum([len(values) for values in given.values()])[:-1]
    values = dict(zip(given, np.split(uniform(name, list(given.values())), ends), strict=True))
    classes = np.unique(values["train"])
    if len(classes) < 2:
        raise ValueError(f"every training example of {name} has the label '{classes[0]}'; it takes two classes or more")
    for part, found in values.items():
        if len(unseen := np.setdiff1d(found, classes)):
            raise ValueError(f"{name} has the class '{unseen[0]}' among its {part} examples, but not in training")
    codes = {part: torch.from_numpy(np.searchsorted(classes, found)) for part, found in values.items()}
    return codes, tuple(str(value) for value in classes)


def uniform(name: str, groups: list[NDArray[Any]]) -> NDArray[Any]:
    """Return all labels in one array, of integers if all are whole numbers, else of words.

    Raises:
        ValueError: one is missing, or a fraction.
    """
    if any(group.ndim != 1 for group in groups):
        raise ValueError(f"{name} has labels of shape {groups[0].shape}; it takes one number or word an example")
    if all(group.dtype.kind in "biu" for group in groups):
        return np.concatenate(groups).astype(np.int64)
    values = np.concatenate([group.astype(object) for group in groups])
    for row, value in enumerate(values):
        if is_lacking(value):
            raise ValueError(f"{name}, row {row + 1}: the label is missing; fill it in or leave the row out")
    try:
        numbers = values.astype(np.float64)
    except ValueError:
        return values.astype(str)
    if (fractions := numbers != np.round(numbers)).any():
        raise ValueError(f"{name} has labels such as {numbers[fractions][0]:g}; they must be classes, not quantities")
    return numbers.astype(np.int64)


def hold(
    name: str, rows: Int64[Tensor, " rows"], y: Int64[Tensor, " rows"], count: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Return (the rest, `count` rows), each in order: of each class its share, but never its last example.

    Raises:
        ValueError: there are too few examples.
    """
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    order = order[y[order].argsort(stable=True)]  # class by class, at random within
    first = torch.cat([torch.ones(1, dtype=torch.bool), y[order].diff() != 0])
    spare = order[~first]
    if len(spare) < count:
        raise ValueError(f"{name} has {len(rows)} examples, too few to hold {count} out; give it more of each class")
    places = ((torch.arange(count) + 0.5) * len(spare) / count).long()  # evenly spread, so each class gives its share
    held = torch.zeros(len(rows), dtype=torch.bool).index_fill_(0, spare[places], True)
    return rows[~held], rows[held]


def labelled(examples: Examples, y: Int64[Tensor, " examples"]) -> Examples:
    """Return examples with their labels."""
    return Arrays(**examples.fields, y=y) if isinstance(examples, Arrays) else Labelled(examples, y)


def relabel(examples: Examples, have: tuple[str, ...], want: tuple[str, ...]) -> Examples:
    """Return examples whose class numbers mean `want` instead of `have`, for a system trained on other data.

    Raises:
        ValueError: the system does not know a class.
    """
    if have == want or not have:
        return examples
    if unknown := [name for name in have if name not in want]:
        raise ValueError(f"the data has the class '{unknown[0]}', which the system was not trained on")
    table = torch.tensor([want.index(name) for name in have])
    return Mapped(examples, lambda batch: batch | {"y": table[batch["y"]]})
