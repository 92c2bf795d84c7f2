"""Functions from hyperparameters to runs, one per published experiment."""

import importlib
import importlib.util

from lamina.recipes.registry import RECIPES, Recipe, named, recipe

FAMILIES = (
    "vision",
    "energy",
    "boltzmann",
    "deep",
    "counts",
    "frames",
    "discriminative",
    "shallow",
    "autoencoder",
    "variational",
    "diffusion",
    "strategies",
    "sparse",
    "filters",
    "draw",
    "helmholtz",
    "generative",
    "convolutional",
    "pyramid",
    "language",
    "stacks",
    "sequences",
    "tapes",
    "stories",
    "answers",
    "semisupervised",
    "ladders",
    "switches",
    "cluster",
)

for family in FAMILIES:
    if importlib.util.find_spec(f"lamina.recipes.{family}"):
        importlib.import_module(f"lamina.recipes.{family}")

__all__ = ["FAMILIES", "RECIPES", "Recipe", "named", "recipe"]
