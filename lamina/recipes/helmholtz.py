"""Helmholtz machines, trained by wake-sleep and by reweighted wake-sleep."""

from functools import partial
from typing import Literal

import torch

from lamina.core import Run, select
from lamina.data.batches import Batches, in_order
from lamina.data.dataset import Data
from lamina.data.examples import whole
from lamina.optim.schedules import constant, linear_to_zero
from lamina.recipes.inputs import gather
from lamina.recipes.registry import recipe
from lamina.sampling.importance import importance_bound
from lamina.systems.autoencoder.helmholtz import HelmholtzMachine, Recognition
from lamina.systems.energy.units import Bernoulli
from lamina.train.evaluate import seeded

SAMPLES = 1000  # draws an example for the test figure: a minute or two for 10,000 digits; the papers take 100,000

Optimizer = Literal["adam", "sgd"]


@torch.no_grad()
def likelihood(run: Run) -> dict[str, float]:
    """Return figures of all test examples in nats, each minus a lower bound on the mean log-likelihood.

    `nll` is from the importance-weighted bound of 1,000 draws an example, `negative_elbo` from one draw, an estimate of
    the variational bound that is noisy if examples are few. Grey values are drawn as bits once, from seed 0 (own
    binarization), so figures compare only up to that draw.

    Raises:
        ValueError: the run has no test data.
    """
    if run.test is None:
        raise ValueError("the test log-likelihood needs test data, and this data set has none")
    model = run.system
    assert isinstance(model, HelmholtzMachine)
    with seeded(run.device):
        x = gather(run.test, None, run.device)["x"]
        x = model.visible.restored(model.visible.observed(x))
        nll, negative_elbo = (-float(importance_bound(model, x, k).mean()) for k in (SAMPLES, 1))
    return {"nll": nll, "negative_elbo": negative_elbo}


@recipe(
    paper="Hinton, Dayan, Frey & Neal (1995), The wake-sleep algorithm for unsupervised neural networks; size and"
    " figure of Mnih & Gregor (2014), Neural variational inference and learning in belief networks",
    figure="nll",
    unit="nats",
    published=104.4,
    measure=likelihood,
    quick={"epochs": 30},
)
def wake_sleep(
    data: Data,
    seed: int = 0,
    hidden: tuple[int, ...] = (200, 200, 200),
    lr: float = 1e-2,
    batch: int = 100,
    epochs: int = 160,
    optimizer: Optimizer = "adam",
    fall: float = 1.0,
    binarize: bool = True,
) -> Run:
    """Train a Helmholtz machine by wake-sleep.

    Args:
        data: images or rows with values in 0..1.
        seed: of the initial weights, order of the examples and all draws.
        hidden: units of each hidden layer, from the lowest to the top.
        lr: first learning rate; SGD wants about 0.1.
        batch: examples in an update, and dreams.
        epochs: passes over the training data.
        optimizer: Adam, or the papers' gradient descent.
        fall: share of the run, at its end, in which the learning rate falls linearly to zero; 0 keeps it constant.
        binarize: draw each grey value as a fresh bit in every update; otherwise feed grey values to binary units.
    """
    return trained(data, seed, hidden, 1, "sleep", lr, batch, epochs, optimizer, fall, binarize)


@recipe(
    paper="Bornschein & Bengio (2015), Reweighted wake-sleep, table 1 (SBN 200-200-200, K = 5)",
    figure="nll",
    unit="nats",
    published=90.1,
    measure=likelihood,
    quick={"epochs": 15},
)
def reweighted_wake_sleep(
    data: Data,
    seed: int = 0,
    hidden: tuple[int, ...] = (200, 200, 200),
    samples: int = 5,
    recognition: Recognition = "both",
    lr: float = 1e-2,
    batch: int = 100,
    epochs: int = 75,
    optimizer: Optimizer = "adam",
    fall: float = 1.0,
    binarize: bool = True,
) -> Run:
    """Train a Helmholtz machine by reweighted wake-sleep.

    Args:
        data: images or rows with values in 0..1.
        seed: of the initial weights, order of the examples and all draws.
        hidden: units of each hidden layer, from the lowest to the top.
        samples: draws of the hidden states for each example of an update, K.
        recognition: learn the recognition weights from dreams, from the weighted draws for the data, or from both.
        lr: first learning rate; SGD wants about 0.1.
        batch: examples in an update, and dreams.
        epochs: passes over the training data.
        optimizer: Adam, or the papers' gradient descent.
        fall: share of the run, at its end, in which the learning rate falls linearly to zero; 0 keeps it constant.
        binarize: draw each grey value as a fresh bit in every update; otherwise feed grey values to binary units.
    """
    return trained(data, seed, hidden, samples, recognition, lr, batch, epochs, optimizer, fall, binarize)


def trained(
    data: Data,
    seed: int,
    hidden: tuple[int, ...],
    samples: int,
    recognition: Recognition,
    lr: float,
    batch: int,
    epochs: int,
    optimizer: Optimizer,
    fall: float,
    binarize: bool,
) -> Run:
    """Return the run of a machine whose visible bias starts at the log-odds of the data's means.

    Raises:
        ValueError: values outside 0..1, or a share of the run that is none.
    """
    if not 0 <= fall <= 1:
        raise ValueError(f"fall is a share of the run between 0 and 1, got {fall:g}")
    units = Bernoulli(data.shape, binarize)
    x = units.standard(select(whole(data.train), ("x",))["x"])
    low, high = (float(end) for end in x.aminmax())
    if low < 0 or high > 1:
        raise ValueError(f"binary units need values in 0..1, the data has {low:g}..{high:g}: rescale it")
    make = torch.optim.Adam if optimizer == "adam" else torch.optim.SGD
    return Run(
        system=HelmholtzMachine(units, hidden, units.matching(x.mean(0), len(x)), samples, recognition),
        train=Batches(data.train, batch, seed=seed),
        valid=in_order(data.valid),
        test=in_order(data.test),
        optimizer=partial(make, lr=lr, fused=True),
        epochs=epochs,
        schedules={"lr": linear_to_zero(lr, 1 - fall) if fall else constant(lr)},
        seed=seed,
    )
