"""`lamina reproduce`: train recipes as published, compare, and keep a record of each result."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from lamina.cli.options import form_of, parse
from lamina.cli.train import Machine, listeners
from lamina.data.standard import load as load_data
from lamina.recipes import RECIPES, Recipe, named
from lamina.recipes.records import PLACE, record_name, shown, write_table
from lamina.recipes.registry import figures_of
from lamina.train.display import fitting, numbers
from lamina.train.fit import fit
from lamina.train.folder import Folder, describe, write_json


@dataclass(kw_only=True)
class Reproduce(Machine):
    """Train recipes as published and keep a record of each result. Runs that were stopped go on where they were.

    Args:
        names: recipes; all if none is named.
        quick: the short form of each.
        set: arguments that differ from that form, as labels=600 or hidden=500,250; the record's form names them.
        seeds: seeds to run.
        data: another data set than the recipe's own.
        runs: where the runs are kept.
        records: where the records are kept.
        table: only write the table of the records that are there into this page.
    """

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    quick: bool = False
    set: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    data: str | None = None
    runs: Path = Path("runs/reproduce")
    records: Path = PLACE
    table: Path | None = None


@dataclass(kw_only=True)
class Nothing:
    """No options beside a recipe's own."""


def reproduce_command(words: list[str]) -> int:
    """Train, measure and record each recipe and seed, or write the table of results."""
    options = parse(Reproduce, words, "lamina reproduce")
    if options.table is not None:
        write_table(options.table, options.records)
        print(options.table)
        return 0
    for recipe in [named(name) for name in options.names] or RECIPES.values():
        for seed in options.seeds:
            reproduce(recipe, seed, options)
    return 0


def reproduce(recipe: Recipe, seed: int, options: Reproduce) -> None:
    """Train one recipe with one seed, or go on with its run, and write the record of its figures."""
    form, device = " ".join(("quick" if options.quick else "full", *options.set)), options.prepare()
    arguments = {**(recipe.quick if options.quick else {}), **changes(recipe, options.set), "seed": seed}
    data = load_data(options.data or recipe.data, seed=seed)
    run = replace(recipe(data, **arguments), device=device)
    name = record_name(recipe.name, form, data.name, seed)
    folder = Folder(options.runs / name)
    begun, spent = folder.recipe.exists(), time.process_time()
    result = fit(run, folder.path, begun, fitting(options.quiet), listeners(folder, options), options.save_every)
    spent, start = time.process_time() - spent, time.perf_counter()
    figures = figures_of(run)
    measuring = time.perf_counter() - start
    if recipe.figure not in figures:
        raise ValueError(
            f"{recipe.name} cannot measure its figure '{recipe.figure}' on {data.name}; it gives {figures}"
        )
    record = {**folder.description(), "form": form, "figures": figures, "seconds": result.seconds}
    record |= {"measuring": measuring, "trained": result.epochs, "kept": result.epoch, "valid": result.best}
    if begun:  # the time of earlier parts is not known
        ended = describe(run)
        record["ended"] = {name: ended[name] for name in ("versions", "commit", "machine", "gpu", "started")}
    else:
        record["cpu_seconds"] = spent
    options.records.mkdir(parents=True, exist_ok=True)
    write_json(options.records / f"{name}.json", record)
    published = "none" if recipe.published is None or options.set else shown(recipe.published, recipe.unit)
    reached = shown(figures[recipe.figure], recipe.unit)
    print(f"{name}: {recipe.figure} {reached}, published {published}; {numbers(figures)}")


def changes(recipe: Recipe, words: tuple[str, ...]) -> dict[str, Any]:
    """Return a recipe's arguments that words such as labels=600 give.

    Raises:
        ValueError: a word of another form, an argument that the recipe lacks, or a value that does not fit it.
    """
    pairs = [word.partition("=") for word in words]
    if wrong := [name for name, mark, value in pairs if not (name and mark and value)]:
        raise ValueError(f"--set takes name=value, as labels=600; got '{wrong[0]}'")
    if any(name == "seed" for name, _, _ in pairs):
        raise ValueError("the seed is no argument to set: give --seeds")
    switches = {"True": "--{}", "False": "--no-{}"}
    options = [
        part
        for name, _, value in pairs
        for part in ([switches[value].format(name)] if value in switches else [f"--{name}", *value.split(",")])
    ]
    chosen: Any = parse(form_of(recipe, Nothing), options, f"lamina train {recipe.name}")
    return {(plain := name.replace("-", "_")): getattr(chosen, plain) for name, _, _ in pairs}
