"""Cross-entropy of a linear layer over a large vocabulary, without storing what it gives for all rows.

    logits = h Wᵀ + b,   p = softmax(logits),   nll = −mean of log p[y]
    d = (p − onehot(y)) / rows,   dh = d W,   dW = dᵀ h,   db = Σ d

Autograd writes the logits of all rows, their log-softmax and its gradient, each (rows, vocabulary). Here a chunk of
rows is taken at a time, the gradient is made in the forward pass in the memory of the chunk's logits, and the next
chunk has that memory again.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

LARGE = 1000  # from this vocabulary on; for fewer symbols the plain layer is as quick
CHUNK = 1 << 22  # logits at a time: 16 MB, which the allocator of Linux keeps at hand


def linear_cross_entropy(
    h: Float[Tensor, "rows hidden"],
    weight: Float[Tensor, "vocabulary hidden"],
    bias: Float[Tensor, " vocabulary"],
    targets: Int[Tensor, " rows"],
) -> Float[Tensor, ""]:
    """Return the mean of −log p of the targets in nats."""
    plain = torch.compiler.is_compiling() or torch.is_autocast_enabled(h.device.type) or len(weight) < LARGE
    if plain or not torch.is_grad_enabled():
        return F.cross_entropy(F.linear(h, weight, bias), targets)
    nll: Tensor = Chunked.apply(h, weight, bias, targets)  # type: ignore[no-untyped-call]
    return nll


class Chunked(torch.autograd.Function):
    """The loss, with its gradient made on the way."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
        rows, vocabulary = len(h), len(weight)
        size = max(1, min(rows, CHUNK // vocabulary))
        memory, total = h.new_empty(size, vocabulary), h.new_zeros(())
        dh, dw, db = torch.empty_like(h), torch.empty_like(weight), torch.zeros_like(bias)
        chunks = zip(*(torch.split(part, size) for part in (h, targets[:, None], dh)), strict=True)
        for k, (x, y, dx) in enumerate(chunks):
            logits = torch.addmm(bias, x, weight.t(), out=memory[: len(x)])
            largest, told = logits.amax(1, keepdim=True), logits.gather(1, y)
            p = torch.softmax(logits, 1, out=logits)
            total += (largest - p.amax(1, keepdim=True).log() - told).sum()  # log Σ exp − logit
            p.scatter_add_(1, y, p.new_full((1, 1), -1.0).expand(len(x), 1))
            torch.mm(p, weight, out=dx)
            dw.addmm_(p.t(), x, beta=min(k, 1))
            db += p.sum(0)
        ctx.save_for_backward(dh, dw, db)
        ctx.rows = rows
        return total / rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        dh, dw, db = ctx.saved_tensors
        scale = slope / ctx.rows
        return dh * scale, dw * scale, db * scale, None
