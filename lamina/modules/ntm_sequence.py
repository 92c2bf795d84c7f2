"""A neural Turing machine over a whole sequence as one operation, without autograd's bookkeeping between the steps.

    a_t = W_x x_t + W_h h_{t−1} + W_r r_{t−1} + b,   h_t = LSTM or tanh of a_t,   r_t, w_t, M_t = addressing(V h_t + d)

W_x x_t is one product for all steps, and so is the gradient of each weight, after the last step. Gates and heads run in
the compiled kernels of `lamina.kernels`. The step of `lamina.modules.ntm`, in torch's operations, is the oracle. What
the backward pass needs is kept of every step; where none will come, only the last step is.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from lamina.kernels import addressing as heads
from lamina.kernels import lstm
from lamina.modules.addressing import arrays, run, telling

FEW = 64  # rows of a product that is too small for oneDNN, which takes 12 µs to begin one, where MKL takes 1


class Sequence(torch.autograd.Function):
    """From x, weights and biases, and the state before, to all outputs and the other parts of the last state.

    Without units that remember c is (batch, 0), and W has no W_h.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Float[Tensor, "time batch inputs"],
        W: Float[Tensor, "gates entering"],
        b: Float[Tensor, " gates"],
        V: Float[Tensor, "numbers hidden"],
        d: Float[Tensor, " numbers"],
        output: Float[Tensor, "batch width"],
        c: Float[Tensor, "batch units"],
        weights: Float[Tensor, "batch heads slots"],
        memory: Float[Tensor, "batch size slots"],
        learns: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        steps, keep = len(x), len(x) if learns else 1
        ctx.parts = x.shape[2], c.shape[1], output.shape[1] - V.shape[1]
        enter, own, back = torch.split(W, ctx.parts, 1)
        h, r = (begun(part, steps) for part in torch.split(output, [V.shape[1], ctx.parts[2]], 1))
        c, w, M = (begun(part, keep) for part in (c, weights, memory))
        a = torch.addmm(b, x.flatten(0, 1), enter.t()).view(steps, len(output), -1)
        gates, squashed = (x.new_empty(keep, *part.shape[1:]) for part in (a, c))
        raw, act = x.new_empty(len(output), len(d)), x.new_empty(keep, len(output), len(d))
        kept = x.new_empty(keep, len(output), heads.KEPT * w.shape[2] + 1, w.shape[3])
        A, C, G, S, H, R, Wn, Mn, N, Act, K = arrays(a, c, gates, squashed, h, r, w, M, raw, act, kept)
        R = R.reshape(*r.shape[:2], -1, M.shape[2])
        with telling(heads.forward), small_products(len(output)):
            for t in range(steps):
                k, old, new = t % keep, t % (keep + 1), (t + 1) % (keep + 1)
                a[t].addmm_(r[t], back.t())
                if ctx.parts[1]:
                    a[t].addmm_(h[t], own.t())
                    lstm.forward(A[t], C[old], G[k], C[new], S[k], H[t + 1])
                else:
                    torch.tanh(a[t], out=h[t + 1])
                torch.addmm(d, h[t + 1], V.t(), out=raw)
                run(heads.forward, N, Wn[old], Mn[old], Act[k], K[k], R[t + 1], Wn[new], Mn[new])
        ctx.save_for_backward(x, W, V)
        ctx.traces = h, r, c, w, M, gates, squashed, act, kept
        last = steps % (keep + 1)
        return torch.cat([h[1:], r[1:]], 2), c[last].clone(), w[last].clone(), M[last].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, douts: Tensor, *ends: Tensor) -> tuple[Tensor | None, ...]:
        x, W, V = ctx.saved_tensors
        h, r, c, w, M, gates, squashed, act, kept = ctx.traces
        enter, own, back = torch.split(W, ctx.parts, 1)
        dh, dr = (F.pad(part, (0, 0, 0, 0, 1, 0)) for part in torch.split(douts, [V.shape[1], ctx.parts[2]], 2))
        da, draw = torch.empty(*x.shape[:2], len(W)), torch.empty_like(act)
        dc, dw, dM = (torch.stack([end, end]) for end in ends)  # after a step, and before it, in turns
        C, G, S, Wn, Mn, Act, K = arrays(c, gates, squashed, w, M, act, kept)
        H, R, A, N, dC, dW, dMn = arrays(dh, dr, da, draw, dc, dw, dM)
        R = R.reshape(*r.shape[:2], -1, M.shape[2])
        with telling(heads.backward), small_products(x.shape[1]):
            for t in reversed(range(len(x))):
                new, old = (t + 1) % 2, t % 2
                given = Wn[t], Mn[t], Act[t], K[t], Wn[t + 1], R[t + 1], dW[new], dMn[new]
                run(heads.backward, *given, N[t], dW[old], dMn[old])
                dh[t + 1].addmm_(draw[t], V)
                if ctx.parts[1]:
                    lstm.backward(H[t + 1], dC[new], G[t], C[t], S[t], A[t], dC[old])
                    dh[t].addmm_(da[t], own)
                else:
                    torch.mul(dh[t + 1], 1 - h[t + 1].square(), out=da[t])
                dr[t].addmm_(da[t], back)
        slopes, told = da.flatten(0, 1), draw.flatten(0, 1)
        seen = [x, h[:-1], r[:-1]] if ctx.parts[1] else [x, r[:-1]]
        return (
            (slopes @ enter).view_as(x) if ctx.needs_input_grad[0] else None,
            torch.cat([slopes.t() @ part.flatten(0, 1) for part in seen], 1),
            slopes.sum(0),
            told.t() @ h[1:].flatten(0, 1),
            told.sum(0),
            torch.cat([dh[0], dr[0]], 1),
            dc[0],
            dw[0],
            dM[0],
            None,
        )


def begun(part: Float[Tensor, "batch *shape"], steps: int) -> Float[Tensor, "places batch *shape"]:
    """Return places for a part of the state after each of so many steps, with what it is before the first."""
    places = part.new_empty(steps + 1, *part.shape)
    places[0] = part
    return places


@contextlib.contextmanager
def small_products(rows: int) -> Iterator[None]:
    """Take MKL's products inside, if they have few rows."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest" if rows < FEW else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
