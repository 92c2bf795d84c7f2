"""A recurrent network with stacks or lists in torch's operations, symbol by symbol: on any device, and as an oracle.

The equations are those of `lamina.systems.memory.stack_rnn`. With `every` below the length of a window, weights take a
step of plain gradient descent after each so many symbols of it, within the window. What was read before such a step
stays as it is, as in the program of Joulin & Mikolov (2015): the errors of the next symbols go back through stored
units, actions and values, by the weights of the present,

    ĥ = h + h (1 − h) (z − [z]),   â = a + a (w − aᵀw − [w − aᵀw]),   v̂ = v + v (1 − v) (u − [u])

where z, w and u are what h, a and v are the sigmoid or softmax of, and [.] has no gradient. The gradient of a window is
the sum of those of its steps. An optimizer that takes one step along it, at the same rate, comes out where they did.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lamina.core import System, Terms
from lamina.kernels.stack import EMPTY
from lamina.systems.language.model import LanguageModel, begun

TIES = 1e-3  # nats in the share of symbols that are told wrong
BOUND = 0.1  # initial weights are sums of three draws from ±0.1 (the authors' code)


class Step(NamedTuple):
    """A symbol that was read, units and cells before it, and what came of it."""

    token: Tensor
    before: Tensor
    cells: Tensor
    h: Tensor
    action: Tensor
    value: Tensor
    soft: Tensor


class UnrolledStackRNN(LanguageModel):
    """A language model with stacks or lists. `sample`, `score` and `loss` are those of `LanguageModel`.

    Args:
        vocabulary: number of symbols.
        hidden: units.
        stacks: how many memories.
        memory: "stack" or "list".
        stay: whether a stack may also be left as it is.
        recurrent: whether h also depends on the h before, by R.
        reach: k, cells of each memory that feed h.
        depth: cells of a memory; what is pushed below is lost.
        noise: on actions, while training.
        clip: largest component of the error that reaches h, in the unit of the sum over symbols.
        rounded: round the actions in evaluation.
        rows: the most rows of a training batch; the state of each is kept from batch to batch.
        every: symbols of a window whose errors make a step; the last of them, or all if 0, are the optimizer's.
        rate: of the optimizer, which must be plain SGD, if steps are taken within windows.
        exact: whether the first metric is the share of symbols that are told wrong; otherwise it is the bits.
        rounding: if above 0, actions are rounded in training too; the gradient goes through those that are not.

    Raises:
        ValueError: a size that does not fit.
    """

    def __init__(
        self,
        vocabulary: int,
        hidden: int = 40,
        stacks: int = 10,
        memory: Literal["stack", "list"] = "stack",
        stay: bool = False,
        recurrent: bool = False,
        reach: int = 2,
        depth: int = 200,
        noise: float = 0.0,
        clip: float = 15.0,
        rounded: bool = True,
        rows: int = 1,
        every: int = 0,
        rate: float = 0.0,
        rounding: float = 0.0,
        exact: bool = False,
    ) -> None:
        System.__init__(self)  # a language model without its recurrent layers
        sizes = {"vocabulary": vocabulary, "hidden": hidden, "stacks": stacks, "reach": reach, "rows": rows}
        if small := [name for name, size in sizes.items() if size < 1]:
            raise ValueError(f"{small[0]} must be at least 1, got {sizes[small[0]]}")
        if every < 0:
            raise ValueError(f"every is a number of symbols, or 0 for all of a window, got {every}")
        self.place = depth // 2 if memory == "list" else -1
        if depth < 3 or reach > (self.place + 1 if memory == "list" else depth):
            raise ValueError(f"a {memory} of depth {depth} is too small to be read {reach} cells deep")
        self.vocabulary, self.hidden, self.stacks, self.reach, self.depth = vocabulary, hidden, stacks, reach, depth
        self.choices = 3 if stay or memory == "list" else 2
        self.noise, self.clip, self.rounded, self.every, self.rate = noise, clip, rounded, every, rate
        self.rounding, self.exact = rounding, exact
        self.U, self.P = initial(vocabulary, hidden), initial(stacks * reach, hidden)
        self.A, self.D = initial(stacks * self.choices, hidden), initial(stacks, hidden)
        self.V = initial(vocabulary, hidden)
        self.R = initial(hidden, hidden) if recurrent else None
        self.register_buffer("state", torch.zeros(1, 1, rows, hidden + stacks * depth))
        self.state: Tensor  # of training: h, and the cells above what they hold when empty
        self.held: Tensor | None = None

    def loss(
        self, tokens: Int[Tensor, "rows span"], targets: Int[Tensor, "rows time"], fresh: Bool[Tensor, " rows"]
    ) -> Terms:
        """Return the cross-entropy in nats per symbol, and keep the rows' state for the windows that follow.

        Args:
            tokens: a window of each row's text, which overlaps with the one that follows where it is longer than
                `targets`: the gradient then goes back at least as far.
            targets: the symbols that follow the last tokens.
            fresh: rows that begin with an empty memory; the others go on where their last window ended.

        Raises:
            ValueError: more rows than the model keeps states of.
        """
        if len(tokens) > self.state.shape[2]:
            raise ValueError(f"a batch of {len(tokens)} rows for a model that keeps the state of {self.state.shape[2]}")
        return self.learn(tokens, targets, fresh, self.disturbance(tokens))

    def disturbance(self, tokens: Int[Tensor, "rows time"]) -> Float[Tensor, "rows time actions"]:
        """Return the noise of a training batch."""
        size = (*tokens.shape, len(self.A))
        return self.A.new_zeros(size) if not self.noise else self.noise * self.A.new_empty(size).normal_()

    def metrics(
        self, tokens: Int[Tensor, "rows time"], targets: Int[Tensor, "rows time"], fresh: Bool[Tensor, " rows"]
    ) -> Terms:
        """Return bits per symbol, and nats; before them, if exact, the share of symbols that are not the most probable.

        A thousandth of the nats is added to that share, to tell networks apart that make no mistake.
        """
        held, rows = self.held, len(tokens)
        found = super().metrics(tokens, targets, fresh)
        if not self.exact:
            return found
        begin = self.nothing(rows) if held is None or fresh.all() else held[:, :, :rows]
        logits, _ = self.following(tokens, begun(begin, fresh))
        wrong = (logits.argmax(2) != targets)[targets >= 0].to(logits).mean()
        return {"wrong": wrong + TIES * found["nll"], **found}

    def learn(
        self,
        tokens: Int[Tensor, "rows span"],
        targets: Int[Tensor, "rows time"],
        fresh: Bool[Tensor, " rows"],
        noise: Float[Tensor, "rows span actions"],
    ) -> Terms:
        """Return the cross-entropy in nats per symbol, whose gradient is that of all steps; keep the rows' state."""
        rows, (count, window) = len(tokens), (targets.numel(), targets.shape[1])
        every, context = self.every or window, tokens.shape[1] - window
        h, cells = self.unpacked(begun(self.state[:, :, :rows], fresh))
        weights: list[Tensor] = list(self.parameters())
        begin, whole = [weight.detach().clone() for weight in weights], [torch.zeros_like(weight) for weight in weights]
        nll, steps = h.new_zeros(()), list[Step]()
        with torch.no_grad():
            for first in range(0, window, every):
                last = min(first + every, window)
                for t in range(len(steps), context + last):
                    self.keep(h, cells, t == window)
                    found = self.reaction(tokens[:, t], h, cells, noise[:, t], self.rounding > 0)
                    steps.append(Step(tokens[:, t], h, cells, *found))
                    h, cells = steps[-1].h, moved(cells, steps[-1].action, steps[-1].value, self.place)
                with torch.enable_grad():
                    errors = self.errors(steps[first:], targets[:, first:last])
                slopes = torch.autograd.grad(errors, weights, allow_unused=True, materialize_grads=True)
                nll += errors.detach()
                torch._foreach_add_(whole, slopes)
                torch._foreach_sub_(weights, slopes, alpha=self.rate / count if last < window else 0.0)
            for weight, there in zip(weights, begin, strict=True):
                weight.copy_(there)
            self.keep(h, cells, context == 0)
        change = sum(
            ((weight - there) * slope).sum() for weight, there, slope in zip(weights, begin, whole, strict=True)
        )
        return {"nll": (nll + change) / count}

    def errors(self, steps: list[Step], targets: Int[Tensor, "rows time"]) -> Float[Tensor, ""]:
        """Return the sum of −log p of the targets after the last steps, as a function of the weights of the present."""
        h, cells, found = steps[0].before, steps[0].cells, []
        for step in steps:
            h = held(step.h, self.summed(step.token, h, cells) * step.h * (1 - step.h))
            h.register_hook(lambda slope: slope.clamp(-self.clip, self.clip))  # type: ignore[no-untyped-call]
            wish = (h @ self.A.t()).view_as(step.action)
            action = held(step.action, step.soft * (wish - (step.soft * wish).sum(2, keepdim=True)))
            value = held(step.value, h @ self.D.t() * step.value * (1 - step.value))
            cells = moved(cells, action, value, self.place)
            found.append(h)
        logits = torch.stack(found[-targets.shape[1] :], 1) @ self.V.t()
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")

    def keep(self, h: Float[Tensor, "rows hidden"], cells: Float[Tensor, "rows stacks depth"], now: bool) -> None:
        """Keep the state that the next window begins with, if it is that now."""
        if now:
            self.state[:, :, : len(h)] = self.packed(h, cells)

    def following(
        self, tokens: Int[Tensor, "rows time"], state: Float[Tensor, "1 1 rows numbers"]
    ) -> tuple[Float[Tensor, "rows time vocabulary"], Float[Tensor, "1 1 rows numbers"]]:
        """Return the logits of the symbol after each of `tokens`, and the state to go on with, without noise."""
        h, cells = self.unpacked(state)
        found = [h[:, None][:, :0]]
        for t in range(tokens.shape[1]):
            h, action, value, _ = self.reaction(tokens[:, t], h, cells, rounded=self.rounded and not self.training)
            cells = moved(cells, action, value, self.place)
            found.append(h[:, None])
        return torch.cat(found, 1) @ self.V.t(), self.packed(h, cells)

    def reaction(
        self,
        token: Int[Tensor, " rows"],
        h: Float[Tensor, "rows hidden"],
        cells: Float[Tensor, "rows stacks depth"],
        noise: Float[Tensor, "rows actions"] | None = None,
        rounded: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return hidden units, actions (rows, stacks, choices), values (rows, stacks), and the actions not rounded."""
        h = torch.sigmoid(self.summed(token, h, cells))
        wish = h @ self.A.t() if noise is None else h @ self.A.t() + noise
        soft = wish.view(len(h), self.stacks, self.choices).softmax(2)
        action = F.one_hot(soft.argmax(2), self.choices).to(h) if rounded else soft
        return h, action, torch.sigmoid(h @ self.D.t()), soft

    def summed(
        self, token: Int[Tensor, " rows"], h: Float[Tensor, "rows hidden"], cells: Float[Tensor, "rows stacks depth"]
    ) -> Float[Tensor, "rows hidden"]:
        """Return what the units are the sigmoid of."""
        first = 0 if self.place < 0 else self.place - self.reach + 1
        seen = cells[..., first : first + self.reach]
        found = self.U[token] + (seen if self.place < 0 else seen.flip(2)).flatten(1) @ self.P
        return found if self.R is None else found + h @ self.R

    def unpacked(self, state: Float[Tensor, "1 1 rows numbers"]) -> tuple[Tensor, Tensor]:
        """Return h and the cells of a state, as new tensors."""
        h, above = torch.split(state[0, 0], [self.hidden, self.stacks * self.depth], 1)
        return h.clone(), (above + EMPTY).view(len(h), self.stacks, self.depth)

    def packed(
        self, h: Float[Tensor, "rows hidden"], cells: Float[Tensor, "rows stacks depth"]
    ) -> Float[Tensor, "1 1 rows numbers"]:
        """Return h and cells as a state, which is zero where nothing was read."""
        return torch.cat([h, (cells - EMPTY).flatten(1)], 1)[None, None]


def initial(outputs: int, hidden: int) -> nn.Parameter:
    """Return weights before training."""
    return nn.Parameter(torch.empty(3, outputs, hidden).uniform_(-BOUND, BOUND).sum(0))


def held(value: Tensor, change: Tensor) -> Tensor:
    """Return a value that was stored, with the gradient of what would change it."""
    return value + (change - change.detach())


def moved(
    cells: Float[Tensor, "rows stacks depth"],
    action: Float[Tensor, "rows stacks choices"],
    value: Float[Tensor, "rows stacks"],
    head: int = -1,
) -> Float[Tensor, "rows stacks depth"]:
    """Return the cells after an action: on a stack, or with a head on a list."""
    empty, written = torch.full_like(cells[..., :1], EMPTY), value[..., None]
    below, above = torch.cat([cells[..., 1:], empty], 2), torch.cat([empty, cells[..., :-1]], 2)
    first, second, *third = action[..., None].unbind(2)
    if head < 0:
        pushed = torch.cat([written, cells[..., :-1]], 2)
        return first * pushed + second * below + (third[0] * cells if third else 0)
    inserted = torch.cat([cells[..., 1 : head + 1], written, cells[..., head + 1 :]], 2)
    return first * inserted + second * above + third[0] * below
