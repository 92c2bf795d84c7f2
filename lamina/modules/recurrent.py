"""Parts of recurrent networks that are unrolled step by step, quicker than autograd's.

    y_t = W x_t + b,   dW = Σ_t dy_tᵀ x_t = dYᵀ X                                                       (repeated)
    i, f, o = sigmoid(a),  g = tanh(a),   c' = f c + i g,   h' = o tanh(c')                             (lstm)

X has the rows of all steps below each other. Autograd takes one product for dW in every step and adds it to the sum of
those before; here it is one large product after the last step, which reads and writes a gradient once. The cell is one
operation with a backward pass of its own, compiled for the CPU. Cell of Hochreiter & Schmidhuber (1997), Long
short-term memory, with the forget gate of Gers et al. (2000).
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from lamina.kernels import lstm as kernel

Layer = Callable[[Tensor], Tensor]
Tape = list[tuple[Tensor, Tensor]]


def repeated(weight: Float[Tensor, "outputs inputs"], bias: Float[Tensor, "*rows outputs"]) -> Layer:
    """Return the layer W x + b for the steps of one sequence, each of the same number of rows.

    The gradient of W and b is computed when that of all steps is known. Under autocast and `torch.compile`, and where
    no gradient is wanted, it is the plain layer.

    Args:
        weight: W.
        bias: b, the same for all rows or one for each.
    """
    plain = torch.compiler.is_compiling() or torch.is_autocast_enabled(weight.device.type)
    if plain or not torch.is_grad_enabled():
        transposed = weight.t()
        return lambda x: torch.addmm(bias, x, transposed)
    tape: Tape = []
    shared_weight, shared_bias = Shared.apply(weight, bias, tape)  # type: ignore[no-untyped-call]
    return lambda x: Product.apply(x, shared_weight, shared_bias, tape)  # type: ignore[no-untyped-call]


class Shared(torch.autograd.Function):
    """W and b before the first step: its backward pass comes after that of all steps."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor, tape: Tape) -> tuple[Tensor, Tensor]:
        ctx.tape, ctx.form = tape, bias.shape
        ctx.set_materialize_grads(False)
        return weight.view_as(weight), bias.view_as(bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *_: None) -> tuple[Tensor | None, Tensor | None, None]:
        slopes, inputs = (torch.stack(parts) for parts in zip(*ctx.tape, strict=True))
        ctx.tape.clear()
        weight = slopes.flatten(0, 1).t() @ inputs.flatten(0, 1) if ctx.needs_input_grad[0] else None
        bias = slopes.sum(0).sum_to_size(ctx.form) if ctx.needs_input_grad[1] else None
        return weight, bias, None


class Product(torch.autograd.Function):
    """One step: its backward pass gives the gradient of x alone, and leaves word for that of W and b."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, tape: Tape) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.tape = tape
        return torch.addmm(bias, x, weight.t())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, None, None, None]:
        x, weight = ctx.saved_tensors
        if any(ctx.needs_input_grad[1:3]):
            ctx.tape.append((slope, x))
        return slope @ weight if ctx.needs_input_grad[0] else None, None, None, None


class LSTM(torch.autograd.Function):
    """The cell after its matrix products: from a (batch, 4 hidden) and c to h' and c'."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        ctx.compiled = a.device.type == "cpu" and a.dtype == c.dtype == torch.float32
        gates, new, squashed, h = torch.empty_like(a), *(torch.empty_like(c) for _ in range(3))
        (kernel.forward if ctx.compiled else forward)(*arrays(ctx.compiled, a, c, gates, new, squashed, h))
        ctx.save_for_backward(gates, c, squashed)
        return h, new

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dh: Tensor, dnew: Tensor) -> tuple[Tensor, Tensor]:
        gates, c, squashed = ctx.saved_tensors
        da, dc = torch.empty_like(gates), torch.empty_like(squashed)
        run = kernel.backward if ctx.compiled else backward
        run(*arrays(ctx.compiled, dh, dnew, gates, c, squashed, da, dc))
        return da, dc


def arrays(compiled: bool, *tensors: Tensor) -> tuple[Any, ...]:
    """Return what a kernel takes: NumPy's view of tensors for a compiled one."""
    return tuple(tensor.detach().contiguous().numpy() for tensor in tensors) if compiled else tensors


def forward(a: Tensor, c: Tensor, gates: Tensor, new: Tensor, squashed: Tensor, h: Tensor) -> None:
    """Do what the kernel of this name does, by torch's operations."""
    hidden = c.shape[1]
    torch.sigmoid(a[:, : 3 * hidden], out=gates[:, : 3 * hidden])
    torch.tanh(a[:, 3 * hidden :], out=gates[:, 3 * hidden :])
    i, f, o, g = gates.chunk(4, 1)
    torch.mul(f, c, out=new).addcmul_(i, g)
    torch.tanh(new, out=squashed)
    torch.mul(o, squashed, out=h)


def backward(dh: Tensor, dnew: Tensor, gates: Tensor, c: Tensor, squashed: Tensor, da: Tensor, dc: Tensor) -> None:
    """Do what the kernel of this name does, by torch's operations."""
    i, f, o, g = gates.chunk(4, 1)
    d = dh * o * (1 - squashed.square()) + dnew
    parts = (d * g * i * (1 - i), d * c * f * (1 - f), dh * squashed * o * (1 - o), d * i * (1 - g.square()))
    torch.cat(parts, 1, out=da)
    torch.mul(d, f, out=dc)


def lstm(a: Float[Tensor, "batch gates"], c: Float[Tensor, "batch hidden"]) -> tuple[Tensor, Tensor]:
    """Return h' and c', given the sums a that enter the gates i, f, o and g, and c.

    On a CPU in float32 it runs in the compiled kernel of `lamina.kernels.lstm`; under `torch.compile`, which does as
    much by itself, in plain operations.
    """
    if torch.compiler.is_compiling():
        i, f, o = a[:, : 3 * c.shape[1]].sigmoid().chunk(3, 1)
        later = f * c + i * a[:, 3 * c.shape[1] :].tanh()
        return o * later.tanh(), later
    h, new = LSTM.apply(a, c)  # type: ignore[no-untyped-call]
    return h, new
