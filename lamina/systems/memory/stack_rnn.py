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

Differs from the paper: a step is taken after several symbols, not one; noise; the other settings can be the paper's.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from lamina.core import Terms
from lamina.kernels import stack as kernel
from lamina.kernels import stack_learning as learning
from lamina.kernels.compiling import announced, compiled
from lamina.kernels.threads import in_threads
from lamina.systems.memory.unrolled import UnrolledStackRNN


class StackRNN(UnrolledStackRNN):
    """A language model with stacks or lists, compiled where it can be. Arguments are those of `UnrolledStackRNN`."""

    def learn(
        self,
        tokens: Int[Tensor, "rows span"],
        targets: Int[Tensor, "rows time"],
        fresh: Bool[Tensor, " rows"],
        noise: Float[Tensor, "rows span actions"],
    ) -> Terms:
        """Return the loss, given the noise."""
        if not compiled(self.U):
            return super().learn(tokens, targets, fresh, noise)
        state = self.state[0, 0, : len(tokens)].masked_fill_(fresh[:, None], 0.0)
        steps = (self.rounding > 0, self.clip, self.every or targets.shape[1], self.rate)
        return {"nll": Learn.apply(self.form(), steps, tokens, targets, noise, state, self.matrix())}  # type: ignore[no-untyped-call]

    def following(
        self, tokens: Int[Tensor, "rows time"], state: Float[Tensor, "1 1 rows numbers"]
    ) -> tuple[Float[Tensor, "rows time vocabulary"], Float[Tensor, "1 1 rows numbers"]]:
        """Return the logits of the symbol after each of `tokens`, and the state to go on with, without noise."""
        if torch.is_grad_enabled() or not compiled(self.U):
            return super().following(tokens, state)
        hidden, after = self.U.new_empty(*tokens.shape, self.hidden), state.clone(memory_format=torch.contiguous_format)
        form, rounded = self.form(), self.rounded and not self.training
        rows, matrix = kernel.places(form), self.matrix().numpy()

        def work(part: slice) -> None:
            places = (after[0, 0, part].numpy(), hidden[part].numpy())
            kernel.read(form, tokens[part].contiguous().numpy(), rounded, rows, matrix, *places)

        with announced(kernel.read, "the stack kernel"):
            in_threads(len(tokens), work)
        return hidden @ self.V.t(), after

    def matrix(self) -> Float[Tensor, "rows hidden"]:
        """Return U, R, P, A, D and V, one below the other; all have the hidden units as their last axis."""
        return torch.cat([part for part in (self.U, self.R, self.P, self.A, self.D, self.V) if part is not None])

    def form(self) -> kernel.Form:
        """Return the sizes as the kernel has them."""
        recurrent = 0 if self.R is None else self.hidden
        sizes = (self.vocabulary, self.hidden, recurrent, self.stacks, self.choices, self.reach, self.depth, self.place)
        return kernel.form_of(*sizes)


class Learn(torch.autograd.Function):
    """The mean of −log p over a window; its gradient is computed at once, as the kernel goes back through time."""

    @staticmethod
    def forward(
        ctx: Any,
        form: kernel.Form,
        steps: tuple[bool, float, int, float],
        tokens: Tensor,
        targets: Tensor,
        noise: Tensor,
        state: Tensor,
        matrix: Tensor,
    ) -> Tensor:
        gradient, (rounded, clip, every, rate) = torch.zeros_like(matrix), steps
        given = [array.contiguous().numpy() for array in (tokens, targets, noise.flatten())]
        count = targets.numel()
        kept = [array.numpy() for array in (matrix, state, gradient)]
        with announced(learning.learn, "the stack kernel"):
            nll = learning.learn(form, *given, rounded, clip, every, rate / count, kernel.places(form), *kept)
        ctx.gradient = gradient.div_(count)
        return noise.new_tensor(nll / count)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, None, None, None, None, ctx.gradient * slope
