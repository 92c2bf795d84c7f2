"""End-to-end memory network as a language model: it looks at the symbols before, hop after hop, to tell the next one.

With the N symbols before, x_1 the last of them, and a first u of 0.1 throughout:

    each hop   p_i = softmax(u · (A x_i + T_A(i)))       o = Σ_i p_i (C x_i + T_C(i))       u ← r(H u + o)
    told       p(next) = softmax(W u)

A, C, H and the vectors of the times T are those of all hops; r is max(0, ·) for one half of the numbers, and leaves the
others. Nothing goes on from symbol to symbol but the symbols themselves.

The scores of all places of a window are one product of matrices, of which the band that each place may look at is cut.

Sukhbaatar, Szlam, Weston & Fergus (2015), End-to-end memory networks, section 5.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lamina.core import System, Terms
from lamina.systems.language.model import LanguageModel, begun, cross_entropy

SCALE = 0.05  # standard deviation of the first weights (section 5)
FIRST = 0.1  # each number of the first u (section 5)


class MemoryLM(LanguageModel):
    """A memory network that tells the next symbol of a text.

    `sample`, `score` and `metrics` are those of `LanguageModel`; the state is the symbols before.

    Args:
        vocabulary: number of symbols.
        hidden: numbers of each vector.
        hops: looks at the symbols before.
        memory: N, how many these are.
        rows: the most rows of a training batch; the symbols before each are kept from batch to batch.

    Raises:
        ValueError: a size below one.
    """

    def __init__(self, vocabulary: int, hidden: int = 150, hops: int = 6, memory: int = 100, rows: int = 64) -> None:
        System.__init__(self)  # a language model without its recurrent layers
        sizes = {"vocabulary": vocabulary, "hidden": hidden, "hops": hops, "memory": memory, "rows": rows}
        if small := [name for name, size in sizes.items() if size < 1]:
            raise ValueError(f"{small[0]} must be at least 1, got {sizes[small[0]]}")
        self.vocabulary, self.hidden, self.hops, self.memory = vocabulary, hidden, hops, memory

        def weights(*shape: int) -> nn.Parameter:
            return nn.Parameter(SCALE * torch.randn(shape))

        self.A, self.C, self.W = (weights(vocabulary, hidden) for _ in range(3))
        self.T_A, self.T_C = weights(memory, hidden), weights(memory, hidden)
        self.H = weights(hidden, hidden)
        self.state: Tensor  # the symbols before, the oldest first, counted from 1; 0 is none
        self.register_buffer("state", torch.zeros(1, 1, rows, memory))
        self.held: Tensor | None = None

    def loss(
        self, tokens: Int[Tensor, "rows time"], targets: Int[Tensor, "rows time"], fresh: Bool[Tensor, " rows"]
    ) -> Terms:
        """Return the cross-entropy in nats per symbol, and keep the rows' last symbols for the windows that follow.

        Raises:
            ValueError: more rows than the model keeps symbols of.
        """
        rows = len(tokens)
        if rows > self.state.shape[2]:
            raise ValueError(f"a batch of {rows} rows for a model that keeps the state of {self.state.shape[2]}")
        logits, self.state[:, :, :rows] = self.following(tokens, begun(self.state[:, :, :rows], fresh))
        return {"nll": cross_entropy(logits, targets)}

    def following(
        self, tokens: Int[Tensor, "rows time"], state: Float[Tensor, "1 1 rows memory"]
    ) -> tuple[Float[Tensor, "rows time vocabulary"], Float[Tensor, "1 1 rows memory"]]:
        """Return the logits of the symbol after each of `tokens`, and the state to go on with."""
        time, memory = tokens.shape[1], self.memory
        past = torch.cat([state[0, 0].long(), tokens + 1], 1)  # the symbols before, and the window
        there = past > 0
        a, c = (F.embedding((past - 1).clamp(min=0), table) for table in (self.A, self.C))
        seen = band(there[:, None].expand(-1, time, -1).to(a), memory) > 0
        u = a.new_full((*tokens.shape, self.hidden), FIRST)
        for _ in range(self.hops):
            scores = band(u @ a.mT, memory) + u @ self.T_A.flip(0).mT
            p = scores.masked_fill(~seen, torch.finfo(scores.dtype).min).softmax(2)
            o = spread(p) @ c + p @ self.T_C.flip(0)
            u = u @ self.H.mT + o
            half = self.hidden // 2
            u = torch.cat([u[..., :half].relu(), u[..., half:]], 2)
        return u @ self.W.mT, past[:, -memory:].to(state)[None, None]


def band(scores: Float[Tensor, "rows time past"], memory: int) -> Float[Tensor, "rows time {memory}"]:
    """Return, of place t of a window, the scores of the `memory` symbols that end with its own: t + 1 to t + memory."""
    rows, time, past = scores.shape
    skewed = F.pad(scores.flatten(1), (0, time)).view(rows, time, past + 1)  # row t goes to the left by t
    return skewed[:, :, 1 : memory + 1]


def spread(p: Float[Tensor, "rows time memory"]) -> Float[Tensor, "rows time past"]:
    """Return a band at its places among all symbols, with zeros elsewhere; what `band` undoes."""
    rows, time, memory = p.shape
    return F.pad(p, (1, time)).flatten(1)[:, :-time].view(rows, time, memory + time)
