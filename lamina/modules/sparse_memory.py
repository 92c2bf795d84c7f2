"""A large memory that is read at the k slots nearest to a key, and written in few: a step costs the same at any size.

    r = Σ_{i ∈ N} w_i M_i,   w = softmax over N of β K(q, M_i),   N the k slots of the largest K, the cosine
    M_i += w_i a   for i ∈ N;          what is new goes to the slot that was used least recently

With k = all slots a read is the dense one of `lamina.modules.addressing`. N is exact, by looking at all slots; or, with
`tables`, approximate: only slots are looked at that share a bucket with q in one of several hash tables of random
directions, which find a slot at an angle θ to q with probability 1 − (1 − (1 − θ/π)^bits)^tables, about.

What a write replaces can be kept in a journal, and the memory be rolled back to a mark, bit for bit: going back through
the steps of a sequence then takes no copy of the memory for each. Rae et al. (2016), Scaling memory-augmented neural
networks with sparse reads and writes, section 3.

Differs from the paper: the hash tables are kept up to date at every write, where it rebuilds an index of k-d trees from
time to time. This is the memory alone; no controller is trained through it here.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from lamina.kernels import sparse_memory as kernel
from lamina.kernels.addressing import EPSILON
from lamina.kernels.compiling import announced

CHAINS = ("ahead", "behind", "where")
READ = ("memory", "inverse", "directions", "first", "ahead", "order")  # what the kernel takes to read
WRITTEN = ("memory", "inverse", "directions", "first", *CHAINS, "order")  # and to write
FULL = 4  # two to this power slots a bucket, if all are in use


class Read(NamedTuple):
    """What each key found; a place is −1, and its weight 0, where there was no further slot."""

    values: Float[Tensor, "keys size"]
    places: Int64[Tensor, "keys nearest"]
    weights: Float[Tensor, "keys nearest"]


class SparseMemory(nn.Module):
    """A memory on the CPU that begins empty.

    Args:
        slots: how many.
        size: numbers in a slot.
        nearest: k.
        tables: hash tables of the index; 0 looks at all slots.
        bits: directions of a table; so many that a bucket has about 16 slots if not given.

    Raises:
        ValueError: sizes that do not fit.
    """

    def __init__(self, slots: int, size: int, nearest: int = 4, tables: int = 0, bits: int | None = None) -> None:
        super().__init__()
        bits = max(1, round(math.log2(max(slots, 1))) - FULL) if bits is None else bits
        if not 1 <= nearest <= slots or size < 1 or tables < 0 or not 1 <= bits <= 30:
            raise ValueError(f"no memory of {slots} slots of {size}, {nearest} nearest, {tables} tables of {bits} bits")
        self.nearest = nearest
        end = torch.arange(slots + 1)
        parts = {
            "memory": torch.zeros(slots, size),
            "inverse": torch.full((slots,), EPSILON**-0.5),
            "order": torch.stack([end.roll(1), end.roll(-1)], 1),
            "directions": directions(tables, bits, size),
            "first": torch.full((tables, 2**bits if tables else 0), kernel.NONE, dtype=torch.int32),
            **{name: torch.full((tables, slots), kernel.NONE, dtype=torch.int32) for name in CHAINS},
        }
        for name, part in parts.items():
            self.register_buffer(name, part)
        self.journal: list[tuple[Tensor, Tensor]] = []
        self.keeps = False
        self.looked = 0  # slots, at the last read

    def arrays(self, *names: str) -> list[object]:
        """Return what a kernel takes."""
        return [getattr(self, name).numpy() for name in names]

    @torch.no_grad()
    def read(self, keys: Float[Tensor, "keys size"], strength: float = 1.0) -> Read:
        """Return what keys find; the slots count as used.

        Args:
            keys: q.
            strength: β.

        Raises:
            ValueError: keys of another size than a slot's.
        """
        count, size = keys.shape
        if size != self.get_buffer("memory").shape[1]:
            raise ValueError(f"keys of {size} numbers do not fit slots of {self.get_buffer('memory').shape[1]}")
        found = Read(
            torch.empty(count, size),
            torch.empty(count, self.nearest, dtype=torch.int64),
            torch.empty(count, self.nearest),
        )
        filled = [part.numpy() for part in (found.places, found.weights, found.values)]
        given = [*self.arrays(*READ), keys.contiguous().numpy(), strength, EPSILON, *filled]
        with announced(kernel.read, "the sparse memory's kernel"):
            self.looked = kernel.read(*given)
        return found

    @torch.no_grad()
    def write(self, places: Int64[Tensor, " places"], rows: Float[Tensor, "places size"]) -> None:
        """Replace the vectors of slots that differ from each other."""
        self.note(places)
        given = [*self.arrays(*WRITTEN), places.numpy(), rows.contiguous().numpy(), EPSILON]
        kernel.put(*given)

    @torch.no_grad()
    def add(self, read: Read, value: Float[Tensor, " size"], strength: float = 1.0) -> None:
        """Add a value to the slots that were read, by their weights."""
        there = read.places >= 0
        places, weights = read.places[there], read.weights[there]
        self.note(places)
        given = [*self.arrays(*WRITTEN), places.numpy(), weights.numpy(), (strength * value).numpy(), EPSILON]
        kernel.add(*given)

    def note(self, places: Int64[Tensor, " places"]) -> None:
        """Keep what is in slots that will be written to, if there is a mark."""
        if self.keeps:
            self.journal.append((places, self.get_buffer("memory")[places]))

    def store(self, value: Float[Tensor, " size"]) -> int:
        """Put a value in the slot that was used least recently, and return its number."""
        slot = int(self.get_buffer("order")[-1, 1])
        self.write(torch.tensor([slot]), value[None])
        return slot

    def mark(self) -> int:
        """Keep what writes replace from now on, and return a mark to roll back to."""
        self.keeps = True
        return len(self.journal)

    def roll_back(self, mark: int) -> None:
        """Give all slots the vectors that they had at a mark, bit for bit; the order of use stays."""
        self.keeps = False
        while len(self.journal) > mark:
            self.write(*self.journal.pop())
        self.keeps = mark > 0


def directions(tables: int, bits: int, size: int) -> Float[Tensor, "tables bits size"]:
    """Return random directions that are orthogonal to each other within a table, as many at a time as there can be.

    Then buckets are about equally full; of independent ones some hold many times their share (Ji, Li, Yan, Zhang & Tian
    2012, Super-bit locality-sensitive hashing).
    """
    sets: Tensor = torch.linalg.qr(torch.randn(tables, math.ceil(bits / size), size, size)).Q
    return sets.flatten(1, 2)[:, :bits].contiguous()
