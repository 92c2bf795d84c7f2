"""Records of measured results, written by `lamina reproduce`, and the table made from them."""

import json
import statistics
from pathlib import Path
from typing import Any

from lamina.recipes.registry import RECIPES, Recipe
from lamina.train.folder import write_text

PLACE = Path(__file__).parent / "records"

HEAD = """# Measured results

Written by `lamina reproduce --table` from the records in `lamina/recipes/records`; each record holds the arguments,
seed, commit, versions, machine, date and time of one run. Test figures; mean and standard deviation over the seeds.
Minutes are of training on one thread: of processor time, or in older records of wall time beside other work. On a GPU
they are those of the thread that feeds it; the list at the end names the GPU. Where it names two commits, machines or
dates, a run was stopped, and the second of them ended and measured it.
Published figures marked *memory* were not read in the paper again.

"""
COLUMNS = ("recipe", "form", "data", "figure", "measured", "seeds", "minutes", "published", "paper")
BEGIN, END = "<!-- results -->\n", "<!-- /results -->"


def load_records(place: Path = PLACE) -> list[dict[str, Any]]:
    """Return all records in a folder, in order of file name."""
    return [json.loads(path.read_text()) for path in sorted(place.glob("*.json"))]


def grouped(records: list[dict[str, Any]]) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    """Return the records of each (recipe, form, data), over seeds."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault((record["recipe"], record["form"], record["data"]["name"]), []).append(record)
    return groups


def measured(recipe: Recipe, place: Path = PLACE) -> str | None:
    """Return a recipe's measured figure in its full form on its own data, or its quick form, or None."""
    groups = grouped(load_records(place))
    for form in ("full", "quick"):
        if found := groups.get((recipe.name, form, recipe.data)):
            return summary([record["figures"][recipe.figure] for record in found], recipe.unit)
    return None


def record_name(recipe: str, form: str, data: str, seed: int) -> str:
    """Return the name of a run's folder and of its record's file.

    >>> record_name("ladder", "full labels=600", "photos/mine.csv", 0)
    'ladder-full-labels=600-mine-0'
    """
    return f"{recipe}-{form}-{Path(data).stem}-{seed}".replace(" ", "-")


def summary(values: list[float], unit: str) -> str:
    """Return mean and standard deviation, in percent where the unit is a fraction.

    >>> summary([0.01, 0.012], "fraction")
    '1.10 ± 0.14 %'
    >>> summary([-87.5], "nats")
    '-87.50 nats'
    """
    scale, name = (100, "%") if unit == "fraction" else (1, unit)
    spread = f" ± {scale * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{scale * statistics.mean(values):.2f}{spread} {name}"


def shown(value: float, unit: str) -> str:
    """Return one value with its unit."""
    return summary([value], unit)


def table(place: Path = PLACE, papers: bool = True) -> str:
    """Return the table of all measured results, with or without its last column."""
    width = len(COLUMNS) if papers else len(COLUMNS) - 1
    rows = [line(*COLUMNS[:width]), line(*["---"] * width)]
    for (name, form, data), records in grouped(load_records(place)).items():
        recipe = RECIPES[name]
        value = summary([record["figures"][recipe.figure] for record in records], recipe.unit)
        minutes = statistics.mean(record.get("cpu_seconds", record["seconds"]) for record in records) / 60
        seeds = ", ".join(str(record["seed"]) for record in records)
        published = "–"
        if recipe.published is not None and data == recipe.data and " " not in form:  # with no argument changed
            published = shown(recipe.published, recipe.unit) + (" *memory*" if recipe.source == "memory" else "")
        cells = (name, form, data, recipe.figure, value, seeds, f"{minutes:.1f}", published, recipe.paper)
        rows.append(line(*cells[:width]))
    return "".join(rows)


def write_table(page: Path, place: Path = PLACE) -> None:
    """Write the page of all results, or renew the table in a page that has a place for it."""
    if not renewed(page, table(place, papers=False)):
        write_text(page, HEAD + table(place) + "\n" + details(place))


def renewed(page: Path, text: str) -> bool:
    """Put a table where a page has the place for it; return whether it has one."""
    there = page.read_text() if page.exists() else ""
    if BEGIN not in there or END not in there:
        return False
    before, rest = there.split(BEGIN)
    write_text(page, before + BEGIN + text + END + rest.split(END)[1])
    return True


def by_labels(place: Path) -> str:
    """Return a table for each data set: test error of every recipe and form over the number of labels."""
    cells: dict[str, dict[tuple[str, str], dict[int, list[dict[str, Any]]]]] = {}
    for record in load_records(place):
        form = " ".join(word for word in record["form"].split() if not word.startswith("labels="))
        row = cells.setdefault(record["data"]["name"], {}).setdefault((record["recipe"], form), {})
        row.setdefault(record["arguments"]["labels"], []).append(record)
    return "\n".join(labels_table(data, rows) for data, rows in sorted(cells.items(), reverse=True))


def labels_table(data: str, rows: dict[tuple[str, str], dict[int, list[dict[str, Any]]]]) -> str:
    """Return one data set's part of `by_labels`; seeds and minutes are those of all numbers of labels together."""
    counts = sorted({count for row in rows.values() for count in row})
    lines = [line("recipe", "form", *(f"{count} labels" for count in counts), "seeds", "minutes each")]
    lines.append(line(*["---"] * (len(counts) + 4)))
    for (name, form), row in sorted(rows.items()):
        errors = [summary([r["figures"]["error"] for r in row[n]], "fraction") if n in row else "–" for n in counts]
        records = [record for found in row.values() for record in found]
        seeds = ", ".join(map(str, sorted({record["seed"] for record in records})))
        minutes = statistics.mean(record.get("cpu_seconds", record["seconds"]) for record in records) / 60
        lines.append(line(name, form, *errors, seeds, f"{minutes:.1f}"))
    return f"Test error on {data}:\n\n" + "".join(lines)


def details(place: Path = PLACE) -> str:
    """Return every figure of every record."""
    titles = ("run", "seed", "figures", "commit", "machine", "date")
    lines = ["## Every figure of every run\n\n", line(*titles), line(*("---" for _ in titles))]
    for record in load_records(place):
        figures = ", ".join(f"{name} {value:.5g}" for name, value in record["figures"].items())
        run = f"{record['recipe']} {record['form']} on {record['data']['name']}"
        parts = (record, record["ended"]) if "ended" in record else (record,)
        commits, places, days = (
            ", ".join(dict.fromkeys(values))
            for values in (
                (str(part["commit"]) for part in parts),
                (part.get("gpu") or part["machine"] for part in parts),
                (part["started"][:10] for part in parts),
            )
        )
        lines.append(line(run, record["seed"], figures, commits, places, days))
    return "".join(lines)


def line(*cells: Any) -> str:
    """Return a row of a Markdown table."""
    return "| " + " | ".join(map(str, cells)) + " |\n"
