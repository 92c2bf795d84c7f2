"""`lamina reproduce`: train recipes as published, compare, and keep a record of each result."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from lamina.cli.options import parse
from lamina.cli.train import Machine, listeners
from lamina.data.standard import load as load_data
from lamina.recipes import RECIPES, Recipe, named
from lamina.recipes.records import PLACE, shown, write_table
from lamina.recipes.registry import figures_of
from lamina.train.display import fitting, numbers
from lamina.train.fit import fit
from lamina.train.folder import Folder, write_json


@dataclass(kw_only=True)
class Reproduce(Machine):
    """Train recipes as published and keep a record of each result. Runs that were stopped go on where they were.

    Args:
        names: recipes; all if none is named.
        quick: the short form of each.
        seeds: seeds to run.
        data: another data set than the recipe's own.
        runs: where the runs are kept.
        records: where the records are kept.
        table: only write the table of the records that are there into this page.
    """

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    quick: bool = False
    seeds: tuple[int, ...] = (0,)
    data: str | None = None
    runs: Path = Path("runs/reproduce")
    records: Path = PLACE
    table: Path | None = None


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
    form, device = "quick" if options.quick else "full", options.prepare()
    data = load_data(options.data or recipe.data, seed=seed)
    run = replace(recipe(data, seed=seed, **(recipe.quick if options.quick else {})), device=device)
    name = f"{recipe.name}-{form}-{Path(data.name).stem}-{seed}"
    folder = Folder(options.runs / name)
    begun = folder.recipe.exists()
    result = fit(run, folder.path, begun, fitting(options.quiet), listeners(folder, options), options.save_every)
    start = time.perf_counter()
    figures = figures_of(run)
    measuring = time.perf_counter() - start
    if recipe.figure not in figures:
        raise ValueError(
            f"{recipe.name} cannot measure its figure '{recipe.figure}' on {data.name}; it gives {figures}"
        )
    record = {**folder.description(), "form": form, "figures": figures, "seconds": result.seconds}
    record |= {"measuring": measuring, "trained": result.epochs, "kept": result.epoch, "valid": result.best}
    options.records.mkdir(parents=True, exist_ok=True)
    write_json(options.records / f"{name}.json", record)
    published = "none" if recipe.published is None else shown(recipe.published, recipe.unit)
    reached = shown(figures[recipe.figure], recipe.unit)
    print(f"{name}: {recipe.figure} {reached}, published {published}; {numbers(figures)}")
