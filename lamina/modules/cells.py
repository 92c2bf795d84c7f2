"""What a recurrent cell is, and how it runs over sequences.

    s_0 = initial,   s_t = cell(prepare(x)_t, s_{t-1}),   output_t = first part of s_t,   t = 1..T

`prepare` holds what of the input does not depend on the state; it is done for all steps at once, as one product of
matrices. A cell is any network with this form, and runs in every system that takes a `Cell`. It writes `forward`; or
`ready`, which returns the step, where something is worth making once for all steps.

`Unfold` runs a cell over sequences of one length, or of several: a sequence leaves the computation at its own end, so
that no step is computed for padding, and no value of the padding enters anything.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import groupby

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

State = tuple[Tensor, ...]
"""What a cell carries from step to step, each part (batch, ...); the first is its output (batch, width)."""

Step = Callable[[Tensor, State], State]
"""From the prepared input (batch, features) of a step and a state to the state after it."""


class Cell(nn.Module, ABC):
    """One step of a recurrent network.

    Args:
        inputs: size of what enters at a step.
        width: size of the output.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        if min(inputs, width) < 1:
            raise ValueError(f"a cell needs at least 1 input and 1 output, got {inputs} and {width}")
        self.inputs, self.width = inputs, width

    def prepare(self, x: Float[Tensor, "time batch inputs"]) -> Float[Tensor, "time batch features"]:
        """Return what of the input does not depend on the state, for all steps at once."""
        return x

    @abstractmethod
    def initial(self, batch: int) -> State:
        """Return the state before the first step, on the parameters' device."""

    def forward(self, prepared: Float[Tensor, "batch features"], state: State) -> State:
        """Return the state after a step."""
        return self.ready()(prepared, state)

    def ready(self) -> Step:
        """Return the step for one pass over a sequence, with what all its steps use made once."""
        return self.forward

    def unfold(self, x: Float[Tensor, "time batch inputs"], state: State) -> tuple[Tensor, State]:
        """Return the outputs (time, batch, width) of at least one step, and the last state."""
        outputs, step = [], self.ready()
        for prepared in self.prepare(x).unbind(0):
            state = step(prepared, state)
            outputs.append(state[0])
        return torch.stack(outputs), state

    def zeros(self, *shape: int) -> Tensor:
        """Return zeros on the parameters' device, in their number format."""
        return next(self.parameters()).new_zeros(shape)


class Unfold(nn.Module):
    """A cell run over sequences.

    Args:
        cell: what to run.
    """

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.cell, self.inputs, self.width = cell, cell.inputs, cell.width

    def forward(
        self,
        x: Float[Tensor, "time batch inputs"],
        state: State | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "time batch width"], State]:
        """Return the outputs, and the state of each sequence at its own end.

        Args:
            x: the sequences; what stands after the end of one is not looked at.
            state: to go on from; the cell's own initial state if none is given.
            lengths: of the sequences, all of `time` if none are given. Outputs after the end of one are zero.

        Raises:
            ValueError: a length below 0 or above that of `x`, or no step at all.
        """
        time, batch = x.shape[:2]
        if not x.numel():
            raise ValueError(f"sequences need at least one step, got a tensor of shape {tuple(x.shape)}")
        state = self.cell.initial(batch) if state is None else state
        if lengths is None:
            return self.cell.unfold(x, state)
        sizes, order = lengths.sort(descending=True, stable=True)
        ends: list[int] = sizes.tolist()
        if ends[-1] < 0 or ends[0] > time:
            raise ValueError(f"sequences of {time} steps have lengths of 0 to {time}, got {ends[-1]} to {ends[0]}")
        if ends[-1] == time:
            return self.cell.unfold(x, state)
        outputs, state = self.ragged(x[:, order], tuple(part[order] for part in state), ends)
        back = order.argsort()
        return outputs[:, back], tuple(part[back] for part in state)

    def ragged(self, x: Tensor, state: State, ends: list[int]) -> tuple[Tensor, State]:
        """Return outputs and last states of sequences that are sorted by length, the longest first."""
        time, batch = x.shape[:2]
        begin, alive = 0, batch
        outputs, finished = [], []
        for end, group in groupby(reversed(ends)):
            if end > begin:
                piece, state = self.cell.unfold(x[begin:end, :alive], state)
                outputs.append(F.pad(piece, (0, 0, 0, batch - alive)))
            begin, alive = end, alive - len(list(group))
            finished.append(tuple(part[alive:] for part in state))
            state = tuple(part[:alive] for part in state)
        outputs.append(x.new_zeros(time - begin, batch, self.cell.width))
        return torch.cat(outputs), tuple(torch.cat(parts[::-1]) for parts in zip(*finished, strict=True))
