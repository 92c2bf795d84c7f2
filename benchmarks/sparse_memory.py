"""A memory of 2^10 to 2^20 slots of 20 numbers: sparse reads and writes against all slots at once.

The first rows are a step of a memory alone, which reads the 4 slots nearest to a key, adds a vector to them, and puts
another where least was used. "dense" is a step of the neural Turing machine's compiled kernel, forward only: a head
that reads and one that writes, each with a weight for every slot. "exact" looks at all slots for the nearest, "indexed"
at those in 12 hash tables. "faiss" does the same by faiss's inverted lists (`IndexIVFFlat` with √slots lists, of which
it looks at 8, kept up to date by `update_vectors`), and without the order of use: it replaces one slot after the other.
"found" is how often the slot that a key was made from is among the 4. Ratios are to the indexed memory of 2^10 slots.

"training" is a network forward and backward over one sequence of 20 steps: an LSTM of 100 units with a sparse memory
(SAM) and an index, and with the neural Turing machine's (NTM). Ratios are to SAM with 2^10 slots.

All slots are in use. In the first rows keys are vectors of the memory with noise; SAM's are its own, before training.
"""

import math
from functools import partial
from typing import Any

from benchmarks.results import Result, Row, Target, timed
from benchmarks.turns import Turn, Variant, compare

SIZE, NEAREST, TABLES, LISTS, STEPS, INPUTS, HIDDEN = 20, 4, 12, 8, 20, 8, 100
POWERS = (10, 15, 20)


def measure(quick: bool) -> Result:
    """Compare the time of a step and of training on a sequence, and the memory."""
    steps: dict[str, Variant] = {}
    training: dict[str, Variant] = {}
    for power in POWERS:
        steps[f"dense, 2^{power}"] = partial(dense, 2**power)
        steps[f"exact, 2^{power}"] = partial(sparse, 2**power, 0)
        steps[f"indexed, 2^{power}"] = partial(sparse, 2**power, TABLES)
        steps[f"faiss, 2^{power}"] = partial(faiss, 2**power)
        training[f"SAM training, 2^{power}"] = partial(sam, 2**power)
    for power in POWERS[:2]:  # with 2^20 a sequence takes seconds, and gigabytes
        training[f"NTM training, 2^{power}"] = partial(ntm, 2**power)
    rows, targets = [], []
    for variants, name in ((steps, "indexed"), (training, "SAM training")):
        costs = compare(variants, rounds=2 if quick else 10)
        timings = timed(costs, f"{name}, 2^{POWERS[0]}", unit=1e-6, name="µs")
        rows += [Row(row.name, row.values | costs[row.name].notes, row.note) for row in timings]
        targets.append(Target(f"{name}, 2^{POWERS[-1]}", "ratio", "<=", 2.0))  # a slope of 0.1 in the logarithm of both
    return Result(
        rows,
        targets,
        {"size": SIZE, "nearest": NEAREST, "tables": TABLES, "lists": LISTS, "steps": STEPS, "hidden": HIDDEN},
    )


def dense(slots: int, turn: Turn) -> None:
    """Step with weights for all slots."""
    import torch

    from lamina.modules.addressing import numbers, step

    memory, weights = torch.randn(1, SIZE, slots), torch.full((1, 2, slots), 1 / slots)
    while True:
        with torch.no_grad():
            _, weights, memory = step(torch.randn(1, numbers(SIZE, 1, 1, 3)), weights, memory, 1)
        turn()


def sparse(slots: int, tables: int, turn: Turn) -> None:
    """Step with a few slots."""
    import torch

    from lamina.modules.sparse_memory import SparseMemory

    memory: Any = SparseMemory(slots, SIZE, NEAREST, tables)
    memory.write(torch.arange(slots), torch.randn(slots, SIZE))
    found = steps = 0
    while True:
        slot = torch.randint(slots, (1,))
        read = memory.read(memory.memory[slot] + 0.2 * torch.randn(1, SIZE))
        memory.add(read, 0.01 * torch.randn(SIZE))
        memory.store(torch.randn(SIZE))
        found, steps = found + int((read.places == slot).any()), steps + 1
        turn.notes["found"] = found / steps
        turn()


def faiss(slots: int, turn: Turn) -> None:
    """Step with a few slots that faiss finds, and keeps in its lists."""
    import faiss
    import numpy as np

    def unit(rows: Any) -> Any:
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    rng, lists = np.random.default_rng(0), math.isqrt(slots)
    memory = rng.standard_normal((slots, SIZE), "f4")
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(SIZE), SIZE, lists, faiss.METRIC_INNER_PRODUCT)
    index.train(unit(memory[: 40 * lists]))
    index.add(unit(memory))
    index.set_direct_map_type(faiss.DirectMap.Array)
    index.nprobe = LISTS
    found = steps = 0
    while True:
        slot = rng.integers(slots)
        likeness, places = index.search(unit(memory[slot] + 0.2 * rng.standard_normal((1, SIZE), "f4")), NEAREST)
        there = places[0][places[0] >= 0]
        weights = np.exp(likeness[0][: len(there)])
        memory[there] += 0.01 * (weights / weights.sum())[:, None] * rng.standard_normal(SIZE, "f4")
        memory[steps % slots] = rng.standard_normal(SIZE, "f4")
        changed = np.unique(np.append(there, steps % slots))
        index.update_vectors(changed, unit(memory[changed]))
        found, steps = found + int(slot in there), steps + 1
        turn.notes["found"] = found / steps
        turn()


def sam(slots: int, turn: Turn) -> None:
    """Go forward and back with a sparse memory; it is then as before."""
    import torch

    from lamina.modules.sam import SAM

    cell = SAM(INPUTS, HIDDEN, slots, SIZE, nearest=NEAREST, tables=TABLES)
    train(cell, cell.holding(torch.randn(1, slots, SIZE)), turn)


def ntm(slots: int, turn: Turn) -> None:
    """Go forward and back with the memory of each step."""
    import torch

    from lamina.modules.ntm import NTM

    cell = NTM(INPUTS, "lstm", HIDDEN, slots, SIZE)
    *before, memory = cell.initial(1)
    train(cell, (*before, torch.randn_like(memory)), turn)


def train(cell: Any, state: Any, turn: Turn) -> None:
    """Compute the gradients of a sequence after the other."""
    import torch

    while True:
        outputs, _ = cell.unfold(torch.randn(STEPS, 1, INPUTS), state)
        outputs.square().mean().backward()
        turn()
