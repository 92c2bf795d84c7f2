"""Plain and leaky recurrent units over a whole sequence, with a backward pass of their own.

    f_t = squash(p_t + U h_{t−1}),   h_t = (1 − α) h_{t−1} + α f_t
    e_t = ∂E/∂h_t = g_t + (1 − α) e_{t+1} + Uᵀ δ_{t+1},   δ_t = α squash'_t e_t,   dU = Σ_t δ_t h_{t−1}ᵀ = Δᵀ H

g_t is what E depends on h_t by itself. Autograd makes some ten operations of a step, each with memory of its own, and
adds to dU in each; here a step is two or three each way, in place, and dU is one product after the last.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


@contextlib.contextmanager
def small_products() -> Iterator[None]:
    """Take MKL's products inside: those of oneDNN, which the trainer prefers, begin 10 µs later each."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class Scan(torch.autograd.Function):
    """From p, h_0 and U to the h of all steps, in the memory of p; plain units."""

    @staticmethod
    @small_products()
    def forward(ctx: Any, prepared: Tensor, begin: Tensor, across: Tensor, tanh: bool) -> Tensor:
        squash, transposed, before = torch.tanh_ if tanh else torch.relu_, across.t(), begin
        for h in prepared.unbind(0):
            before = squash(h.addmm_(before, transposed))
        ctx.mark_dirty(prepared)
        ctx.save_for_backward(prepared, begin, across)
        ctx.tanh = tanh
        return prepared

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, direct: Tensor) -> tuple[Tensor | None, ...]:
        h, begin, across = ctx.saved_tensors
        deltas = errors(across, slopes(h, ctx.tanh), direct)
        return deltas, deltas[0] @ across, weight(deltas, begin, h), None


class LeakyScan(torch.autograd.Function):
    """From p, h_0, U and α of each step to the h of all steps; f is in the memory of p."""

    @staticmethod
    @small_products()
    def forward(ctx: Any, prepared: Tensor, begin: Tensor, across: Tensor, rates: Tensor, tanh: bool) -> Tensor:
        squash, transposed, before = torch.tanh_ if tanh else torch.relu_, across.t(), begin
        h = torch.empty_like(prepared)
        for f, rate, after in zip(prepared.unbind(0), rates.unbind(0), h.unbind(0), strict=True):
            squash(f.addmm_(before, transposed))
            before = torch.lerp(before, f, rate, out=after)
        ctx.save_for_backward(h, prepared, begin, across, rates)
        ctx.tanh = tanh
        return h

    @staticmethod
    @once_differentiable
    @small_products()
    def backward(ctx: Any, direct: Tensor) -> tuple[Tensor | None, ...]:
        h, squashed, begin, across, rates = ctx.saved_tensors
        deltas, keep = slopes(squashed, ctx.tanh).mul_(rates), 1 - rates
        e, spare = torch.zeros_like(begin), torch.empty_like(begin)
        for g, kept, delta in zip(*(reversed(part.unbind(0)) for part in (direct, keep, deltas)), strict=True):
            delta.mul_(e.add_(g))
            torch.mul(e, kept, out=spare).addmm_(delta, across)
            e, spare = spare, e
        return deltas, e, weight(deltas, begin, h), None, None


def slopes(squashed: Tensor, tanh: bool) -> Tensor:
    """Return squash' from the values of squash."""
    return 1 - squashed.square() if tanh else (squashed > 0).to(squashed.dtype)


def weight(deltas: Tensor, begin: Tensor, h: Tensor) -> Tensor:
    """Return dU."""
    first = deltas[0].t() @ begin
    return first.addmm_(deltas[1:].flatten(0, 1).t(), h[:-1].flatten(0, 1))


@small_products()
def errors(
    across: Float[Tensor, "hidden hidden"],
    slopes: Float[Tensor, "time batch hidden"],
    direct: Float[Tensor, "time batch hidden"],
) -> Float[Tensor, "time batch hidden"]:
    """Return δ of all steps of plain units, given U, squash' and g; in the memory of squash'."""
    steps, spare = slopes.unbind(0), torch.empty_like(direct[0])
    last = steps[-1].mul_(direct[-1])
    for g, delta in zip(reversed(direct[:-1].unbind(0)), reversed(steps[:-1]), strict=True):
        last = delta.mul_(torch.addmm(g, last, across, out=spare))
    return slopes


def scan(
    prepared: Float[Tensor, "time batch hidden"],
    begin: Float[Tensor, "batch hidden"],
    across: Float[Tensor, "hidden hidden"],
    rates: Float[Tensor, "*steps hidden"] | None = None,
    tanh: bool = True,
) -> Float[Tensor, "time batch hidden"]:
    """Return h of all steps; see the top of this file.

    Args:
        prepared: p; its memory is taken.
        begin: h_0.
        across: U.
        rates: α of each unit, or of each step, sequence and unit; None for plain units.
        tanh: the squashing function; else it is max(0, ·).
    """
    if rates is None:
        plain: Tensor = Scan.apply(prepared, begin, across, tanh)  # type: ignore[no-untyped-call]
        return plain
    rates = rates if rates.ndim == 3 else rates.expand(len(prepared), 1, -1)
    leaky: Tensor = LeakyScan.apply(prepared, begin, across, rates, tanh)  # type: ignore[no-untyped-call]
    return leaky


def scans(x: Tensor) -> bool:
    """Return whether `scan` may run: not within `torch.compile` or autocast, and where it is the quicker way."""
    return x.device.type == "cpu" and not (torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu"))
