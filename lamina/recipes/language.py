"""Language models."""

import bz2
import lzma
import math
from functools import partial
from typing import Literal

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from lamina.core import Run, Schedule
from lamina.data.dataset import Data
from lamina.data.examples import whole
from lamina.data.text import Windows
from lamina.optim.schedules import exponential, inverse_sigmoid, linear, one_cycle
from lamina.recipes.registry import recipe
from lamina.systems.language.kneser_ney import KneserNey
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


ORDER = 5  # of the n-grams beside a word model
NEAR = 0.1  # of zero, where the embedding of words begins (Zaremba et al. 2014: 0.1, 0.05 and 0.04)
UNSEEN = 1  # the symbol of all words that the vocabulary lacks
Decay = Literal["linear", "exponential", "inverse-sigmoid"]


def perplexity_beside_counts(run: Run) -> dict[str, float]:
    """Return the perplexity per symbol of the test text: the model's, and that of Kneser-Ney 5-grams.

    Both are of the same symbols, and `UNKNOWN` counts as one of them; `unknown` is its share.

    Raises:
        ValueError: the run has no test text.
    """
    if not isinstance(run.train, Windows) or not isinstance(run.test, Windows):
        raise ValueError("perplexity needs a test text, and this data set has none")
    system = run.system
    assert isinstance(system, LanguageModel)
    train, test = (whole(windows.text)["tokens"] for windows in (run.train, run.test))
    told = test[: len(test) // run.test.window * run.test.window].numpy()
    figures = evaluate(system, run.test, run.device, run.precision)
    return {
        "perplexity": math.exp(figures["nll"]),
        "perplexity_kneser_ney": KneserNey(train.numpy(), system.vocabulary, ORDER).perplexity(told),
        "unknown": float((told == UNSEEN).mean()),
        **figures,
    }


def share_of_truth(decay: Decay, stop: float) -> dict[str, Schedule]:
    """Return the schedule of scheduled sampling; none for teacher forcing.

    Raises:
        ValueError: a share outside 0..1.
    """
    if not 0 < stop <= 1:
        raise ValueError(f"truth is a share above 0 and at most 1, got {stop}")
    if stop == 1:
        return {}
    falls = {"linear": linear(1.0, stop), "exponential": exponential(stop), "inverse-sigmoid": inverse_sigmoid(stop)}
    return {"system.truth": falls[decay]}


def reading(
    data: Data,
    system: LanguageModel,
    batch: int,
    window: int,
    lr: float,
    clip: float,
    epochs: int,
    truth: dict[str, Schedule],
) -> Run:
    """Return the run in which a language model reads a text."""
    valid, test = (None if part is None else Windows(part, batch, window) for part in (data.valid, data.test))
    return Run(
        system=system,
        train=Windows(data.train, batch, window),
        valid=valid,
        test=test,
        optimizer=partial(torch.optim.Adam, lr=lr, fused=True),
        schedules={"lr": one_cycle(lr, warmup=0.1)} | truth,
        clip=clip,
        epochs=epochs,
    )


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
    truth: float = 1.0,
    decay: Decay = "inverse-sigmoid",
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
        truth: share of true symbols in what the network reads, at the end of training; the others are its own.
        decay: how this share falls from one.
        epochs: passes over the text.

    Raises:
        ValueError: the data is no text, or a size does not fit.
    """
    if "tokens" not in data.outline()["fields"] or not data.classes:
        raise ValueError(f"char_lm needs a text: give a .txt, a .jsonl or 'english'; {data.name} is none")
    system = LanguageModel(len(data.classes), hidden, layers, embedding, cell, dropout, batch)
    return reading(data, system, batch, window, lr, clip, epochs, share_of_truth(decay, truth))


@recipe(
    paper="Zaremba, Sutskever & Vinyals (2014), Recurrent neural network regularization, section 4.1 (other text)",
    figure="perplexity",
    unit="perplexity",
    data="byword:english",
    measure=perplexity_beside_counts,
    quick={"hidden": 200, "dropout": 0.0, "epochs": 2},
)
def word_lm(
    data: Data,
    seed: int = 0,
    cell: Literal["lstm", "gru", "rnn"] = "lstm",
    hidden: int = 400,
    layers: int = 2,
    embedding: int | None = None,
    tied: bool = True,
    window: int = 35,
    batch: int = 20,
    lr: float = 0.003,
    dropout: float = 0.2,
    clip: float = 1.0,
    truth: float = 1.0,
    decay: Decay = "inverse-sigmoid",
    epochs: int = 5,
) -> Run:
    """Train a recurrent language model on the words of a text, by truncated backpropagation through time.

    The embedding begins within ±0.1, the bias of the output at the logarithm of how often each word comes. The learning
    rate of Adam rises for a tenth of the run and falls along half a cosine. The paper's small, medium and large models
    have 200, 650 and 1500 units, a dropout of 0, 0.5 and 0.65, weights that are not tied, and plain gradient descent.

    Args:
        data: a text of words, as byword:novel.txt.
        seed: of the weights and of dropout; the order of the text is always the same.
        cell: kind of the recurrent layers.
        hidden: units of each.
        layers: how many, one above the other.
        embedding: size of a word's vector; that of a layer if not given.
        tied: let the matrix of the embedding be that of the output too.
        window: words that the gradient goes back through.
        batch: rows.
        lr: largest learning rate.
        dropout: share of the activations that are dropped before, between and after the layers.
        clip: largest norm of the gradient.
        truth: share of true words in what the network reads, at the end of training; the others are its own.
        decay: how this share falls from one.
        epochs: passes over the text.

    Raises:
        ValueError: the data is no text, or a size does not fit.
    """
    if "tokens" not in data.outline()["fields"] or not data.classes:
        raise ValueError(
            f"word_lm needs a text of tokens: give byword:novel.txt or byword:english; {data.name} is none"
        )
    system = LanguageModel(len(data.classes), hidden, layers, embedding or hidden, cell, dropout, batch, tied)
    nn.init.uniform_(system.embed.weight, -NEAR, NEAR)
    often = whole(data.train)["tokens"].bincount(minlength=len(data.classes)) + 1
    with torch.no_grad():
        system.head.bias.copy_((often / often.sum()).log())
    return reading(data, system, batch, window, lr, clip, epochs, share_of_truth(decay, truth))
