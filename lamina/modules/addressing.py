"""Heads that address the slots of a memory by content and by place, read them, and write to them.

With the memory M before a step, of which M_i is slot i, and for each head a key k, a strength β, a gate g, weights s of
the shifts −S..S, a power γ, and the head's weights w before the step:

    c_i = softmax_i(β K(k, M_i)),   K(k, m) = k·m / √((|k|² + ε)(|m|² + ε))                             (eq. 5 and 6)
    u = g c + (1 − g) w,   v_i = Σ_j s_j u_{i−j},   w'_i = v_i^γ / Σ_l v_l^γ                               (eq. 7 to 9)
    r = Σ_i w'_i M_i   for a head that reads                                                                     (eq. 2)
    M'_i = M_i ∏_h (1 − w'_hi e_h) + Σ_h w'_hi a_h   over the heads h that write                           (eq. 3 and 4)

e erases and a adds. The shift is circular. A controller says all of it in numbers of any size, from which

    k = tanh,   β = softplus,   g = σ,   s = softmax,   γ = 1 + softplus,   e = σ,   a = tanh.

Nothing divides by zero: ε is that of K, and v_i^γ is exp(γ log(v_i + δ)), scaled by the largest. Weights begin on
the simplex and stay there. Graves, Wayne & Danihelka (2014), Neural Turing machines, section 3.

Differs from the paper: all heads see M as it is before the step, so that their order does not matter; the paper does
not say. k and a are within ±1 (Collier & Beel 2018, Implementing neural Turing machines, section 4).

A memory is (batch, width, slots): numbers of the same kind lie side by side, as the compiled loops want them.
"""

from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from lamina.kernels import addressing as kernel
from lamina.kernels.compiling import announced
from lamina.kernels.threads import in_threads

Memory = Float[Tensor, "batch width slots"]
Weights = Float[Tensor, "batch heads slots"]


class Heads(NamedTuple):
    """What the heads of a batch are told; erase and add have only those that write."""

    key: Float[Tensor, "batch heads width"]
    strength: Float[Tensor, "batch heads"]
    gate: Float[Tensor, "batch heads"]
    shift: Float[Tensor, "batch heads shifts"]
    power: Float[Tensor, "batch heads"]
    erase: Float[Tensor, "batch writes width"]
    add: Float[Tensor, "batch writes width"]


def numbers(width: int, reads: int, writes: int, shifts: int) -> int:
    """Return how many numbers tell the heads all."""
    return (reads + writes) * (width + 3 + shifts) + 2 * writes * width


def told(raw: Float[Tensor, "batch numbers"], heads: int, writes: int, width: int) -> Heads:
    """Return what a controller's numbers say: for each head k, β, g, γ and s, then for each that writes e and a."""
    own, written = raw.tensor_split([raw.shape[1] - 2 * writes * width], 1)
    own, written = own.reshape(len(raw), heads, -1), written.reshape(len(raw), writes, 2, width)
    key, strength, gate, power = own[..., :width], own[..., width], own[..., width + 1], own[..., width + 2]
    return Heads(
        key.tanh(),
        F.softplus(strength),
        gate.sigmoid(),
        own[..., width + 3 :].softmax(2),
        1 + F.softplus(power),
        written[:, :, 0].sigmoid(),
        written[:, :, 1].tanh(),
    )


def similarity(memory: Memory, key: Float[Tensor, "batch heads width"]) -> Weights:
    """Return K of each key and each slot: the cosine between them, and 0 if one is zero."""
    apart = (key.square().sum(2, keepdim=True) + kernel.EPSILON) * (memory.square().sum(1)[:, None] + kernel.EPSILON)
    return key @ memory * apart.rsqrt()


def shifted(weights: Weights, shift: Float[Tensor, "batch heads shifts"]) -> Weights:
    """Return weights moved around the circle of slots; the middle one of the shifts leaves them."""
    reach = shift.shape[2] // 2
    return torch.stack([weights.roll(j - reach, 2) * shift[..., j, None] for j in range(shift.shape[2])]).sum(0)


def sharpened(weights: Weights, power: Float[Tensor, "batch heads"]) -> Weights:
    """Return weights to a power, scaled to sum to one."""
    return (power[..., None] * (weights + kernel.DELTA).log()).softmax(2)


def addressed(memory: Memory, before: Weights, heads: Heads) -> Weights:
    """Return the heads' weights after those before."""
    content = (heads.strength[..., None] * similarity(memory, heads.key)).softmax(2)
    mixed = torch.lerp(before, content, heads.gate[..., None])
    return sharpened(shifted(mixed, heads.shift), heads.power)


def read(memory: Memory, weights: Weights) -> Float[Tensor, "batch heads width"]:
    """Return what each head reads."""
    return weights @ memory.transpose(1, 2)


def written(
    memory: Memory,
    weights: Float[Tensor, "batch writes slots"],
    erase: Float[Tensor, "batch writes width"],
    add: Float[Tensor, "batch writes width"],
) -> Memory:
    """Return the memory after all heads have erased, and then added."""
    for w, e in zip(weights.unbind(1), erase.unbind(1), strict=True):
        memory = memory * (1 - e[:, :, None] * w[:, None])
    return memory + add.transpose(1, 2) @ weights


def plain(
    raw: Float[Tensor, "batch numbers"], before: Weights, memory: Memory, reads: int
) -> tuple[Float[Tensor, "batch reads width"], Weights, Memory]:
    """Do what `step` does, by torch's operations."""
    heads = told(raw, before.shape[1], before.shape[1] - reads, memory.shape[1])
    weights = addressed(memory, before, heads)
    found, pens = weights[:, :reads], weights[:, reads:]
    return read(memory, found), weights, written(memory, pens, heads.erase, heads.add)


def step(
    raw: Float[Tensor, "batch numbers"], before: Weights, memory: Memory, reads: int
) -> tuple[Float[Tensor, "batch reads width"], Weights, Memory]:
    """Return what is read, the heads' weights and the memory after a step.

    On a CPU in float32 it runs in the compiled kernel of `lamina.kernels.addressing`, else in plain operations.

    Args:
        raw: numbers of the controller, as `told` reads them.
        before: weights of the heads before the step, those that read first.
        memory: before the step.
        reads: how many heads read.
    """
    raw = raw.to(memory.dtype)  # under autocast too, so that what is remembered is not rounded
    fit = all(t.device.type == "cpu" and t.dtype == torch.float32 for t in (raw, before, memory))
    if not fit or torch.compiler.is_compiling():
        return plain(raw, before, memory, reads)
    found: tuple[Tensor, Tensor, Tensor] = Step.apply(raw, before, memory, reads)  # type: ignore[no-untyped-call]
    return found


class Step(torch.autograd.Function):
    """A step of all heads in the compiled kernel."""

    @staticmethod
    def forward(ctx: Any, raw: Tensor, before: Tensor, memory: Tensor, reads: int) -> tuple[Tensor, Tensor, Tensor]:
        raw, before, memory = (tensor.contiguous() for tensor in (raw, before, memory))
        batch, heads, slots = before.shape
        found = memory.new_empty(batch, reads, memory.shape[1])
        weights, after, act = (torch.empty_like(tensor) for tensor in (before, memory, raw))
        kept = memory.new_empty(batch, kernel.KEPT * heads + 1, slots)
        with telling(kernel.forward):
            run(kernel.forward, *arrays(raw, before, memory, act, kept, found, weights, after))
        ctx.save_for_backward(before, memory, act, kept, weights)
        return found, weights, after

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        before, memory, act, kept, weights = ctx.saved_tensors
        slopes = [torch.empty_like(tensor) for tensor in (act, before, memory)]
        known = (before, memory, act, kept, weights, *(slope.contiguous() for slope in given))
        with telling(kernel.backward):
            run(kernel.backward, *arrays(*known, *slopes))
        return (*slopes, None)


def arrays(*tensors: Tensor) -> list[NDArray[np.float32]]:
    """Return what a kernel takes: NumPy's view of each tensor."""
    return [tensor.detach().numpy() for tensor in tensors]


def run(compiled: Any, *given: NDArray[np.float32]) -> None:
    """Run a kernel on the rows of a batch."""
    in_threads(len(given[0]), lambda rows: compiled(*(array[rows] for array in given)))


def telling(compiled: Any) -> AbstractContextManager[None]:
    """Return a context that says so if a kernel is compiled in it."""
    return announced(compiled, "the memory's kernel")
