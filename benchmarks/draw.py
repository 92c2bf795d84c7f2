"""An update of DRAW on batches of 128 images, with 10 glimpses, with and without attention (2 x 2 and 5 x 5 filters).

The plain loop has each operation of the paper by itself: nn.LSTMCell, a linear layer for each of the reading window,
the writing window and what is written, x and its error read one after the other, the KL term in every step. lamina is
`fit` on `DRAW`. Both have the same sizes, losses, clipping and Adam (fused). The trainer takes oneDNN's products where
they are exact; the rows "same products" are the plain loop with these, and show what the system alone is worth.
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmarks.results import Result, Target, timed
from benchmarks.trainer import ticking
from benchmarks.turns import Turn, Variant, compare
from benchmarks.vae import gray

BATCH, GLIMPSES, HIDDEN, LATENT, READING, WRITING, SIDE = 128, 10, 256, 100, 2, 5, 28
EPOCHS, CLIP = 1000, 5.0
KINDS = ("attention", "no attention")


def measure(quick: bool) -> Result:
    """Compare an update of each."""
    rows, targets = [], []
    for kind in KINDS:
        base = f"{kind}, plain"
        variants: dict[str, Variant] = {
            base: partial(by_hand, kind == KINDS[0], False),
            f"{kind}, plain, same products": partial(by_hand, kind == KINDS[0], True),
            f"{kind}, lamina": partial(lamina, kind == KINDS[0]),
        }
        rows += timed(compare(variants, rounds=3 if quick else 20, seconds=1.0), base, unit=1e-3, name="ms")
        targets.append(Target(f"{kind}, lamina", "ratio", "<=", 1 / 1.5))
    return Result(rows, targets, {"batch": BATCH, "glimpses": GLIMPSES})


def batches() -> Iterator[Any]:
    """Yield batches of bits drawn from gray images, by index."""
    import torch

    x = gray().flatten(1)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(BATCH):
            yield torch.bernoulli(x.index_select(0, rows))


def network(attention: bool) -> Any:
    """Return the layers of the plain loop."""
    from torch import nn

    seen = 2 * READING**2 if attention else 2 * SIDE**2
    layers = {
        "encoder": nn.LSTMCell(seen + HIDDEN, HIDDEN),
        "decoder": nn.LSTMCell(LATENT, HIDDEN),
        "mean": nn.Linear(HIDDEN, LATENT),
        "log_scale": nn.Linear(HIDDEN, LATENT),
        "patch": nn.Linear(HIDDEN, WRITING**2 if attention else SIDE**2),
    }
    if attention:
        layers |= {"reading": nn.Linear(HIDDEN, 5), "writing": nn.Linear(HIDDEN, 5)}
    return nn.ModuleDict(layers)


def filters(numbers: Any, side: int) -> tuple[Any, Any, Any]:
    """Return F_X, F_Y and γ of a window."""
    import torch

    horizontal, vertical, log_variance, log_spacing, log_gain = numbers.chunk(5, 1)
    spacing = (SIDE - 1) / (side - 1) * torch.exp(log_spacing)
    pixels, banks = torch.arange(SIDE).float(), []
    for number in (horizontal, vertical):
        center = (SIDE + 1) / 2 * (number + 1) - 1
        means = center + (torch.arange(side) - (side - 1) / 2) * spacing
        bank = torch.exp(-((pixels - means[:, :, None]) ** 2) / (2 * torch.exp(log_variance)[:, :, None]))
        banks.append(bank / (bank.sum(2, keepdim=True) + 1e-8))
    return *banks, torch.exp(log_gain)[:, :, None]


def by_hand(attention: bool, same: bool, turn: Turn) -> None:
    """Train op by op."""
    import torch

    if same:
        torch.set_float32_matmul_precision("medium")
    net = network(attention)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    for x in batches():
        optimizer.zero_grad()
        sum(terms(net, x, attention)).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), CLIP)
        optimizer.step()
        turn()


def terms(net: Any, x: Any, attention: bool) -> tuple[Any, Any]:
    """Return the reconstruction and the KL term of a batch, in nats."""
    import torch
    from torch.nn import functional as F

    h_enc, c_enc, h_dec, c_dec = (x.new_zeros(len(x), HIDDEN) for _ in range(4))
    canvas, divergence = torch.zeros_like(x), 0.0
    for _ in range(GLIMPSES):
        error = x - torch.sigmoid(canvas)
        seen = [x, error]
        if attention:
            columns, rows, gain = filters(net["reading"](h_dec), READING)
            images = [part.view(-1, SIDE, SIDE) for part in seen]
            seen = [(gain * (rows @ image @ columns.transpose(1, 2))).flatten(1) for image in images]
        h_enc, c_enc = net["encoder"](torch.cat([*seen, h_dec], 1), (h_enc, c_enc))
        mean, log_scale = net["mean"](h_enc), net["log_scale"](h_enc)
        z = mean + torch.exp(log_scale) * torch.randn_like(mean)
        divergence += 0.5 * (mean**2 + torch.exp(2 * log_scale) - 1 - 2 * log_scale).sum(1).mean()
        h_dec, c_dec = net["decoder"](z, (h_dec, c_dec))
        patch = net["patch"](h_dec)
        if attention:
            columns, rows, gain = filters(net["writing"](h_dec), WRITING)
            patch = (rows.transpose(1, 2) @ patch.view(-1, WRITING, WRITING) @ columns / gain).flatten(1)
        canvas = canvas + patch
    return F.binary_cross_entropy_with_logits(canvas, x, reduction="sum") / len(x), divergence


def lamina(attention: bool, turn: Turn) -> None:
    """Train with `fit`."""
    import torch

    from lamina.core import Run
    from lamina.data.batches import Batches
    from lamina.data.examples import Arrays
    from lamina.modules.glimpse import Attention, Whole
    from lamina.systems.autoencoder.draw import DRAW
    from lamina.systems.energy.units import Bernoulli
    from lamina.train.fit import fit

    shape = (1, SIDE, SIDE)
    view = Attention(shape, HIDDEN, READING, WRITING) if attention else Whole(math.prod(shape), HIDDEN)
    system = DRAW(view, Bernoulli(shape), torch.zeros(math.prod(shape)), HIDDEN, LATENT, GLIMPSES)
    adam = partial(torch.optim.Adam, lr=1e-3, fused=True)
    fit(Run(system, Batches(Arrays(x=gray()), BATCH), adam, epochs=EPOCHS, clip=CLIP), display=ticking(turn))
