"""Networks with stacks and lists, on strings of algorithmic patterns or on text."""

from collections.abc import Iterator
from functools import partial
from typing import Literal, TypedDict

import torch
from jaxtyping import Float
from torch import Tensor

from lamina.core import Run, Source
from lamina.data.dataset import Data
from lamina.data.patterns import Curriculum, Rows
from lamina.data.text import Windows
from lamina.optim.schedules import linear_to_zero, one_cycle
from lamina.recipes.registry import recipe
from lamina.systems.language.model import LanguageModel
from lamina.systems.memory.restarts import Restarts
from lamina.systems.memory.stack_rnn import StackRNN
from lamina.train.evaluate import evaluate, evaluating


class Sources(TypedDict):
    """The sources of a run, by their names there."""

    train: Source
    valid: Source | None
    test: Source | None


def sources(
    data: Data,
    rows: int,
    window: int,
    windows: int,
    context: int = 0,
    first: int = 0,
    seed: int = 0,
    balanced: bool = False,
    episodes: int = 1,
) -> Sources:
    """Return strings that get longer and held-out ones in rows; or the windows of a text.

    Raises:
        ValueError: the data is neither, or a size is below one.
    """
    outline = data.outline()["fields"]
    if "tokens" not in outline or not data.classes:
        raise ValueError(f"stacks need a text of tokens: give a .txt, a .jsonl or patterns:anbn; {data.name} is none")
    if "n" not in outline:
        held = [None if part is None else Windows(part, rows, window) for part in (data.valid, data.test)]
        return {"train": Windows(data.train, rows, window), "valid": held[0], "test": held[1]}
    train = Curriculum(data.train, rows, window, windows, context, first, seed, balanced, episodes)
    valid, test = (None if part is None else Rows(part) for part in (data.valid, data.test))
    return {"train": train, "valid": valid, "test": test}


@torch.no_grad()
def right(system: LanguageModel, rows: Rows) -> Float[Tensor, " rows"]:
    """Return the share of strings of each n that a model tells right; the memory goes on from string to string."""
    state, told = system.nothing(len(rows.n)), []
    with evaluating(system):
        for batch in rows.epoch(0):
            logits, state = system.following(batch["tokens"].to(state.device), state)
            told.append(logits.argmax(2).cpu())
    return rows.right(torch.cat(told, 1))


def lengths_solved(run: Run) -> dict[str, float]:
    """Return the share of n whose test strings are all told right, with rounded actions and with soft ones.

    `solved` has the form that the run evaluates with, `solved_longer` is that of n above those of the validation
    strings, which choose, and `strings` is the share of strings. For a text, return the metrics on its test part.

    Raises:
        ValueError: the run has no test data.
    """
    if run.test is None:
        raise ValueError("there is no test data to report on")
    system = run.system
    assert isinstance(system, LanguageModel)
    if not isinstance(run.test, Rows):
        return evaluate(system, run.test, run.device, run.precision)
    share = right(system, run.test)
    whole = (share == 1).float()
    figures = {"solved": float(whole.mean()), "strings": float(share.mean())}
    if isinstance(run.valid, Rows) and (longer := run.test.n > run.valid.n.max()).any():
        figures["solved_longer"] = float(whole[longer].mean())
    if isinstance(system, StackRNN):
        form = system.rounded
        for name, rounded in (("rounded", True), ("soft", False)):
            system.rounded = rounded
            figures[f"solved_{name}"] = float((right(system, run.test) == 1).float().mean())
        system.rounded = form
    return figures


@recipe(
    paper="Joulin & Mikolov (2015), Inferring algorithmic patterns with stack-augmented recurrent nets, table 2",
    figure="solved",
    published=1.0,
    source="read",
    data="patterns:anbn",
    measure=lengths_solved,
)
def stack_rnn(
    data: Data,
    seed: int = 0,
    hidden: int = 40,
    stacks: int = 10,
    memory: Literal["stack", "list"] = "stack",
    stay: bool = False,
    recurrent: bool = False,
    reach: int = 2,
    depth: int = 200,
    scale: float = 8.0,
    noise: float = 0.5,
    rounding: float = 0.5,
    rounded: bool = True,
    restarts: int = 4,
    screening: int = 25,
    every: int = 25,
    context: int = 25,
    window: int = 500,
    batch: int = 1,
    windows: int = 40,
    balanced: bool = True,
    episodes: int = 4,
    lr: float = 0.05,
    clip: float = 15.0,
    average: float | None = 0.97,
    epochs: int = 40,
) -> Run:
    """Train a recurrent network with stacks to tell the next symbol of strings that get longer from epoch to epoch.

    Args:
        data: strings of `lamina.data.patterns`, or a text, which is read in order in every epoch.
        seed: of the weights, the strings and the noise.
        hidden: units.
        stacks: how many memories.
        memory: stacks or lists.
        stay: let a stack also be left as it is, as recurrence and text need.
        recurrent: let the units depend on those before.
        reach: cells of each memory that feed the units.
        depth: cells of a memory.
        scale: of the weights at first; 1 is the paper's.
        noise: standard deviation of the noise on actions while training.
        rounding: share of the run after which actions are rounded in training too; 1 for never.
        rounded: evaluate with rounded actions.
        restarts: networks to begin with, of which the best on longer strings goes on; one has no screening.
        screening: epochs of each.
        every: symbols of each row whose errors make a step of the weights; 1 is the paper's.
        context: symbols before them that the gradient goes back through as well; in a text there are none.
        window: symbols of each row in a batch, within which these steps are taken.
        batch: rows of each network.
        windows: batches of an epoch on patterns.
        balanced: draw short strings more often, so that those of each length have as many symbols.
        episodes: how often an epoch begins anew, with empty memories, as held-out strings do.
        lr: learning rate for the sum over the symbols of a step; one network's falls to zero in the second half,
            that of the best of several begins at a fourth.
        clip: largest component of the error that reaches a unit.
        average: decay per batch of a moving average of the weights, which is what is evaluated.
        epochs: of the network that goes on.

    Raises:
        ValueError: the data is no text, or a size does not fit.
    """
    rate = lr * batch * window  # the loss is a mean
    sizes = (hidden, stacks, memory, stay, recurrent, reach, depth, noise, clip, rounded, batch, every, rate)
    apart = "n" in data.outline()["fields"]  # strings are drawn for each network, a text is the same for all

    def net() -> StackRNN:
        made = StackRNN(len(data.classes), *sizes, exact=apart)
        with torch.no_grad():
            torch._foreach_mul_(list(made.parameters()), scale)
        return made

    def screened() -> Iterator[Run]:
        nets = [net() for _ in range(restarts)]
        stage = Run(
            **sources(
                data, batch * restarts if apart else batch, window, windows, context, 0, seed, balanced, episodes
            ),
            system=Restarts(nets, apart),
            optimizer=partial(torch.optim.SGD, lr=restarts * rate, fused=True),
            epochs=screening,
        )
        yield stage
        assert stage.valid is not None
        found = [next(iter(evaluate(one, stage.valid, str(one.U.device)).values())) for one in nets]
        run.system.load_state_dict(nets[found.index(min(found))].state_dict())

    first = screening if restarts > 1 else 0
    falling = linear_to_zero(rate / 4) if first else linear_to_zero(rate, 0.5)
    run = Run(
        **sources(data, batch, window, windows, context, first, seed, balanced, episodes),
        system=net(),
        optimizer=partial(torch.optim.SGD, lr=rate, fused=True),
        schedules={
            "lr": falling,
            "system.rate": falling,
            "system.rounding": lambda progress: float(progress > rounding),
        },
        average=average,
        epochs=epochs,
        before=screened if restarts > 1 else None,
    )
    if restarts < 1 or (restarts > 1 and data.valid is None):
        raise ValueError(f"{restarts} restarts: there must be one, or validation data to choose among several")
    return run


@recipe(
    paper="Joulin & Mikolov (2015), Inferring algorithmic patterns with stack-augmented recurrent nets, table 2 (LSTM)",
    figure="solved",
    published=1.0,
    source="read",
    data="patterns:anbn",
    measure=lengths_solved,
)
def pattern_lm(
    data: Data,
    seed: int = 0,
    cell: Literal["lstm", "gru", "rnn"] = "lstm",
    hidden: int = 50,
    layers: int = 1,
    embedding: int = 16,
    window: int = 50,
    batch: int = 8,
    windows: int = 200,
    episodes: int = 4,
    lr: float = 0.01,
    clip: float = 1.0,
    epochs: int = 120,
) -> Run:
    """Train a recurrent network without stacks on the same strings, for comparison.

    Args:
        data: strings of `lamina.data.patterns`, or a text.
        seed: of the weights and the strings.
        cell: kind of the recurrent layers.
        hidden: units of each.
        layers: how many, one above the other.
        embedding: size of a symbol's vector.
        window: symbols that the gradient goes back through.
        batch: rows that are read side by side.
        windows: updates of an epoch on patterns.
        episodes: how often an epoch begins anew, with units at zero, as held-out strings do.
        lr: largest learning rate of Adam; it rises for a tenth of the run and falls along half a cosine.
        clip: largest norm of the gradient.
        epochs: passes over `windows` windows, or over the text.

    Raises:
        ValueError: the data is no text, or a size does not fit.
    """
    return Run(
        **sources(data, batch, window, windows, seed=seed, episodes=episodes),
        system=LanguageModel(len(data.classes), hidden, layers, embedding, cell, rows=batch),
        optimizer=partial(torch.optim.Adam, lr=lr, fused=True),
        schedules={"lr": one_cycle(lr, warmup=0.1)},
        clip=clip,
        epochs=epochs,
    )
