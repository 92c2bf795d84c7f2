"""Variational auto-encoders: models with latent variables, and a network that infers them."""

from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from lamina.core import Run, select
from lamina.data.batches import Batches, in_order
from lamina.data.dataset import Data
from lamina.data.examples import whole
from lamina.optim.schedules import linear_to_zero
from lamina.recipes.inputs import bernoulli, gaussian
from lamina.recipes.registry import recipe
from lamina.sampling.importance import importance_bound
from lamina.systems.autoencoder.draw import DRAW
from lamina.systems.autoencoder.vae import VAE
from lamina.train.evaluate import evaluating, seeded

DRAWS = 1000  # of z for each test example; the paper takes 5000
ROWS = 2000  # draws decoded at once, the fastest of 1000, 2000 and 5000


@torch.no_grad()
def bounds(run: Run, draws: int = DRAWS) -> dict[str, float]:
    """Return minus the bounds on the test log-likelihood in nats per example: with `draws` of z (nll), and the ELBO.

    Grey pixels are drawn as binary ones once, from seed 0 (own binarization), so figures compare only up to that draw.

    Raises:
        ValueError: the run has no test data.
    """
    if run.test is None:
        raise ValueError("the test log-likelihood needs test data, and this data set has none")
    model = run.system
    assert isinstance(model, VAE | DRAW)
    count, sums = 0, torch.zeros(4, dtype=torch.float64)
    with evaluating(model), seeded(run.device):
        for batch in run.test.epoch(0):
            v = model.visible.observed(batch["x"].to(run.device))
            reconstruction, divergence = (float(part.sum()) for part in model.parts(v))
            bound = float(importance_bound(model, model.visible.restored(v), draws, ROWS).sum())
            sums += torch.tensor([-bound, reconstruction + divergence, reconstruction, divergence])
            count += len(v)
    names = ("nll", "negative_elbo", "reconstruction", "kl")
    return dict(zip(names, (sums / count).tolist(), strict=True))


@recipe(
    paper="Kingma & Welling (2014), Auto-encoding variational Bayes; network and figure of Burda et al. (2016),"
    " Importance weighted autoencoders, table 1 (VAE, k = 1, one stochastic layer)",
    figure="nll",
    unit="nats",
    published=86.76,
    measure=bounds,
    quick={"epochs": 60},
)
def vae(
    data: Data,
    seed: int = 0,
    hidden: tuple[int, ...] = (200, 200),
    latent: int = 50,
    samples: int = 1,
    beta: float = 1.0,
    visible: Literal["bernoulli", "gaussian"] = "bernoulli",
    binarize: bool = True,
    noise: float = 0.0,
    lr: float = 3e-3,
    batch: int = 100,
    epochs: int = 200,
) -> Run:
    """Train a variational auto-encoder of tanh layers by Adam, with lr falling linearly to zero.

    Differs from the paper: 200 passes in batches of 100, for 3280 in batches of 20 with lr falling from 1e-3 to 1e-4 in
    eight steps. The output's bias starts at the log-odds of the data's means, as in the authors' code.

    Args:
        data: values in 0..1, or any for Gaussian units.
        seed: of the initial weights, order of the examples and draws.
        hidden: units of the encoder's hidden layers; the decoder has them in reverse.
        latent: latent variables.
        samples: draws of them an example, k; more than 1 trains the importance-weighted bound.
        beta: weight of the KL term; 1 is the bound.
        visible: binary units for values in 0..1, or Gaussian ones for any; data for the latter is standardized.
        binarize: draw each grey value as a fresh bit in every update; otherwise feed grey values to binary units.
        noise: standard deviation of Gaussian units, by that of the data; 0 learns it.
        lr: first learning rate.
        batch: examples in an update.
        epochs: passes over the training data.
    """
    x = select(whole(data.train), ("x",))["x"]
    units = gaussian(x) if visible == "gaussian" else bernoulli(x, binarize)
    means = units.standard(x).mean(0)
    encoder = tanh_layers((len(means), *hidden, 2 * latent))
    decoder = tanh_layers((latent, *hidden[::-1], len(means)), units.matching(means, len(x)))
    return Run(
        system=VAE(encoder, decoder, latent, units, samples, beta, noise or 1.0, learned=noise == 0),
        train=Batches(data.train, batch, seed=seed),
        valid=in_order(data.valid),
        test=in_order(data.test),
        optimizer=partial(torch.optim.Adam, lr=lr, fused=True),
        schedules={"lr": linear_to_zero(lr)},
        epochs=epochs,
        seed=seed,
    )


@recipe(
    paper="Burda et al. (2016), Importance weighted autoencoders, table 1 (IWAE, k = 50, one stochastic layer)",
    figure="nll",
    unit="nats",
    published=84.78,
    measure=bounds,
    quick={"samples": 5, "epochs": 80},
)
def iwae(data: Data, seed: int = 0, samples: int = 50, lr: float = 3e-3, batch: int = 100, epochs: int = 100) -> Run:
    """Train the networks of `vae` on the importance-weighted bound.

    Args:
        data: values in 0..1.
        seed: of the initial weights, order of the examples and draws.
        samples: draws of the latent variables an example, k.
        lr: first learning rate, falling linearly to zero.
        batch: examples in an update.
        epochs: passes over the training data.
    """
    return vae(data, seed=seed, samples=samples, lr=lr, batch=batch, epochs=epochs)


def tanh_layers(widths: tuple[int, ...], bias: Tensor | None = None) -> nn.Sequential:
    """Return linear layers with tanh between them and biases at zero, or at `bias` in the last.

    Weights are drawn after Glorot & Bengio (2010), eq. 16.

    Raises:
        ValueError: a layer without units.
    """
    if min(widths) < 1:
        raise ValueError(f"every layer needs at least 1 unit, got {widths}")
    layers: list[nn.Module] = []
    for low, high in pairwise(widths):
        linear = nn.Linear(low, high)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.Tanh()]
    if bias is not None:
        with torch.no_grad():
            linear.bias.copy_(bias)
    return nn.Sequential(*layers[:-1])
