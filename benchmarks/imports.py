"""How long it takes until lamina answers, in fresh processes; medians.

Importing is timed after torch was imported. Targets: `import lamina` under 0.15 s, `lamina --help` under 0.5 s from
the start of its process to its end, and without torch.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Callable

from benchmarks.results import Result, Row, Target
from benchmarks.turns import quartiles

IMPORT = """
import time, torch
start = time.process_time(), time.perf_counter()
import lamina
{more}
print(time.process_time() - start[0], time.perf_counter() - start[1])
"""
HELP = "from lamina.cli import main; main(['--help'])"
WITHOUT_TORCH = "import sys; " + HELP + "; sys.exit('torch' in sys.modules)"


def measure(quick: bool) -> Result:
    """Time each in fresh processes."""
    times = 2 if quick else 15
    every = "[getattr(lamina, name) for name in lamina.__all__]"
    rows = [
        row("import lamina", times, lambda: importing("")),
        row("import lamina and all of its public names", times, lambda: importing(every)),
        row("lamina --help", times, helping),
    ]
    free = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, check=False).returncode == 0
    rows[2] = Row(rows[2].name, {**rows[2].values, "imports torch": 0.0 if free else 1.0})
    targets = [
        Target("import lamina", "wall s", "<=", 0.15),
        Target("lamina --help", "wall s", "<=", 0.5),
        Target("lamina --help", "imports torch", "<=", 0),
    ]
    return Result(rows, targets, {"processes": times})


def row(name: str, times: int, once: Callable[[], tuple[float, float]]) -> Row:
    """Return the medians of CPU and wall time."""
    cpu, wall = (quartiles(list(column))[1] for column in zip(*(once() for _ in range(times)), strict=True))
    return Row(name, {"CPU s": cpu, "wall s": wall})


def importing(more: str) -> tuple[float, float]:
    """Return CPU and wall seconds of an import after torch."""
    words = [sys.executable, "-c", IMPORT.format(more=more)]
    cpu, wall = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    return float(cpu), float(wall)


def helping() -> tuple[float, float]:
    """Return CPU and wall seconds of a process that prints the help."""
    before, start = children(), time.perf_counter()
    subprocess.run([sys.executable, "-c", HELP], capture_output=True, check=True)
    return children() - before, time.perf_counter() - start


def children() -> float:
    """Return the CPU seconds of all processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
