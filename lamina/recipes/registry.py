"""What makes a function a recipe: a named, published experiment whose signature is its whole configuration."""

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from lamina.core import Run
from lamina.data.dataset import Data
from lamina.train.evaluate import evaluate
from lamina.train.products import quick_products

Measure = Callable[[Run], Mapping[str, float]]
"""Figures of a trained run, by name; the recipe's `figure` is one of them."""


@dataclass(eq=False)
class Recipe:
    """A function from data and hyperparameters to a `Run`, with its source and what it must reach.

    Args:
        function: `(data, seed=0, **hyperparameters) -> Run`.
        paper: authors and year, title, section or table.
        figure: the name of the figure that the paper reports.
        unit: of that figure, "fraction", "nats", "bits".
        published: the paper's value; None where it gives none for this data.
        source: how sure we are of it: "read" in the paper, or "memory".
        data: the data set that the published figure is on.
        measure: the figures of a trained run; the test metrics where none is given.
        quick: arguments of a form that ends within minutes.
    """

    function: Callable[..., Run]
    paper: str
    figure: str
    unit: str
    published: float | None
    source: str
    data: str
    measure: Measure | None
    quick: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name that the command line knows it by."""
        return self.function.__name__

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The arguments and their defaults, but for data and seed."""
        parameters = inspect.signature(self.function).parameters.values()
        return {parameter.name: parameter.default for parameter in parameters if parameter.name not in ("data", "seed")}

    def __call__(self, data: Data, **arguments: Any) -> Run:
        """Build the run: the same arguments and seed give the same weights.

        Raises:
            ValueError: the data or an argument does not fit.
        """
        call = inspect.signature(self.function).bind(data, **arguments)
        call.apply_defaults()
        chosen = {name: value for name, value in call.arguments.items() if name != "data"}
        torch.manual_seed(chosen["seed"])
        run = self.function(data, **chosen)
        run.seed = chosen["seed"]
        run.origin = {"recipe": self.name, "arguments": chosen, "data": data.outline()}
        return run


RECIPES: dict[str, Recipe] = {}
"""Every recipe of `lamina.recipes`, by name."""


def recipe(
    paper: str,
    figure: str,
    unit: str = "fraction",
    published: float | None = None,
    source: str = "memory",
    data: str = "mnist",
    measure: Measure | None = None,
    quick: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., Run]], Recipe]:
    """Return a decorator that makes a function a `Recipe` and enters it in `RECIPES`."""

    def register(function: Callable[..., Run]) -> Recipe:
        made = Recipe(function, paper, figure, unit, published, source, data, measure, quick or {})
        functools.update_wrapper(made, function)
        RECIPES[made.name] = made
        return made

    return register


def named(name: str) -> Recipe:
    """Return the recipe of a name.

    Raises:
        ValueError: there is none; the message suggests the nearest name.
    """
    if name in RECIPES:
        return RECIPES[name]
    near = difflib.get_close_matches(name, RECIPES, 1)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(RECIPES)}"
    raise ValueError(f"unknown recipe '{name}'; {hint}")


def figures_of(run: Run) -> dict[str, float]:
    """Return the figures of a trained run: its recipe's measure, or the metrics on the test data."""
    measure = RECIPES[run.origin["recipe"]].measure
    if measure is not None:
        with quick_products(run.device):
            return dict(measure(run))
    return evaluate(run.system, run.test, run.device, run.precision) if run.test is not None else {}
