"""Language models."""

import bz2
import lzma
from functools import partial
from typing import Literal

import torch
from jaxtyping import Int64
from torch import Tensor

from lamina.core import Run
from lamina.data.dataset import Data
from lamina.data.examples import whole
from lamina.data.text import Windows
from lamina.optim.schedules import one_cycle
from lamina.recipes.registry import recipe
from lamina.systems.language.model import LanguageModel
from lamina.train.evaluate import evaluate


def bits_beside_yardsticks(run: Run) -> dict[str, float]:
    """Return bits per symbol of the test text: the model's, and what a frequency count and two compressors need.

    Raises:
        ValueError: the run has no test text.
    """
    if not isinstance(run.train, Windows) or not isinstance(run.test, Windows):
        raise ValueError("bits per character need a test text, and this data set has none")
    system = run.system
    assert isinstance(system, LanguageModel)
    train, test = (whole(windows.text)["tokens"] for windows in (run.train, run.test))
    content = test.numpy().astype("uint8" if system.vocabulary <= 256 else "<u4").tobytes()
    return evaluate(system, run.test, run.device, run.precision) | {
        "bits_by_frequency": by_frequency(train, test, system.vocabulary),
        "bits_bzip2": 8 * len(bz2.compress(content)) / len(test),
        "bits_xz": 8 * len(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)) / len(test),
    }


def by_frequency(train: Int64[Tensor, " symbols"], test: Int64[Tensor, " others"], vocabulary: int) -> float:
    """Return the bits per symbol of a model that knows only how often each symbol comes, counting one more of each."""
    counts = train.bincount(minlength=vocabulary) + 1
    return float(-(counts / counts.sum()).log2()[test].mean())


@recipe(
    paper="Graves (2013), Generating sequences with recurrent neural networks, section 3 (one layer, other text)",
    figure="bits",
    unit="bits",
    data="english",
    measure=bits_beside_yardsticks,
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
