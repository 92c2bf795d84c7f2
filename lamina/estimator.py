"""scikit-learn estimators made from recipes: the recipe's signature is the estimator's.

>>> from lamina.estimator import Estimator
>>> Estimator("mlp", hidden=(64,), epochs=5)
MlpEstimator(epochs=5, hidden=(64,))

Each recipe has a class, `estimator_class("mlp")`, with the methods that the recipe's system has a verb for:

    Predicts   predict, predict_proba, score (accuracy)
    Encodes    transform, fit_transform, get_feature_names_out, set_output
    Scores     score_samples
    Samples    sample

A system's score is known up to a constant that differs from fit to fit, so models cannot be compared by it and no
`score` is made of it. A fitted estimator is pickled as the recipe's call and the weights, like the folder of a run.
"""

import functools
import inspect
import numbers
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import Tensor

from lamina.core import Encodes, Predicts, Samples, Scores, System
from lamina.data.dataset import Data, split
from lamina.data.examples import Arrays
from lamina.data.images import as_input, words
from lamina.data.splits import minus_ones
from lamina.recipes import RECIPES, Recipe, named
from lamina.train.display import fitting
from lamina.train.evaluate import seeded
from lamina.train.fit import Result
from lamina.train.fit import fit as train
from lamina.train.trainer import unknown

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError:
    raise ImportError("an estimator needs scikit-learn 1.6 or later: pip install 'lamina[sklearn]'") from None

BATCH = 1000  # examples that pass through a trained system at once
FORM = {"dtype": np.float32, "allow_nd": True}  # of X
SETTINGS: dict[str, Any] = {"random_state": 0, "valid": 0.0, "device": "cpu", "verbose": False}
PICTURES = {"x": ["float32", 1, 28, 28], "y": ["int64"]}  # what every recipe for arrays takes


class RecipeEstimator(BaseEstimator):  # type: ignore[misc]
    """What the estimators of all recipes have in common.

    X are rows (examples, features), or pictures (examples, height, width), with channels before or after these two.
    Values are taken as they are: bytes are not divided by 255. A classifier takes labels of any kind as y (to recipes
    with the argument `labels`, -1 among others is no label); others leave y alone. Training leaves torch's random
    numbers as it found them.

    Args:
        random_state: the recipe's seed; a number repeats bit for bit on a CPU, None differs from fit to fit.
        valid: share of the examples held out to choose the best epoch, or how many; 0 learns from all of them.
        device: where to train and to predict.
        verbose: show progress.

    Attributes:
        system_: the trained system.
        result_: what training came to, as `lamina.fit` returns it.
        origin_: the recipe's call and the form of the data.
        classes_: labels in the order of `predict_proba`'s columns.
        n_features_in_: features of an example; of pictures, the length of X's second axis.
        feature_names_in_: names of X's columns, if it has any.
    """

    recipe: ClassVar[Recipe]

    def set_params(self, **parameters: Any) -> "RecipeEstimator":
        """Set parameters.

        Raises:
            ValueError: there is none of a name; the nearest is suggested.
        """
        known = self._get_param_names()
        for name, value in parameters.items():
            if name not in known:
                raise unknown(f"{type(self).__name__} parameter", name, known)
            setattr(self, name, value)
        return self

    def fit(self, X: Any, y: Any = None) -> "RecipeEstimator":
        """Train the recipe's system.

        Raises:
            ValueError: X, y or a parameter does not fit.
            NotFinite: a loss became NaN or infinite; a smaller learning rate may help.
        """
        data, seed = self.labeled(X, y) if isinstance(self, Predictor) else self.plain(X), seed_of(self.random_state)
        if self.valid:
            rest, held = split(data.train, self.valid, seed)
            data = replace(data, train=rest, valid=held)
        arguments = {name: getattr(self, name) for name in self.recipe.hyperparameters}
        with seeded(self.device):
            run = self.recipe(data, seed=seed, **arguments)
            run.device = self.device
            self.result_: Result = train(run, display=fitting(quiet=not self.verbose))
        self.system_, self.origin_ = run.system, run.origin
        return self

    def plain(self, X: Any) -> Data:
        """Return the data of examples without labels, checked."""
        return Data("arrays", Arrays(x=as_input(torch.tensor(validate_data(self, X, **FORM)))))

    def labeled(self, X: Any, y: Any) -> Data:
        """Return the data of examples with labels, checked; take note of the classes."""
        X, y = validate_data(self, X, y, **FORM)
        check_classification_targets(y)
        lacking = minus_ones(y) if "labels" in self.recipe.hyperparameters else np.zeros(len(y), dtype=bool)
        self.classes_, codes = np.unique(y[~lacking], return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"a classifier needs at least two classes, y holds one class: {self.classes_[0]!r}")
        x, names = as_input(torch.tensor(X)), tuple(str(name) for name in self.classes_)
        rest = Arrays(x=x[lacking]) if lacking.any() else None
        return Data("arrays", Arrays(x=x[~lacking], y=codes), classes=names, unlabelled=rest)

    def trained(self) -> Any:
        """Return the system on its device; NotFittedError tells that there is none."""
        check_is_fitted(self, "system_")
        return self.system_.to(self.device)

    @property
    def shape(self) -> torch.Size:
        """Shape of one example that the system takes."""
        return torch.Size(self.origin_["data"]["fields"]["x"][1:])

    def answers(self, verb: Callable[[Tensor], Tensor], X: Any) -> NDArray[np.float32]:
        """Return what the system says of each example of X.

        Raises:
            ValueError: X is not of the form that the estimator was fitted on.
        """
        x = as_input(torch.tensor(validate_data(self, X, reset=False, **FORM)))
        if x.shape[1:] != self.shape:
            raise ValueError(f"X holds {words(x.shape[1:])}, the estimator was fitted on {words(self.shape)}")
        with torch.no_grad(), seeded(self.device):
            parts = [verb(part.to(self.device)).cpu() for part in torch.split(x, BATCH)]
        array: NDArray[np.float32] = torch.cat(parts).numpy()
        return array

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "system_" in state:
            weights = self.system_.state_dict()
            state["system_"] = save({name: value.cpu().contiguous().clone() for name, value in weights.items()})
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "system_" in state:
            with seeded("cpu"):
                self.system_ = self.recipe(Data.blank(self.origin_["data"]), **self.origin_["arguments"]).system.eval()
            self.system_.load_state_dict(load(state["system_"]))


class Predictor(ClassifierMixin, RecipeEstimator):  # type: ignore[misc]
    """Estimators that tell the class of each example."""

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable label of each example."""
        best = self.predict_proba(X).argmax(1)
        labels: NDArray[Any] = self.classes_[best]
        return labels

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Return the probability of each class (examples, classes), in the order of `classes_`."""
        return self.answers(self.trained().predict, X)


class Encoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, RecipeEstimator):  # type: ignore[misc]
    """Estimators that turn each example into features."""

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Return the features (examples, features)."""
        return self.answers(self.trained().encode, X)

    @property
    def _n_features_out(self) -> int:
        return int(self.trained().encode(torch.zeros(1, *self.shape, device=self.device)).shape[1])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


class Scorer(RecipeEstimator):
    """Estimators that say how likely each example is."""

    def score_samples(self, X: Any) -> NDArray[np.float32]:
        """Return minus the energy of each example (examples,), as a log-likelihood up to a constant of this fit."""
        return self.answers(self.trained().score, X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "density_estimator"
        return tags


class Sampler(RecipeEstimator):
    """Estimators that make up examples."""

    def sample(self, n_samples: int = 1, random_state: Any = None) -> NDArray[np.float32]:
        """Return new examples in the form of the training data, pictures as (examples, channels, height, width)."""
        system = self.trained()
        with torch.no_grad(), seeded(self.device, seed_of(random_state)):
            array: NDArray[np.float32] = system.sample(n_samples).cpu().numpy()
        return array


MIXINS: dict[type, type[RecipeEstimator]] = {Predicts: Predictor, Encodes: Encoder, Scores: Scorer, Samples: Sampler}


def Estimator(recipe: str, **parameters: Any) -> Any:
    """Return the estimator of a recipe.

    Args:
        recipe: its name, as `lamina list` shows it.
        parameters: the recipe's own, with `random_state` for `seed`; and those of `RecipeEstimator`.

    Raises:
        ValueError: no such recipe or parameter; the nearest name is suggested.
    """
    return estimator_class(recipe)(**parameters)


@functools.cache
def estimator_class(recipe: str) -> type[RecipeEstimator]:
    """Return the estimator class of a recipe, such as `MlpEstimator`.

    Raises:
        ValueError: there is no such recipe, or it does not learn from arrays.
    """
    found = named(recipe)
    system = prototype(found)
    bases = tuple(mixin for protocol, mixin in MIXINS.items() if isinstance(system, protocol))
    told = f"The recipe `{recipe}` as an estimator: `fit` takes the data, `random_state` is the seed."
    members: dict[str, Any] = {"recipe": found, "__init__": initializer(found), "__module__": __name__}
    members["__doc__"] = f"{told}\n\n{inspect.getdoc(found.function)}"
    return type(class_name(found), bases or (RecipeEstimator,), members)


def __getattr__(name: str) -> Any:
    """Return the estimator class of a name, which is where pickle looks for it."""
    for recipe in RECIPES.values():
        if name == class_name(recipe):
            return estimator_class(recipe.name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def class_name(recipe: Recipe) -> str:
    """Return the name of a recipe's estimator class."""
    return "".join(word.capitalize() for word in recipe.name.split("_")) + "Estimator"


def prototype(recipe: Recipe) -> System:
    """Return the system that a recipe makes by default, for small pictures in ten classes: it shows what it can do.

    Raises:
        ValueError: the recipe does not learn from arrays.
    """
    outline = {"name": "an array", "classes": list("0123456789"), "fields": PICTURES, "hashes": {}}
    try:
        with seeded("cpu"):
            return recipe(Data.blank(outline)).system
    except (KeyError, ValueError) as error:
        raise ValueError(f"recipe '{recipe.name}' does not learn from arrays and has no estimator: {error}") from None


def initializer(recipe: Recipe) -> Callable[..., None]:
    """Return `__init__` of a recipe's estimators, with the signature that scikit-learn reads parameters from."""
    defaults = recipe.hyperparameters | SETTINGS

    def __init__(self: RecipeEstimator, **parameters: Any) -> None:
        self.set_params(**defaults | parameters)

    own = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=v) for name, v in defaults.items()]
    signature = inspect.Signature([inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY), *own])
    __init__.__signature__ = signature  # type: ignore[attr-defined]
    return __init__


def seed_of(random_state: Any) -> int:
    """Return a seed: a whole number itself, or one drawn from what else scikit-learn takes for a random state."""
    if isinstance(random_state, numbers.Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))
