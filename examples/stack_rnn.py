"""Train networks with different seeds on algorithmic patterns, and write the table in docs/stack_rnn_table.md.

python examples/stack_rnn.py [--tasks anbn ...] [--seeds 10 11 ...] [--methods NAME ...]

Each network is a run of `lamina reproduce` whose record is kept as it ends; what has a record is not trained again. Its
share is that of the n from 2 to 59 whose 200 test strings are all told right.
"""

import argparse
import shlex
import statistics
import sys
from pathlib import Path
from typing import Any

from lamina.cli import main
from lamina.recipes.records import PLACE, line, load_records, record_name
from lamina.train.folder import write_text

METHODS: dict[str, tuple[str, ...]] = {
    "RNN": ("pattern_lm", "cell=rnn", "epochs=30"),
    "LSTM": ("pattern_lm",),
    "List-RNN": ("stack_rnn", "memory=list", "stacks=5", "rounded=False", "rounding=1.0", "restarts=1"),
    "Stack-RNN": ("stack_rnn", "rounded=False", "rounding=1.0", "restarts=1"),
    "Stack-RNN, rounded": ("stack_rnn", "restarts=1"),
    "Stack-RNN, rounded, of four": ("stack_rnn",),
}
ROWS = {  # a method, and which of its figures
    "RNN": ("RNN", "solved"),
    "LSTM": ("LSTM", "solved"),
    "List-RNN 40 + 5": ("List-RNN", "solved_soft"),
    "Stack-RNN 40 + 10": ("Stack-RNN", "solved_soft"),
    "Stack-RNN 40 + 10, rounded": ("Stack-RNN, rounded", "solved_rounded"),
    "the same, chosen of four": ("Stack-RNN, rounded, of four", "solved_rounded"),
}
PUBLISHED: dict[
    str, tuple[float, ...]
] = {  # Joulin & Mikolov (2015), table 2: percent of n, for the tasks in this order
    "RNN": (25, 23.3, 13.3, 23.3, 33.3),
    "LSTM": (100, 100, 68.3, 75, 100),
    "List-RNN 40 + 5": (100, 33.3, 100, 100, 100),
    "Stack-RNN 40 + 10": (100, 100, 100, 100, 43.3),
    "Stack-RNN 40 + 10, rounded": (100, 100, 100, 100, 100),
}
TASKS = {"anbn": "aⁿbⁿ", "anbncn": "aⁿbⁿcⁿ", "anbncndn": "aⁿbⁿcⁿdⁿ", "anb2n": "aⁿb²ⁿ", "anbmcnm": "aⁱbʲcⁱ⁺ʲ"}
OTHERS = {"memory": "copying backward", "addition": "binary addition"}
LARGER = {  # what these are trained with besides, where there are stacks or lists
    "memory": ("hidden=100", "windows=200", "episodes=20", "scale=2.0", "rounding=1.0", "lr=0.02"),
    "addition": ("hidden=100", "windows=400", "episodes=20", "scale=2.0", "stay=True", "recurrent=True"),
}
Found = dict[str, dict[str, list[dict[str, Any]]]]
"""Method -> task -> records."""


def net(method: str, task: str, seed: int, records: Path, runs: Path) -> int:
    """Train one network unless its record is there; return the command's exit status."""
    recipe, *words = METHODS[method]
    if recipe == "stack_rnn":
        words = list({word.partition("=")[0]: word for word in (*words, *LARGER.get(task, ()))}.values())
    data, form = f"patterns:{task}", " ".join(("full", *words))
    if (records / f"{record_name(recipe, form, data, seed)}.json").exists():
        return 0
    options = ["--data", data, "--seeds", str(seed), "--records", str(records), "--runs", str(runs), "--quiet"]
    status = main(["reproduce", recipe, *(["--set", *words] if words else []), *options])
    if status > 128:
        sys.exit(status)  # a signal stops the whole
    return status


def method_of(record: dict[str, Any]) -> str:
    """Return the method that a record is of."""
    if record["recipe"] == "pattern_lm":
        return "RNN" if record["arguments"]["cell"] == "rnn" else "LSTM"
    if record["arguments"]["memory"] == "list":
        return "List-RNN"
    if not record["arguments"]["rounded"]:
        return "Stack-RNN"
    return "Stack-RNN, rounded" + (", of four" if record["arguments"]["restarts"] > 1 else "")


def page(place: Path, command: str) -> str:
    """Return the page of all records."""
    found: Found = {}
    for record in load_records(place):
        task = record["data"]["name"].split(":")[1]
        found.setdefault(method_of(record), {}).setdefault(task, []).append(record)
    parts = [
        "# Stack-RNN: every network\n",
        f"Written by `{command}` from the records in `{place.name}` beside those of `lamina reproduce`, never by hand. "
        "Each network was trained alone, with a seed of its own; those of the last row are the best of four on "
        "validation strings, as by default. None is left out. Settings were chosen on other seeds.\n",
        "## Beside the paper\n",
        "Mean percent of n from 2 to 59 whose test strings are all told right, and how many networks have them all; in "
        "brackets the figure of Joulin & Mikolov (2015), table 2, which is of a network that was chosen.\n",
        overview(found, TASKS, PUBLISHED),
    ]
    if any(task in OTHERS for tasks in found.values() for task in tasks):
        parts += [
            "The same for tasks that the paper has pictures of; with stacks or lists these have 100 units:\n",
            overview(found, OTHERS, {}),
        ]
    parts += ["## Every network\n", "Percent of n, from the best to the worst.\n", every(found)]
    return "\n".join(
        [*parts, origin([record for tasks in found.values() for part in tasks.values() for record in part])]
    )


def overview(found: Found, tasks: dict[str, str], published: dict[str, tuple[float, ...]]) -> str:
    """Return the table of means."""
    lines = [line("network", *tasks.values()), line(*["---"] * (len(tasks) + 1))]
    for row, (method, figure) in ROWS.items():
        cells = [mean(found.get(method, {}).get(task, []), figure) for task in tasks]
        there = [f" [{value:g}]" for value in published.get(row, ())] or [""] * len(tasks)
        lines.append(line(row, *(cell + value for cell, value in zip(cells, there, strict=True))))
    return "".join(lines)


def mean(records: list[dict[str, Any]], figure: str) -> str:
    """Return the mean percent of some networks, and how many have all."""
    if not records:
        return "–"
    shares = [record["figures"][figure] for record in records]
    return f"{100 * statistics.mean(shares):.1f}, {shares.count(1.0)} of {len(shares)}"


def every(found: Found) -> str:
    """Return the table of all networks."""
    lines = [line("network", "task", "percent of n", "seeds", "seconds each"), line(*["---"] * 5)]
    for row, (method, figure) in ROWS.items():
        for task, name in (TASKS | OTHERS).items():
            if records := found.get(method, {}).get(task):
                shares = sorted((100 * record["figures"][figure] for record in records), reverse=True)
                seeds = sorted({record["seed"] for record in records})
                seconds = statistics.mean(map(seconds_of, records))
                lines.append(line(row, name, " ".join(f"{s:.3g}" for s in shares), spans(seeds), f"{seconds:.1f}"))
    return "".join(lines)


def seconds_of(record: dict[str, Any]) -> float:
    """Return the processor time of training; of a run that was stopped and went on, the wall time of its last part."""
    seconds: float = record.get("cpu_seconds", record["seconds"])
    return seconds


def spans(numbers: list[int]) -> str:
    """Return numbers in order, with those that follow each other as from-to.

    >>> spans([0, 10, 11, 12])
    '0, 10-12'
    """
    begins = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(begins, ends, strict=True))


def origin(records: list[dict[str, Any]]) -> str:
    """Return where the records come from."""
    versions = sorted({f"{name} {version}" for record in records for name, version in record["versions"].items()})
    commits, machines = (", ".join(sorted({record[name] for record in records})) for name in ("commit", "machine"))
    dates = sorted({record["started"][:10] for record in records})
    time = " to ".join(dict.fromkeys((dates[0], dates[-1])))
    minutes = sum(map(seconds_of, records)) / 60
    nets = f"{len(records)} networks, {minutes:.0f} minutes of one core, {time}"
    return f"{nets}; commit {commits}; {machines}; {', '.join(versions)}.\n"


def nets() -> int:
    """Train what has no record yet, and write the page after each seed; return the number of those that failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=[*TASKS, *OTHERS])
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(10, 30)))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--records", type=Path, default=PLACE / "stack_rnn")
    parser.add_argument("--runs", type=Path, default=Path("runs/stack_rnn"))
    parser.add_argument("--page", type=Path, default=Path(__file__).parents[1] / "docs" / "stack_rnn_table.md")
    chosen = parser.parse_args()
    command, failed = shlex.join(["python", "examples/stack_rnn.py", *sys.argv[1:]]), 0
    for seed in chosen.seeds:
        for method in chosen.methods:
            failed += sum(bool(net(method, task, seed, chosen.records, chosen.runs)) for task in chosen.tasks)
        write_text(chosen.page, page(chosen.records, command))
    return failed


if __name__ == "__main__":
    sys.exit(nets())
