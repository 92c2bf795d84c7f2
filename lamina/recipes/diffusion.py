"""Diffusion models: a network undoes noise step by step."""

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
from lamina.optim.schedules import linear_to_zero
from lamina.recipes.inputs import gather, gaussian
from lamina.recipes.registry import recipe
from lamina.recipes.variational import tanh_layers
from lamina.systems.generative.diffusion import WAVES, Diffusion, Weighting, cosine_betas, linear_betas
from lamina.train.evaluate import evaluating, seeded

SCHEDULES = {"linear": linear_betas, "cosine": cosine_betas}


@torch.no_grad()
def bound(run: Run) -> dict[str, float]:
    """Return `nll`, the bound on minus the test log-likelihood in nats per example, and its standard error.

    All steps count, with one draw of the noise for each and seed 0. `entropy` is the nll of the true density, where it
    is known (the data set `mixture`).

    Raises:
        ValueError: the run has no test data.
    """
    if run.test is None:
        raise ValueError("the test bound needs test data, and this data set has none")
    model, x = run.system, gather(run.test, None, run.device)["x"]
    assert isinstance(model, Diffusion)
    with evaluating(model), seeded(run.device):
        scores = model.score(x)
    figures = {"nll": -float(scores.mean()), "nll_error": float(scores.std(correction=0)) / len(x) ** 0.5}
    if run.origin["data"]["name"] == "mixture":
        figures["entropy"] = -float(mixture_log_density(x).mean())
    return figures


@recipe(
    paper="Sohl-Dickstein et al. (2015), Deep unsupervised learning using nonequilibrium thermodynamics; variances of"
    " Nichol & Dhariwal (2021), Improved denoising diffusion probabilistic models",
    figure="nll",
    unit="nats",
    published=None,
    data="mixture",
    measure=bound,
)
def diffusion(
    data: Data,
    seed: int = 0,
    steps: int = 300,
    schedule: Literal["linear", "cosine"] = "cosine",
    hidden: tuple[int, ...] = (128, 128, 128),
    learned: bool = True,
    weighting: Weighting = "bound",
    lr: float = 3e-3,
    batch: int = 200,
    epochs: int = 150,
    average: float = 0.995,
) -> Run:
    """Train tanh layers to undo the steps of a diffusion, by Adam with lr falling linearly to zero.

    Args:
        data: any values, which are standardized.
        seed: of the initial weights, order of the examples and every random number in training.
        steps: of the diffusion, T.
        schedule: of their variances; linear is that of Ho et al. (2020), cosine that of Nichol & Dhariwal (2021).
        hidden: units of every hidden layer.
        learned: learn the variances of the reverse steps; otherwise they are those of the forward steps.
        weighting: minimize the bound, or the unweighted error of the noise (Ho et al. 2020).
        lr: first learning rate.
        batch: examples in an update.
        epochs: passes over the training data.
        average: decay of the running mean of the weights that is kept; 0 for none.

    Raises:
        ValueError: no step, or a layer without units.
    """
    if steps < 1:
        raise ValueError(f"a diffusion needs at least 1 step, got steps={steps}")
    units = gaussian(select(whole(data.train), ("x",))["x"])
    size = units.scale.numel()
    network = tanh_layers((size + 2 * WAVES, *hidden, 2 * size if learned else size))
    last = network[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)  # begin at a reverse step that is a forward one
    return Run(
        system=Diffusion(units, network, SCHEDULES[schedule](steps), learned, weighting),
        train=Batches(data.train, batch, seed=seed),
        valid=in_order(data.valid),
        test=in_order(data.test),
        optimizer=partial(Adam, lr=lr, fused=True),
        schedules={"lr": linear_to_zero(lr)},
        epochs=epochs,
        average=average or None,
    )
