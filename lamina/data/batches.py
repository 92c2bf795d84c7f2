"""Sources of batches. Every epoch is a pure function of its number, so that runs resume exactly."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from lamina.core import Batch, Source
from lamina.data.examples import Examples, in_memory


class Batches:
    """Examples cut into batches. What is not in memory is read ahead by a thread while the last batch is used.

    Args:
        examples: what to cut up.
        size: examples in a batch.
        shuffle: draw a new order for every epoch.
        tail: keep a last batch that is smaller than the others.
        seed: of the orders.
        lengths: one number an example, such as a sentence's length. Batches are then made of examples of similar
            length, and shuffled as wholes.

    Raises:
        ValueError: a size below one, or lengths that do not fit the examples.
    """

    def __init__(
        self,
        examples: Examples,
        size: int,
        shuffle: bool = True,
        tail: bool = True,
        seed: int = 0,
        lengths: Tensor | None = None,
    ) -> None:
        if size < 1:
            raise ValueError(f"a batch needs at least 1 example, got {size}")
        if lengths is not None and len(lengths) != len(examples):
            raise ValueError(f"{len(lengths)} lengths for {len(examples)} examples")
        self.examples, self.size, self.shuffle, self.tail = examples, size, shuffle, tail
        self.seed, self.lengths = seed, lengths

    def __len__(self) -> int:
        whole, rest = divmod(len(self.examples), self.size)
        return whole + (1 if rest and self.tail else 0)

    def epoch(self, k: int, start: int = 0) -> Iterator[Batch]:
        batches = self.cut(k, start)
        return batches if in_memory(self.examples) else ahead(batches)

    def cut(self, k: int, start: int) -> Iterator[Batch]:
        order = self.order(k)
        for i in range(start, len(self)):
            yield self.examples.fetch(order[i * self.size : (i + 1) * self.size])

    def order(self, k: int) -> Tensor:
        """Return the indices of epoch `k`'s examples, batch after batch."""
        count = len(self.examples)
        if not self.shuffle:
            return torch.arange(count) if self.lengths is None else self.lengths.argsort(stable=True)
        mixed = int(np.random.SeedSequence((self.seed, k)).generate_state(1)[0])  # torch's generator keeps 32 bits
        generator = torch.Generator().manual_seed(mixed)
        order = torch.randperm(count, generator=generator)
        if self.lengths is None:
            return order
        order = order[self.lengths[order].argsort(stable=True)]  # similar lengths together, ties in random order
        chunks = list(torch.split(order, self.size))
        last = [chunks.pop()] if len(chunks[-1]) < self.size else []  # the short batch stays last
        turns = torch.randperm(len(chunks), generator=generator).tolist()
        return torch.cat([chunks[i] for i in turns] + last)


def ahead(batches: Iterator[Batch], depth: int = 2) -> Iterator[Batch]:
    """Yield batches that a thread draws up to `depth` in advance; what drawing raises comes out in the batch's turn."""
    pool = ThreadPoolExecutor(1)  # one thread, so the batches keep their order
    try:
        drawn = deque(pool.submit(next, batches, None) for _ in range(depth))
        while (batch := drawn.popleft().result()) is not None:
            drawn.append(pool.submit(next, batches, None))
            yield batch
    finally:  # also when the iterator is dropped
        pool.shutdown(cancel_futures=True)


def in_order(examples: Examples | None, size: int = 1000) -> Batches | None:
    """Return batches in the examples' own order, to evaluate on; None without examples."""
    return None if examples is None else Batches(examples, size, shuffle=False)


class Beside:
    """Batches of one source with those of another laid beside them.

    An epoch is one pass over `main`; `other` goes round as often as it takes.

    Raises:
        ValueError: when a batch is drawn, fields that both have.
    """

    def __init__(self, main: Source, other: Source) -> None:
        if len(other) < 1:
            raise ValueError("the source to lay beside has no batch")
        self.main, self.other = main, other

    def __len__(self) -> int:
        return len(self.main)

    def epoch(self, k: int, start: int = 0) -> Iterator[Batch]:
        others = self.turning(k * len(self) + start)
        for left, right in zip(self.main.epoch(k, start), others, strict=False):
            if both := left.keys() & right.keys():
                raise ValueError(f"both sources have the fields {sorted(both)}")
            yield left | right

    def turning(self, position: int) -> Iterator[Batch]:
        k, start = divmod(position, len(self.other))
        while True:
            yield from self.other.epoch(k, start)
            k, start = k + 1, 0
