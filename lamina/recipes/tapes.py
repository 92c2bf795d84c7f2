"""Sequences answered by sequences: networks with a memory, and without."""

from functools import partial
from typing import Literal

import torch

from lamina.core import Run
from lamina.data.dataset import Data
from lamina.data.examples import subset
from lamina.data.tapes import Tapes, bayes, groups
from lamina.modules.cells import Cell
from lamina.modules.deep_cells import Stacked
from lamina.modules.ntm import NTM, Controller
from lamina.modules.sam import SAM
from lamina.modules.torch_cells import LSTM
from lamina.optim.schedules import linear_to_zero
from lamina.optim.wrappers import Maker
from lamina.recipes.registry import recipe
from lamina.systems.memory.transducer import Transducer
from lamina.train.evaluate import evaluate

Kind = Literal["ntm", "lstm"]


def bits_by_size(run: Run) -> dict[str, float]:
    """Return the metrics on test tapes of the sizes that training had, and of each other size by its own name.

    For tapes of ngrams `bayes` is what the best predictor needs. Where tapes have no size, all are one group.

    Raises:
        ValueError: the run has no test data.
    """
    if not isinstance(run.test, Tapes) or not isinstance(run.train, Tapes):
        raise ValueError("there is no test data to report on")
    tapes, outline = run.test.tapes, run.origin["data"]
    if "size" not in outline["fields"]:
        return evaluate(run.system, run.test, run.device, run.precision)
    known, parts = groups(run.train.tapes).keys(), groups(tapes)
    places = {"": torch.cat([torch.zeros(0, dtype=torch.int64), *(parts[size] for size in parts if size in known)])}
    places |= {"_" + "x".join(map(str, size)): place for size, place in parts.items() if size not in known}
    figures: dict[str, float] = {}
    for ending, place in places.items():
        if not len(place):
            continue
        some = subset(tapes, place)
        found = evaluate(run.system, Tapes(some, run.test.batches.size, shuffle=False), run.device, run.precision)
        figures |= {name + ending: value for name, value in found.items()}
        if outline["name"] == "tape:ngrams":
            figures["bayes" + ending] = float(bayes(some).mean())
    return figures


def sizes(name: str, data: Data) -> tuple[int, int]:
    """Return the inputs and the outputs of a step of tapes.

    Raises:
        ValueError: the data has no tapes.
    """
    fields = data.outline()["fields"]
    if lacking := {"tape", "y", "told", "steps"} - fields.keys():
        told = f"{data.name} has {', '.join(fields)} and lacks {', '.join(sorted(lacking))}"
        raise ValueError(f"{name} needs tapes: give tape:copy or another of lamina.data.tapes; {told}")
    return fields["tape"][2], fields["y"][2]


def kept(data: Data) -> list[Tapes | None]:
    """Return batches of the tapes to validate and to test on."""
    return [None if part is None else Tapes(part, 100, shuffle=False) for part in (data.valid, data.test)]


@recipe(
    paper="Graves, Wayne & Danihelka (2014), Neural Turing machines, figure 3 (copy, bits per sequence)",
    figure="bits",
    unit="bits",
    published=0.1,
    source="read",
    data="tape:copy",
    measure=bits_by_size,
)
def ntm(
    data: Data,
    seed: int = 0,
    cell: Kind = "ntm",
    controller: Controller = "lstm",
    hidden: int = 100,
    layers: int = 1,
    slots: int = 128,
    size: int = 20,
    reads: int = 1,
    writes: int = 1,
    reach: int = 1,
    learned: bool = False,
    batch: int = 16,
    optimizer: Literal["adam", "rmsprop"] = "adam",
    lr: float = 1e-3,
    momentum: float = 0.9,
    clip: float = 10.0,
    epochs: int = 8,
) -> Run:
    """Train a network with a memory to answer tapes, or an LSTM without one for comparison.

    Args:
        data: tapes, such as tape:copy, tape:repeat, tape:recall, tape:ngrams and tape:sort.
        seed: of the weights and of the order of the tapes.
        cell: what reads the tapes.
        controller: of the memory's heads; has units that remember, or none.
        hidden: units of the controller, or of each layer without a memory.
        layers: of the network without a memory.
        slots: of the memory.
        size: numbers in a slot.
        reads: heads that read.
        writes: heads that write.
        reach: how far a head can move in a step.
        learned: let the beginning of the memory, the units and the heads be learned; constant if not.
        batch: tapes of an update.
        optimizer: Adam, or RMSProp centered and with momentum, the paper's.
        lr: learning rate; it falls to zero in the second half.
        momentum: of RMSProp.
        clip: largest norm of the gradient.
        epochs: passes over the tapes.

    Raises:
        ValueError: the data has no tapes, or a size does not fit.
    """
    inputs, outputs = sizes("ntm", data)
    reader: Cell
    if cell == "ntm":
        reader = NTM(inputs, controller, hidden, slots, size, reads, writes, reach, learned)
    else:
        reader = Stacked([LSTM(inputs if i == 0 else hidden, hidden) for i in range(layers)])
    held = kept(data)
    make: Maker = partial(torch.optim.Adam, lr=lr, fused=True)
    if optimizer == "rmsprop":
        make = partial(torch.optim.RMSprop, lr=lr, alpha=0.95, eps=1e-4, centered=True, momentum=momentum)
    return Run(
        system=Transducer(reader, outputs),
        train=Tapes(data.train, batch, seed=seed),
        valid=held[0],
        test=held[1],
        optimizer=make,
        schedules={"lr": linear_to_zero(lr, 0.5)},
        clip=clip,
        epochs=epochs,
    )


@recipe(
    paper="Rae et al. (2016), Scaling memory-augmented neural networks with sparse reads and writes, figure 2 (copy)",
    figure="bits",
    unit="bits",
    published=None,
    data="tape:copy",
    measure=bits_by_size,
)
def sam(
    data: Data,
    seed: int = 0,
    hidden: int = 100,
    slots: int = 128,
    size: int = 32,
    heads: int = 1,
    nearest: int = 4,
    tables: int = 0,
    batch: int = 16,
    lr: float = 1e-3,
    clip: float = 1.0,
    epochs: int = 16,
) -> Run:
    """Train an LSTM with a sparse memory to answer tapes.

    Args:
        data: tapes, such as tape:copy, tape:repeat, tape:recall, tape:ngrams and tape:sort.
        seed: of the weights and of the order of the tapes.
        hidden: units of the LSTM.
        slots: of the memory.
        size: numbers in a slot.
        heads: each reads, and writes.
        nearest: slots that a head reads.
        tables: hash tables to search the nearest slots in; 0 looks at all slots.
        batch: tapes of an update.
        lr: learning rate of Adam; it falls to zero in the second half.
        clip: largest norm of the gradient.
        epochs: passes over the tapes.

    Raises:
        ValueError: the data has no tapes, or a size does not fit.
    """
    inputs, outputs = sizes("sam", data)
    held = kept(data)
    return Run(
        system=Transducer(SAM(inputs, hidden, slots, size, heads, nearest, tables), outputs),
        train=Tapes(data.train, batch, seed=seed),
        valid=held[0],
        test=held[1],
        optimizer=partial(torch.optim.Adam, lr=lr, fused=True),
        schedules={"lr": linear_to_zero(lr, 0.5)},
        clip=clip,
        epochs=epochs,
    )
