"""Recurrent networks that answer about sequences, with the tricks that help them remember."""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import nn

from lamina.core import Batch, Run, select
from lamina.data.batches import Batches, in_order
from lamina.data.dataset import Data
from lamina.data.examples import Mapped, whole
from lamina.modules.cells import Cell, Unfold
from lamina.modules.deep_cells import Bidirectional, DeepInput, DeepTransition, Stacked
from lamina.modules.recurrent_init import Start, start
from lamina.modules.slow_cells import Clockwork, Delayed, Leaky, time_constants
from lamina.modules.standardize import Standardize
from lamina.modules.torch_cells import GRU, LSTM, RNN, Squash
from lamina.optim.schedules import linear_to_zero
from lamina.recipes.inputs import rows
from lamina.recipes.registry import recipe
from lamina.systems.sequence.model import RaggedModel, SequenceModel

Kind = Literal["lstm", "gru", "rnn", "leaky", "delayed", "clockwork", "deep"]


def cell_of(
    kind: Kind,
    inputs: int,
    hidden: int,
    squash: Squash = "tanh",
    times: tuple[int, ...] = (1, 2, 4, 8, 16),
    depth: int = 2,
) -> Cell:
    """Return a cell; see the recipe for the arguments.

    Raises:
        ValueError: sizes or times that do not fit.
    """
    makers: dict[Kind, Callable[[], Cell]] = {
        "rnn": lambda: RNN(inputs, hidden, squash),
        "lstm": lambda: LSTM(inputs, hidden),
        "gru": lambda: GRU(inputs, hidden),
        "leaky": lambda: Leaky(RNN(inputs, hidden, squash), time_constants(hidden, float(max(times)))),
        "delayed": lambda: Delayed(inputs, hidden, times),
        "clockwork": lambda: Clockwork(inputs, hidden, times),
        "deep": lambda: DeepTransition(inputs, hidden, depth, shortcut=depth > 1),
    }
    return makers[kind]()


def perceptron(widths: tuple[int, ...], last: bool) -> nn.Sequential:
    """Return layers of rectified units, with a linear one as the last or not."""
    layers = [layer for low, high in pairwise(widths) for layer in (nn.Linear(low, high), nn.ReLU())]
    return nn.Sequential(*(layers[:-1] if last else layers))


def trimmed(batch: Batch) -> Batch:
    """Return a batch of sequences with lengths without the steps that none of them has."""
    x, y, longest = batch["x"], batch["y"], int(batch["lengths"].max())
    y = y[:, :longest] if y.ndim > 1 and y.shape[1] == x.shape[1] else y
    return {**batch, "x": x[:, :longest], "y": y}


@recipe(
    paper="Pascanu, Mikolov & Bengio (2013), On the difficulty of training recurrent neural networks, section 4.1",
    figure="error",
    published=0.01,
    data="adding:100",
)
def sequence(
    data: Data,
    seed: int = 0,
    cell: Kind = "gru",
    hidden: int = 64,
    squash: Squash = "tanh",
    times: tuple[int, ...] = (1, 2, 4, 8, 16),
    depth: int = 2,
    layers: int = 1,
    skip: bool = False,
    both: bool = False,
    enter: tuple[int, ...] = (),
    leave: tuple[int, ...] = (),
    start_as: Start = "orthogonal",
    gain: float = 1.0,
    activity: float = 0.0,
    propagation: float = 0.0,
    optimizer: Literal["adam", "sgd"] = "adam",
    lr: float = 3e-3,
    momentum: float = 0.9,
    nesterov: bool = False,
    clip: float | None = 1.0,
    batch: int = 50,
    epochs: int = 5,
) -> Run:
    """Train a recurrent network to answer at the end of a sequence or at each step, as the data has it.

    Pictures are read row by row, rows of a table number by number. A class for each sequence, or for each step, makes a
    classifier; numbers in their place are met in the least squares.

    Args:
        data: examples with y, and with `lengths` where sequences end at different steps.
        seed: of the weights and of the order of the examples.
        cell: kind of the recurrent units; leaky, delayed, clockwork and deep ones are plain otherwise.
        hidden: units of a layer.
        squash: function of plain and leaky units.
        times: delays or periods of the groups of units; leaky units have time constants from 1 to the largest.
        depth: layers of a deep cell's transition.
        layers: cells, one above the other.
        skip: let every layer see the input, and the answer see every layer.
        both: read from both ends.
        enter: sizes of rectified layers between the input and the lowest cell.
        leave: sizes of rectified layers between the highest cell and the answer.
        start_as: how the recurrent weights begin.
        gain: their scale.
        activity: weight of the absolute activations.
        propagation: weight of the paper's Ω; plain cells in one layer only.
        optimizer: Adam, or stochastic gradient descent as in the paper.
        lr: learning rate; it falls to zero in the second half of the run.
        momentum: of stochastic gradient descent.
        nesterov: look ahead along it.
        clip: largest norm of the gradient; none clips nothing.
        batch: sequences of an update.
        epochs: passes over the data.

    Raises:
        ValueError: the data has no y, or a size does not fit.
    """
    shape = data.shape
    first = data.train.fetch(torch.zeros(1, dtype=torch.int64))
    y, ragged = select(first, ("y",))["y"], "lengths" in first
    if ragged and len(shape) > 2:
        raise ValueError("pictures have no lengths: give sequences as (time, inputs)")
    numbers = y.is_floating_point()
    if layers < 1:
        raise ValueError(f"there must be at least 1 layer, got {layers}")

    def reader() -> Cell:
        inputs = 1 if len(shape) == 1 else shape[1] if len(shape) == 2 else math.prod(shape) // shape[-2]
        below = enter[-1] if enter else inputs
        widths = (below, *(hidden + skip * below for _ in range(layers - 1)))
        cells = [cell_of(cell, width, hidden, squash, times, depth) for width in widths]
        made = cells[0] if layers == 1 else Stacked(cells, skip)
        return DeepInput(perceptron((inputs, *enter), last=False), inputs, made) if enter else made

    unfold = Bidirectional(reader(), reader()) if both else Unfold(reader())
    start(unfold, start_as, gain)
    width = hidden * (layers if skip else 1) * (2 if both else 1)
    head = perceptron((width, *leave, y.shape[-1] if numbers else data.labels()), last=True)
    each_step = y.ndim > (2 if numbers else 1)
    inputs = nn.Identity() if len(shape) == 2 else Standardize.fitted(rows(data))  # of rows and of pictures
    sgd = partial(torch.optim.SGD, lr=lr, momentum=momentum, nesterov=nesterov, fused=True)
    lengths = whole(data.train)["lengths"] if ragged else None
    train, valid, test = (
        Mapped(part, trimmed) if ragged and part is not None else part for part in (data.train, data.valid, data.test)
    )
    assert train is not None
    return Run(
        system=(RaggedModel if ragged else SequenceModel)(
            inputs, unfold, head, numbers, each_step, activity, propagation
        ),
        train=Batches(train, batch, seed=seed, lengths=lengths),
        valid=in_order(valid),
        test=in_order(test),
        optimizer=partial(torch.optim.Adam, lr=lr, fused=True) if optimizer == "adam" else sgd,
        schedules={"lr": linear_to_zero(lr, 0.5)},
        clip=clip,
        epochs=epochs,
    )
