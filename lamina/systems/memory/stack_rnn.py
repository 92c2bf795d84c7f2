"""Stack-RNN and List-RNN: a recurrent network that remembers on stacks or lists, and learns when to push and to pop.

With the symbol x_t, hidden units h_t, and for each of the stacks s its cells from the top down, s[0], s[1], ...:

    h_t  = σ(U x_t + R h_{t-1} + Σ_s P_s (s_{t-1}[0], ..., s_{t-1}[k-1]))              p(x_{t+1}) = softmax(V h_t)
    a_t  = softmax(A_s h_t) over push, pop and, if there is one, stay                   value v_t = σ(D_s h_t)
    s_t[0] = a[push] v_t + a[pop] s_{t-1}[1] + a[stay] s_{t-1}[0]
    s_t[i] = a[push] s_{t-1}[i-1] + a[pop] s_{t-1}[i+1] + a[stay] s_{t-1}[i]            an empty cell holds −1

A list is read and written at its head H, in the middle, and the k cells that feed h are those from it downward:

    l_t[H] = a[insert] v_t + a[left] l_{t-1}[H-1] + a[right] l_{t-1}[H+1]
    l_t[i] = a[insert] l_{t-1}[i+1 if i < H else i] + a[left] l_{t-1}[i-1] + a[right] l_{t-1}[i+1]

Rounded, the most probable action has weight 1 and the others 0. There are no biases. Each component of the error that
reaches h_t is cut to ±`clip`. `noise` is the standard deviation of what is added to A h while training, which makes
actions that are neither one nor the other unreliable, so that training makes up its mind.

Joulin & Mikolov (2015), Inferring algorithmic patterns with stack-augmented recurrent nets, sections 3 and 4.

Differs from the paper: an update has a window of symbols, not one; noise; the other settings can be the paper's.
"""

import math
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from lamina.core import System, Terms
from lamina.kernels import stack as kernel
from lamina.kernels.compiling import announced
from lamina.kernels.threads import in_threads
from lamina.systems.language.model import LanguageModel, begun, cross_entropy

BOUND = 0.1  # initial weights are sums of three draws from ±0.1 (the authors' code)
Weights = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


class StackRNN(LanguageModel):
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
    ) -> None:
        System.__init__(self)  # a language model without its recurrent layers
        sizes = {"vocabulary": vocabulary, "hidden": hidden, "stacks": stacks, "reach": reach, "rows": rows}
        if small := [name for name, size in sizes.items() if size < 1]:
            raise ValueError(f"{small[0]} must be at least 1, got {sizes[small[0]]}")
        self.place = depth // 2 if memory == "list" else -1
        if depth < 3 or reach > (self.place + 1 if memory == "list" else depth):
            raise ValueError(f"a {memory} of depth {depth} is too small to be read {reach} cells deep")
        self.vocabulary, self.hidden, self.stacks, self.reach, self.depth = vocabulary, hidden, stacks, reach, depth
        self.choices = 3 if stay or memory == "list" else 2
        self.noise, self.clip, self.rounded = noise, clip, rounded
        self.U, self.P = initial(vocabulary, hidden), initial(stacks * reach, hidden)
        self.A, self.D = initial(stacks * self.choices, hidden), initial(stacks, hidden)
        self.V = initial(vocabulary, hidden)
        self.R = initial(hidden, hidden) if recurrent else None
        self.register_buffer("state", torch.zeros(1, 1, rows, hidden + stacks * depth))
        self.state: Tensor  # of training: h, and the cells above what they hold when empty
        self.held: Tensor | None = None

    def weights(self) -> Weights:
        """Return U, R, P, A and D, each with the hidden units as its last axis; R has no row if there is none."""
        return self.U, self.U.new_empty(0, self.hidden) if self.R is None else self.R, self.P, self.A, self.D

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
        return self.learn(tokens, targets, fresh, self.disturbance(tokens))

    def disturbance(self, tokens: Int[Tensor, "rows time"]) -> Float[Tensor, "rows time actions"]:
        """Return the noise of a training batch."""
        size = (*tokens.shape, len(self.A))
        return self.A.new_zeros(size) if not self.noise else self.noise * self.A.new_empty(size).normal_()

    def learn(
        self,
        tokens: Int[Tensor, "rows span"],
        targets: Int[Tensor, "rows time"],
        fresh: Bool[Tensor, " rows"],
        noise: Float[Tensor, "rows span actions"],
    ) -> Terms:
        """Return the loss, given the noise."""
        rows = len(tokens)
        if rows > self.state.shape[2]:
            raise ValueError(f"a batch of {rows} rows for a model that keeps the state of {self.state.shape[2]}")
        if compiled(self.U):
            state = self.state[0, 0, :rows].masked_fill_(fresh[:, None], 0.0)
            nll = Learn.apply(tokens, targets, noise, self.place, self.clip, self.depth, state, *self.weights(), self.V)  # type: ignore[no-untyped-call]
            return {"nll": nll}
        h, cells = self.unpacked(begun(self.state[:, :, :rows], fresh))
        time, limit = targets.shape[1], self.clip / targets.numel()
        early, h, cells = self.unrolled(tokens[:, :time], h, cells, noise[:, :time], limit=limit)
        late, _, _ = self.unrolled(tokens[:, time:], h, cells, noise[:, time:], limit=limit)
        nll = cross_entropy(torch.cat([early, late], 1)[:, -time:] @ self.V.t(), targets)
        with torch.no_grad():
            self.state[:, :, :rows] = self.packed(h, cells)
        return {"nll": nll}

    def following(
        self, tokens: Int[Tensor, "rows time"], state: Float[Tensor, "1 1 rows numbers"]
    ) -> tuple[Float[Tensor, "rows time vocabulary"], Float[Tensor, "1 1 rows numbers"]]:
        """Return the logits of the symbol after each of `tokens`, and the state to go on with, without noise."""
        h, cells = self.unpacked(state)
        rounded = self.rounded and not self.training
        if compiled(self.U) and not torch.is_grad_enabled():
            hidden = self.U.new_empty(*tokens.shape, self.hidden)

            def work(part: slice) -> None:
                weights = [weight.detach().numpy() for weight in self.weights()]
                places = [array[part].numpy() for array in (h, cells, hidden)]
                given = (tokens[part].contiguous().numpy(), *weights, self.place, rounded, *places)
                kernel.read(*given)

            with announced(kernel.read, "the stack kernel"):
                in_threads(len(tokens), work)
        else:
            hidden, h, cells = self.unrolled(tokens, h, cells, None, rounded)
        return hidden @ self.V.t(), self.packed(h, cells)

    def unrolled(
        self,
        tokens: Int[Tensor, "rows time"],
        h: Float[Tensor, "rows hidden"],
        cells: Float[Tensor, "rows stacks depth"],
        noise: Float[Tensor, "rows time actions"] | None = None,
        rounded: bool = False,
        limit: float = math.inf,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return hidden units (rows, time, hidden) by torch's operations, and the last units and cells.

        Args:
            tokens: symbols.
            h: units before them.
            cells: of the memories before them.
            noise: on the actions.
            rounded: whether to round these.
            limit: largest component of the error that reaches a unit.
        """
        found = [h[:, None][:, :0]]
        for t in range(tokens.shape[1]):
            h, action, value = self.reaction(tokens[:, t], h, cells, None if noise is None else noise[:, t], rounded)
            if h.requires_grad:
                h.register_hook(lambda slope: slope.clamp(-limit, limit))  # type: ignore[no-untyped-call]
            cells = moved(cells, action, value, self.place)
            found.append(h[:, None])
        return torch.cat(found, 1), h, cells

    def reaction(
        self,
        token: Int[Tensor, " rows"],
        h: Float[Tensor, "rows hidden"],
        cells: Float[Tensor, "rows stacks depth"],
        noise: Float[Tensor, "rows actions"] | None = None,
        rounded: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return hidden units, actions (rows, stacks, choices) and values (rows, stacks) after a symbol."""
        seen = (
            cells[..., : self.reach]
            if self.place < 0
            else cells[..., self.place - self.reach + 1 : self.place + 1].flip(2)
        )
        total = self.U[token] + seen.flatten(1) @ self.P
        h = torch.sigmoid(total if self.R is None else total + h @ self.R)
        wish = h @ self.A.t() if noise is None else h @ self.A.t() + noise
        action = wish.view(len(h), self.stacks, self.choices).softmax(2)
        if rounded:
            action = F.one_hot(action.argmax(2), self.choices).to(h)
        return h, action, torch.sigmoid(h @ self.D.t())

    def unpacked(self, state: Float[Tensor, "1 1 rows numbers"]) -> tuple[Tensor, Tensor]:
        """Return h and the cells of a state, as new tensors."""
        h, above = torch.split(state[0, 0], [self.hidden, self.stacks * self.depth], 1)
        return h.clone(), (above + kernel.EMPTY).view(len(h), self.stacks, self.depth)

    def packed(
        self, h: Float[Tensor, "rows hidden"], cells: Float[Tensor, "rows stacks depth"]
    ) -> Float[Tensor, "1 1 rows numbers"]:
        """Return h and cells as a state, which is zero where nothing was read."""
        return torch.cat([h, (cells - kernel.EMPTY).flatten(1)], 1)[None, None]


def initial(outputs: int, hidden: int) -> nn.Parameter:
    """Return weights before training."""
    return nn.Parameter(torch.empty(3, outputs, hidden).uniform_(-BOUND, BOUND).sum(0))


def moved(
    cells: Float[Tensor, "rows stacks depth"],
    action: Float[Tensor, "rows stacks choices"],
    value: Float[Tensor, "rows stacks"],
    head: int = -1,
) -> Float[Tensor, "rows stacks depth"]:
    """Return the cells after an action: on a stack, or with a head on a list."""
    empty, written = torch.full_like(cells[..., :1], kernel.EMPTY), value[..., None]
    below, above = torch.cat([cells[..., 1:], empty], 2), torch.cat([empty, cells[..., :-1]], 2)
    first, second, *third = action[..., None].unbind(2)
    if head < 0:
        pushed = torch.cat([written, cells[..., :-1]], 2)
        return first * pushed + second * below + (third[0] * cells if third else 0)
    inserted = torch.cat([cells[..., 1 : head + 1], written, cells[..., head + 1 :]], 2)
    return first * inserted + second * above + third[0] * below


def compiled(weight: Tensor) -> bool:
    """Return whether the compiled kernel can compute with weights like this."""
    plain = not (torch.compiler.is_compiling() or torch.is_autocast_enabled(weight.device.type))
    return plain and weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.float64)


class Learn(torch.autograd.Function):
    """The mean of −log p over a window; its gradient is computed at once, as the kernel goes back through time."""

    @staticmethod
    def forward(
        ctx: Any,
        tokens: Tensor,
        targets: Tensor,
        noise: Tensor,
        head: int,
        clip: float,
        depth: int,
        state: Tensor,
        *weights: Tensor,
    ) -> Tensor:
        flat = noise.new_zeros(sum(sizes := [weight.numel() for weight in weights]))
        gradients = [part.view_as(weight) for part, weight in zip(torch.split(flat, sizes), weights, strict=True)]
        given = [array.contiguous().numpy() for array in (tokens, targets, noise, *weights)]
        made = [array.numpy() for array in (state, *gradients)]
        arguments = (*given, head, clip, depth, *made)
        with announced(kernel.learn, "the stack kernel"):
            nll = kernel.learn(*arguments)
        ctx.flat, ctx.sizes, ctx.count = flat, sizes, targets.numel()
        ctx.shapes = [weight.shape for weight in weights]
        return noise.new_tensor(nll / ctx.count)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        parts = torch.split(ctx.flat * (slope / ctx.count), ctx.sizes)
        gradients = (part.view(shape) for part, shape in zip(parts, ctx.shapes, strict=True))
        return None, None, None, None, None, None, None, *gradients
