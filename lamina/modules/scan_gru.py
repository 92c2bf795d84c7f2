"""A layer of gated recurrent units over a whole sequence, with a backward pass of its own.

    w = U h + c;   r, z = sigmoid(p_rz + w_rz);   n = tanh(p_n + r w_n);   h' = (1 − z) n + z h
    e' = ∂E/∂h':   δ_z = e' (h − n) z (1 − z),  δ_n = e' (1 − z)(1 − n²),  δ_r = δ_n w_n r (1 − r)
    ∂E/∂p = (δ_r, δ_z, δ_n),   ∂E/∂w = (δ_r, δ_z, r δ_n),   e = g + z e' + Uᵀ ∂E/∂w

g is what E depends on h by itself. What does not depend on e' is computed for all steps at once, and so are the
gradients of U and c. Cho et al. (2014), with the reset gate after the product, as in torch's layer.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from lamina.modules.scan import small_products, weight


class ScanGRU(torch.autograd.Function):
    """From p, h_0, U and c to the h of all steps; r, z and n are in the memory of p."""

    @staticmethod
    @small_products()
    def forward(ctx: Any, prepared: Tensor, begin: Tensor, across: Tensor, bias: Tensor) -> Tensor:
        batch, hidden = begin.shape
        h, held = prepared.new_empty(len(prepared), batch, hidden), prepared.new_empty(len(prepared), batch, hidden)
        w, gates = prepared.new_empty(batch, 3 * hidden), 2 * hidden
        w_rz, w_n = w[:, :gates], w[:, gates:]
        transposed, before = across.t(), begin
        parts = (prepared[..., :gates], prepared[..., :hidden], prepared[..., hidden:gates], prepared[..., gates:])
        for rz, r, z, n, kept, after in zip(*(part.unbind(0) for part in (*parts, held, h)), strict=True):
            torch.addmm(bias, before, transposed, out=w)
            rz.add_(w_rz).sigmoid_()
            n.addcmul_(r, kept.copy_(w_n)).tanh_()
            before = torch.lerp(n, before, z, out=after)
        ctx.save_for_backward(h, held, prepared, begin, across)
        return h

    @staticmethod
    @once_differentiable
    @small_products()
    def backward(ctx: Any, direct: Tensor) -> tuple[Tensor, ...]:
        h, held, gates, begin, across = ctx.saved_tensors
        time, batch, hidden = h.shape
        r, z, n = gates.split(hidden, 2)
        blocks = h.new_empty(time, batch, 4, hidden)  # ∂E/∂w_n, then ∂E/∂p; first as what e' is multiplied by
        to_w, to_r, to_z, to_n = blocks.unbind(2)
        torch.mul(n, n, out=to_n).neg_().add_(1).mul_(1 - z)
        torch.mul(r, to_n, out=to_w)
        torch.mul(to_w, held, out=to_r).mul_(1 - r)
        torch.sub(h[:-1], n[1:], out=to_z[1:])
        torch.sub(begin, n[0], out=to_z[0])
        to_z.mul_(z).mul_(1 - z)
        flat, turned = blocks.flatten(2), across.roll(hidden, 0)  # in the order of blocks
        deltas = flat[..., : 3 * hidden]  # ∂E/∂w
        e, spare = torch.zeros_like(begin), torch.empty_like(begin)
        for g, z_t, block, delta in zip(
            *(reversed(part.unbind(0)) for part in (direct, z, blocks, deltas)), strict=True
        ):
            block.mul_(e.add_(g)[:, None])
            torch.mul(e, z_t, out=spare).addmm_(delta, turned)
            e, spare = spare, e
        wide = weight(deltas, begin, h).roll(-hidden, 0)
        return flat[..., hidden:], e, wide, deltas.sum((0, 1)).roll(-hidden, 0)


def scan_gru(
    prepared: Float[Tensor, "time batch gates"],
    begin: Float[Tensor, "batch hidden"],
    across: Float[Tensor, "gates hidden"],
    bias: Float[Tensor, " gates"],
) -> Float[Tensor, "time batch hidden"]:
    """Return h of all steps; see the top of this file.

    Args:
        prepared: p, of r, z and n; its memory is taken.
        begin: h_0.
        across: U.
        bias: c.
    """
    out: Tensor = ScanGRU.apply(prepared, begin, across, bias)  # type: ignore[no-untyped-call]
    return out
