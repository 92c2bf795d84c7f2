"""A large memory that is read at the k slots nearest to a key, and written in few: a step costs the same at any size.

    r = Σ_{i ∈ N} w_i M_i,   w = softmax over N of β K(q, M_i),   N the k slots of the largest K, the cosine
    M_i += w_i a   for i ∈ N;          what is new goes to the slot that was used least recently

With k = all slots a read is the dense one of `lamina.modules.addressing`. N is exact, by looking at all slots; or, with
`tables`, approximate: only slots are looked at that share a bucket with q in one of several hash tables of random
directions, which find a slot at an angle θ to q with probability 1 − (1 − (1 − θ/π)^bits)^tables.

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
            "directions": torch.randn(tables, bits, size),
            "first": torch.full((tables, 2**bits if tables else 0), kernel.NONE, dtype=torch.int32),
            **{name: torch.full((tables, slots), kernel.NONE, dtype=torch.int32) for name in CHAINS},
            "seen": torch.zeros(slots, dtype=torch.int64),
            "turn": torch.zeros(1, dtype=torch.int64),
        }
        for name, part in parts.items():
            self.register_buffer(name, part)
        self.journal: list[tuple[Tensor, Tensor]] = []
        self.keeps = False
        self.looked = 0  # slots, at the last read

    def arrays(self, *names: str) -> list[object]:
        """Return what a kernel takes."""
        return [self.get_buffer(name).numpy() for name in names]

    @torch.no_grad()
    def read(self, keys: Float[Tensor, "keys size"], strength: float = 1.0) -> Read:
        """Return what keys find; the slots count as used.

        Args:
            keys: q.
            strength: β.
        """
        places = torch.empty(len(keys), self.nearest, dtype=torch.int64)
        best = torch.empty(len(keys), self.nearest)
        known = self.arrays("memory", "inverse"), self.arrays("directions", "first", "ahead", "seen", "turn")
        given = [*known[0], keys.contiguous().numpy(), *known[1], places.numpy(), best.numpy()]
        with announced(kernel.nearest, "the sparse memory's kernel"):
            self.looked = kernel.nearest(*given)
        kernel.touch(places.flip(1).numpy(), *self.arrays("order"))  # the nearest is the latest
        there = places >= 0
        cosine = best.where(there, best.new_zeros(())) / (keys.square().sum(1, keepdim=True) + EPSILON).sqrt()
        weights = (strength * cosine).masked_fill(~there, -math.inf).softmax(1).nan_to_num(0.0)  # NaN: none is there
        rows = self.get_buffer("memory")[places.clamp_min(0)]
        return Read((weights[:, None] @ rows).squeeze(1), places, weights)

    @torch.no_grad()
    def write(self, places: Int64[Tensor, " places"], rows: Float[Tensor, "places size"]) -> None:
        """Replace the vectors of slots that differ from each other."""
        if self.keeps:
            self.journal.append((places, self.get_buffer("memory")[places]))
        known = self.arrays("memory", "inverse", "directions", "first", *CHAINS)
        kernel.put(places.numpy(), rows.contiguous().numpy(), EPSILON, *known)
        kernel.touch(places.numpy(), *self.arrays("order"))

    @torch.no_grad()
    def add(self, read: Read, value: Float[Tensor, " size"], strength: float = 1.0) -> None:
        """Add a value to the slots that were read, by their weights."""
        places, which = torch.unique(read.places[read.places >= 0], return_inverse=True)
        weights = torch.zeros(len(places)).index_add_(0, which, read.weights[read.places >= 0])
        self.write(places, self.get_buffer("memory")[places] + strength * weights[:, None] * value)

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
