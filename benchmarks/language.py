"""An update of a word model: 2 LSTM layers of 200 units, 10,000 words, windows of 35 words in 20 rows, dropout 0.2.

The plain loop has the computation of word_language_model in PyTorch's examples: embedding, nn.LSTM, a linear layer,
log-softmax and its negative at the words that came, clipping at a norm of 0.25, and gradient descent parameter by
parameter. lamina is `fit` on `LanguageModel` of the same sizes with `torch.optim.SGD`, fused: the same numbers but for
the draws of dropout, with the cross-entropy and its gradient made in chunks of rows, and with oneDNN's products where
they are exact. The row "same products" is the plain loop with these. "lamina, tied, Adam" is what `word_lm` does. Words
are drawn at random, as the time does not depend on them. Target: at least 1.3 times as quick as the plain loop.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmarks.results import Result, Target, timed
from benchmarks.trainer import ticking
from benchmarks.turns import Turn, Variant, compare

SIZES: dict[str, Any] = {"vocabulary": 10_000, "hidden": 200, "layers": 2, "embedding": 200, "dropout": 0.2}
ROWS, WINDOW, WINDOWS, EPOCHS = 20, 35, 200, 1000
LR, CLIP = 0.5, 0.25


def measure(quick: bool) -> Result:
    """Compare an update of each."""
    variants: dict[str, Variant] = {
        "plain": partial(endless, False),
        "plain, same products": partial(endless, True),
        "lamina": partial(lamina, False),
        "lamina, tied, Adam": partial(lamina, True),
    }
    rows = timed(compare(variants, rounds=3 if quick else 20, seconds=1.0), "plain", unit=1e-3, name="ms")
    return Result(rows, [Target("lamina", "ratio", "<=", 1 / 1.3)], SIZES | {"rows": ROWS, "window": WINDOW})


def windows(vocabulary: int) -> Any:
    """Return the windows of a text of random words."""
    import torch

    from lamina.data.examples import Arrays
    from lamina.data.text import Windows

    words = torch.randint(vocabulary, (ROWS * WINDOW * WINDOWS,), generator=torch.Generator().manual_seed(0))
    return Windows(Arrays(tokens=words), ROWS, WINDOW)


def network(vocabulary: int, hidden: int, layers: int, embedding: int, dropout: float) -> Any:
    """Return the layers of the plain loop."""
    from torch import nn

    return nn.ModuleDict(
        {
            "embed": nn.Embedding(vocabulary, embedding),
            "cells": nn.LSTM(embedding, hidden, layers, dropout=dropout),
            "drop": nn.Dropout(dropout),
            "head": nn.Linear(hidden, vocabulary),
        }
    )


def plain(net: Any, source: Any, epochs: int) -> Iterator[Any]:
    """Train op by op, and yield the loss of each update."""
    import torch
    from torch.nn import functional as F

    for k in range(epochs):
        state = None
        for batch in source.epoch(k):
            net.zero_grad()
            if state is not None:
                state = tuple(part.detach() for part in state)
            h, state = net["cells"](net["drop"](net["embed"](batch["tokens"].t())), state)
            logits = net["head"](net["drop"](h)).flatten(0, 1)
            loss = F.nll_loss(F.log_softmax(logits, 1), batch["targets"].t().flatten())
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(net.parameters(), CLIP)
            for parameter in net.parameters():
                parameter.data.add_(parameter.grad, alpha=-LR)
            yield loss.detach()


def endless(same: bool, turn: Turn) -> None:
    """Train the plain loop."""
    import torch

    if same:
        torch.set_float32_matmul_precision("medium")
    for _ in plain(network(**SIZES), windows(SIZES["vocabulary"]), EPOCHS):
        turn()


def run_of(sizes: dict[str, Any], source: Any, tied: bool, epochs: int) -> Any:
    """Return lamina's run."""
    import torch

    from lamina.core import Run
    from lamina.systems.language.model import LanguageModel

    system = LanguageModel(**sizes, rows=ROWS, tied=tied)
    kind = partial(torch.optim.Adam, lr=1e-3) if tied else partial(torch.optim.SGD, lr=LR)
    return Run(system, source, partial(kind, fused=True), epochs=epochs, clip=CLIP)


def lamina(tied: bool, turn: Turn) -> None:
    """Train with `fit`."""
    from lamina.train.fit import fit

    fit(run_of(SIZES, windows(SIZES["vocabulary"]), tied, EPOCHS), display=ticking(turn))
