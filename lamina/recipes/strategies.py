"""Energy-based models by the estimators that need no normalization, compared in nats where it can be computed."""

import math
from collections.abc import Collection
from functools import partial
from typing import Literal

import torch
from torch import nn
from torch.optim import Adam

from lamina.analysis.energy_plane import Score, rivals
from lamina.core import Run, Scores, select
from lamina.data.batches import Batches, in_order
from lamina.data.dataset import Data
from lamina.data.examples import whole
from lamina.data.plane import mixture_log_density
from lamina.optim.schedules import linear_to_zero
from lamina.recipes.autoencoder import walkback
from lamina.recipes.inputs import bernoulli, gather, gaussian
from lamina.recipes.registry import recipe
from lamina.recipes.variational import tanh_layers, vae
from lamina.sampling.enumerate import states
from lamina.systems.autoencoder.vae import VAE
from lamina.systems.energy.model import REAL, EnergyModel, Estimator
from lamina.train.evaluate import evaluate, seeded
from lamina.train.fit import fit

EDGE, POINTS = 8.0, 501  # half the width of the grid in standard deviations of the data, and its points on an axis
FRAME = 1.0  # width of the frame within the edge whose probability is reported
BITS = 16  # units to enumerate


@torch.no_grad()
def likelihood(run: Run) -> dict[str, float]:
    """Return test metrics, and `nll`, minus the log-likelihood in nats per example, where log Z can be computed.

    That is for one or two real numbers an example, by integration over a grid of 501 points on each axis from -8 to 8
    standard deviations around the data's mean, and for at most 16 bits by enumeration. `frame` is the probability in
    the outermost standard deviation of the grid; if it is not small, the grid misses some and `nll` is too small.
    `entropy` is the nll of the true density, where it is known (the data set `mixture`).

    Raises:
        ValueError: the run has no test data.
    """
    if run.test is None:
        raise ValueError("the test log-likelihood needs test data, and this data set has none")
    model = run.system
    assert isinstance(model, EnergyModel)
    figures, x = evaluate(model, run.test, run.device), gather(run.test, None, run.device)["x"]
    if (known := log_partition(model)) is not None:
        with seeded(run.device):  # grey values are drawn as bits once
            drawn = model.visible.restored(model.visible.observed(x))
        figures["nll"] = -float(model.log_prob(drawn, known[0]).mean())
        figures |= {"log_partition": known[0], "frame": known[1]}
    if model.log_Z is not None:
        figures["learned_log_partition"] = float(model.log_Z)
    if run.origin["data"]["name"] == "mixture":
        figures["entropy"] = -float(mixture_log_density(x).mean())
    return figures


@recipe(
    paper="Hinton, Bengio & LeCun (2015), Deep learning (tutorial), strategies 3 to 5 to shape an energy; the papers"
    " of the estimators are named in lamina.losses.energy",
    figure="nll",
    unit="nats",
    published=None,
    data="mixture",
    measure=likelihood,
)
def energy_model(
    data: Data,
    seed: int = 0,
    estimator: Estimator = "denoising",
    hidden: tuple[int, ...] = (128, 128),
    visible: Literal["bernoulli", "gaussian"] = "gaussian",
    binarize: bool = True,
    slices: int = 1,
    deviation: float = 0.1,
    flips: int = 0,
    noises: int = 10,
    k: int = 10,
    chains: int = 0,
    size: float = 0.01,
    adjust: bool = True,
    lr: float = 1e-2,
    batch: int = 200,
    epochs: int = 40,
    average: float = 0.995,
) -> Run:
    """Train a network of tanh layers whose output is an energy, by Adam with lr falling linearly to zero.

    The epoch with the best held-out score-matching loss is kept; of binary units, with the best pseudo-likelihood.

    Args:
        data: any values, which are standardized, or values in 0..1 for binary units.
        seed: of the initial weights, order of the examples and every random number in training.
        estimator: what is minimized; score-matching, sliced and denoising are for real values, pseudo-likelihood,
            ratio-matching and probability-flow for binary ones, noise-contrastive and contrastive-divergence for both.
        hidden: units of every hidden layer.
        visible: Gaussian units for any values, or binary ones for values in 0..1.
        binarize: draw each grey value as a fresh bit in every update; otherwise feed grey values to binary units.
        slices: directions an example for sliced score matching.
        deviation: of the noise for denoising, by that of the data.
        flips: bits an update turns, drawn at random; 0 for all.
        noises: noises an example for noise-contrastive estimation.
        k: Langevin steps, or Gibbs sweeps of all bits, for an update by contrastive divergence.
        chains: persistent chains for contrastive divergence; 0 starts them from the batch.
        size: of a Langevin step, by the variance of the data.
        adjust: accept or reject Langevin steps; otherwise the samples' law depends on their size.
        lr: first learning rate.
        batch: examples in an update.
        epochs: passes over the training data.
        average: decay of the running mean of the weights that is kept; 0 for none.
    """
    x = select(whole(data.train), ("x",))["x"]
    units = gaussian(x) if visible == "gaussian" else bernoulli(x, binarize)
    bias = units.matching(units.standard(x).mean(0), len(x))
    layers = tanh_layers((len(bias), *hidden))
    network = nn.Sequential(*layers, nn.Tanh(), nn.Linear(hidden[-1], 1, bias=False))  # a constant would cancel
    return Run(
        system=EnergyModel(*(units, network, estimator, bias), slices, deviation, flips, noises, k, chains, size),
        train=Batches(data.train, batch, seed=seed),
        valid=in_order(data.valid),
        test=in_order(data.test),
        optimizer=partial(Adam, lr=lr, fused=True),
        schedules={"lr": linear_to_zero(lr)},
        epochs=epochs,
        average=average or None,
    )


@torch.no_grad()
def log_partition(model: EnergyModel) -> tuple[float, float] | None:
    """Return log Z in nats and the probability in the grid's frame (0 for bits), or None for too many numbers."""
    size = len(model.a)
    if size > (BITS if model.visible.binary else 2):
        return None
    if model.visible.binary:
        v, cell = torch.cat(list(states(size))), 0.0
    else:
        axis = torch.linspace(-EDGE, EDGE, POINTS, dtype=torch.float64)
        v, cell = torch.cartesian_prod(*[axis] * size).view(-1, size), size * math.log(2 * EDGE / (POINTS - 1))
    scores = torch.cat([-model.energy(part.to(model.a)).double() for part in torch.split(v, 2**14)]).cpu()
    total = scores.logsumexp(0)
    return float(total) + cell, float((scores - total).exp()[v.abs().amax(1) > EDGE - FRAME].sum())


def strategies(data: Data, seed: int = 0, epochs: int = 40) -> dict[str, Run]:
    """Return a run of each way to shape an energy that is trained here, on real values such as points of the plane.

    Args:
        data: any values.
        seed: of the weights, the order of the examples and every random number in training.
        epochs: passes over the training data for each.
    """
    runs = {name: energy_model(data, seed=seed, estimator=name, epochs=epochs) for name in REAL}
    restored = partial(walkback, data, seed=seed, hidden=128, noise="gaussian", visible="gaussian", steps=1, lr=1e-2)
    return runs | {
        "denoising auto-encoder": restored(level=0.1, epochs=epochs),
        "contractive auto-encoder": restored(level=0.0, contraction=0.2, epochs=epochs),
        "sparse auto-encoder": restored(level=0.0, sparsity=0.1, epochs=epochs),
        "variational auto-encoder": vae(
            data, seed=seed, hidden=(128, 128), latent=2, visible="gaussian", lr=5e-3, batch=200, epochs=epochs
        ),
    }


def compare(
    data: Data, names: Collection[str] = (), seed: int = 0, epochs: int = 40
) -> tuple[dict[str, Score], dict[str, float]]:
    """Return scores, by name, of scikit-learn's models and of the named `strategies`, or all, and their nll.

    The nll is that on test examples in nats, of those whose likelihood is known; of the variational auto-encoder, a
    bound on it. With it comes that of the true density of the data set `mixture`, "truth".

    Raises:
        ValueError: the data has no validation or test examples, or scikit-learn is not installed.
    """
    if data.valid is None or data.test is None:
        raise ValueError("a comparison needs validation and test examples: give the data both splits")
    x, valid, test = (select(whole(part), ("x",))["x"].flatten(1) for part in (data.train, data.valid, data.test))
    scores = rivals(x, valid, seed)
    figures: dict[str, float] = {"mixture of Gaussians": -float(scores["mixture of Gaussians"](test).mean())}
    for name, run in strategies(data, seed, epochs).items():
        if names and name not in names:
            continue
        fit(run)
        if isinstance(run.system, EnergyModel):
            measured = likelihood(run)
            named = {"nll": name, "entropy": "truth"}
            figures |= {named[figure]: value for figure, value in measured.items() if figure in named}
        elif isinstance(run.system, VAE):
            figures[name] = -float(run.system.score(whole(data.test)["x"]).mean())
        scores[name] = scored(run)
    return scores, figures


def scored(run: Run) -> Score:
    """Return the score of a trained system."""
    assert isinstance(run.system, Scores)
    return run.system.score
