"""Language models."""

from functools import partial
from typing import Literal

import torch

from lamina.core import Run
from lamina.data.dataset import Data
from lamina.data.text import Windows
from lamina.optim.schedules import one_cycle
from lamina.recipes.registry import recipe
from lamina.systems.language.model import LanguageModel


@recipe(
    paper="Graves (2013), Generating sequences with recurrent neural networks, section 3 (one layer, other text)",
    figure="bits",
    unit="bits",
    data="english",
    quick={"hidden": 256, "lr": 0.008, "epochs": 1},
)
def char_lm(
    data: Data,
    seed: int = 0,
    cell: Literal["lstm", "gru", "rnn"] = "lstm",
    hidden: int = 512,
    layers: int = 1,
    embedding: int = 64,
    window: int = 50,
    batch: int = 16,
    lr: float = 0.004,
    dropout: float = 0.0,
    clip: float = 1.0,
    epochs: int = 2,
) -> Run:
    """Train a recurrent language model on the characters of a text, by truncated backpropagation through time.

    The text is laid out in `batch` rows that are read side by side. The learning rate rises for a tenth of the run and
    falls along half a cosine.

    Args:
        data: a text.
        seed: of the weights and of dropout; the order of the text is always the same.
        cell: kind of the recurrent layers.
        hidden: units of each.
        layers: how many, one above the other.
        embedding: size of a symbol's vector.
        window: symbols that the gradient goes back through.
        batch: rows.
        lr: largest learning rate of Adam.
        dropout: share of the activations that are dropped between layers.
        clip: largest norm of the gradient.
        epochs: passes over the text.

    Raises:
        ValueError: the data is no text, or a size does not fit.
    """
    if "tokens" not in data.outline()["fields"] or not data.classes:
        raise ValueError(f"char_lm needs a text: give a .txt, a .jsonl or 'english'; {data.name} is none")
    return Run(
        system=LanguageModel(len(data.classes), hidden, layers, embedding, cell, dropout, batch),
        train=Windows(data.train, batch, window),
        valid=None if data.valid is None else Windows(data.valid, batch, window),
        test=None if data.test is None else Windows(data.test, batch, window),
        optimizer=partial(torch.optim.Adam, lr=lr, fused=True),
        schedules={"lr": one_cycle(lr, warmup=0.1)},
        clip=clip,
        epochs=epochs,
    )
