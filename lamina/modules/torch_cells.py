"""The cells of torch's recurrent layers, one step at a time or, through the layer itself, a whole sequence.

    RNN:   h' = f(W x + b + U h + c),   f = tanh or max(0, ·)
    LSTM:  i, f, o = sigmoid(...), g = tanh(...), each of W x + b + U h + c;   c' = f c + i g;   h' = o tanh(c')
    GRU:   r, z = sigmoid(...);   n = tanh(W x + b + r (U h + c));   h' = (1 − z) n + z h

Elman (1990), Finding structure in time; Hochreiter & Schmidhuber (1997), Long short-term memory, with the forget gate
of Gers et al. (2000); Cho et al. (2014), Learning phrase representations using RNN encoder-decoder.

Differs from the papers: no peepholes; in the GRU the reset gate acts after the product, as in torch's own layer.
"""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lamina.modules.cells import Cell, State, Step
from lamina.modules.scan import scan, scans
from lamina.modules.scan_gru import scan_gru

REMEMBER = 1.0  # bias of forget gates at first (Jozefowicz et al. 2015, An empirical exploration of recurrent networks)

Squash = Literal["tanh", "relu"]


class RNN(Cell):
    """A layer of units that see the input and each other's last values.

    Args:
        inputs: size of what enters at a step.
        hidden: units.
        squash: f.
    """

    def __init__(self, inputs: int, hidden: int, squash: Squash = "tanh") -> None:
        super().__init__(inputs, hidden)
        self.layer = nn.RNN(inputs, hidden, nonlinearity=squash)
        self.squash: Callable[[Tensor], Tensor] = torch.tanh if squash == "tanh" else torch.relu

    def initial(self, batch: int) -> State:
        return (self.zeros(batch, self.width),)

    def prepare(self, x: Float[Tensor, "time batch inputs"]) -> Float[Tensor, "time batch hidden"]:
        enter, _, bias, more = self.layer.all_weights[0]
        return F.linear(x, enter, bias + more)

    def ready(self) -> Step:
        across, squash = self.across.t(), self.squash
        return lambda prepared, state: (squash(torch.addmm(prepared, state[0], across)),)

    def unfold(self, x: Float[Tensor, "time batch inputs"], state: State) -> tuple[Tensor, State]:
        if scans(x):  # takes half the time of the layer
            outputs = scan(self.prepare(x), state[0], self.across, None, self.squash is torch.tanh)
            return outputs, (outputs[-1],)
        outputs, end = self.layer(x, state[0][None])
        return outputs, (end[0],)

    @property
    def across(self) -> Float[Tensor, "hidden hidden"]:
        """U."""
        return self.layer.all_weights[0][1]

    def slopes(self, h: Float[Tensor, "*shape hidden"]) -> Float[Tensor, "*shape hidden"]:
        """Return f' where f is h."""
        return 1 - h.square() if self.squash is torch.tanh else (h > 0).to(h.dtype)


class LSTM(Cell):
    """Units with a memory that gates protect. The state is (h, c).

    Args:
        inputs: size of what enters at a step.
        hidden: units.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.layer = nn.LSTM(inputs, hidden)
        with torch.no_grad():
            self.layer.all_weights[0][2][hidden : 2 * hidden] = REMEMBER  # torch orders the gates i, f, g, o

    def initial(self, batch: int) -> State:
        zeros = self.zeros(batch, self.width)
        return zeros, zeros

    def prepare(self, x: Float[Tensor, "time batch inputs"]) -> Float[Tensor, "time batch gates"]:
        enter, _, bias, more = self.layer.all_weights[0]
        return F.linear(x, enter, bias + more)

    def ready(self) -> Step:
        across = self.layer.all_weights[0][1].t()

        def step(prepared: Tensor, state: State) -> State:
            i, f, g, o = torch.addmm(prepared, state[0], across).chunk(4, 1)
            c = torch.addcmul(f.sigmoid() * state[1], i.sigmoid(), g.tanh())
            return o.sigmoid() * c.tanh(), c

        return step

    def unfold(self, x: Float[Tensor, "time batch inputs"], state: State) -> tuple[Tensor, State]:
        outputs, (h, c) = self.layer(x, (state[0][None], state[1][None]))
        return outputs, (h[0], c[0])


class GRU(Cell):
    """Units that gates let keep their value.

    Args:
        inputs: size of what enters at a step.
        hidden: units.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.layer = nn.GRU(inputs, hidden)

    def initial(self, batch: int) -> State:
        return (self.zeros(batch, self.width),)

    def prepare(self, x: Float[Tensor, "time batch inputs"]) -> Float[Tensor, "time batch gates"]:
        enter, _, bias, _ = self.layer.all_weights[0]
        return F.linear(x, enter, bias)

    def ready(self) -> Step:
        _, across, _, bias = self.layer.all_weights[0]
        turned, gates = across.t(), 2 * self.width

        def step(prepared: Tensor, state: State) -> State:
            (h,) = state
            within = torch.addmm(bias, h, turned)
            r, z = (prepared[:, :gates] + within[:, :gates]).sigmoid().chunk(2, 1)
            n = torch.addcmul(prepared[:, gates:], r, within[:, gates:]).tanh()
            return (torch.lerp(n, h, z),)

        return step

    def unfold(self, x: Float[Tensor, "time batch inputs"], state: State) -> tuple[Tensor, State]:
        if scans(x):  # takes half the time of the layer
            _, across, _, bias = self.layer.all_weights[0]
            outputs = scan_gru(self.prepare(x), state[0], across, bias)
            return outputs, (outputs[-1],)
        outputs, end = self.layer(x, state[0][None])
        return outputs, (end[0],)
