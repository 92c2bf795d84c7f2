"""A controller that learns to use a large memory, of which a step reads and writes a few slots: sparse access memory.

With the input x, what the heads have read last r, units h, and for each head a key q, a value a, gates α and γ, and a
strength β, all told by h':

    h' = LSTM([x, h, r]),   q, a = tanh,  α, γ = σ,  β = softplus  of V h' + d
    M'_l = 0,   then   M' += v a,   v = α (γ w + (1 − γ) 1_l),   l the slot that was used least recently       (eq. 5)
    N = the k slots with the largest K(q, M'_i), the cosine,   w' = softmax over N of β K,   r' = Σ_{i ∈ N} w'_i M'_i

w are the weights of the head's last read, of which at most k are not 0. A slot is used where a weight v or w' is above
0.005. Each of several heads has an l of its own, and all write before any reads. The output is [h', r']. Rae et al.
(2016), Scaling memory-augmented neural networks with sparse reads and writes, section 3.

On a CPU the sequence is one operation, `lamina.modules.sam_sequence`: a step's cost does not depend on the number of
slots but for the search of N, which with `tables` is one in hash tables (`lamina.modules.sparse_memory`); and the
backward pass undoes the writes. Elsewhere the same runs in torch's operations, with the whole memory for each step.

Differs from the paper: what is empty is never read; the index is ours; keys and values are within ±1, as in the neural
Turing machine of this library.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from lamina.kernels import sam as kernel
from lamina.kernels.compiling import announced
from lamina.kernels.sparse_memory import NONE
from lamina.modules.addressing import similarity
from lamina.modules.cells import Cell, State, Step
from lamina.modules.recurrent import lstm, repeated
from lamina.modules.sam_sequence import SERIAL, Sequence, Slots, views
from lamina.modules.sparse_memory import CHAINS, FULL, directions


class SAM(Cell):
    """An LSTM with a sparse memory. Its output is that of the LSTM, and what the heads have read.

    The memory of a state is changed in place: a state can be gone on from once, and after a backward pass it is as it
    was before the sequence. Clone a state's parts to keep it.

    Args:
        inputs: size of what enters at a step.
        hidden: units of the LSTM.
        slots: of the memory.
        size: numbers in a slot.
        heads: each reads, and writes.
        nearest: k.
        tables: hash tables to search in; 0 looks at all slots.
        bits: directions of a table; so many that a bucket has about 16 slots if not given.

    Raises:
        ValueError: sizes that make no memory.
    """

    directions: Tensor

    def __init__(
        self,
        inputs: int,
        hidden: int = 100,
        slots: int = 128,
        size: int = 20,
        heads: int = 1,
        nearest: int = 4,
        tables: int = 0,
        bits: int | None = None,
    ) -> None:
        super().__init__(inputs, hidden + heads * size)
        bits = max(1, round(math.log2(max(slots, 1))) - FULL) if bits is None else bits
        if min(hidden, slots, size, heads, nearest) < 1 or tables < 0 or not 1 <= bits <= 30:
            raise ValueError(f"no memory of {slots} slots of {size}, {heads} heads, {nearest} nearest, {tables} tables")
        if max(heads, nearest) > slots:
            raise ValueError(f"{heads} heads that read {nearest} slots each need that many, got {slots}")
        self.hidden, self.slots, self.size, self.heads, self.nearest = hidden, slots, size, heads, nearest
        self.control = nn.Linear(inputs + self.width, 4 * hidden)
        self.head = nn.Linear(hidden, heads * (2 * size + 3))
        self.register_buffer("directions", directions(tables, bits, size))
        self.made, self.spare = 0, list[tuple[Tensor, Slots]]()

    def compiled(self) -> bool:
        """Return whether the sequence runs as one operation."""
        weight = self.head.weight
        known = weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.float64)
        return known and not torch.compiler.is_compiling()

    def initial(self, batch: int) -> State:
        heads = batch, self.heads, self.nearest
        places = torch.full(heads, NONE, device=self.head.weight.device)
        begin = self.zeros(batch, self.width), self.zeros(batch, self.hidden), self.zeros(*heads)
        if not self.compiled():
            stamps = torch.arange(-self.slots, 0, device=places.device).repeat(batch, 1)
            return *begin, self.zeros(batch, self.slots, self.size), places, stamps
        fit = self.spare and self.spare[-1][0].shape[0] == batch and self.spare[-1][0].dtype == begin[0].dtype
        memory, slots = self.spare.pop() if fit else self.empty(batch)
        self.made += 1
        slots.clock.fill_(self.made * SERIAL)
        return *begin, memory, places, *slots, slots.clock.clone()

    def empty(self, batch: int) -> tuple[Tensor, Slots]:
        """Return memories without content."""
        tables, bits, _ = self.directions.shape
        circle = torch.arange(self.slots + 1)
        order = torch.stack([circle.roll(1), circle.roll(-1)], 1).repeat(batch, 1, 1)
        first, chains = (
            torch.full((batch, *sizes), NONE, dtype=torch.int32)
            for sizes in ((tables, 2**bits), (self.slots, tables, len(CHAINS)))
        )
        slots = Slots(self.zeros(batch, self.slots), order, first, chains, torch.zeros(batch, dtype=torch.int64))
        return self.zeros(batch, self.slots, self.size), slots

    @torch.no_grad()
    def holding(self, rows: Float[Tensor, "batch slots size"]) -> State:
        """Return an initial state with a full memory; the first slots are those used least recently."""
        state = self.initial(len(rows))
        memory = state[3].copy_(rows)
        if self.compiled():
            slots, steps = Slots(*state[5:-1]), state[-1]
            with announced(kernel.fill, "the memory's kernel"):
                kernel.fill(*views(memory, slots.inverse, self.directions, slots.first, slots.chains))
            slots.clock.add_(1)
            steps.add_(1)
        return state

    def ready(self) -> Step:
        if self.compiled():
            return lambda x, state: self.unfold(x[None], state)[1]
        control, head = (repeated(layer.weight, layer.bias) for layer in (self.control, self.head))

        def step(x: Float[Tensor, "batch inputs"], state: State) -> State:
            output, c, weights, memory, places, stamps = state
            h, c = lstm(control(torch.cat([x, output], 1)), c)
            raw = head(h).to(memory.dtype).view(len(x), self.heads, -1)
            key, value = raw[..., : 2 * self.size].tanh().chunk(2, 2)
            gate, where = raw[..., 2 * self.size : -1].sigmoid().unbind(2)
            oldest = stamps.topk(self.heads, largest=False).indices
            slots = torch.cat([oldest[..., None], places], 2)
            amounts = gate[..., None] * torch.cat([1 - where[..., None], where[..., None] * weights], 2)
            memory = written(memory, oldest, slots, amounts, value)
            found, weights, places = nearest(memory, key, F.softplus(raw[..., -1]), self.nearest)
            order = [slots.flatten(1), places.flip(2).flatten(1)], [amounts.flatten(1), weights.flip(2).flatten(1)]
            stamps = used(stamps, *(torch.cat(parts, 1) for parts in order))
            return torch.cat([h, found.flatten(1)], 1), c, weights, memory, places, stamps

        return step

    def unfold(self, x: Float[Tensor, "time batch inputs"], state: State) -> tuple[Tensor, State]:
        if not self.compiled():
            return super().unfold(x, state)
        output, c, weights, memory, places, *parts, steps = state
        slots, learns = Slots(*parts), torch.is_grad_enabled()
        if not torch.equal(slots.clock, steps):
            raise ValueError("this state's memory was changed since; clone the parts of a state to go on from it again")
        if not memory.requires_grad:
            memory = memory.data  # the same numbers, so that the caller's tensor does not become part of this graph
        elif learns and (memory.is_leaf or memory._is_view()):
            memory = memory.clone()  # neither can be changed in place under autograd
        layers = self.control.weight, self.control.bias, self.head.weight, self.head.bias
        known = output, c, weights, memory, places, slots, self.directions, self.spare, learns
        with torch.autocast("cpu", enabled=False):
            outputs, *ends = Sequence.apply(x.to(memory.dtype), *layers, *known)  # type: ignore[no-untyped-call]
        return outputs, (outputs[-1], *ends, *slots, slots.clock.clone())


def written(
    memory: Float[Tensor, "batch slots size"],
    oldest: Int64[Tensor, "batch heads"],
    slots: Int64[Tensor, "batch heads written"],
    amounts: Float[Tensor, "batch heads written"],
    value: Float[Tensor, "batch heads size"],
) -> Float[Tensor, "batch slots size"]:
    """Return the memory after slots are erased, and values added by their amounts."""
    rows = (amounts[..., None] * value[:, :, None]).flatten(1, 2)
    memory = memory.scatter(1, oldest[..., None].expand(-1, -1, memory.shape[2]), 0.0)
    return memory.scatter_add(1, slots.flatten(1).clamp_min(0)[..., None].expand_as(rows), rows)


def nearest(
    memory: Float[Tensor, "batch slots size"],
    key: Float[Tensor, "batch heads size"],
    strength: Float[Tensor, "batch heads"],
    count: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the slots nearest to keys hold, by their weights, the weights, and the slots."""
    full = memory.square().sum(2) > 0
    likeness = similarity(memory.transpose(1, 2), key).masked_fill(~full[:, None], -math.inf)
    cosine, places = (part[..., :count] for part in likeness.sort(dim=2, descending=True, stable=True))
    there = cosine > -math.inf
    scores = strength[..., None] * cosine.where(there, torch.zeros_like(cosine))
    weights = scores.masked_fill(~there, -1e30).softmax(2) * there
    rows = memory.gather(1, places.flatten(1)[..., None].expand(-1, -1, memory.shape[2]))
    found = (weights[:, :, None] @ rows.view(*places.shape, -1)).squeeze(2)
    return found, weights, places.masked_fill(~there, NONE)


def used(
    stamps: Int64[Tensor, "batch slots"], slots: Int64[Tensor, "batch some"], amounts: Float[Tensor, "batch some"]
) -> Int64[Tensor, "batch slots"]:
    """Return the times of last use after slots are used one after the other, if their amount is enough."""
    times = stamps.amax(1, keepdim=True) + 1 + torch.arange(slots.shape[1], device=slots.device)
    times = times.masked_fill(amounts <= float(kernel.LEAST), torch.iinfo(torch.int64).min)
    return stamps.scatter_reduce(1, slots.clamp_min(0), times, "amax")
