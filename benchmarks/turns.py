"""Timing of several programs against each other: each in its own process, in turns of a fraction of a second.

What slows the machine for a while slows all variants alike, so the ratio of two variants within one round is steadier
than either time; the median over the rounds is what is reported. A process each gives each its own peak of memory, and
a rival that fails takes nobody with it. Every process has one thread and the same processor.
"""

import contextlib
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

SPAWN = multiprocessing.get_context("spawn")
ONE_THREAD = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"),
    **dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"),
    **{"OMP_WAIT_POLICY": "PASSIVE", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"},
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}


class Turn:
    """A variant calls it after every update; where its turn is over, it waits here for the next.

    Args:
        pipe: to the process that compares.
        seconds: length of a turn.
    """

    def __init__(self, pipe: Connection, seconds: float) -> None:
        self.pipe, self.seconds, self.notes = pipe, seconds, dict[str, float]()

    def __call__(self) -> None:
        self.updates += 1
        if time.perf_counter() - self.wall >= self.seconds:
            wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
            self.pipe.send(("cost", (cpu / self.updates, wall / self.updates, peak(), self.notes)))
            self.wait()

    def wait(self) -> None:
        """Wait for a turn; the process ends here if there is none."""
        try:
            go = self.pipe.recv()
        except EOFError:
            go = False
        if not go:
            os._exit(0)
        self.updates, self.wall, self.cpu = 0, time.perf_counter(), time.process_time()


Variant = Callable[[Turn], None]
"""Trains for ever, and calls its argument after every update."""


@dataclass
class Costs:
    """What an update of one variant costs in seconds, turn by turn.

    Args:
        cpu: process time, of all its threads.
        wall: time passed.
        peak: largest resident memory in GB.
        notes: numbers that the variant told of itself.
        trouble: why it was not measured.
    """

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    peak: float = 0.0
    notes: dict[str, float] = field(default_factory=dict)
    trouble: str = ""

    def ratios(self, other: "Costs") -> list[float]:
        """Return this variant's process time over another's, round by round."""
        return [mine / its for mine, its in zip(self.cpu, other.cpu, strict=True)]


class Process:
    """A variant in a process of its own."""

    def __init__(self, variant: Variant, seconds: float, costs: Costs) -> None:
        self.pipe, theirs = SPAWN.Pipe()
        self.costs = costs
        self.process = SPAWN.Process(target=live, args=(variant, theirs, seconds), daemon=True)
        with contextlib.ExitStack() as stack:
            stack.callback(theirs.close)
            self.process.start()

    def turn(self, keep: bool = True) -> None:
        """Let it have a turn; `keep` its cost."""
        if self.costs.trouble:
            return
        try:
            self.pipe.send(True)
            kind, told = self.pipe.recv()
        except (EOFError, BrokenPipeError):
            kind, told = "trouble", "its process died"
        if kind == "trouble":
            self.costs.trouble = told
            return
        cpu, wall, high, self.costs.notes = told
        self.costs.peak = max(self.costs.peak, high)
        if keep:
            self.costs.cpu.append(cpu)
            self.costs.wall.append(wall)

    def end(self) -> None:
        """Stop it."""
        with contextlib.suppress(BrokenPipeError):
            self.pipe.send(False)
        self.process.join()


def compare(variants: Mapping[str, Variant], rounds: int, seconds: float = 0.3, starts: int = 1) -> dict[str, Costs]:
    """Return the costs of variants that take turns, in opposite orders from round to round.

    Setting up and the first two turns of each process are left out. Where a process finds its memory can make all of
    its updates some percent slower or quicker; comparisons that must be finer than that take several starts.

    Args:
        variants: by name.
        rounds: turns of each process.
        seconds: length of a turn.
        starts: how many times each variant gets a fresh process.
    """
    costs = {name: Costs() for name in variants}
    for _ in range(starts):
        processes = [Process(variant, seconds, costs[name]) for name, variant in variants.items()]
        for process in processes:
            process.turn(keep=False)
            process.turn(keep=False)
        for i in range(rounds):
            for process in processes[:: 1 if i % 2 else -1]:
                process.turn()
        for process in processes:
            process.end()
    return costs


def live(variant: Variant, pipe: Connection, seconds: float) -> None:
    """Be the process of a variant."""
    settle()
    turn = Turn(pipe, seconds)
    turn.wait()
    try:
        variant(turn)
        pipe.send(("trouble", "it came to its end before it was measured"))
    except ImportError as error:
        pipe.send(("trouble", f"skipped, not installed: {error}"))
    except Exception as error:  # a rival may fail in any way; the others are measured all the same
        pipe.send(("trouble", f"{type(error).__name__}: {error}"))


def settle() -> None:
    """Make this process quiet, confine it to one processor, and move it where its files bother nobody."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.chdir(tempfile.gettempdir())


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns in a fresh process with one thread; its exceptions come out here."""
    with ProcessPoolExecutor(1, SPAWN, initializer=settle) as pool:
        return pool.submit(function, *arguments).result()


def peak() -> float:
    """Return the peak of this process's resident memory in GB, without what its parent had."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Return the first quartile, the median and the third quartile.

    >>> quartiles([3.0, 1.0, 2.0, 5.0, 4.0])
    (2.0, 3.0, 4.0)
    """
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, method="inclusive")
    return low, middle, high
