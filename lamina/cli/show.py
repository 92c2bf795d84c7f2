"""`lamina list` and `lamina data`: what there is."""

import shutil
from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from lamina.cli.options import parse
from lamina.data.standard import STANDARD
from lamina.data.standard import load as load_data
from lamina.recipes import RECIPES
from lamina.recipes.records import measured, shown


@dataclass(kw_only=True)
class List:
    """Recipes, with their papers and their published and measured figures."""


@dataclass(kw_only=True)
class Show:
    """Data sets that are known, or what one of them holds.

    Args:
        name: a standard data set (it is fetched) or the path of your own.
    """

    name: Annotated[str, tyro.conf.Positional] = ""


def list_command(words: list[str]) -> int:
    """Print a table of the recipes."""
    parse(List, words, "lamina list")
    table = Table(box=None, pad_edge=False)
    for title in ("recipe", "data", "figure", "published", "measured", "paper"):
        table.add_column(title, no_wrap=True, overflow="ellipsis" if title == "paper" else "fold")
    for recipe in RECIPES.values():
        published = "–" if recipe.published is None else shown(recipe.published, recipe.unit)
        paper = recipe.paper.partition(")")[0] + ")"  # authors and year; docs/results.md has all of it
        table.add_row(recipe.name, recipe.data, recipe.figure, published, measured(recipe) or "–", paper)
    wide = max(shutil.get_terminal_size().columns, 150)
    Console(width=wide).print(table, highlight=False)
    return 0


def data_command(words: list[str]) -> int:
    """Print the standard data sets, or the splits, shape and classes of one data set."""
    options = parse(Show, words, "lamina data")
    if not options.name:
        for name, make in STANDARD.items():
            print(f"{name:<16} {(make.__doc__ or '').splitlines()[0]}")
        print("\nor the path of your own: a folder of pictures, .npz, .csv, .parquet, a folder of .npy, .txt, .jsonl")
        return 0
    data = load_data(options.name)
    for split in ("train", "valid", "test"):
        examples = getattr(data, split)
        if examples is not None:
            print(f"{split:<6} {len(examples)} examples")
    for name, (kind, *shape) in data.outline()["fields"].items():
        print(f"field  {name} {kind} {tuple(shape)}")
    if data.classes:
        names = ", ".join(map(repr, data.classes[:12]))
        print(f"{len(data.classes)} classes: {names}{', ...' if len(data.classes) > 12 else ''}")
    for file, digest in data.hashes.items():
        print(f"sha256 {digest[:16]}  {file}")
    return 0
