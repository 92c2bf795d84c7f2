"""A controller with a sparse memory over a whole sequence as one operation, which rolls the memory back.

Forward, the memory is changed in place, and what each step replaced is kept: T steps take O(T k size) beside the one
memory, where autograd would keep T of it. Backward, each step is undone before the one before it is looked at, so that
the memory is in the end, bit for bit, as before the sequence. Gradients of the memory are kept for the slots that the
sequence touches. Rae et al. (2016), Scaling memory-augmented neural networks with sparse reads and writes, section 3.4.

The step of `lamina.modules.sam`, in torch's operations with the whole memory for each step, is the oracle.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable

from lamina.kernels import lstm
from lamina.kernels import sam as kernel
from lamina.kernels.threads import in_threads
from lamina.modules import recurrent
from lamina.modules.addressing import telling
from lamina.modules.ntm_sequence import begun, small_products

SERIAL = 2**32  # the clocks of states that begin one after the other are so far apart


class Slots(NamedTuple):
    """What goes with a batch of memories, and is changed in place with them."""

    inverse: Float[Tensor, "batch slots"]
    order: Int64[Tensor, "batch circle 2"]
    first: Tensor
    chains: Tensor
    clock: Int64[Tensor, " batch"]


class Sequence(torch.autograd.Function):
    """From x, weights and biases, and the state before, to all outputs and the other parts of the last state."""

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
        weights: Float[Tensor, "batch heads nearest"],
        memory: Float[Tensor, "batch slots size"],
        places: Int64[Tensor, "batch heads nearest"],
        slots: Slots,
        directions: Float[Tensor, "tables bits size"],
        spare: list[tuple[Tensor, Slots]],
        learns: bool,
    ) -> tuple[Tensor, ...]:
        spare[:] = [each for each in spare if each[1].clock.data_ptr() != slots.clock.data_ptr()]  # it is in use
        ctx.fresh = not (slots.clock % SERIAL).any()
        steps, keep, (batch, heads, nearest) = len(x), len(x) if learns else 1, places.shape
        size, single = memory.shape[2], memory.dtype == torch.float32
        ctx.parts = x.shape[2], c.shape[1], heads * size
        enter, own, back = torch.split(W, ctx.parts, 1)
        h, r = (begun(part.contiguous(), steps) for part in torch.split(output, [c.shape[1], heads * size], 1))
        c, w = (begun(part, keep) for part in (c, weights))
        p = torch.cat([places[None], places.new_empty(keep, *places.shape)])
        a = torch.addmm(b, x.flatten(0, 1), enter.t()).view(steps, batch, -1)
        gates, squashed = (x.new_empty(keep, *part.shape[1:]) for part in (a, c))
        act, cosine = x.new_empty(keep, batch, heads, len(d) // heads), torch.empty_like(w[1:])
        oldest, moved = (p.new_empty(keep, batch, heads, *rest) for rest in ((), (2 * nearest + 1,)))
        old = x.new_empty(keep, batch, heads, nearest + 1, size)
        shared, ways = views(directions), views(memory, *slots[:-1])
        Act, P, Wn, Oldest, Old, Moved, Cos, R = views(act, p, w, oldest, old, moved, cosine, r)
        R = R.reshape(steps + 1, batch, heads, size)
        gate = lstm.forward if single else recurrent.forward
        with telling(kernel.forward), small_products(batch):
            for t in range(steps):
                k, before, after = t % keep, t % (keep + 1), (t + 1) % (keep + 1)
                a[t].addmm_(r[t], back.t()).addmm_(h[t], own.t())
                gate(*recurrent.arrays(single, a[t], c[before], gates[k], c[after], squashed[k], h[t + 1]))
                act[k] = torch.addmm(d, h[t + 1], V.t()).view(act.shape[1:])
                squash(act[k], size)
                step = Oldest[k], Old[k], Moved[k], P[after], Cos[k], Wn[after], R[t + 1]
                run(kernel.forward, shared, (Act[k], P[before], Wn[before], *ways, *step))
        slots.clock.add_(steps)
        ctx.save_for_backward(x, W, V)
        ctx.traces = h, r, c, w, p, gates, squashed, act, cosine, oldest, old, moved
        ctx.memory, ctx.slots, ctx.end = memory.data, slots, slots.clock.clone()
        ctx.directions, ctx.spare = directions, spare
        ctx.mark_dirty(memory)
        ctx.set_materialize_grads(False)
        last = steps % (keep + 1)
        seen = p[last].clone()
        ctx.mark_non_differentiable(seen)
        return torch.cat([h[1:], r[1:]], 2), c[last].clone(), w[last].clone(), memory, seen

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, douts: Tensor | None, dc: Tensor | None, dw: Tensor | None, dM: Tensor | None, _: None
    ) -> tuple[Tensor | None, ...]:
        x, W, V = ctx.saved_tensors
        h, r, c, w, p, gates, squashed, act, cosine, oldest, old, moved = ctx.traces
        if not torch.equal(ctx.slots.clock, ctx.end):
            raise RuntimeError("the memory is not as the sequence left it: go back through a sequence before another")
        enter, own, back = torch.split(W, ctx.parts, 1)
        single, size = ctx.memory.dtype == torch.float32, ctx.memory.shape[2]
        douts = h.new_zeros(len(x), x.shape[1], sum(ctx.parts[1:])) if douts is None else douts
        dh, dr = (F.pad(part, (0, 0, 0, 0, 1, 0)) for part in torch.split(douts, ctx.parts[1:], 2))
        da, draw = torch.empty_like(gates), torch.empty_like(act)
        ends = [torch.zeros_like(part[0]) if end is None else end for part, end in ((c, dc), (w, dw))]
        dcs, dws = (torch.stack([end, end]) for end in ends)  # after a step, and before it, in turns
        touched, rows, oldest_rows = compact(p, oldest, ctx.memory.shape[1])
        slopes = ctx.memory.new_zeros(len(touched), size) if dM is None else dM.flatten(0, 1)[touched]
        shared, ways = views(ctx.directions, slopes), views(ctx.memory, *ctx.slots[:-1])
        Act, P, Wn, Oldest, Old, Moved, Cos = views(act, p, w, oldest, old, moved, cosine)
        Rows, Olds, dR, dWs, N = views(rows, oldest_rows, dr, dws, draw)
        dR = dR.reshape(*r.shape[:2], -1, size)
        gate = lstm.backward if single else recurrent.backward
        with telling(kernel.backward), small_products(x.shape[1]):
            for t in reversed(range(len(x))):
                new, before = (t + 1) % 2, t % 2
                given = Act[t], P[t], Wn[t], *ways, Oldest[t], Old[t], Moved[t], P[t + 1], Cos[t], Wn[t + 1]
                known = Rows[t], Olds[t], Rows[t + 1], dR[t + 1], dWs[new], dWs[before], N[t]
                run(kernel.backward, shared, (*given, *known))
                dh[t + 1].addmm_(draw[t].flatten(1), V)
                cell = dh[t + 1], dcs[new], gates[t], c[t], squashed[t], da[t], dcs[before]
                gate(*recurrent.arrays(single, *cell))
                dh[t].addmm_(da[t], own)
                dr[t].addmm_(da[t], back)
        ctx.slots.clock.sub_(len(x))
        if ctx.fresh:  # it is empty again
            ctx.spare[:] = [(ctx.memory, ctx.slots)]
        if ctx.needs_input_grad[8]:
            dM = torch.zeros_like(ctx.memory) if dM is None else dM.clone(memory_format=torch.contiguous_format)
            dM.view(-1, size)[touched] = slopes
        flat, told = da.flatten(0, 1), draw.flatten(2).flatten(0, 1)
        return (
            (flat @ enter).view_as(x) if ctx.needs_input_grad[0] else None,
            torch.cat([flat.t() @ part.flatten(0, 1) for part in (x, h[:-1], r[:-1])], 1),
            flat.sum(0),
            told.t() @ h[1:].flatten(0, 1),
            told.sum(0),
            torch.cat([dh[0], dr[0]], 1),
            dcs[0],
            dws[0],
            dM if ctx.needs_input_grad[8] else None,
            *(None,) * 5,
        )


def squash(raw: Float[Tensor, "batch heads numbers"], size: int) -> None:
    """Turn a controller's numbers into keys and values within ±1, two gates and a strength for each head, in place."""
    raw[..., : 2 * size].tanh_()
    raw[..., 2 * size : -1].sigmoid_()
    raw[..., -1] = F.softplus(raw[..., -1])


def compact(
    places: Int64[Tensor, "states batch heads nearest"], oldest: Int64[Tensor, "time batch heads"], slots: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the slots of the batch's memories that a sequence touches, and what number each has among them."""
    begin = slots * torch.arange(places.shape[1])[:, None]
    every = (places.clamp_min(0) + begin[..., None]).flatten(), (oldest + begin).flatten()
    touched, rows = torch.unique(torch.cat(every), return_inverse=True)
    return touched, rows[: places.numel()].view_as(places), rows[places.numel() :].view_as(oldest)


def views(*tensors: Tensor) -> list[Any]:
    """Return what a kernel takes: NumPy's view of each tensor, of whatever type."""
    return [tensor.detach().numpy() for tensor in tensors]


def run(compiled: Any, shared: Any, given: Any) -> None:
    """Run a kernel on the rows of a batch, with what all of them share."""
    in_threads(len(given[0]), lambda rows: compiled(*shared, *(array[rows] for array in given)))
