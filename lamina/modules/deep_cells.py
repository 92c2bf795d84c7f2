"""Recurrent networks that are deep in more than time: their input, their transition, their layers, both directions.

    DeepInput:       x → cell(net(x), h)
    DeepTransition:  z₁ = f(W x + b + U h),  z_{l+1} = f(V_l z_l + c_l),  h' = z_L, or f(V_{L-1} z_{L-1} + c + S h)
    Stacked:         h¹ = cell¹(x),  h^l = cell^l([x,] h^{l−1});  output h^L, or with skips [h¹ .. h^L]
    Bidirectional:   output_t = [forwards over x_1..x_t, backwards over x_T..x_t]

A deep output is a deep network after the cell, on all steps at once. Pascanu et al. (2014), How to construct deep
recurrent neural networks, section 3 (DT-RNN, DT(S)-RNN, DOT-RNN, stacked RNN); skip connections as Graves (2013);
Schuster & Paliwal (1997), Bidirectional recurrent neural networks.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lamina.modules.cells import Cell, State, Step, Unfold

Unfolding = Callable[[Cell, Tensor, State], tuple[Tensor, State]]
"""From a cell, its input (time, batch, inputs) and its state to its outputs and last state."""


class DeepInput(Cell):
    """A cell that sees its input through a network.

    Args:
        net: from (..., inputs) to (..., inputs of the cell).
        inputs: of the network.
        cell: what comes after it.
    """

    def __init__(self, net: nn.Module, inputs: int, cell: Cell) -> None:
        super().__init__(inputs, cell.width)
        self.net, self.cell = net, cell

    def initial(self, batch: int) -> State:
        return self.cell.initial(batch)

    def prepare(self, x: Float[Tensor, "time batch inputs"]) -> Float[Tensor, "time batch features"]:
        return self.cell.prepare(self.net(x))

    def ready(self) -> Step:
        return self.cell.ready()

    def unfold(self, x: Float[Tensor, "time batch inputs"], state: State) -> tuple[Tensor, State]:
        return self.cell.unfold(self.net(x), state)


class DeepTransition(Cell):
    """Units with several layers between their last values and the next.

    Args:
        inputs: size of what enters at a step.
        hidden: units of each layer.
        depth: L, layers of the transition; one makes it a plain RNN.
        shortcut: let the last layer see the units' last values too.
    """

    def __init__(self, inputs: int, hidden: int, depth: int = 2, shortcut: bool = False) -> None:
        super().__init__(inputs, hidden)
        if depth < 1 or (shortcut and depth < 2):
            raise ValueError(f"a transition has at least 1 layer, with a shortcut 2, got {depth}")
        self.enter = nn.Linear(inputs, hidden)
        bound = hidden**-0.5
        self.weight_hh = nn.Parameter(torch.empty(hidden, hidden).uniform_(-bound, bound))
        self.weight_hh_around: nn.Parameter | None
        self.layers = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(depth - 1))
        around = nn.Parameter(torch.empty(hidden, hidden).uniform_(-bound, bound)) if shortcut else None
        self.register_parameter("weight_hh_around", around)

    def initial(self, batch: int) -> State:
        return (self.zeros(batch, self.width),)

    def prepare(self, x: Float[Tensor, "time batch inputs"]) -> Float[Tensor, "time batch hidden"]:
        prepared: Tensor = self.enter(x)
        return prepared

    def ready(self) -> Step:
        across, around = self.weight_hh.t(), self.weight_hh_around

        def step(prepared: Tensor, state: State) -> State:
            z = torch.addmm(prepared, state[0], across)
            for layer in self.layers:
                z = layer(z.tanh())
            return ((z if around is None else torch.addmm(z, state[0], around.t())).tanh(),)

        return step


class Stacked(Cell):
    """Cells one above the other. The state has the output, and the states of all cells.

    A sequence is run layer by layer, so each does for all steps at once what does not depend on its own state.

    Args:
        cells: the lowest first.
        skip: let every cell see the input, and the output be that of all cells.

    Raises:
        ValueError: cells that do not fit each other.
    """

    def __init__(self, cells: Sequence[Cell], skip: bool = False) -> None:
        super().__init__(cells[0].inputs, sum(cell.width for cell in cells) if skip else cells[-1].width)
        for below, cell in pairwise(cells):
            if cell.inputs != (wanted := below.width + skip * self.inputs):
                raise ValueError(f"a cell that takes {cell.inputs} inputs above what gives {wanted}")
        self.cells, self.skip = nn.ModuleList(cells), skip
        self.parts = [len(cell.initial(1)) for cell in cells]  # of each cell's state

    def initial(self, batch: int) -> State:
        states = [cell.initial(batch) for cell in self.each()]
        return self.joined(states)

    def forward(self, prepared: Float[Tensor, "batch inputs"], state: State) -> State:
        return self.through(prepared[None], state, lambda cell, x, own: alone(cell(cell.prepare(x)[0], own)))[1]

    def unfold(self, x: Float[Tensor, "time batch inputs"], state: State) -> tuple[Tensor, State]:
        return self.through(x, state, lambda cell, x, own: cell.unfold(x, own))

    def through(self, x: Tensor, state: State, unfold: Unfolding) -> tuple[Tensor, State]:
        """Return the outputs and the last state, each cell being run on what those below give."""
        outputs: list[Tensor] = []
        ends: list[State] = []
        rest = state[1:]
        for cell, parts in zip(self.each(), self.parts, strict=True):
            below = [x, *outputs[-1:]] if self.skip else outputs[-1:] or [x]
            output, end = unfold(cell, torch.cat(below, 2), rest[:parts])
            outputs.append(output)
            ends.append(end)
            rest = rest[parts:]
        return torch.cat(outputs if self.skip else outputs[-1:], 2), self.joined(ends)

    def joined(self, states: Sequence[State]) -> State:
        """Return one state out of those of the cells."""
        seen = states if self.skip else states[-1:]
        return torch.cat([state[0] for state in seen], 1), *(part for state in states for part in state)

    def each(self) -> Iterator[Cell]:
        """Yield the cells."""
        for cell in self.cells:
            assert isinstance(cell, Cell)
            yield cell


class Bidirectional(nn.Module):
    """Two cells that read sequences from both ends; it stands where an `Unfold` does.

    Args:
        forwards: reads from the beginning.
        backwards: reads from each sequence's own end.
    """

    def __init__(self, forwards: Cell, backwards: Cell) -> None:
        super().__init__()
        if forwards.inputs != backwards.inputs:
            raise ValueError(f"two directions must see the same, not {forwards.inputs} and {backwards.inputs} inputs")
        self.forwards, self.backwards = Unfold(forwards), Unfold(backwards)
        self.inputs, self.width = forwards.inputs, forwards.width + backwards.width

    def forward(
        self, x: Float[Tensor, "time batch inputs"], lengths: Int[Tensor, " batch"] | None = None
    ) -> tuple[Float[Tensor, "time batch width"], State]:
        """Return the outputs at each step, and what each direction gives at its own last step."""
        first, ahead = self.forwards(x, lengths=lengths)
        last, back = self.backwards(turned(x, lengths), lengths=lengths)
        return torch.cat([first, turned(last, lengths)], 2), (torch.cat([ahead[0], back[0]], 1),)


def alone(state: State) -> tuple[Tensor, State]:
    """Return what a run of one step gives."""
    return state[0][None], state


def turned(x: Float[Tensor, "time batch width"], lengths: Int[Tensor, " batch"] | None) -> Tensor:
    """Return each sequence from its end to its beginning; what stands after the end stays there."""
    if lengths is None:
        return x.flip(0)
    step = torch.arange(len(x), device=x.device)[:, None]
    place = torch.where(step < lengths, lengths - 1 - step, step)
    return x.gather(0, place[:, :, None].expand_as(x))
