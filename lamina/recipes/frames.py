"""Machines for frames that follow each other."""

from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lamina.core import Run, select
from lamina.data.batches import Batches, in_order
from lamina.data.dataset import Data
from lamina.data.examples import spread
from lamina.optim.schedules import linear_to_zero
from lamina.optim.wrappers import regularized
from lamina.recipes.inputs import bernoulli, gather, gaussian, rows
from lamina.recipes.registry import recipe
from lamina.sampling.ais import ais
from lamina.sampling.enumerate import log_partition
from lamina.systems.energy.conditional import ConditionalRBM
from lamina.train.evaluate import seeded

FEW = 12  # hidden units up to which log Z is summed exactly
PASTS = 100  # test frames that the conditional likelihood is a mean over


@torch.no_grad()
def continuation(run: Run) -> dict[str, float]:
    """Return how well a trained run foretells test frames from those before them.

    `log_likelihood` is the mean log p(frame | past) in nats of 100 test frames, evenly spaced, with log Z of each past
    by annealed importance sampling (100 runs of 1,000 temperatures), or exactly with at most 12 hidden units; grey
    values are drawn as bits once, from seed 0. `error` is the squared error of the expected frame over all test frames,
    in units of the data and summed over a frame's numbers; `error_of_last` and `error_of_linear` are those of saying
    the last frame once more, and of linear regression on the same past.

    Raises:
        ValueError: the run has no test data.
    """
    if run.test is None:
        raise ValueError("the test likelihood needs test data, and this data set has none")
    model = run.system
    assert isinstance(model, ConditionalRBM)
    order = len(model.start)
    with seeded(run.device):
        train, test = (gather(source, None, run.device) for source in (run.train, run.test))
        few = torch.linspace(0, len(test["x"]) - 1, min(PASTS, len(test["x"]))).round().long()
        log_p = log_likelihood(model, test["x"][few], test["past"][few])
        expected = model.expected(test["past"])
    x, past = test["x"].flatten(1), test["past"][:, -order:]
    guess = by_regression(train["past"][:, -order:].flatten(1), train["x"].flatten(1), past.flatten(1))
    guesses = {"error": expected.flatten(1), "error_of_last": past[:, -1].flatten(1), "error_of_linear": guess}
    errors = {name: float((made - x).square().sum(1).mean()) for name, made in guesses.items()}
    return {"log_likelihood": float(log_p.mean())} | errors


def log_likelihood(
    model: ConditionalRBM, x: Float[Tensor, "batch ..."], past: Float[Tensor, "batch frames ..."]
) -> Float[Tensor, "batch"]:
    """Return log p(x | past) in nats: a density of raw values if x is Gaussian."""
    log_Z = [normalization(model, before) for before in past]
    seen = model.visible.restored(model.visible.observed(x))
    return model.score(seen, past) - x.new_tensor(log_Z) - model.visible.log_volume()


def normalization(model: ConditionalRBM, past: Float[Tensor, "frames ..."]) -> float:
    """Return log Z of the machine after one past, estimated unless its hidden units are few."""
    machine = model.given(past)
    if len(machine.b) <= FEW:
        return log_partition(machine)
    hidden = torch.addmv(machine.b, machine.W.t(), model.visible.mean(machine.a))
    return ais(machine, betas=torch.linspace(0, 1, 1001), hidden=hidden).value


def by_regression(
    u: Float[Tensor, "examples inputs"], x: Float[Tensor, "examples numbers"], other: Float[Tensor, "others inputs"]
) -> Float[Tensor, "others numbers"]:
    """Return what ridge regression of x on u says of other inputs."""
    u, other = (torch.cat([part, torch.ones_like(part[:, :1])], 1).double() for part in (u, other))
    gram = u.t() @ u
    gram.diagonal().add_(1e-3 * gram.diagonal().mean())
    weights: Tensor = torch.linalg.solve(gram, u.t() @ x.double())
    return (other @ weights).to(x)


@recipe(
    paper="Taylor, Hinton & Roweis (2006), Modeling human motion using binary latent variables, section 3 (other data)",
    figure="log_likelihood",
    unit="nats",
    data="ball",
    measure=continuation,
)
def crbm(
    data: Data,
    seed: int = 0,
    hidden: int = 200,
    order: int = 3,
    k: int = 3,
    lr: float = 1e-2,
    batch: int = 100,
    epochs: int = 90,
    decay: float = 0.0,
    visible: Literal["bernoulli", "gaussian"] = "bernoulli",
    binarize: bool = True,
) -> Run:
    """Train a conditional RBM of the next frame by CD-k and Adam, with a learning rate that falls linearly to zero.

    The last weights are kept, as the metric is the error of the mean and not the likelihood.

    Args:
        data: frames that follow each other, values in 0..1, or any for Gaussian units.
        seed: of the initial weights, order of the examples and Gibbs sampling.
        hidden: hidden units.
        order: frames before each that it is foretold from.
        k: Gibbs steps an update.
        lr: first learning rate.
        batch: frames in an update.
        epochs: passes over the training data.
        decay: weight of the L2 penalty on W, A and B.
        visible: binary units for values in 0..1, or Gaussian ones for any; data for the latter is standardized.
        binarize: draw each grey value as a fresh bit in every update; otherwise feed grey values to binary units.

    Raises:
        ValueError: the data has no past, or one that is too short.
    """
    x = rows(data)
    before = spread(data.train, 1)
    if "past" not in before:
        raise ValueError(
            f"{data.name} does not say which rows follow each other: give crbm series:table.csv,"
            " lamina.data.series.from_frames(...) or 'ball'"
        )
    start = select(before, ("past",))["past"][0]
    if not 1 <= order <= len(start):
        raise ValueError(f"order must be 1 to {len(start)}, the frames before each in the data, got {order}")
    units = gaussian(x) if visible == "gaussian" else bernoulli(x, binarize)
    bias = units.matching(units.standard(x).mean(0), len(x))
    adam = partial(torch.optim.Adam, lr=lr, fused=True)
    return Run(
        system=ConditionalRBM(units, hidden, start[-order:], bias, k),
        train=Batches(data.train, batch, seed=seed),
        valid=in_order(data.valid),
        test=in_order(data.test),
        optimizer=regularized(adam, l2=decay) if decay else adam,
        epochs=epochs,
        schedules={"lr": linear_to_zero(lr)},
        keep="last",
    )
