"""Runs from their folders: the trained system, or all it takes to go on."""

from dataclasses import fields as dataclass_fields
from dataclasses import replace
from pathlib import Path
from typing import Any

from lamina.core import Run, System
from lamina.data.dataset import Data
from lamina.recipes import named
from lamina.train.folder import Folder, FolderError


def load(folder: str | Path) -> System:
    """Return the system that was trained in a folder, with its best weights, in evaluation mode.

    It works on raw input: normalization is part of the system. The training data is not needed.

    Raises:
        FolderError: the folder holds no run, or the run's files are damaged.
        ValueError: the run was not made by a recipe of this version.
    """
    kept = Folder(Path(folder))
    description = kept.description()
    system = rebuild(kept, description, Data.blank(description["data"])).system
    kept.load_weights(system)
    return system.eval()


def rebuild(folder: Folder, description: dict[str, Any], data: Data) -> Run:
    """Return the run that a folder describes, on data of the same form.

    Raises:
        FolderError: it was made without a recipe, or by one whose arguments have changed since.
    """
    if "recipe" not in description:
        raise FolderError(
            f"{folder.path} was made without a recipe: build its system and load {folder.weights.name} into it"
        )
    arguments = {name: tuple(v) if isinstance(v, list) else v for name, v in description["arguments"].items()}
    try:
        run = named(description["recipe"])(data, **arguments)
    except TypeError as error:
        raise FolderError(
            f"{folder.recipe} does not fit this version of recipe '{description['recipe']}': {error}"
        ) from None
    known = {field.name for field in dataclass_fields(Run)}
    return replace(run, **{name: value for name, value in description["settings"].items() if name in known})
