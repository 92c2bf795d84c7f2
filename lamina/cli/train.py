"""`lamina train` and `lamina range`."""

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from lamina.cli.options import form_of, hyperparameters, parse
from lamina.core import Precision, Run
from lamina.data.dataset import Data
from lamina.data.standard import load as load_data
from lamina.recipes import RECIPES, Recipe, named
from lamina.recipes.registry import figures_of
from lamina.recipes.saved import rebuild
from lamina.train.display import fitting, numbers
from lamina.train.fit import Record, Result, fit
from lamina.train.folder import Folder, FolderError


@dataclass(kw_only=True)
class Machine:
    """How to compute, and what to show.

    Args:
        device: where to compute; auto takes a GPU if there is one.
        threads: processor threads of torch; 0 leaves the choice to torch.
        quiet: show no progress.
        tensorboard: write TensorBoard events into the run's folder.
        save_every: seconds between checkpoints.
    """

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    threads: int = 0
    quiet: bool = False
    tensorboard: bool = False
    save_every: float = 30.0

    def prepare(self) -> str:
        """Set the threads and return the device.

        Raises:
            ValueError: this machine has no such device.
        """
        if self.threads:
            torch.set_num_threads(self.threads)
        there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
        if self.device == "auto":
            return next(name for name, found in there.items() if found)
        if not there[self.device]:
            raise ValueError(f"this machine has no {self.device} device; use --device cpu")
        return self.device


@dataclass(kw_only=True)
class Resume(Machine):
    """Go on with a run, exactly as if it had not stopped.

    Args:
        resume: folder of the run.
    """

    resume: Path


@dataclass(kw_only=True)
class Settings(Machine):
    """How to train.

    Args:
        data: a standard data set or the path of your own; the recipe's own set if not given.
        out: folder of the run; runs/RECIPE-1, -2, ... if not given.
        precision: number format of the forward pass.
        compile: compile the losses with torch.compile.
        accumulate: batches averaged into one update.
        clip: largest gradient norm.
        average: decay per update of a moving average of the weights.
        patience: epochs without improvement before stopping.
        patience_examples: training examples without improvement before stopping.
    """

    data: str | None = None
    out: Path | None = None
    precision: Precision | None = None
    compile: bool | None = None
    accumulate: int | None = None
    clip: float | None = None
    average: float | None = None
    patience: int | None = None
    patience_examples: int | None = None


OVERRIDES = ("precision", "compile", "accumulate", "clip", "average", "patience", "patience_examples")


def train_command(words: list[str]) -> int:
    """Train a recipe, or go on with a run."""
    if any(word.split("=")[0] == "--resume" for word in words):
        resume = parse(Resume, [word for word in words if word not in RECIPES], "lamina train")
        device, folder = resume.prepare(), Folder(resume.resume)
        run, data = reopen(folder)
        conclude(dataclasses.replace(run, device=device), data, folder, resume, resumed=True)
        return 0
    recipe, options = read(words, "train")
    run, data = build(recipe, options)
    conclude(run, data, Folder(options.out or free(Path("runs"), recipe.name)), options)
    return 0


def range_command(words: list[str]) -> int:
    """Test learning rates from tiny to huge, and plot the loss over them."""
    from lamina.analysis.pictures import plot_range
    from lamina.train.range_test import lr_range

    recipe, options = read(words, "range")
    found = lr_range(build(recipe, options)[0])
    out = options.out or Path(f"{recipe.name}-range.png")
    plot_range(found, out)
    print(f"suggested learning rate {found.suggestion:.3g}; the plot is {out}")
    return 0


def read(words: list[str], command: str) -> tuple[Recipe, Any]:
    """Return the recipe that the command line names, and its options.

    Raises:
        ValueError: no recipe or an unknown one, or an option that does not fit.
    """
    if not words or words[0].startswith("-"):
        known = ", ".join(RECIPES)
        if words and words[0] in ("-h", "--help"):
            print(f"usage: lamina {command} RECIPE [options]     (lamina {command} RECIPE --help tells them)\n")
            print(f"recipes: {known}")
            raise SystemExit(0)
        raise ValueError(f"lamina {command} needs a recipe: {known}")
    recipe = named(words[0])
    form = form_of(recipe, Settings)
    return recipe, parse(form, words[1:], f"lamina {command} {recipe.name}", recipe.paper)


def build(recipe: Recipe, options: Any) -> tuple[Run, Data]:
    """Return the run that the options describe, and its data."""
    device, data = options.prepare(), load_data(options.data or recipe.data, seed=options.seed)
    run = recipe(data, **hyperparameters(recipe, options))
    changes = {name: getattr(options, name) for name in OVERRIDES if getattr(options, name) is not None}
    return dataclasses.replace(run, device=device, **changes), data


def reopen(folder: Folder) -> tuple[Run, Data]:
    """Return the run of a folder on its own data, as it was trained.

    Raises:
        FolderError: the folder holds no run, or the data has changed since.
    """
    description = folder.description()
    outline = description.get("data", {})
    data = load_data(outline.get("name", ""), seed=description["seed"])
    if dict(data.hashes) != outline["hashes"]:
        raise FolderError(f"the data '{data.name}' has changed since {folder.path} was begun; train anew")
    return rebuild(folder, description, data), data


def conclude(run: Run, data: Data, folder: Folder, options: Machine, resumed: bool = False) -> None:
    """Train to the end, measure, write the report and say where everything is."""
    result = fit(run, folder.path, resumed, fitting(options.quiet), listeners(folder, options), options.save_every)
    figures = figures_of(run)
    if figures:
        print(f"test  {numbers(figures)}")
    print(f"trained {result.epochs} epochs in {result.seconds:.1f} s; best epoch {result.epoch}; run in {folder.path}")
    report(run, data, folder, result, figures)


def report(run: Run, data: Data, folder: Folder, result: Result, figures: dict[str, float]) -> None:
    """Write the report and name it, or say what it lacks."""
    try:
        from lamina.analysis.report import write_report

        recipe = RECIPES[run.origin["recipe"]]
        path = write_report(
            *(run, folder, result, data, figures),
            *(recipe.paper, recipe.figure, recipe.published, recipe.unit, recipe.data),
        )
        print(f"report {path}")
    except ImportError as missing:
        print(f"no report: {missing}; pip install 'lamina[report]'", file=sys.stderr)


def listeners(folder: Folder, options: Machine) -> list[Callable[[Record], None]]:
    """Return what else hears the log: TensorBoard if asked for."""
    if not options.tensorboard:
        return []
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder.path))

    def hear(record: Record) -> None:
        for kind in ("terms", "valid"):
            for name, value in record.get(kind, {}).items():
                writer.add_scalar(f"{kind}/{name}", value, record["step"])
        writer.flush()

    return [hear]


def free(parent: Path, name: str) -> Path:
    """Return the first of NAME-1, NAME-2, ... that does not exist."""
    return next(path for i in range(1, 100_000) if not (path := parent / f"{name}-{i}").exists())
