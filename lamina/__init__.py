"""The systems of the 2015 deep-learning tutorial, on your own data.

>>> import lamina
>>> lamina.version
'0.1.0'

The public names below are imported when they are first used, so that `import lamina` is quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

version = "0.1.0"

if TYPE_CHECKING:
    from lamina.core import Objective, Run, Source, System
    from lamina.data.batches import Batches, Beside
    from lamina.data.dataset import Data
    from lamina.data.examples import Arrays, as_tensor
    from lamina.data.files import from_arrays, from_dataset
    from lamina.data.standard import load as load_data
    from lamina.estimator import Estimator
    from lamina.recipes.saved import load
    from lamina.train.evaluate import evaluate
    from lamina.train.fit import fit
    from lamina.train.trainer import Epoch, Trainer, Update

PLACES = {
    "lamina.core": ("Objective", "Run", "Source", "System"),
    "lamina.data.batches": ("Batches", "Beside"),
    "lamina.data.dataset": ("Data",),
    "lamina.data.examples": ("Arrays", "as_tensor"),
    "lamina.data.files": ("from_arrays", "from_dataset"),
    "lamina.estimator": ("Estimator",),
    "lamina.recipes.saved": ("load",),
    "lamina.train.evaluate": ("evaluate",),
    "lamina.train.fit": ("fit",),
    "lamina.train.trainer": ("Epoch", "Trainer", "Update"),
}

__all__ = [
    "Arrays",
    "Batches",
    "Beside",
    "Data",
    "Epoch",
    "Estimator",
    "Objective",
    "Run",
    "Source",
    "System",
    "Trainer",
    "Update",
    "as_tensor",
    "evaluate",
    "fit",
    "from_arrays",
    "from_dataset",
    "load",
    "load_data",
    "version",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name == "load_data":
        return importlib.import_module("lamina.data.standard").load
    for place, names in PLACES.items():
        if name in names:
            return getattr(importlib.import_module(place), name)
    raise AttributeError(f"module 'lamina' has no attribute '{name}'")
