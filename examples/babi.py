"""Measure the errors of memory networks on the twenty bAbI tasks, and write the table in docs/babi.md.

python examples/babi.py [--tasks 1 2 3] [--seeds 0] [--methods NAME ...]

Each cell is a run of `lamina reproduce`, whose record is kept as it ends; what has a record is not trained again, and
what was stopped goes on where it was. `joint` is one network for all tasks, whatever `--tasks` says.
"""

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

from lamina.cli import main
from lamina.recipes import RECIPES
from lamina.recipes.records import PLACE, line, load_records, record_name, renewed, summary

METHODS: dict[str, tuple[str, ...]] = {  # a recipe, and what differs from its defaults
    "single": ("memn2n",),
    "joint": ("memn2n", "hidden=50", "linear=30", "halving=15", "epochs=60", "restarts=3"),
    "strong": ("memnn",),
}
TITLES = {"single": "MemN2N", "joint": "MemN2N, joint", "strong": "MemNN, told the support"}
PUBLISHED = {  # errors in percent of the authors' program on tasks 1 to 20, with PE LS RN and 3 hops
    "published": "0.1 8.2 41.8 4.4 13.7 7.9 20.3 11.7 13.6 9.7 0.7 0.0 0.3 0.9 0.0 0.4 51.0 10.5 81.4 0.0",
    "published, joint": "0.0 13.1 23.4 5.9 12.9 3.7 22.9 9.1 2.7 7.2 0.8 0.1 0.1 4.2 0.0 1.2 43.6 10.5 86.7 0.0",
}
TASKS = range(1, 21)


def cell(method: str, data: str, seed: int, records: Path, runs: Path) -> int:
    """Train one method on one data set unless its record is there; return the command's exit status."""
    recipe, *words = METHODS[method]
    form = " ".join(("full", *words))
    if (records / f"{record_name(recipe, form, data, seed)}.json").exists():
        return 0
    options = ["--data", data, "--seeds", str(seed), "--records", str(records), "--runs", str(runs), "--quiet"]
    status = main(["reproduce", recipe, *(["--set", *words] if words else []), *options])
    if status > 128:
        sys.exit(status)  # a signal stops the whole
    return status


def by_task(records: list[dict[str, Any]]) -> str:
    """Return the table: test errors of each method on each task, beside the published ones."""
    found: dict[str, dict[int, list[float]]] = {}
    for record in records:
        name, figures = record["data"]["name"], record["figures"]
        if name == "babi:all":
            for task in TASKS:
                if f"error_{task}" in figures:
                    found.setdefault("joint", {}).setdefault(task, []).append(figures[f"error_{task}"])
        else:
            method = "strong" if record["recipe"] == "memnn" else "single"
            found.setdefault(method, {}).setdefault(int(name.partition(":")[2]), []).append(figures["error"])
    methods = [method for method in METHODS if method in found]
    rows = [line("task", *(TITLES[method] for method in methods), *PUBLISHED)]
    rows.append(line(*["---"] * (1 + len(methods) + len(PUBLISHED))))
    for task in TASKS:
        ours = [summary(found[method][task], "fraction") if task in found[method] else "–" for method in methods]
        rows.append(line(task, *ours, *(f"{column.split()[task - 1]} %" for column in PUBLISHED.values())))
    means = []
    for method in methods:
        whole = len(found[method]) == len(TASKS)
        mean = statistics.mean(statistics.mean(errors) for errors in found[method].values())
        means.append(summary([mean], "fraction") if whole else "–")
    rows.append(
        line("mean", *means, *(f"{statistics.mean(map(float, column.split())):.1f} %" for column in PUBLISHED.values()))
    )
    seeds = ", ".join(map(str, sorted({record["seed"] for record in records})))
    return "".join(rows) + f"\nSeeds: {seeds}.\n"


def cells() -> int:
    """Train what has no record yet, and renew the page after each; return the number of those that failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", type=int, default=list(TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    known = [method for method in METHODS if METHODS[method][0] in RECIPES]
    parser.add_argument("--methods", nargs="+", choices=known, default=known)
    parser.add_argument("--records", type=Path, default=PLACE / "babi")
    parser.add_argument("--runs", type=Path, default=Path("runs/babi"))
    parser.add_argument("--page", type=Path, default=Path(__file__).parents[1] / "docs" / "babi.md")
    chosen = parser.parse_args()
    failed = 0
    for seed in chosen.seeds:
        for method in chosen.methods:
            for data in ["babi:all"] if method == "joint" else [f"babi:{task}" for task in chosen.tasks]:
                failed += bool(cell(method, data, seed, chosen.records, chosen.runs))
                renewed(chosen.page, by_task(load_records(chosen.records)))
    return failed


if __name__ == "__main__":
    sys.exit(cells())
