"""What a network with stacks does along a string: its actions, and what lies in its memories.

A panel for each of the busiest memories has the string from left to right and the memory from the top down (of a list,
the part around its head) after each symbol, blue where a cell is empty. Above it stand the actions: + push, − pop and
· stay on a stack, + insert, < left and > right on a list; those with a weight below 0.8 are gray. The row at the top
is the probability of the symbol that follows. Plots need matplotlib (`lamina[report]`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lamina.systems.memory.stack_rnn import StackRNN
from lamina.systems.memory.unrolled import moved

SIGNS = {True: "+−·", False: "+<>"}  # of a stack, of a list
SURE = 0.8  # weight of an action that is drawn in black


@dataclass
class Trace:
    """A network on a string of so many symbols.

    Args:
        actions: weights of the actions at each symbol.
        cells: of the memories after each symbol.
        p: probabilities of the symbol after each.
    """

    actions: Float[Tensor, "time stacks choices"]
    cells: Float[Tensor, "time stacks depth"]
    p: Float[Tensor, "time vocabulary"]


@torch.no_grad()
def trace(system: StackRNN, tokens: Int[Tensor, " time"], rounded: bool | None = None) -> Trace:
    """Return what a network does along a string, from an empty memory on.

    Args:
        system: a trained network.
        tokens: symbols.
        rounded: whether to round the actions; as in the network's evaluation if not said.
    """
    h, cells = system.unpacked(system.nothing(1))
    actions, memories, units = [], [], []
    for token in tokens[:, None]:
        h, action, value, _ = system.reaction(token, h, cells, rounded=system.rounded if rounded is None else rounded)
        cells = moved(cells, action, value, system.place)
        actions.append(action)
        memories.append(cells)
        units.append(h)
    return Trace(torch.cat(actions), torch.cat(memories), (torch.cat(units) @ system.V.t()).softmax(1))


def plot_trace(
    system: StackRNN,
    tokens: Int[Tensor, " time"],
    symbols: Sequence[str],
    path: Path,
    rounded: bool | None = None,
    shown: int = 3,
    deep: int = 12,
) -> None:
    """Write a picture of a network on a string, as PNG, SVG or PDF by the file's name.

    Args:
        system: a trained network.
        tokens: the string.
        symbols: names of the symbols, as `Data.classes`.
        path: of the picture.
        rounded: whether to round the actions; as in the network's evaluation if not said.
        shown: the most memories to draw; those whose actions change most.
        deep: cells to draw of each.
    """
    from matplotlib.figure import Figure

    found, time = trace(system, tokens, rounded), len(tokens)
    changes = found.actions.std(0, correction=0).sum(1)
    chosen = changes.topk(min(shown, system.stacks)).indices.tolist()
    begin = 0 if system.place < 0 else max(0, system.place - deep // 2)
    figure = Figure(figsize=(0.8 + 0.2 * time, 0.7 + 1.5 * len(chosen)), layout="constrained")
    ratios = [1.5, *([deep + 1] * len(chosen))]
    top, *panels = figure.subplots(1 + len(chosen), 1, sharex=True, height_ratios=ratios, squeeze=False)[:, 0]
    right = found.p[torch.arange(time - 1), tokens[1:]]
    top.imshow(right[None].numpy(), cmap="Greys", vmin=0, vmax=1, aspect="auto", extent=(-0.5, time - 1.5, 0.5, -0.5))
    top.set(yticks=[0], yticklabels=["p(next)"], xlim=(-0.5, time - 0.5))
    for panel, which in zip(panels, chosen, strict=True):
        panel.imshow(
            found.cells[:, which, begin : begin + deep].t().numpy(), cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto"
        )
        panel.set(ylabel=f"{'stack' if system.place < 0 else 'list'} {which}", yticks=[], ylim=(deep - 0.5, -1.7))
        weights, actions = found.actions[:, which].max(1)
        for t, (weight, action) in enumerate(zip(weights.tolist(), actions.tolist(), strict=True)):
            sign = SIGNS[system.place < 0][action]
            panel.text(t, -1.1, sign, ha="center", va="center", fontsize=8, color="black" if weight > SURE else "0.7")
    panels[-1].set_xticks(range(time), [symbols[token] for token in tokens.tolist()], fontsize=8)
    for panel in (top, *panels):
        panel.tick_params(length=0)
    figure.savefig(path, dpi=120)
