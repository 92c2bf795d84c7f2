"""Recurrent units that change slowly, or look far back, so that fewer steps lie between a cause and its effect.

    Leaky:      h' = (1 − α) h + α cell(x, h),   α = 1 / τ for each unit
    Delayed:    h_t = tanh(W x_t + b + U₁ h_{t−d₁}),  group k of the units with its own rows U_k and delay d_k
    Clockwork:  group k of the units changes at the steps that its period divides, as h' = tanh(W x + b + U h), and
                keeps its value at others; it sees the groups of its own and of longer periods only

With α = 1, with a delay of 1, and with a period of 1 they are the plain RNN. Over T steps the gradient passes T / d
Jacobians in a group of delay d, and through (1 − α)ᵀ in leaky units.

Leaky integration: Jaeger et al. (2007), Optimization and applications of echo state networks with leaky-integrator
neurons. Delays and time scales: El Hihi & Bengio (1996), Hierarchical recurrent neural networks for long-term
dependencies. Clockwork: Koutník et al. (2014), A clockwork RNN, section 3.

Differs from the papers: El Hihi and Bengio fix which group reads which; here each group reads all, at its own delay.
A clockwork cell computes all groups at each step and throws away those whose time has not come.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from lamina.modules.cells import Cell, State, Step
from lamina.modules.scan import scan, scans
from lamina.modules.scan_delayed import rows, scan_delayed
from lamina.modules.torch_cells import RNN


class Leaky(Cell):
    """A cell whose output follows slowly, each unit with its own time constant.

    Args:
        cell: what it follows.
        times: τ of each unit in steps, at least 1.

    Raises:
        ValueError: times that do not fit.
    """

    def __init__(self, cell: Cell, times: Float[Tensor, " width"]) -> None:
        super().__init__(cell.inputs, cell.width)
        if times.shape != (cell.width,) or not (times >= 1).all():
            raise ValueError(f"a leaky cell of {cell.width} units needs so many time constants of at least 1")
        self.cell = cell
        self.rates: Tensor  # α
        self.register_buffer("rates", 1 / times.to(torch.get_default_dtype()))

    def initial(self, batch: int) -> State:
        return self.cell.initial(batch)

    def prepare(self, x: Float[Tensor, "time batch inputs"]) -> Float[Tensor, "time batch features"]:
        return self.cell.prepare(x)

    def ready(self) -> Step:
        step, rates = self.cell.ready(), self.rates

        def follow(prepared: Tensor, state: State) -> State:
            aim, *rest = step(prepared, state)
            return torch.lerp(state[0], aim, rates), *rest

        return follow

    def unfold(self, x: Float[Tensor, "time batch inputs"], state: State) -> tuple[Tensor, State]:
        if not (isinstance(self.cell, RNN) and scans(x)):
            return super().unfold(x, state)
        tanh = self.cell.squash is torch.tanh
        outputs = scan(self.prepare(x), state[0], self.cell.across, self.rates, tanh)
        return outputs, (outputs[-1],)


def time_constants(width: int, slowest: float) -> Float[Tensor, " {width}"]:
    """Return time constants of 1 to `slowest` steps, in equal ratios."""
    return torch.logspace(0, math.log10(slowest), width)


class Grouped(Cell):
    """What delayed and clockwork cells share: the weights of a plain RNN, and units in groups."""

    def __init__(self, inputs: int, hidden: int, numbers: Sequence[int], what: str) -> None:
        super().__init__(inputs, hidden)
        if not numbers or min(numbers) < 1 or hidden < len(numbers):
            raise ValueError(f"{what} are whole numbers of at least 1, at most one a unit, got {list(numbers)}")
        enter, across, bias, more = nn.RNN(inputs, hidden).all_weights[0]
        self.weight_ih, self.weight_hh = enter, across
        self.bias = nn.Parameter((bias + more).detach())

    def prepare(self, x: Float[Tensor, "time batch inputs"]) -> Float[Tensor, "time batch hidden"]:
        return F.linear(x, self.weight_ih, self.bias)


class Delayed(Grouped):
    """Units in groups, each of which sees all units as they were some steps ago. The state has the last outputs.

    Args:
        inputs: size of what enters at a step.
        hidden: units.
        delays: of the groups, in steps.
    """

    def __init__(self, inputs: int, hidden: int, delays: Sequence[int] = (1, 4, 16)) -> None:
        super().__init__(inputs, hidden, delays, "delays")
        self.delays = tuple(delays)

    def initial(self, batch: int) -> State:
        return (self.zeros(batch, self.width),) * max(self.delays)

    def ready(self) -> Step:
        groups = [
            (delay - 1, part.t()) for delay, part in zip(self.delays, rows(self.weight_hh, self.delays), strict=True)
        ]

        def step(prepared: Tensor, state: State) -> State:
            seen = [state[place] @ part for place, part in groups]
            return torch.tanh(prepared + torch.cat(seen, 1)), *state[:-1]

        return step

    def unfold(self, x: Float[Tensor, "time batch inputs"], state: State) -> tuple[Tensor, State]:
        if not scans(x):
            return super().unfold(x, state)
        outputs = scan_delayed(self.prepare(x), torch.stack(state[::-1]), self.weight_hh, self.delays)
        last = (*outputs[-len(state) :].unbind(0)[::-1], *state)
        return outputs, last[: len(state)]


class Clockwork(Grouped):
    """Units in groups, each of which has a clock of its own. The state is (h, steps done).

    Args:
        inputs: size of what enters at a step.
        hidden: units.
        periods: of the groups, in steps; the first step is one of all groups.
    """

    def __init__(self, inputs: int, hidden: int, periods: Sequence[int] = (1, 2, 4, 8, 16)) -> None:
        super().__init__(inputs, hidden, periods, "periods")
        sizes = [len(part) for part in torch.arange(hidden).tensor_split(len(periods))]
        period = torch.tensor(sorted(periods)).repeat_interleave(torch.tensor(sizes))
        self.period: Int64[Tensor, " hidden"]
        self.sees: Bool[Tensor, "hidden hidden"]
        self.register_buffer("period", period)
        self.register_buffer("sees", period[:, None] <= period)

    def initial(self, batch: int) -> State:
        return self.zeros(batch, self.width), self.period.new_zeros(batch, 1)

    def ready(self) -> Step:
        across, period = (self.weight_hh * self.sees).t(), self.period

        def step(prepared: Tensor, state: State) -> State:
            h, done = state
            new = torch.tanh(torch.addmm(prepared, h, across))
            return torch.where(done % period == 0, new, h), done + 1

        return step

    def unfold(self, x: Float[Tensor, "time batch inputs"], state: State) -> tuple[Tensor, State]:
        if not scans(x):
            return super().unfold(x, state)
        h, done = state
        moves = (done + torch.arange(len(x), device=x.device)[:, None, None]) % self.period == 0
        outputs = scan(self.prepare(x), h, self.weight_hh * self.sees, moves.to(h.dtype))
        return outputs, (outputs[-1], done + len(x))
