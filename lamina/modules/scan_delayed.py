"""Units in groups of several delays over a whole sequence, with a backward pass of their own.

    h_t = tanh(p_t + a_t),   a_t = U_k h_{t−d_k} for the units of group k
    e_t = ∂E/∂h_t = g_t + Σ_k U_kᵀ δᵏ_{t+d_k},   δ_t = (1 − h_t²) e_t,   dU_k = Σ_t δᵏ_t h_{t−d_k}ᵀ

g_t is what E depends on h_t by itself. El Hihi & Bengio (1996); see `lamina.modules.slow_cells`.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from lamina.modules.scan import small_products


class DelayedScan(torch.autograd.Function):
    """From p, the h before the first step, U and the delays to the h of all steps, in the memory of p."""

    @staticmethod
    @small_products()
    def forward(ctx: Any, prepared: Tensor, begin: Tensor, across: Tensor, delays: tuple[int, ...]) -> Tensor:
        steps, longest = prepared.unbind(0), len(begin)
        past = (*begin.unbind(0), *steps)
        groups = [part.unbind(0) for part in prepared.tensor_split(len(delays), 2)]
        ways = [
            (longest - d, part.t(), group) for d, part, group in zip(delays, rows(across, delays), groups, strict=True)
        ]
        for t, h in enumerate(steps):
            for shift, part, group in ways:
                group[t].addmm_(past[t + shift], part)
            h.tanh_()
        ctx.mark_dirty(prepared)
        ctx.save_for_backward(prepared, begin, across)
        ctx.delays = delays
        return prepared

    @staticmethod
    @once_differentiable
    @small_products()
    def backward(ctx: Any, direct: Tensor) -> tuple[Tensor | None, ...]:
        h, begin, across = ctx.saved_tensors
        longest, deltas = len(begin), 1 - h.square()
        errors = torch.cat([torch.zeros_like(begin), direct])
        back, groups = errors.unbind(0), deltas.tensor_split(len(ctx.delays), 2)
        parts = zip(ctx.delays, rows(across, ctx.delays), groups, strict=True)
        ways = [(longest - d, part, group.unbind(0)) for d, part, group in parts]
        for t, delta in reversed([*enumerate(deltas.unbind(0))]):
            delta.mul_(back[t + longest])
            for shift, part, group in ways:
                back[t + shift].addmm_(group[t], part)
        past = torch.cat([begin, h])
        seen = [past[longest - d : longest - d + len(h)] for d in ctx.delays]
        weights = [group.flatten(0, 1).t() @ by.flatten(0, 1) for group, by in zip(groups, seen, strict=True)]
        return deltas, errors[:longest], torch.cat(weights), None


def rows(across: Tensor, delays: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Return the rows of U of each group."""
    return across.tensor_split(len(delays))


def scan_delayed(
    prepared: Float[Tensor, "time batch hidden"],
    begin: Float[Tensor, "longest batch hidden"],
    across: Float[Tensor, "hidden hidden"],
    delays: tuple[int, ...],
) -> Float[Tensor, "time batch hidden"]:
    """Return h of all steps; see the top of this file.

    Args:
        prepared: p; its memory is taken.
        begin: the last h before the first step, the oldest first, as many as the longest delay.
        across: U.
        delays: of the groups of units.
    """
    out: Tensor = DelayedScan.apply(prepared, begin, across, delays)  # type: ignore[no-untyped-call]
    return out
