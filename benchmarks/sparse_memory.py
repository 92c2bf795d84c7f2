"""A step of a memory of 2^10 to 2^20 slots of 20 numbers: sparse reads and writes against all slots at once.

A step reads the 4 slots nearest to a key, adds a vector to them, and puts another where least was used. "dense" is a
step of the neural Turing machine's compiled kernel, forward only: a head that reads and one that writes, each with a
weight for every slot. "exact" looks at all slots for the nearest, "indexed" at those in 8 buckets. Ratios are to the
indexed memory of 2^10 slots. All slots are in use; keys are vectors of the memory with noise.
"""

from functools import partial
from typing import Any

from benchmarks.results import Result, Target, timed
from benchmarks.turns import Turn, Variant, compare

SIZE, NEAREST, TABLES = 20, 4, 8
POWERS = (10, 15, 20)


def measure(quick: bool) -> Result:
    """Compare the time of a step, and the memory."""
    variants: dict[str, Variant] = {}
    for power in POWERS:
        variants[f"dense, 2^{power}"] = partial(dense, 2**power)
        variants[f"exact, 2^{power}"] = partial(sparse, 2**power, 0)
        variants[f"indexed, 2^{power}"] = partial(sparse, 2**power, TABLES)
    costs = compare(variants, rounds=2 if quick else 10)
    base = f"indexed, 2^{POWERS[0]}"
    target = Target(f"indexed, 2^{POWERS[-1]}", "ratio", "<=", 2.0)  # a slope of 0.1 in the logarithm of both
    return Result(timed(costs, base, unit=1e-6, name="µs"), [target], {"size": SIZE, "nearest": NEAREST})


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
