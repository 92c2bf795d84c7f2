"""Sequences to be answered by sequences: copying, recalling, counting and sorting, for networks with a memory.

    copy      8 random bits a step, a mark; the answer is the same bits
    repeat    the same, with how many times beside the mark; the answer has them so many times, and then an end mark
    recall    items of 3 steps of 6 bits, a mark before each; one of them between other marks; the answer is the next
    ngrams    bits, each drawn given the 5 before it by a table that is new in each sequence; the answer is the next bit
    sort      8 bits and a priority in −1..1 a step, a mark; the answer is the four fifths of highest priority, in order

Graves, Wayne & Danihelka (2014), Neural Turing machines, section 4. An example has `tape` (time, inputs), `y` (time,
outputs) and `told` (time,), which says where the answer is; but for ngrams, no input comes there. `size` has its length
in steps or items, and its repeats, and `steps` all its steps, after which zeros follow.

Training and validation tapes have the paper's sizes; test tapes these and, as groups of their own, longer ones.
"""

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from lamina.core import Batch
from lamina.data.batches import Batches
from lamina.data.dataset import Data
from lamina.data.examples import Arrays, Examples, whole

BITS, ITEM, STEPS, CONTEXT = 8, 6, 3, 5  # of a step in copy and sort, of a step in recall, steps of an item, of ngrams
Size = tuple[int, ...]
Tape = tuple[NDArray[np.float32], NDArray[np.bool_], int]
Draw = Callable[[np.random.Generator, int, Size], Tape]
"""Random numbers, how many tapes and their size -> x, the answers, and the step that these begin at."""


@dataclass(frozen=True)
class Task:
    """A kind of tape.

    Args:
        inputs: numbers of a step of x.
        outputs: bits of a step of y.
        sizes: of tapes to learn from.
        longer: of tapes to test on alone.
        draw: makes tapes of one size.
    """

    inputs: int
    outputs: int
    sizes: tuple[Size, ...]
    longer: tuple[Size, ...]
    draw: Draw


def bits(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    """Return random bits."""
    return rng.integers(0, 2, shape, np.uint8).astype(np.float32)


def copy(rng: np.random.Generator, count: int, size: Size) -> Tape:
    """Return tapes to copy."""
    (length,) = size
    x, drawn = np.zeros((count, 2 * length + 1, BITS + 1), np.float32), bits(rng, count, length, BITS)
    x[:, :length, :BITS] = drawn
    x[:, length, BITS] = 1
    return x, drawn > 0, length + 1


def repeat(rng: np.random.Generator, count: int, size: Size) -> Tape:
    """Return tapes to copy several times; how many is scaled to mean 0 and variance 1 in training."""
    length, times = size
    x = np.zeros((count, length + 1 + length * times + 1, BITS + 2), np.float32)
    x[:, :length, :BITS] = drawn = bits(rng, count, length, BITS)
    x[:, length, BITS] = 1
    x[:, length, BITS + 1] = (times - 5.5) / np.sqrt(8.25)  # of 1..10
    y = np.zeros((count, length * times + 1, BITS + 1), bool)
    y[:, :-1, :BITS] = np.tile(drawn, (1, times, 1)) > 0
    y[:, -1, BITS] = True
    return x, y, length + 1


def recall(rng: np.random.Generator, count: int, size: Size) -> Tape:
    """Return tapes of items with a query."""
    (items,) = size
    drawn, wide = bits(rng, count, items, STEPS, ITEM), STEPS + 1
    x = np.zeros((count, items * wide + wide + 1 + STEPS, ITEM + 2), np.float32)
    listed = x[:, : items * wide].reshape(count, items, wide, -1)  # a view
    listed[:, :, 0, ITEM] = 1
    listed[:, :, 1:, :ITEM] = drawn
    asked, row = rng.integers(0, items - 1, count), np.arange(count)
    begin = items * wide
    x[:, [begin, begin + wide], ITEM + 1] = 1
    x[:, begin + 1 : begin + wide, :ITEM] = drawn[row, asked]
    return x, drawn[row, asked + 1] > 0, begin + wide + 1


def ngrams(rng: np.random.Generator, count: int, size: Size) -> Tape:
    """Return tapes of bits that the context tells with a probability drawn from Beta(½, ½)."""
    (length,) = size
    table, row = rng.beta(0.5, 0.5, (count, 2**CONTEXT)), np.arange(count)
    drawn = np.zeros((count, length), bool)
    drawn[:, :CONTEXT] = rng.integers(0, 2, (count, CONTEXT))
    for t in range(CONTEXT, length):
        drawn[:, t] = rng.random(count) < table[row, contexts(drawn[:, t - CONTEXT : t])]
    return drawn[:, :-1, None].astype(np.float32), drawn[:, CONTEXT:, None], CONTEXT - 1


def contexts(drawn: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the number of a context, of which the last axis has the bits."""
    return drawn @ (1 << np.arange(drawn.shape[-1]))


def sort(rng: np.random.Generator, count: int, size: Size) -> Tape:
    """Return tapes to sort by priority, the highest first."""
    (items,) = size
    drawn, priority, wanted = bits(rng, count, items, BITS), rng.uniform(-1, 1, (count, items)), items * 4 // 5
    x = np.zeros((count, items + 1 + wanted, BITS + 2), np.float32)
    x[:, :items, :BITS] = drawn
    x[:, :items, BITS] = priority
    x[:, items, BITS + 1] = 1
    order = (-priority).argsort(1)[:, :wanted]
    return x, np.take_along_axis(drawn, order[:, :, None], 1) > 0, items + 1


def each(*sizes: int) -> tuple[Size, ...]:
    """Return sizes of one number."""
    return tuple((size,) for size in sizes)


TASKS = {
    "copy": Task(BITS + 1, BITS, each(*range(1, 21)), each(30, 50, 120), copy),
    "repeat": Task(BITS + 2, BITS + 1, tuple(product(range(1, 11), repeat=2)), ((20, 10), (10, 20)), repeat),
    "recall": Task(ITEM + 2, ITEM, each(*range(2, 7)), each(8, 12, 20), recall),
    "ngrams": Task(1, 1, each(200), each(400), ngrams),
    "sort": Task(BITS + 2, BITS, each(20), each(25, 30), sort),
}


def tapes(task: str = "copy", seed: int = 0, count: int = 20_000, held: int = 500, test: int = 1000) -> Data:
    """Tapes of a task, such as tape:copy.

    Args:
        task: a name of `TASKS`.
        seed: of training and validation tapes; test tapes are always the same.
        count: training tapes.
        held: validation tapes.
        test: test tapes of the sizes in training, and a tenth of that of each longer size.

    Raises:
        ValueError: there is no such task, or a number is below one.
    """
    if task not in TASKS:
        near = difflib.get_close_matches(task, TASKS, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(TASKS)}"
        raise ValueError(f"unknown tape '{task}'; {hint}")
    if min(count, held, test) < 1:
        raise ValueError(f"there must be at least 1 tape, got {count}, {held} and {test}")
    made = TASKS[task]
    usual = np.array(made.sizes)

    def part(number: int, which: tuple[int, int], each: int = 0) -> Arrays:
        rng = np.random.default_rng(which)
        sizes = usual[rng.integers(0, len(usual), number)]
        return drawn(made, np.concatenate([sizes, np.array(made.longer).repeat(each, 0)]), rng)

    train, valid = part(count, (seed, 0)), part(held, (seed, 1))
    return Data(f"tape:{task}", train, valid, part(test, (0, 2), each=max(1, test // 10)))


def drawn(task: Task, size: NDArray[np.int64], rng: np.random.Generator) -> Arrays:
    """Return a tape of each size (tapes, numbers), filled up with zeros to the longest."""
    kinds, which = np.unique(size, axis=0, return_inverse=True)
    rows = [np.flatnonzero(which.reshape(-1) == i) for i in range(len(kinds))]
    made = [task.draw(rng, len(some), tuple(kind)) for some, kind in zip(rows, kinds.tolist(), strict=True)]
    longest = max(x.shape[1] for x, _, _ in made)
    fields = {
        "tape": np.zeros((len(size), longest, task.inputs), np.float32),
        "y": np.zeros((len(size), longest, task.outputs), bool),
        "told": np.zeros((len(size), longest), bool),
        "steps": np.zeros(len(size), np.int64),
    }
    for some, (x, y, begin) in zip(rows, made, strict=True):
        end = x.shape[1]
        fields["tape"][some, :end], fields["y"][some, begin:end] = x, y
        fields["told"][some, begin:end], fields["steps"][some] = True, end
    return Arrays(**fields, size=size)


class Tapes:
    """Batches of tapes of similar length, cut to the longest of each.

    Args:
        tapes: examples with the fields of this module.
        batch: tapes of a batch.
        shuffle: draw a new order for every epoch.
        seed: of the orders.
    """

    def __init__(self, tapes: Examples, batch: int, shuffle: bool = True, seed: int = 0) -> None:
        self.tapes = tapes
        self.batches = Batches(tapes, batch, shuffle, seed=seed, lengths=whole(tapes)["steps"])

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, k: int, start: int = 0) -> Iterator[Batch]:
        for batch in self.batches.epoch(k, start):
            longest = int(batch["steps"].max())
            yield batch | {name: batch[name][:, :longest] for name in ("tape", "y", "told")}


def groups(tapes: Examples) -> dict[Size, Int64[Tensor, " some"]]:
    """Return the numbers of the tapes of each size."""
    kinds, which = torch.unique(whole(tapes)["size"], dim=0, return_inverse=True)
    return {tuple(kind): (which == i).nonzero().squeeze(1) for i, kind in enumerate(kinds.tolist())}


def bayes(tapes: Examples) -> Float[Tensor, " tapes"]:
    """Return the bits that the best predictor needs for tapes of ngrams of one size; it knows all but the tables.

    With N₁ ones and N₀ zeros after a context so far, a one has the probability (N₁ + ½) / (N₀ + N₁ + 1): section 4.4.
    """
    fields = whole(tapes)
    end = int(fields["steps"].max())
    known, last = fields["tape"][:, :end, 0] > 0, fields["y"][:, end - 1 : end, 0]
    bits = torch.cat([known, last], 1).numpy()
    row, total = np.arange(len(bits)), np.zeros(len(bits))
    counts = np.full((len(bits), 2**CONTEXT, 2), 0.5)
    for t in range(CONTEXT, bits.shape[1]):
        context, bit = contexts(bits[:, t - CONTEXT : t]), bits[:, t].astype(int)
        found = counts[row, context]
        total -= np.log2(found[row, bit] / found.sum(1))
        counts[row, context, bit] += 1
    return torch.from_numpy(total)
