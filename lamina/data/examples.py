"""Random access to examples: in memory, memory-mapped, or behind any `torch.utils.data.Dataset`."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from lamina.core import Batch


@runtime_checkable
class Examples(Protocol):
    """A set of examples that are fetched by index, many at once."""

    def __len__(self) -> int:
        """Return the number of examples."""

    def fetch(self, indices: Tensor) -> Batch:
        """Return the examples at `indices` (int64), every field stacked along its first axis."""


class Arrays:
    """Examples held in memory, one tensor a field; fetching costs one `index_select` per field.

    Args:
        fields: arrays or tensors whose first axes agree in length. Floats become float32; images are
            (channels, height, width) with values in 0..1.

    Raises:
        ValueError: no field, or lengths that differ.
    """

    def __init__(self, **fields: Any) -> None:
        if not fields:
            raise ValueError("examples need at least one field")
        self.fields: Batch = {name: as_tensor(value) for name, value in fields.items()}
        lengths = {name: len(value) for name, value in self.fields.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the fields differ in length: {lengths}")
        self.length = next(iter(lengths.values()))

    def __len__(self) -> int:
        return self.length

    def fetch(self, indices: Tensor) -> Batch:
        return {name: value.index_select(0, indices) for name, value in self.fields.items()}


class Subset:
    """Some of the examples of another set, in the order of `indices`."""

    def __init__(self, examples: Examples, indices: Tensor) -> None:
        self.examples, self.indices = examples, indices

    def __len__(self) -> int:
        return len(self.indices)

    def fetch(self, indices: Tensor) -> Batch:
        return self.examples.fetch(self.indices[indices])


class Mapped:
    """Examples passed through a function of whole batches, such as an encoder or a renaming of fields."""

    def __init__(self, examples: Examples, function: Callable[[Batch], Batch]) -> None:
        self.examples, self.function = examples, function

    def __len__(self) -> int:
        return len(self.examples)

    def fetch(self, indices: Tensor) -> Batch:
        return self.function(self.examples.fetch(indices))


class Joined:
    """The examples of one set and, after them, those of another with the same fields."""

    def __init__(self, first: Examples, last: Examples) -> None:
        self.first, self.last = first, last

    def __len__(self) -> int:
        return len(self.first) + len(self.last)

    def fetch(self, indices: Tensor) -> Batch:
        early = indices < len(self.first)
        parts = self.first.fetch(indices[early]), self.last.fetch(indices[~early] - len(self.first))
        place = torch.cat([early.nonzero(), (~early).nonzero()]).squeeze(1).argsort()
        return {name: torch.cat([part[name] for part in parts]).index_select(0, place) for name in parts[0]}


def as_tensor(value: Any) -> Tensor:
    """Return a tensor of float32 or int64 from an array, a list or a tensor, without a copy where that is possible."""
    tensor = value if isinstance(value, Tensor) else torch.from_numpy(np.ascontiguousarray(value))
    if tensor.is_floating_point():
        return tensor.float()
    return tensor if tensor.dtype == torch.bool else tensor.long()


def subset(examples: Examples, indices: Tensor) -> Examples:
    """Return some of the examples: copied if they are in memory, else looked up at each fetch."""
    if isinstance(examples, Arrays):
        return Arrays(**examples.fetch(indices))
    return Subset(examples, indices)


def whole(examples: Examples) -> Batch:
    """Return all examples as one batch."""
    if isinstance(examples, Arrays):
        return examples.fields
    return examples.fetch(torch.arange(len(examples)))


def spread(examples: Examples, count: int = 50_000) -> Batch:
    """Return `count` examples, evenly spaced over the set, or all if there are fewer; they stand for a large set."""
    if len(examples) <= count:
        return whole(examples)
    return examples.fetch(torch.linspace(0, len(examples) - 1, count).round().long())


def in_memory(examples: Examples) -> bool:
    """Return whether fetching examples takes no reading or decoding."""
    if isinstance(examples, Joined):
        return in_memory(examples.first) and in_memory(examples.last)
    if isinstance(examples, Subset | Mapped):
        return in_memory(examples.examples)
    return isinstance(examples, Arrays)
