"""A memory of 2^10 to 2^20 slots of 20 numbers: sparse reads and writes against all slots at once.

The first rows are a step of a memory alone, which reads the 4 slots nearest to a key, adds a vector to them, and puts
another where least was used. "dense" is a step of the neural Turing machine's compiled kernel, forward only: a head
that reads and one that writes, each with a weight for every slot. "exact" looks at all slots for the nearest, "indexed"
at those in 8 hash tables. Ratios are to the indexed memory of 2^10 slots.

"training" is a network forward and backward over one sequence of 20 steps: an LSTM of 100 units with a sparse memory
(SAM) and an index, and with the neural Turing machine's (NTM). Ratios are to SAM with 2^10 slots.

All slots are in use. In the first rows keys are vectors of the memory with noise; SAM's are its own, before training.
"""

from functools import partial
from typing import Any

from benchmarks.results import Result, Target, timed
from benchmarks.turns import Turn, Variant, compare

SIZE, NEAREST, TABLES, STEPS, INPUTS, HIDDEN = 20, 4, 8, 20, 8, 100
POWERS = (10, 15, 20)


def measure(quick: bool) -> Result:
    """Compare the time of a step and of training on a sequence, and the memory."""
    steps: dict[str, Variant] = {}
    training: dict[str, Variant] = {}
    for power in POWERS:
        steps[f"dense, 2^{power}"] = partial(dense, 2**power)
        steps[f"exact, 2^{power}"] = partial(sparse, 2**power, 0)
        steps[f"indexed, 2^{power}"] = partial(sparse, 2**power, TABLES)
        training[f"SAM training, 2^{power}"] = partial(sam, 2**power)
    for power in POWERS[:2]:  # with 2^20 a sequence takes seconds, and gigabytes
        training[f"NTM training, 2^{power}"] = partial(ntm, 2**power)
    rows, targets = [], []
    for variants, name in ((steps, "indexed"), (training, "SAM training")):
        costs = compare(variants, rounds=2 if quick else 10)
        rows += timed(costs, f"{name}, 2^{POWERS[0]}", unit=1e-6, name="µs")
        targets.append(Target(f"{name}, 2^{POWERS[-1]}", "ratio", "<=", 2.0))  # a slope of 0.1 in the logarithm of both
    return Result(rows, targets, {"size": SIZE, "nearest": NEAREST, "tables": TABLES, "steps": STEPS, "hidden": HIDDEN})


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
    while True:
        key = memory.memory[torch.randint(slots, (1,))] + 0.2 * torch.randn(1, SIZE)
        memory.add(memory.read(key), 0.01 * torch.randn(SIZE))
        memory.store(torch.randn(SIZE))
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
