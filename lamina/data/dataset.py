"""A data set: its splits, and what a recipe must know of it to build a system."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lamina.data.examples import Arrays, Examples, subset


@dataclass(frozen=True)
class Data:
    """A data set in its standard splits.

    Args:
        name: what the user asked for.
        train: examples to learn from.
        valid: examples to choose with.
        test: examples to report on.
        classes: names of the labels 0, 1, ...; for text, the symbols of the vocabulary.
        hashes: sha256 of the files it came from.
        unlabelled: training examples whose class is not known, beside those that have one.
    """

    name: str
    train: Examples
    valid: Examples | None = None
    test: Examples | None = None
    classes: tuple[str, ...] = ()
    hashes: Mapping[str, str] = field(default_factory=dict)
    unlabelled: Examples | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example's `x`; ValueError if it has none, as a text."""
        first = self.train.fetch(torch.zeros(1, dtype=torch.int64))
        if "x" not in first:
            raise ValueError(f"{self.name} holds {', '.join(first)}, where pictures or rows are needed")
        return tuple(first["x"].shape[1:])

    def labels(self) -> int:
        """Return the number of classes.

        Raises:
            ValueError: the examples have no labels.
        """
        if not self.classes:
            raise ValueError(f"{self.name} has no labels to learn from: give each example its class")
        return len(self.classes)

    def outline(self) -> dict[str, Any]:
        """Return, as plain data, all that is needed to build a system for this data set."""
        first = self.train.fetch(torch.zeros(1, dtype=torch.int64))
        shapes = {name: [str(value.dtype).removeprefix("torch."), *value.shape[1:]] for name, value in first.items()}
        return {"name": self.name, "classes": list(self.classes), "fields": shapes, "hashes": dict(self.hashes)}

    @classmethod
    def blank(cls, outline: Mapping[str, Any]) -> "Data":
        """Return a data set of one example of zeros with the given outline: enough to rebuild a saved system."""
        fields = {
            name: torch.zeros(1, *shape, dtype=getattr(torch, dtype))
            for name, (dtype, *shape) in outline["fields"].items()
        }
        examples = Arrays(**fields)
        return cls(outline["name"], examples, examples, examples, tuple(outline["classes"]), outline["hashes"])


def split(examples: Examples, held: int | float, seed: int = 0) -> tuple[Examples, Examples]:
    """Return (the rest, `held` examples drawn at random); a `held` below one is a fraction.

    Raises:
        ValueError: nothing would be left on one side.
    """
    count = round(held * len(examples)) if held < 1 else int(held)
    if not 0 < count < len(examples):
        raise ValueError(f"cannot hold out {count} of {len(examples)} examples")
    order: Tensor = torch.randperm(len(examples), generator=torch.Generator().manual_seed(seed))
    return subset(examples, order[count:].sort().values), subset(examples, order[:count].sort().values)
