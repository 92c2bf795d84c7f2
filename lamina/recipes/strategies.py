"""Energy-based models by the estimators that need no normalization, compared in nats where it can be computed."""

import math
from functools import partial
from typing import Literal

import torch
from torch import nn
from torch.optim import Adam

from lamina.core import Run, select
from lamina.data.batches import Batches, in_order
from lamina.data.dataset import Data
from lamina.data.examples import whole
from lamina.data.plane import mixture_log_density
from lamina.modules.mlp import mlp
from lamina.optim.schedules import linear_to_zero
from lamina.recipes.inputs import bernoulli, gather, gaussian, rows
from lamina.recipes.registry import recipe
from lamina.recipes.variational import tanh_layers
from lamina.sampling.enumerate import states
from lamina.systems.energy.model import BITS, EnergyModel, Estimator
from lamina.systems.generative.energy_gan import EnergyGAN, ReconstructionError
from lamina.train.evaluate import evaluate, seeded

EDGE, POINTS = 8.0, 501  # half the width of the grid in standard deviations of the data, and its points on an axis
FRAME = 1.0  # width of the frame within the edge whose probability is reported


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
    paper="Hinton, Bengio & LeCun (2015), Deep learning (tutorial), strategies 2 to 5 to shape an energy; the papers"
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
            ratio-matching and probability-flow for binary ones, noise-contrastive and contrastive-divergence for both;
            maximum-likelihood is for at most 2 real values or 16 bits.
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


@recipe(
    paper="Zhao, Mathieu & LeCun (2016), Energy-based generative adversarial network",
    figure="energy_distance",
    unit="standard deviations",
    published=None,
    data="spiral",
)
def ebgan(
    data: Data,
    seed: int = 0,
    discriminator: Literal["autoencoder", "mlp"] = "mlp",
    noise: int = 8,
    hidden: int = 128,
    code: int = 16,
    margin: float = 1.0,
    generator_lr: float = 3e-3,
    discriminator_lr: float = 3e-3,
    batch: int = 200,
    epochs: int = 40,
    average: float = 0.995,
) -> Run:
    """Train a generator against an energy with a margin, by Adam with rates falling linearly to zero.

    The paper's form: discriminator=autoencoder, whose energy is its error of reconstruction. The figure is the energy
    distance of held-out and generated examples, each number by its standard deviation.

    Args:
        data: any values, which are standardized.
        seed: of the weights, the order of the examples and every random number in training.
        discriminator: an auto-encoder, or any network whose output is the energy.
        noise: numbers of noise an example.
        hidden: units of each of the two hidden layers of every network.
        code: units of the auto-encoder's code.
        margin: energy up to which generated examples are pushed; that of an auto-encoder is a mean over the numbers.
        generator_lr: first learning rate of the generator.
        discriminator_lr: first learning rate of the energy.
        batch: examples in an update.
        epochs: passes over the training data.
        average: decay of the running mean of the weights that is kept; 0 for none.

    Raises:
        ValueError: a layer without units, or a margin that is not positive.
    """
    units = gaussian(rows(data))
    size = units.scale.numel()
    inner: nn.Module
    if discriminator == "mlp":
        inner = mlp((size,), (hidden, hidden), 1)
    else:
        encoder, decoder = mlp((size,), (hidden,), code), mlp((code,), (hidden,), size)
        inner = ReconstructionError(nn.Sequential(encoder, nn.ReLU(), decoder))
    generator = mlp((noise,), (hidden, hidden), size)
    return Run(
        system=EnergyGAN(units, generator, inner, noise, margin),
        train=Batches(data.train, batch, seed=seed),
        valid=in_order(data.valid),
        test=in_order(data.test),
        optimizer=partial(Adam, betas=(0.5, 0.99), fused=True),
        schedules={
            "generator.lr": linear_to_zero(generator_lr),
            "discriminator.lr": linear_to_zero(discriminator_lr),
        },
        epochs=epochs,
        average=average or None,
        keep="last",
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
    scores = torch.cat([-model.potential(part.to(model.a)).double() for part in torch.split(v, 2**14)]).cpu()
    total = scores.logsumexp(0)
    return float(total) + cell, float((scores - total).exp()[v.abs().amax(1) > EDGE - FRAME].sum())
