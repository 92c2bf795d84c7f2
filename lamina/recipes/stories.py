"""End-to-end memory networks: answers to questions on stories, learned from the answers alone, and the next symbol."""

import math
from collections.abc import Iterator
from functools import partial
from typing import Literal

import torch

from lamina.core import Run, Schedule, System
from lamina.data.babi import babi, numbers
from lamina.data.batches import Batches, in_order
from lamina.data.dataset import Data
from lamina.data.examples import Examples
from lamina.data.stories import recoded
from lamina.data.text import Windows
from lamina.optim.schedules import one_cycle
from lamina.recipes.registry import recipe
from lamina.systems.memory.memn2n import LinearStart, MemN2N
from lamina.systems.memory.memory_lm import MemoryLM
from lamina.train.evaluate import evaluate


def questions(data: Data) -> tuple[int, int, int]:
    """Return how many symbols, statements of a story, and words of a sentence there are.

    Raises:
        ValueError: the data has no questions.
    """
    fields = data.outline()["fields"]
    if not {"story", "question", "y"} <= fields.keys():
        mend = "give a .txt in the format of bAbI, or a .jsonl with story, question and answer"
        raise ValueError(f"{data.name} holds {', '.join(fields)}, where questions on stories are needed: {mend}")
    return data.labels(), fields["story"][1], fields["story"][2]


def halved(value: float, every: int, first: int, epochs: int) -> Schedule:
    """Halve a value every so many epochs, in a run of `epochs` that goes on after the `first` ones."""
    return lambda progress: value * 0.5 ** ((int(first + progress * epochs + 1e-6) + 1) // every)


def best(nets: list[MemN2N], examples: Examples) -> MemN2N:
    """Return the network with the fewest wrong answers; of several, that which takes the fewest nats."""
    source = in_order(examples)
    assert source is not None
    found = [tuple(evaluate(net, source, str(net.words.device)).values()) for net in nets]
    return nets[found.index(min(found))]


def errors(run: Run) -> dict[str, float]:
    """Return the metrics on the test part; of several bAbI tasks also the share of wrong answers to each.

    Raises:
        ValueError: the run has no test data.
    """
    if run.test is None:
        raise ValueError("there is no test data to report on")
    figures = evaluate(run.system, run.test, run.device, run.precision)
    outline = run.origin["data"]
    name, _, tasks = outline["name"].partition(":")
    if name == "babi" and len(numbers(tasks)) > 1:
        for task in numbers(tasks):
            alone = babi((task,))
            source = in_order(recoded(alone.test, alone.classes, outline["classes"])) if alone.test else None
            assert source is not None
            figures[f"error_{task}"] = evaluate(run.system, source, run.device, run.precision)["error"]
    return figures


@recipe(
    paper="Sukhbaatar, Szlam, Weston & Fergus (2015), End-to-end memory networks, table 1 (3 hops, PE LS RN)",
    figure="error",
    published=0.001,  # of task 1, by the authors' program
    source="read",
    data="babi:1",
    measure=errors,
    quick={"restarts": 1},
)
def memn2n(
    data: Data,
    seed: int = 0,
    hidden: int = 20,
    hops: int = 3,
    tying: Literal["adjacent", "layerwise"] = "adjacent",
    encoding: Literal["position", "bag"] = "position",
    blank: bool = True,
    noise: float = 0.1,
    memory: int = 50,
    linear: int = 20,
    restarts: int = 10,
    choose: Literal["valid", "train"] = "valid",
    batch: int = 32,
    lr: float = 0.005,
    halving: int = 25,
    clip: float = 40.0,
    epochs: int = 100,
) -> Run:
    """Train an end-to-end memory network to answer questions on stories.

    The defaults are the authors' for one task of 1,000 questions. For all tasks together they take hidden=50,
    linear=30, halving=15, epochs=60.

    Args:
        data: stories with questions and answers.
        seed: of the weights, the order of the questions and the noise.
        hidden: numbers of each vector.
        hops: looks at the memory.
        tying: of the hops' weights.
        encoding: position lets the order of words count, bag does not.
        blank: let a hop attend to nothing, at the places that have no statement.
        noise: share of blank times while training.
        memory: statements of a story that are looked at, the last ones.
        linear: epochs of a linear start before the others.
        restarts: networks to begin with, of which the best goes on for the last quarter of the epochs.
        choose: the examples that say which is best.
        batch: questions of an update.
        lr: learning rate for the sum over a batch; without a linear start the authors' is 0.01.
        halving: epochs after which the rate is halved, again and again.
        clip: largest norm of the gradient of that sum.
        epochs: passes over the questions after the linear start.

    Raises:
        ValueError: the data has no questions, or a number does not fit.
    """
    symbols, told, words = questions(data)
    if restarts < 1 or halving < 1:
        raise ValueError(f"it takes at least 1 restart and 1 epoch to a halving, got {restarts} and {halving}")
    batch = min(batch, len(data.train))
    late = max(1, epochs // 4) if restarts > 1 else epochs
    chooser = data.train if choose == "train" or data.valid is None else data.valid

    def net() -> MemN2N:
        return MemN2N(symbols, min(memory, told), words, hidden, hops, tying, encoding, blank, noise)

    def stage(system: System, number: int, first: int, count: int, every: int = halving) -> Run:
        return Run(
            system=system,
            train=Batches(data.train, batch, tail=False, seed=seed + 1000 * number),
            optimizer=partial(torch.optim.SGD, lr=lr * batch, fused=True),  # the loss is a mean
            schedules={"lr": halved(lr * batch, every, first, count)},
            clip=clip / batch,
            epochs=count,
            keep="last",
        )

    def earlier(nets: list[MemN2N]) -> Iterator[Run]:
        for number, one in enumerate(nets):
            if linear:
                yield stage(LinearStart(one), number, 0, linear, linear + 1)
            if epochs > late:
                yield stage(one, number, 0, epochs - late)
        run.system.load_state_dict(best(nets, chooser).state_dict())

    run = stage(net(), 0, epochs - late, late)
    run.valid, run.test = in_order(data.valid), in_order(data.test)
    first = run.system
    assert isinstance(first, MemN2N)
    run.before = partial(earlier, [first] if restarts == 1 else [net() for _ in range(restarts)])
    return run


def perplexity(run: Run) -> dict[str, float]:
    """Return the metrics on the test text, and its perplexity.

    Raises:
        ValueError: the run has no test text.
    """
    if run.test is None:
        raise ValueError("there is no test text to report on")
    figures = evaluate(run.system, run.test, run.device, run.precision)
    return figures | {"perplexity": math.exp(figures["nll"])}


@recipe(
    paper="Sukhbaatar, Szlam, Weston & Fergus (2015), End-to-end memory networks, table 2 (6 hops, other text)",
    figure="perplexity",
    unit="perplexity",
    data="english",
    measure=perplexity,
    quick={"hidden": 64, "hops": 3, "memory": 50, "epochs": 1},
)
def memn2n_lm(
    data: Data,
    seed: int = 0,
    hidden: int = 150,
    hops: int = 6,
    memory: int = 100,
    window: int = 50,
    batch: int = 16,
    lr: float = 0.002,
    clip: float = 1.0,
    epochs: int = 2,
) -> Run:
    """Train an end-to-end memory network to tell the next symbol of a text from those before it.

    Args:
        data: a text, of characters or words.
        seed: of the weights; the order of the text is always the same.
        hidden: numbers of each vector.
        hops: looks at the symbols before.
        memory: how many these are.
        window: symbols of each row that make an update.
        batch: rows that are read side by side.
        lr: largest learning rate of Adam; it rises for a tenth of the run and falls along half a cosine.
        clip: largest norm of the gradient.
        epochs: passes over the text.

    Raises:
        ValueError: the data is no text, or a size does not fit.
    """
    if "tokens" not in data.outline()["fields"] or not data.classes:
        raise ValueError(f"memn2n_lm needs a text of tokens: give a .txt, a .jsonl or 'english'; {data.name} is none")
    return Run(
        system=MemoryLM(len(data.classes), hidden, hops, memory, batch),
        train=Windows(data.train, batch, window),
        valid=None if data.valid is None else Windows(data.valid, batch, window),
        test=None if data.test is None else Windows(data.test, batch, window),
        optimizer=partial(torch.optim.Adam, lr=lr, fused=True),
        schedules={"lr": one_cycle(lr, warmup=0.1)},
        clip=clip,
        epochs=epochs,
    )
