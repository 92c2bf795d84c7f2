"""An epoch of 12,800 images for a DCGAN of 28×28 gray images with 64 maps of 7×7 and 32 of 14×14, at batches of 128.

The bare loop is the computation of PyTorch's own DCGAN example, cut to this size: networks of 4×4 kernels in the usual
order of memory, binary cross-entropy of real and generated batch for the discriminator, and a generator's step whose
backward pass also fills the gradients of the discriminator's weights, which nobody uses. The generator's step takes the
batch that the discriminator has just seen. lamina is `fit` on its own networks of the same widths, without the full
hidden layers: 6×6 kernels beside the pixels as 3×3 over blocks, channels last, no gradient that is thrown away, but a
new batch for the generator's step. A row has lamina's networks in the bare loop.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.inputs import available
from benchmarks.results import Result, Target, timed
from benchmarks.trainer import ticking
from benchmarks.turns import Turn, Variant, compare
from benchmarks.vae import gray

COUNT, BATCH, EPOCHS, NOISE, WIDTH, LR = 12_800, 128, 1000, 100, 32, 2e-4


def measure(quick: bool) -> Result:
    """Compare an epoch of each."""
    available()
    costs = compare(VARIANTS, rounds=2 if quick else 15, seconds=1.0)
    rows = timed(costs, "bare loop", updates=COUNT / BATCH)
    return Result(rows, [Target("lamina", "ratio", "<=", 1.0)], {"images": COUNT, "batch": BATCH})


def plain() -> tuple[Any, Any]:
    """Return generator and discriminator as the example has them, from noise (batch, 100, 1, 1) to 28×28."""
    from torch import nn

    generator = nn.Sequential(
        *(nn.ConvTranspose2d(NOISE, 2 * WIDTH, 7, 1, 0, bias=False), nn.BatchNorm2d(2 * WIDTH), nn.ReLU(True)),
        *(nn.ConvTranspose2d(2 * WIDTH, WIDTH, 4, 2, 1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU(True)),
        *(nn.ConvTranspose2d(WIDTH, 1, 4, 2, 1, bias=False), nn.Tanh()),
    )
    discriminator = nn.Sequential(
        *(nn.Conv2d(1, WIDTH, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)),
        *(nn.Conv2d(WIDTH, 2 * WIDTH, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * WIDTH), nn.LeakyReLU(0.2, inplace=True)),
        *(nn.Conv2d(2 * WIDTH, 1, 7, 1, 0, bias=False), nn.Sigmoid()),
    )
    return generator, discriminator


def ours() -> tuple[Any, Any]:
    """Return lamina's networks, in the form that the bare loop takes."""
    from torch import nn

    generator, discriminator = networks()
    return nn.Sequential(nn.Flatten(), generator), nn.Sequential(discriminator, nn.Sigmoid())


def networks() -> tuple[Any, Any]:
    """Return lamina's networks."""
    from lamina.modules.dcgan import Discriminator, Generator

    return Generator((1, 28, 28), NOISE, WIDTH, hidden=0), Discriminator((1, 28, 28), WIDTH, hidden=0)


def by_hand(make: Callable[[], tuple[Any, Any]], turn: Turn) -> None:
    """Train as the example does."""
    import torch
    from torch import nn, optim

    x, (generator, discriminator), criterion = gray(), make(), nn.BCELoss()
    players = generator, discriminator
    generating, telling = (optim.Adam(player.parameters(), lr=LR, betas=(0.5, 0.999)) for player in players)
    for _ in range(EPOCHS):
        for rows in torch.randperm(COUNT).split(BATCH):
            real = x.index_select(0, rows)
            ones, zeros = real.new_ones(len(real)), real.new_zeros(len(real))
            discriminator.zero_grad()
            criterion(discriminator(real).flatten(), ones).backward()
            fake = generator(torch.randn(len(real), NOISE, 1, 1))
            criterion(discriminator(fake.detach()).flatten(), zeros).backward()
            telling.step()
            generator.zero_grad()
            criterion(discriminator(fake).flatten(), ones).backward()
            generating.step()
            turn()


def lamina(turn: Turn) -> None:
    """Train with `fit`."""
    import torch

    from lamina.core import Run
    from lamina.data.batches import Batches
    from lamina.data.examples import Arrays
    from lamina.systems.generative.gan import GAN
    from lamina.train.fit import fit

    system = GAN(*networks(), noise=NOISE)
    adam = partial(torch.optim.Adam, lr=LR, betas=(0.5, 0.999), fused=True)
    fit(Run(system, Batches(Arrays(x=gray()), BATCH), adam, epochs=EPOCHS), display=ticking(turn))


VARIANTS: dict[str, Variant] = {
    "bare loop": partial(by_hand, plain),
    "bare loop, lamina's networks": partial(by_hand, ours),
    "lamina": lamina,
}
