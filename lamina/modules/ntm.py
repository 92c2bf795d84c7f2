"""The neural Turing machine: a controller that reads and writes a memory through heads, as a recurrent cell.

With the input x, what the heads have read last r, and units h of the controller:

    h' = LSTM([x, h, r])   or   tanh(W [x, r] + b),      r', w', M' = addressing(V h' + d, w, M),      output [h', r']

The heads are those of `lamina.modules.addressing`. The state is (output, c of the LSTM if there is one, weights of the
heads, memory). Graves, Wayne & Danihelka (2014), Neural Turing machines, sections 3 and 4.

It begins with zero units, all heads on slot 0, and a memory of 1e-6, with which training succeeds more often than with
a learned or a random one (Collier & Beel 2018, Implementing neural Turing machines, section 5). `learned` makes all of
that parameters, as in the paper.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lamina.modules import addressing
from lamina.modules.cells import Cell, State, Step
from lamina.modules.ntm_sequence import Sequence
from lamina.modules.recurrent import lstm, repeated

EMPTY = 1e-6  # what a memory begins with (Collier & Beel 2018, section 3)
Controller = Literal["lstm", "feedforward"]


class NTM(Cell):
    """A controller with a memory. Its output is that of the controller's units, and what the heads have read.

    Args:
        inputs: size of what enters at a step.
        controller: has units that remember, or only the memory does.
        hidden: units of the controller.
        slots: of the memory.
        size: numbers in a slot.
        reads: heads that read.
        writes: heads that write.
        reach: how far a head can move in one step.
        learned: let the state at the beginning be learned.

    Raises:
        ValueError: sizes that make no machine.
    """

    def __init__(
        self,
        inputs: int,
        controller: Controller = "lstm",
        hidden: int = 100,
        slots: int = 128,
        size: int = 20,
        reads: int = 1,
        writes: int = 1,
        reach: int = 1,
        learned: bool = False,
    ) -> None:
        super().__init__(inputs, hidden + reads * size)
        sizes = {"hidden": hidden, "slots": slots, "size": size, "reads": reads, "writes": writes}
        if small := [name for name, number in sizes.items() if number < 1]:
            raise ValueError(f"{small[0]} must be at least 1, got {sizes[small[0]]}")
        shifts = 2 * reach + 1
        if not 1 <= shifts <= slots:
            raise ValueError(f"heads on {slots} slots cannot move by up to {reach} of them")
        self.hidden, self.slots, self.size, self.reads, self.heads = hidden, slots, size, reads, reads + writes
        self.remembers = controller == "lstm"
        seen = inputs + reads * size
        self.control = nn.Linear(seen + hidden, 4 * hidden) if self.remembers else nn.Linear(seen, hidden)
        self.head = nn.Linear(hidden, addressing.numbers(size, reads, writes, shifts))
        self.begin = nn.ParameterDict()
        if learned:
            self.begin["output"] = 0.01 * torch.randn(self.width)  # as most weights, near the constant beginning
            if self.remembers:
                self.begin["c"] = 0.01 * torch.randn(hidden)
            self.begin["place"] = torch.randn(self.heads, slots)
            self.begin["memory"] = 0.01 * torch.randn(size, slots)

    def initial(self, batch: int) -> State:
        if len(self.begin):
            begin = dict(self.begin.items())
            begin |= {"output": begin["output"].tanh(), "place": begin["place"].softmax(1)}
            return tuple(part.expand(batch, *part.shape) for part in begin.values())
        weights = self.zeros(batch, self.heads, self.slots)
        weights[:, :, 0] = 1
        memory = self.zeros(batch, self.size, self.slots) + EMPTY
        c = (self.zeros(batch, self.hidden),) if self.remembers else ()
        return self.zeros(batch, self.width), *c, weights, memory

    def ready(self) -> Step:
        control, head = (repeated(layer.weight, layer.bias) for layer in (self.control, self.head))

        def step(x: Float[Tensor, "batch inputs"], state: State) -> State:
            output, *c, weights, memory = state
            if self.remembers:
                h, *c = lstm(control(torch.cat([x, output], 1)), c[0])
            else:
                h = control(torch.cat([x, output[:, self.hidden :]], 1)).tanh()
            found, weights, memory = addressing.step(head(h), weights, memory, self.reads)
            return torch.cat([h, found.flatten(1)], 1), *c, weights, memory

        return step

    def unfold(self, x: Float[Tensor, "time batch inputs"], state: State) -> tuple[Tensor, State]:
        numbers = (x, self.head.weight, *state)
        single = all(part.dtype == torch.float32 and part.device.type == "cpu" for part in numbers)
        if not single or torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu"):
            return super().unfold(x, state)
        output, *c, weights, memory = state
        layers = self.control.weight, self.control.bias, self.head.weight, self.head.bias
        before = output, c[0] if self.remembers else output[:, :0], weights, memory
        outputs, unit, weights, memory = Sequence.apply(x, *layers, *before, torch.is_grad_enabled())  # type: ignore[no-untyped-call]
        return outputs, (outputs[-1], *((unit,) if self.remembers else ()), weights, memory)
