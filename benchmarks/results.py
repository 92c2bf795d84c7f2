"""What a benchmark found: rows of values and targets that they must meet; its record, and the page of all records."""

import json
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from benchmarks.turns import Costs, quartiles

PLACE = Path(__file__).parent / "records"
RIVALS = ("lightning", "keras", "jax", "tensorflow-cpu", "skorch", "scikit-learn", "ebmkit", "rbms", "learnergy")

HEAD = """# Benchmarks

Written by `python -m benchmarks` from the records in `benchmarks/records`, never by hand. `make bench` installs the
other libraries and measures all but the slow ones; `python -m benchmarks --all` measures those too, and
`python -m benchmarks NAME ...` some. Ratios are medians over rounds in which the variants take turns, each in a process
of its own with one thread; q1 and q3 are the quartiles of the rounds. CPU is process time, GB the peak of resident
memory of the variant's process.
"""


@dataclass(frozen=True)
class Row:
    """Values of one variant by name, with their unit in the name, and what else is to be said of it."""

    name: str
    values: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Target:
    """What a value must be at most (`<=`) or at least (`>=`)."""

    row: str
    value: str
    sign: Literal["<=", ">="]
    bound: float

    def judge(self, rows: Iterable[Row]) -> dict[str, Any]:
        """Return the target as plain data, with the value that was measured and whether it meets it."""
        found = next((row.values.get(self.value) for row in rows if row.name == self.row), None)
        met = None if found is None else found <= self.bound if self.sign == "<=" else found >= self.bound
        return {**asdict(self), "measured": found, "met": met}


@dataclass
class Result:
    """What a benchmark found, and under which settings."""

    rows: list[Row]
    targets: list[Target] = field(default_factory=list)
    settings: Mapping[str, Any] = field(default_factory=dict)


def timed(costs: Mapping[str, Costs], base: str, updates: float = 1, unit: float = 1, name: str = "s") -> list[Row]:
    """Return a row for each variant: the time of `updates` updates in units of `unit` seconds, and its ratio to `base`.

    Args:
        costs: what `compare` gave.
        base: the variant that the others are held against.
        updates: in what is reported, such as an epoch.
        unit: seconds in the unit of time.
        name: of that unit.
    """
    rows = []
    for variant, cost in costs.items():
        if cost.trouble:
            rows.append(Row(variant, note=cost.trouble))
            continue
        cpu, wall = (quartiles(times)[1] * updates / unit for times in (cost.cpu, cost.wall))
        values = {f"CPU {name}": cpu, f"wall {name}": wall}
        if not costs[base].trouble:
            q1, ratio, q3 = quartiles(cost.ratios(costs[base]))
            values |= {"ratio": ratio, "q1": q1, "q3": q3}
        rows.append(Row(variant, values | {"GB": cost.peak}))
    return rows


def record(name: str, about: str, result: Result, surroundings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result as plain data that another can repeat: with versions, commit, machine and date."""
    return {
        "benchmark": name,
        "about": textwrap.dedent(about).strip(),
        "rows": [asdict(row) for row in result.rows],
        "targets": [target.judge(result.rows) for target in result.targets],
        "settings": dict(result.settings),
        **surroundings,
        "rivals": installed(RIVALS),
    }


def installed(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of the packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def table(found: Mapping[str, Any]) -> str:
    """Return the rows of a record as a Markdown table, with its targets below."""
    columns = list(dict.fromkeys(name for row in found["rows"] for name in row["values"]))
    cells = [[row["name"], *(shown(row["values"].get(name)) for name in columns)] for row in found["rows"]]
    widths = [max(map(len, column)) for column in zip(["", *columns], *cells, strict=True)]
    lines = [line(["", *columns], widths), line(["-" * width for width in widths], widths)]
    lines += [line(row, widths) for row in cells]
    notes = [f"- {row['name']}: {' '.join(row['note'].split())}" for row in found["rows"] if row["note"]]
    verdicts = [f"- {verdict(target)}" for target in found["targets"]]
    return "\n\n".join("\n".join(part) for part in (lines, notes, verdicts) if part) + "\n"


def verdict(target: Mapping[str, Any]) -> str:
    """Return whether a target is met."""
    word = {True: "PASS", False: "short", None: "not measured"}[target["met"]]
    wanted = f"{target['row']}, {target['value']} {target['sign']} {target['bound']:g}"
    return f"{wanted}: {shown(target['measured']) or 'none'}, {word}"


def shown(value: float | None) -> str:
    """Return a value in three or more digits.

    >>> [shown(value) for value in (1234.5, 1.02345, 0.00123, None)]
    ['1234', '1.023', '0.00123', '']
    """
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}" if abs(value) >= 1 else f"{value:.3g}"


def line(cells: Iterable[str], widths: Iterable[int]) -> str:
    """Return a row of a Markdown table."""
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"


def page(place: Path = PLACE) -> str:
    """Return the page of all records in a folder."""
    parts = [HEAD]
    for path in sorted(place.glob("*.json")):
        found = json.loads(path.read_text())
        rivals = ", ".join(f"{name} {number}" for name, number in (found["versions"] | found["rivals"]).items())
        where = f"{found['started'][:10]}, commit {found['commit']}, {found['machine']}; {rivals}."
        parts.append(f"## {found['benchmark']}\n\n{found['about']}\n\n{table(found)}\n{where}\n")
    return "\n".join(parts)
