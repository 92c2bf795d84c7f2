"""Measure which trick solves which problem at which length, and write the table in docs/sequences_table.md.

python examples/sequences.py [--problems adding ...] [--steps 50 100 200 400] [--seeds 0] [--methods NAME ...]

Each cell is a run of `lamina reproduce sequence`, whose record is kept as it ends; what has a record is not trained
again, and what was stopped goes on where it was. The table has the share of test sequences with a wrong answer.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from lamina.cli import main
from lamina.recipes.records import PLACE, line, load_records, record_name, renewed

SGD = ("cell=rnn", "start-as=uniform", "optimizer=sgd", "lr=0.1", "momentum=0.0")
METHODS: dict[str, tuple[str, ...]] = {
    "plain units, SGD": (*SGD, "clip=None"),
    "+ clipping": SGD,
    "+ clipping, momentum": (*SGD[:3], "lr=0.02", "nesterov=True"),
    "+ clipping, orthogonal": (*SGD[:1], *SGD[2:]),
    "+ clipping, Ω": (*SGD, "propagation=0.1"),
    "plain units, Adam, orthogonal": ("cell=rnn", "lr=0.001"),
    "+ sparse activations": ("cell=rnn", "lr=0.001", "activity=0.0001"),
    "rectified units, identity": ("cell=rnn", "squash=relu", "start-as=identity", "lr=0.001"),
    "leaky units": ("cell=leaky",),
    "delays": ("cell=delayed",),
    "clockwork": ("cell=clockwork",),
    "deep transition": ("cell=deep",),
    "LSTM": ("cell=lstm", "lr=0.01"),
    "GRU": ("cell=gru",),
}
PROBLEMS = ("adding", "temporal_order", "temporal_order_3", "copying")
STOPPED = 128  # exit status of what a signal has stopped is above it
SOLVED = 0.01  # wrong sequences, at most (Pascanu, Mikolov & Bengio 2013, section 4.1)


def cell(method: str, problem: str, seed: int, more: list[str], records: Path, runs: Path) -> int:
    """Train one method on one problem unless its record is there; return the command's exit status."""
    words = [*METHODS[method], *more]
    path = records / f"{record_name('sequence', ' '.join(('full', *words)), problem, seed)}.json"
    if path.exists():
        return 0
    options = ["--data", problem, "--seeds", str(seed), "--records", str(records), "--runs", str(runs), "--quiet"]
    status = main(["reproduce", "sequence", "--set", *words, *options])
    if path.exists():
        path.write_text(json.dumps(json.loads(path.read_text()) | {"method": method}, indent=1))
    return status


def tables(place: Path) -> str:
    """Return a table for each problem: the error of every method over the number of steps."""
    found: dict[str, dict[str, dict[int, list[dict[str, Any]]]]] = {}
    for record in load_records(place):
        problem, steps = record["data"]["name"].split(":")
        row = found.setdefault(problem, {}).setdefault(record["method"], {})
        row.setdefault(int(steps), []).append(record)
    return "\n".join(table(name, found[name]) for name in PROBLEMS if name in found)


def table(problem: str, rows: dict[str, dict[int, list[dict[str, Any]]]]) -> str:
    """Return the table of one problem; in bold what is solved."""
    lengths = sorted({steps for row in rows.values() for steps in row})
    lines = [line("method", *(f"T = {steps}" for steps in lengths), "seeds", "minutes at the longest")]
    lines.append(line(*["---"] * (len(lengths) + 3)))
    for method in (name for name in METHODS if name in rows):
        row = rows[method]
        seeds = ", ".join(map(str, sorted({record["seed"] for records in row.values() for record in records})))
        minutes = statistics.mean(record.get("cpu_seconds", record["seconds"]) for record in row[max(row)]) / 60
        cells = [share(row[steps]) if steps in row else "–" for steps in lengths]
        lines.append(line(method, *cells, seeds, f"{minutes:.1f}"))
    return f"`{problem}`, sequences with a wrong answer:\n\n" + "".join(lines)


def share(records: list[dict[str, Any]]) -> str:
    """Return the mean share of wrong sequences, in bold if each seed has solved the problem."""
    errors = [record["figures"]["error"] for record in records]
    text = f"{100 * statistics.mean(errors):.1f} %"
    return f"**{text}**" if max(errors) <= SOLVED else text


def cells() -> int:
    """Train what has no record yet, and renew the page after each; return how many failed, or what stopped them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS))
    parser.add_argument("--steps", nargs="+", type=int, default=[50, 100, 200, 400])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), metavar="NAME")
    parser.add_argument("--set", nargs="*", default=[], help="arguments of all runs, as epochs=2")
    parser.add_argument("--records", type=Path, default=PLACE / "sequences")
    parser.add_argument("--runs", type=Path, default=Path("runs/sequences"))
    parser.add_argument("--page", type=Path, default=Path(__file__).parents[1] / "docs" / "sequences_table.md")
    chosen = parser.parse_args()
    failed = 0
    for seed in chosen.seeds:
        for steps in chosen.steps:
            for problem in chosen.problems:
                for method in chosen.methods:
                    name = f"{problem}:{steps}"
                    status = cell(method, name, seed, chosen.set, chosen.records, chosen.runs)
                    renewed(chosen.page, tables(chosen.records))
                    if status > STOPPED:
                        return status
                    failed += bool(status)
    return failed


if __name__ == "__main__":
    sys.exit(cells())
