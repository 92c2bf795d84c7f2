"""The report of a run: one page that needs no network and no other file."""

import dataclasses
import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lamina.analysis.mistakes import confusion, mistakes, predictions
from lamina.analysis.page import (
    Html,
    element,
    facts,
    gallery,
    numbers,
    page,
    section,
    shown,
    spoken,
    table,
    text,
    tiles,
)
from lamina.analysis.pictures import Points, as_images, chart, filters, pictures
from lamina.core import Run, Samples
from lamina.data.byword import are_words, joined
from lamina.data.dataset import Data
from lamina.data.text import END
from lamina.train.display import clock
from lamina.train.evaluate import evaluating, seeded
from lamina.train.fit import Result
from lamina.train.folder import Folder, write_text

SHOWN = 64  # filters and sampled images
ROWS = 8  # sampled rows of a table
TEXTS, SYMBOLS = 4, 1000  # sampled texts, and symbols of each
LATER = "clip", "precision", "compile", "accumulate", "average", "patience", "patience_examples"
"""Settings that the command line may change after the recipe has set them."""


def write_report(
    run: Run,
    folder: Folder,
    result: Result,
    data: Data,
    figures: Mapping[str, float],
    paper: str = "",
    figure: str = "",
    published: float | None = None,
    unit: str = "",
    on: str = "",
) -> Path:
    """Write the report of a trained run into its folder and return its path.

    Args:
        run: with the weights that were kept.
        folder: of the run, with its log.
        result: what training came to.
        data: what the run was trained on.
        figures: final figures by name.
        paper: what the run repeats.
        figure: the name of the figure that the paper reports.
        published: the paper's value.
        unit: of that figure; a "fraction" is shown in percent.
        on: the data set of the published figure.

    Raises:
        FolderError: the folder holds no run.
        ImportError: matplotlib is missing.
    """
    description = folder.description()
    title = f"{description.get('recipe', type(run.system).__name__)} on {data.name}"
    lead, rest = outcome(result, figures, figure, published, unit, on)
    parts: list[Html] = [element("h1", title), element("p", verdict(result, lead or rest[:1]), class_="verdict")]
    parts += [element("p", paper, class_="note")] if paper else []
    parts += [tiles([*lead, *rest, ("training time", clock(result.seconds))])]
    parts += [curves(folder.records(), result.epoch)]
    split, held = ("test", data.test) if data.test is not None else ("valid", data.valid)
    with seeded(run.device, run.seed):
        found = predictions(run.system, held, run.device) if held is not None else None
        if held is not None and found is not None:
            parts += [confusion(found, data, split), mistakes(found, held, data, split)]
        parts += [weights(run, data), samples(run, data)]
    parts += [repeat(description, data.name), origin(description, result, data)]
    write_text(folder.report, page(title, *parts))
    return folder.report


def outcome(
    result: Result, figures: Mapping[str, float], figure: str, published: float | None, unit: str, on: str
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return by name the figure that the paper reports, with the paper's value, and all other numbers to see first."""
    units = {figure: unit}
    final = {name: (f"final {spoken(name)}", shown(value, units.get(name, ""))) for name, value in figures.items()}
    theirs = []
    if published is not None:
        theirs.append((f"published {spoken(figure)}{f' on {on}' if on else ''}", shown(published, unit)))
    lead = [final.pop(figure), *theirs] if figure in final else []
    held = [(f"held-out {spoken(name)}", shown(value, units.get(name, ""))) for name, value in result.best.items()]
    rest = [*final.values(), *held, ("kept epoch", f"{result.epoch} of {result.epochs}")]
    return lead, rest if lead else rest + theirs


def verdict(result: Result, pairs: list[tuple[str, str]]) -> str:
    """Return in one line what came out."""
    told = "; ".join(f"{name} {value}" for name, value in pairs)
    end = "" if result.complete else f" Training was stopped after {counted(result.epochs, 'epoch')}."
    return f"{told[0].upper()}{told[1:]}.{end}"


def curves(records: list[dict[str, Any]], kept: int) -> Html:
    """Return a chart of every training term and every held-out metric."""
    train, held = dict[str, list[tuple[float, float]]](), dict[str, list[tuple[float, float]]]()
    ends = [record for record in records if "epoch" in record]
    updates = ends[-1]["step"] / ends[-1]["epoch"] if ends else 1  # in an epoch
    for record in records:
        for series, values in ((train, record.get("terms", {})), (held, record.get("valid", {}))):
            for name, value in values.items():
                if math.isfinite(value):
                    series.setdefault(name, []).append((record["step"] / updates, value))
    mark, unit = (float(kept), "epoch") if kept else (None, "epoch" if ends else "update")
    charts = [plot(name, train.get(name, []), held.get(name, []), mark, unit) for name in train | held]
    if not charts:
        return Html()
    key = [Html("<span class='train'>&#x2501;</span> training, with its running mean")] if train else []
    key += [Html("<span class='held'>&#x25cf;</span> held out")] if held else []
    key += [text(f"\u2506 epoch {kept}, whose weights were kept")] if kept else []
    return section(
        "Training",
        element("p", Html(" &emsp; ".join(key)), class_="note key"),
        element("div", *charts, class_="charts"),
    )


def plot(name: str, train: Points, held: Points, kept: float | None, unit: str) -> Html:
    """Return one chart with its title."""
    told = [f"{kind} {shown(points[0][1])} to {shown(points[-1][1])}" for kind, points in
            (("training from", train), ("held out from", held)) if points]  # fmt: skip
    drawing = Html(chart(train, held, kept, unit, name))
    label = f"Curve of {name}: {', '.join(told)}"
    return element("figure", element("figcaption", spoken(name)), element("div", drawing, role="img", aria_label=label))


def weights(run: Run, data: Data) -> Html:
    """Return the weights that meet the images, as images."""
    found = filters(run.system, shape_of(data))
    if found is None:
        return Html()
    name, images = found
    told = element("p", element("code", name), f", {part(len(images), SHOWN)}; grey is zero.", class_="note")
    return section("Filters", told, gallery(pictures(images[:SHOWN]), f"The weights {name} as images"))


def samples(run: Run, data: Data) -> Html:
    """Return new examples as images, texts or rows."""
    if not isinstance(run.system, Samples):
        return Html()
    with evaluating(run.system):
        x = run.system.sample(SHOWN).cpu()
    images = as_images(x, shape_of(data))
    if images is not None:
        return section("Samples", gallery(pictures(images), f"{len(x)} images that the system made up"))
    if not x.is_floating_point():
        return section("Samples", *(element("pre", written(tokens, data)) for tokens in x[:TEXTS]))
    rows = [(i + 1, numbers(row)) for i, row in enumerate(x[:ROWS])]
    return section("Samples", table(("sample", "x"), rows, "New rows"))


def written(tokens: Tensor, data: Data) -> str:
    """Return symbols as text; words as one reads them, other symbols of more than one character apart."""
    if data.classes[:1] == (END,) and are_words(data.classes):
        return joined(data.classes[t] for t in tokens[:SYMBOLS].flatten().tolist())
    symbols = [data.classes[t] if t < len(data.classes) else f"<{t}>" for t in tokens[:SYMBOLS].flatten().tolist()]
    return ("" if all(len(symbol) == 1 for symbol in data.classes) else " ").join(symbols)


def shape_of(data: Data) -> tuple[int, ...]:
    """Return the shape of an example's `x`; empty if it has none, as texts."""
    return tuple(data.outline()["fields"].get("x", [""])[1:])


def part(count: int, most: int) -> str:
    """Return in words that at most so many of all are shown."""
    return f"the first {most} of {count}" if count > most else f"all {count}"


def repeat(description: dict[str, Any], name: str) -> Html:
    """Return the command that repeats the run, with every argument, so that later defaults do not matter."""
    if "recipe" not in description:
        told = "The run was made in Python without a recipe, so that no command repeats it."
        return section("Repeat this run", element("p", told))
    usual = {field.name: field.default for field in dataclasses.fields(Run)}
    arguments = dict(description["arguments"])
    changed = {n: description["settings"][n] for n in LATER if description["settings"][n] != usual[n]}
    changed |= {"device": description["settings"]["device"]}
    words = ["lamina", "train", description["recipe"], "--data", name]
    for option, value in (arguments | {n: v for n, v in changed.items() if n not in arguments}).items():
        words += option_of(option, value)
    return section("Repeat this run", element("pre", shlex.join([*words, "--out", f"runs/{description['recipe']}"])))


def option_of(name: str, value: Any) -> list[str]:
    """Return an option and its value as words of the command line; none for a value that the recipe chooses.

    >>> option_of("fast", False), option_of("sizes", [300, 100])
    (['--no-fast'], ['--sizes', '300', '100'])
    """
    option = name.replace("_", "-")
    if value is None:
        return []
    if isinstance(value, bool):
        return [f"--{option}" if value else f"--no-{option}"]
    return [f"--{option}", *(str(v) for v in (value if isinstance(value, list | tuple) else [value]))]


def origin(description: dict[str, Any], result: Result, data: Data) -> Html:
    """Return what another must know to repeat the figures."""
    arguments = [(name, value) for name, value in description.get("arguments", {}).items() if name != "seed"]
    settings = {name: value for name, value in description["settings"].items() if value not in (None, False)}
    pairs = [("recipe", description.get("recipe", "none")), ("seed", description["seed"])]
    pairs += [("commit", description["commit"] or "not known"), ("machine", description["machine"])]
    pairs += [("versions", ", ".join(f"{name} {number}" for name, number in description["versions"].items()))]
    pairs += [("settings", ", ".join(f"{name} {value}" for name, value in settings.items()))]
    pairs += [("started", description["started"]), ("started as", description["command"] or "from Python")]
    pairs += [("examples to the kept epoch", result.examples)]
    pairs += [("data", f"{data.name}: {', '.join(sizes(data))}")]
    pairs += [(f"sha256 of {name}", value) for name, value in data.hashes.items()]
    given = [element("h3", "Arguments"), facts(arguments)] if arguments else []
    return section("Origin", facts(pairs), *given)


def sizes(data: Data) -> list[str]:
    """Return how many examples each split has."""
    splits = (("train", data.train), ("valid", data.valid), ("test", data.test))
    return [f"{len(examples)} {name}" for name, examples in splits if examples is not None]


def counted(count: int, noun: str) -> str:
    """Return a number of things in words.

    >>> counted(1, "epoch"), counted(2, "epoch")
    ('1 epoch', '2 epochs')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
