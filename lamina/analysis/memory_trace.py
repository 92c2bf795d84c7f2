"""What a neural Turing machine does along a sequence: what comes in, is written, is read and said, and where.

Panels below each other have the steps from left to right: the input, the bits that are said (gray where they are not
asked for), what each head adds to the memory and where, what each head reads and from where. Of the slots those are
drawn that a head looks at, in their order. As figure 6 of Graves, Wayne & Danihelka (2014), Neural Turing machines.
Plots need matplotlib (`lamina[report]`).
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lamina.modules.addressing import told
from lamina.modules.ntm import NTM
from lamina.systems.memory.transducer import Transducer

SEEN = 0.05  # least weight of a slot that is drawn


@dataclass
class Trace:
    """A machine on a sequence of so many steps.

    Args:
        p: probability that a bit said is one.
        reading: weights of the heads that read.
        writing: weights of those that write.
        found: what was read.
        added: what was added, before it is weighted.
        memory: after each step.
    """

    p: Float[Tensor, "time outputs"]
    reading: Float[Tensor, "time reads slots"]
    writing: Float[Tensor, "time writes slots"]
    found: Float[Tensor, "time reads size"]
    added: Float[Tensor, "time writes size"]
    memory: Float[Tensor, "time size slots"]


@torch.no_grad()
def trace(system: Transducer, x: Float[Tensor, "time inputs"]) -> Trace:
    """Return what a machine does along a sequence.

    Raises:
        ValueError: the system's cell is no NTM.
    """
    cell = system.reader.cell
    if not isinstance(cell, NTM):
        raise ValueError(f"a trace shows the memory of an NTM, this cell is a {type(cell).__name__}")
    state, step, states = cell.initial(1), cell.ready(), []
    for row in x[:, None]:
        state = step(row, state)
        states.append((state[0], state[-2], state[-1]))
    outputs, weights, memory = (torch.cat(parts) for parts in zip(*states, strict=True))
    h, found = outputs[:, : cell.hidden], outputs[:, cell.hidden :]
    said = told(cell.head(h), cell.heads, cell.heads - cell.reads, cell.size)
    return Trace(
        system.readout(outputs).sigmoid(),
        weights[:, : cell.reads],
        weights[:, cell.reads :],
        found.view(len(x), cell.reads, cell.size),
        said.add,
        memory,
    )


def plot_trace(
    system: Transducer, x: Float[Tensor, "time inputs"], asked: Bool[Tensor, " time"], path: Path, most: int = 64
) -> None:
    """Write a picture of a machine on a sequence, as PNG, SVG or PDF by the file's name.

    Args:
        system: a trained machine.
        x: the sequence.
        asked: the steps whose bits count.
        path: of the picture.
        most: slots to draw at most.

    Raises:
        ValueError: the system's cell is no NTM.
    """
    from matplotlib.figure import Figure

    found, time = trace(system, x), len(x)
    panels = [("input", x, "Greys"), ("said", found.p.where(asked[:, None], 0.5 * torch.ones_like(found.p)), "Greys")]
    for kind, values, weights in (
        ("written", found.added, found.writing),
        ("read", found.found, found.reading),
    ):
        for head in range(weights.shape[1]):
            name = kind if weights.shape[1] == 1 else f"{kind} {head}"
            panels += [(name, values[:, head], "RdBu_r"), ("slots", shown(weights[:, head], most), "Greys")]
    heights = [max(3, panel.shape[1]) for _, panel, _ in panels]
    size = (1.2 + 0.13 * time, 0.6 + 0.075 * sum(heights) + 0.1 * len(panels))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    for axis, (name, panel, colors) in zip(axes, panels, strict=True):
        low, high = (-1, 1) if colors == "RdBu_r" else (min(0.0, float(panel.min())), 1)
        axis.imshow(panel.t().numpy(), cmap=colors, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
        axis.set_ylabel(name, fontsize=8)
        axis.set_yticks([])
        axis.tick_params(length=0, labelsize=8)
    axes[-1].set_xlabel("step", fontsize=8)
    figure.savefig(path, dpi=120)


def shown(weights: Float[Tensor, "time slots"], most: int) -> Float[Tensor, "time some"]:
    """Return the weights of the slots that a head looks at, in their order."""
    peaks = weights.amax(0)
    count = min(most, max(1, int((peaks > SEEN).sum())))
    return weights[:, peaks.topk(count).indices.sort().values]
