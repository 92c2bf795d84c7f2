"""The tutorial's strategies to shape an energy, side by side on points of the plane."""

import math
from collections.abc import Collection
from functools import partial
from typing import Any

from lamina.analysis.energy_plane import Score, rivals, tempered
from lamina.core import Run, Scores, select
from lamina.data.dataset import Data
from lamina.data.examples import whole
from lamina.data.gray import GrayCode
from lamina.recipes.autoencoder import walkback
from lamina.recipes.diffusion import bound, diffusion
from lamina.recipes.sparse import psd, sparse_coding
from lamina.recipes.strategies import ebgan, energy_model, likelihood
from lamina.recipes.variational import vae
from lamina.systems.autoencoder.vae import VAE
from lamina.systems.energy.model import EITHER, REAL, EnergyModel
from lamina.systems.generative.diffusion import Diffusion
from lamina.train.fit import fit

FLIPS = ("pseudo-likelihood", "ratio-matching", "probability-flow")  # estimators that need bits
STEPS, DRAWS = 50, 16  # of the diffusion, and shared draws for its bound


def strategies(data: Data, seed: int = 0, epochs: int = 40) -> dict[str, list[Run]]:
    """Return runs of each way to shape an energy that is trained here; of several settings, to choose from, for some.

    The estimators that flip bits learn from the values' `GrayCode`.

    Args:
        data: points of the plane.
        seed: of the weights, the order of the examples and every random number in training.
        epochs: passes over the training data for each.
    """
    bits = code_of(data).applied(data)
    flipped = partial(energy_model, bits, seed=seed, visible="bernoulli", binarize=False, epochs=epochs)
    trained = partial(energy_model, data, seed=seed, epochs=epochs)
    restored = partial(walkback, data, seed=seed, noise="gaussian", visible="gaussian", steps=1, epochs=epochs)
    predicted = partial(psd, data, seed=seed, hidden=20, sparsity=0.2, epochs=epochs)
    adversarial = partial(ebgan, data, seed=seed, generator_lr=1e-3, epochs=epochs)

    def over(make: partial[Run], name: str, *values: Any, **rest: Any) -> list[Run]:
        return [make(**{name: value}, **rest) for value in values]

    return {
        **{name: [trained(estimator=name)] for name in EITHER},
        **{name: [flipped(estimator=name)] for name in FLIPS},
        **{name: [trained(estimator=name)] for name in REAL if name not in EITHER},
        "diffusion": [diffusion(data, seed=seed, steps=STEPS, epochs=epochs)],
        "denoising auto-encoder": over(restored, "level", 0.1, 0.3, 0.5, hidden=256, lr=2e-2),
        "sparse coding (FISTA)": [sparse_coding(data, seed=seed, hidden=20, sparsity=0.2, epochs=epochs)],
        "PSD (tanh)": [predicted(encoder="tanh")],
        "PSD (LISTA)": [predicted(encoder="lista")],
        "sparse auto-encoder": over(restored, "sparsity", 0.03, 0.1, hidden=128, level=0.0, lr=3e-2),
        "contractive auto-encoder": [restored(hidden=128, level=0.0, contraction=3e-4, lr=1e-2)],
        "saturating auto-encoder": over(restored, "saturation", 0.02, 0.1, hidden=256, level=0.0, lr=1e-2),
        "variational auto-encoder": [
            vae(data, seed=seed, hidden=(128, 128), latent=2, visible="gaussian", lr=5e-3, batch=200, epochs=epochs)
        ],
        "energy-based GAN": over(adversarial, "margin", 1.0, 5.0, 20.0),
    }


def compare(
    data: Data, names: Collection[str] = (), seed: int = 0, epochs: int = 40
) -> tuple[dict[str, Score], dict[str, float]]:
    """Return scores, by name, of scikit-learn's models and of the named `strategies`, or all, and their nll.

    The nll is that on test examples in nats, of those whose likelihood is known; of the variational auto-encoder and
    the diffusion, a bound on it. With it comes that of the true density of the data set `mixture`, "truth". Of several
    settings of a strategy, the one is taken that is best on validation examples, by `tempered`.

    Raises:
        ValueError: the data has no validation or test examples or is not of the plane, or scikit-learn is missing.
    """
    if data.valid is None or data.test is None:
        raise ValueError("a comparison needs validation and test examples: give the data both splits")
    if (numbers := math.prod(data.shape)) != 2:
        raise ValueError(f"a comparison is of points of the plane, two numbers each; {data.name} has {numbers}")
    x, valid, test = (select(whole(part), ("x",))["x"].flatten(1) for part in (data.train, data.valid, data.test))
    scores = rivals(x, valid, seed)
    normalized = ("mixture of Gaussians", "square ICA")
    figures = {name: -float(scores[name](test).mean()) for name in normalized}
    for name, runs in strategies(data, seed, epochs).items():
        if names and name not in names:
            continue
        for run in runs:
            fit(run)
        tried = [(scored(run, code_of(data) if name in FLIPS else None), run) for run in runs]
        scores[name], run = min(tried, key=lambda pair: tempered(pair[0], valid, valid)) if len(tried) > 1 else tried[0]
        if isinstance(run.system, EnergyModel):
            measured = likelihood(run)
            if "nll" in measured:
                figures[name] = measured["nll"] + (code_of(data).log_volume if name in FLIPS else 0.0)
            if "entropy" in measured:
                figures["truth"] = measured["entropy"]
        elif isinstance(run.system, Diffusion):
            figures[name] = bound(run)["nll"]  # with noise of its own for each point, whose errors average out
        elif isinstance(run.system, VAE):
            figures[name] = -float(scores[name](test).mean())
    return scores, figures


def scored(run: Run, code: GrayCode | None = None) -> Score:
    """Return the score of a trained system, or of one that was trained on a code."""
    system = run.system
    if isinstance(system, Diffusion):
        return partial(system.score, draws=DRAWS, seed=0)
    assert isinstance(system, Scores)
    if code is not None:
        return lambda x: system.score(code.coded(x)) - code.log_volume
    return system.score


def code_of(data: Data) -> GrayCode:
    """Return the code of a data set's numbers."""
    return GrayCode.fitted(select(whole(data.train), ("x",))["x"].flatten(1))
