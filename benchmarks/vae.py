"""An epoch of 12,800 images for a variational auto-encoder of 784-400-20 rectified units, by Adam at batches of 128.

The bare loop is the computation of PyTorch's own VAE example: gray images in a Bernoulli likelihood, the sum of both
terms, autograd through exp and the draw; batches by index, in memory. The DataLoader row feeds it as the example does,
one decoded image after the other. lamina is `fit` on the same network, with the mean of the same two terms; in the last
row it also draws new bits from the gray values in every update, as its recipe does by default.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmarks.inputs import Loaded, available, images
from benchmarks.results import Result, Target, timed
from benchmarks.trainer import ticking
from benchmarks.turns import Turn, Variant, compare

COUNT, BATCH, EPOCHS, HIDDEN, LATENT = 12_800, 128, 1000, 400, 20


def measure(quick: bool) -> Result:
    """Compare an epoch of each."""
    available()
    costs = compare(VARIANTS, rounds=2 if quick else 30)
    rows = timed(costs, "bare loop", updates=COUNT / BATCH)
    return Result(rows, [Target("lamina", "ratio", "<=", 1.0)], {"images": COUNT, "batch": BATCH})


def gray() -> Any:
    """Return images (count, 1, 28, 28) with values in 0..1."""
    import torch

    return torch.from_numpy((images(COUNT)[0][:, None] / 255).astype(np.float32))


def indexed() -> Iterator[Any]:
    """Yield batches by index."""
    import torch

    x = gray().flatten(1)
    for _ in range(EPOCHS):
        for rows in torch.randperm(COUNT).split(BATCH):
            yield x.index_select(0, rows)


def loader() -> Iterator[Any]:
    """Yield batches of the usual DataLoader, back in 0..1."""
    from torch.utils.data import DataLoader

    from benchmarks.inputs import DEVIATION, MEAN

    loaded: Any = Loaded(COUNT)
    for _ in range(EPOCHS):
        for x, _y in DataLoader(loaded, BATCH, shuffle=True):
            yield (x * DEVIATION + MEAN).clamp_(0, 1).flatten(1)


def layers() -> tuple[Any, Any]:
    """Return encoder and decoder."""
    from torch import nn

    encoder = nn.Sequential(nn.Linear(784, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * LATENT))
    return encoder, nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 784))


def by_hand(batches: Callable[[], Iterator[Any]], turn: Turn) -> None:
    """Train as the example does."""
    import torch
    from torch.nn import functional as F

    encoder, decoder = layers()
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
    for x in batches():
        optimizer.zero_grad()
        mean, log_variance = encoder(x).chunk(2, 1)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        reconstruction = F.binary_cross_entropy(torch.sigmoid(decoder(z)), x, reduction="sum")
        divergence = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
        (reconstruction + divergence).backward()
        optimizer.step()
        turn()


def lamina(binarize: bool, turn: Turn) -> None:
    """Train with `fit`."""
    import torch

    from lamina.core import Run
    from lamina.data.batches import Batches
    from lamina.data.examples import Arrays
    from lamina.systems.autoencoder.vae import VAE
    from lamina.systems.energy.units import Bernoulli
    from lamina.train.fit import fit

    system = VAE(*layers(), LATENT, Bernoulli((1, 28, 28), binarize))
    adam = partial(torch.optim.Adam, lr=1e-3, fused=True)
    fit(Run(system, Batches(Arrays(x=gray()), BATCH), adam, epochs=EPOCHS), display=ticking(turn))


VARIANTS: dict[str, Variant] = {
    "bare loop": partial(by_hand, indexed),
    "DataLoader": partial(by_hand, loader),
    "lamina": partial(lamina, False),
    "lamina, new bits": partial(lamina, True),
}
