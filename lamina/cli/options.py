"""Options of a command, read from the signature of a function or the fields of a dataclass."""

import contextlib
import dataclasses
import difflib
import inspect
import io
import re
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import docstring_parser
import tyro

from lamina.recipes.registry import Recipe

T = TypeVar("T")


def parse(form: type[T], words: Sequence[str], program: str, description: str = "") -> T:
    """Return a dataclass filled from the command line.

    Raises:
        ValueError: an unknown option, with the nearest name; a missing or unfit value.
        SystemExit: help was asked for and shown.
    """
    names = {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(form)}  # type: ignore[arg-type]
    for word in words:
        option = word.split("=")[0].replace("_", "-")
        if re.fullmatch(r"--[a-z][a-z0-9-]*", option) and option != "--help":
            plain = re.sub("^--no-", "--", option)
            if plain not in names and option not in names:
                near = difflib.get_close_matches(option, names, 1)
                raise ValueError(
                    f"unknown option '{option}'"
                    + (f"; did you mean '{near[0]}'?" if near else f"; see {program} --help")
                )
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(form, args=list(words), prog=program, description=description)
    except SystemExit as end:
        if not end.code:
            raise
        raise ValueError(told(complaint.getvalue())) from None


def told(box: str) -> str:
    """Return the words of a framed complaint in one line."""
    lines = [line.strip("│ ").strip() for line in box.splitlines() if not line.startswith(("╭", "╰"))]
    kept = [line for line in lines if line and not set(line) <= set("─-")]
    return " ".join(line for line in kept if "--help" not in line) or "the options do not fit"


def form_of(recipe: Recipe, settings: type) -> type:
    """Return a dataclass with a recipe's hyperparameters and, after them, the fields of `settings`."""
    helps = {
        param.arg_name: param.description for param in docstring_parser.parse(recipe.function.__doc__ or "").params
    }
    made: list[tuple[str, Any, Any]] = []
    for name, parameter in inspect.signature(recipe.function).parameters.items():
        if name != "data":
            kind: Any = parameter.annotation
            told_kind = Annotated[kind, tyro.conf.arg(help=helps.get(name))]
            made.append((name, told_kind, dataclasses.field(default=parameter.default)))
    return dataclasses.make_dataclass(f"{recipe.name}_options", made, bases=(settings,), kw_only=True)


def hyperparameters(recipe: Recipe, options: Any) -> dict[str, Any]:
    """Return the recipe's arguments out of parsed options."""
    return {name: getattr(options, name) for name in inspect.signature(recipe.function).parameters if name != "data"}
