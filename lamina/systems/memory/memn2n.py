"""End-to-end memory network: answers a question about a story by attending to its statements, hop after hop.

With the words x_1 ... x_J of a statement, as vectors of one 1, and its time t, counted back from the question:

    input memory   m_i = Σ_j l_j ⊙ A x_ij + T_A(t_i)         output memory   c_i = Σ_j l_j ⊙ C x_ij + T_C(t_i)
    question       u = Σ_j l_j ⊙ B q_j
    each hop       p = softmax(m u)       o = Σ_i p_i c_i    u ← u + o
    answer         softmax(W u)

Position encoding makes the order of words count: l_kj = 1 + 4 (k − (d+1)/2) (j − (J+1)/2) / (d J) for the k-th of d
numbers, with the J of the longest sentence; a bag of words has l = 1. Weights of several hops are tied:

    adjacent     A of a hop is C of the hop before, B is the first A, Wᵀ the last C; so are the times
    layer-wise   one A and one C for all hops, and u ← H u + o with a matrix H

Linear start trains at first without the softmax, p = m u. Random noise adds up to a tenth of blank times while
training, so that the time of a statement is its place or a little more. No word has the vector zero, and is never an
answer.

Sukhbaatar, Szlam, Weston & Fergus (2015), End-to-end memory networks, sections 2 to 4, and the authors' program.

`lamina.kernels.hops` computes loss and gradient of a batch in one compiled pass; on a GPU torch does.

Differs from the paper: l is about twice the paper's, and places in memory without a statement take part in the softmax,
with a score of 0, so that a hop can attend to nothing; both as in the program. Times are not weighted by l.
"""

import math
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from lamina.core import System, Terms
from lamina.kernels import hops as kernel
from lamina.kernels.compiling import announced, compiled
from lamina.kernels.threads import in_threads

SCALE = 0.1  # standard deviation of the first weights (section 4.2)


class MemN2N(System):
    """A memory network that is trained by answers alone.

    Args:
        vocabulary: number of symbols; 0 is no word, and never an answer.
        memory: statements that are looked at, the last ones.
        words: J, of the longest sentence.
        hidden: d, numbers of each vector.
        hops: looks at the memory.
        tying: of the weights.
        encoding: of the order of words.
        blank: whether places without a statement take part in the softmax, up to `memory`.
        noise: share of blank times while training.

    Raises:
        ValueError: a size below one.
    """

    new_words = False  # all of them are symbol 1

    def __init__(
        self,
        vocabulary: int,
        memory: int,
        words: int,
        hidden: int = 20,
        hops: int = 3,
        tying: Literal["adjacent", "layerwise"] = "adjacent",
        encoding: Literal["position", "bag"] = "position",
        blank: bool = True,
        noise: float = 0.1,
    ) -> None:
        super().__init__()
        sizes = {"vocabulary": vocabulary, "memory": memory, "words": words, "hidden": hidden, "hops": hops}
        if bad := [f"{size} {name}" for name, size in sizes.items() if size < 1]:
            raise ValueError(f"a memory network needs at least 1 of each size, got {', '.join(bad)}")
        if noise < 0:
            raise ValueError(f"the share of blank times must be at least 0, got {noise}")
        self.hidden, self.hops, self.noise = hidden, hops, noise
        self.room = memory if blank else 0  # places that take part in the softmax
        adjacent = tying == "adjacent"
        self.memories = hops + 1 if adjacent else 2  # tables that the memories are read through
        self.asks, self.tells = (0, hops) if adjacent else (2, 3)  # tables of the question and of the answer
        self.reads = [(hop, hop + 1) if adjacent else (0, 1) for hop in range(hops)]  # tables of m and c
        self.words = nn.Parameter(SCALE * torch.randn(vocabulary, max(self.memories, self.tells + 1), hidden))
        self.times = nn.Parameter(SCALE * torch.randn(memory, self.memories, hidden))
        self.H = None if adjacent else nn.Parameter(SCALE * torch.randn(hidden, hidden))
        with torch.no_grad():
            self.words[0] = 0
        self.middle, self.steep = (words + 1) / 2, 4 / (hidden * words) * (encoding == "position")
        self.slope: Float[Tensor, " hidden"]
        self.register_buffer("slope", torch.arange(1, hidden + 1) - (hidden + 1) / 2, persistent=False)

    def bag(
        self, sentences: Int64[Tensor, "sentences words"], tables: Float[Tensor, "vocabulary tables hidden"]
    ) -> Float[Tensor, "sentences tables hidden"]:
        """Return Σ_j l_j ⊙ E x_j of each sentence, for each table E.

        As l_kj = 1 + s_k r_j, with s_k = k − (d+1)/2, it is Σ_j E x_j + s ⊙ Σ_j r_j E x_j.
        """
        flat, shape = tables.flatten(1), (len(sentences), *tables.shape[1:])
        plain = F.embedding_bag(sentences, flat, mode="sum", padding_idx=0)
        if not self.steep:
            return plain.view(shape)
        place = torch.arange(1, sentences.shape[1] + 1, device=sentences.device, dtype=flat.dtype)
        place = self.steep * (place - self.middle)
        placed = F.embedding_bag(
            sentences, flat, mode="sum", padding_idx=0, per_sample_weights=place.expand(sentences.shape)
        )
        return plain.view(shape) + self.slope * placed.view(shape)

    def ages(self, there: Bool[Tensor, "batch memory"]) -> Int64[Tensor, "batch memory"]:
        """Return the time of each statement: its place, and while training that and the number of blanks before it."""
        batch, memory = there.shape
        place = torch.arange(memory, device=there.device).expand(batch, -1)
        if not self.training or not self.noise:
            return place.clamp(max=len(self.times) - 1)
        slots = memory + math.ceil(memory * self.noise)
        if compiled(self.words):
            ages = torch.empty(batch, memory, dtype=torch.int64)
            kernel.jitter(there.sum(1).numpy(), torch.rand(batch, 1 + slots).numpy(), self.noise, ages.numpy())
            return ages.clamp_(max=len(self.times) - 1)
        count = there.sum(1, keepdim=True)
        blanks = (torch.rand(batch, 1, device=there.device) * ((count * self.noise).ceil() + 1)).long()
        keys = torch.rand(batch, slots, device=there.device)
        keys.masked_fill_(torch.arange(slots, device=there.device) >= count + blanks, 2.0)
        taken = keys >= keys.sort(1).values.gather(1, blanks)  # all but the `blanks` smallest keys
        return torch.searchsorted(taken.cumsum(1), place + 1).clamp(max=len(self.times) - 1)

    def attend(
        self,
        story: Int64[Tensor, "batch memory words"],
        question: Int64[Tensor, "batch asked"],
        ages: Int64[Tensor, "batch memory"],
        linear: bool = False,
    ) -> tuple[Float[Tensor, "batch vocabulary"], Float[Tensor, "batch hops memory"]]:
        """Return logits of the answer, and how much each hop attends to each statement."""
        there = story[:, :, :1] != 0
        seen = self.bag(story.flatten(0, 1), self.words[:, : self.memories])
        cells = (seen.view(*ages.shape, self.memories, -1) + self.times[ages]) * there[..., None]
        u = self.bag(question, self.words[:, self.asks : self.asks + 1])[:, 0, :, None]
        blanks = (self.room - there.sum(1, keepdim=True)).clamp(min=0).to(cells).log()
        told = []
        for m, c in self.reads:
            scores = cells[:, :, m] @ u
            if linear:
                p = scores * there
            else:
                scores = scores.masked_fill(~there, torch.finfo(scores.dtype).min)
                p = torch.cat([scores, blanks], 1).softmax(1)[:, :-1] * there
            told.append(p)
            u = (u if self.H is None else self.H @ u) + cells[:, :, c].mT @ p
        logits = u.squeeze(2) @ self.words[:, self.tells].mT
        never = torch.arange(len(self.words), device=logits.device) == 0
        return logits.masked_fill(never, -torch.inf), torch.cat(told, 2).mT

    def logits(
        self, story: Int64[Tensor, "batch told words"], question: Int64[Tensor, "batch asked"]
    ) -> Float[Tensor, "batch vocabulary"]:
        """Return logits of the answer."""
        story = story[:, : len(self.times)]
        return self.attend(story, question, self.ages(story[:, :, 0] != 0))[0]

    def learn(
        self,
        story: Int64[Tensor, "batch told words"],
        question: Int64[Tensor, "batch asked"],
        y: Int64[Tensor, " batch"],
        linear: bool = False,
    ) -> Float[Tensor, ""]:
        """Return the nats that the answer takes, from the compiled kernel where there is one."""
        story = story[:, : len(self.times)]
        ages = self.ages(story[:, :, 0] != 0)
        if not compiled(self.words):
            return F.cross_entropy(self.attend(story, question, ages, linear)[0], y)
        H = self.words.new_empty(0, 0) if self.H is None else self.H
        return Learn.apply(self, linear, story, question, y, ages, self.words, self.times, H)  # type: ignore[no-any-return, no-untyped-call]

    def loss(
        self,
        story: Int64[Tensor, "batch told words"],
        question: Int64[Tensor, "batch asked"],
        y: Int64[Tensor, " batch"],
    ) -> Terms:
        """Return the nats that the answer takes."""
        return {"nll": self.learn(story, question, y)}

    def metrics(
        self,
        story: Int64[Tensor, "batch told words"],
        question: Int64[Tensor, "batch asked"],
        y: Int64[Tensor, " batch"],
    ) -> Terms:
        """Return the share of wrong answers, and the nats that the answer takes."""
        logits = self.logits(story, question)
        return {"error": (logits.argmax(1) != y).float().mean(), "nll": F.cross_entropy(logits, y)}

    @torch.no_grad()
    def answer(
        self, story: Int64[Tensor, "batch told words"], question: Int64[Tensor, "batch asked"]
    ) -> tuple[Float[Tensor, "batch vocabulary"], Float[Tensor, "batch hops memory"]]:
        """Return the probability of each symbol, and how much each hop attends to each of the last statements."""
        story = story[:, : len(self.times)]
        logits, attention = self.attend(story, question, self.ages(story[:, :, 0] != 0))
        return logits.softmax(1), attention


class LinearStart(System):
    """A memory network without its softmax over statements, to begin the training with.

    Args:
        net: that is trained.
    """

    def __init__(self, net: MemN2N) -> None:
        super().__init__()
        self.net = net

    def loss(
        self,
        story: Int64[Tensor, "batch told words"],
        question: Int64[Tensor, "batch asked"],
        y: Int64[Tensor, " batch"],
    ) -> Terms:
        """Return the nats that the answer takes."""
        return {"nll": self.net.learn(story, question, y, linear=True)}


class Learn(torch.autograd.Function):
    """The mean of −log p(y) over a batch; its gradient is computed at once, by the compiled kernel."""

    @staticmethod
    def forward(ctx: Any, net: MemN2N, linear: bool, *given: Tensor) -> Tensor:
        *fields, words, times, H = given
        weights, d, count = (words, times, H), net.hidden, len(fields[0])
        sizes = [weight.numel() for weight in weights]
        reads = np.array(net.reads) * d
        form: list[Any] = [
            reads,
            net.asks * d,
            net.tells * d,
            net.slope.numpy(),
            net.middle,
            net.steep,
            net.room,
            linear,
        ]
        plain = [words.flatten(1).numpy(), times.flatten(1).numpy(), H.numpy()]

        def work(part: slice) -> tuple[float, Tensor]:
            flat = words.new_zeros(sum(sizes))
            made = zip(torch.split(flat, sizes), plain, strict=True)
            gradients = [gradient.numpy().reshape(array.shape) for gradient, array in made]
            batch = [field[part].contiguous().numpy() for field in fields]
            return kernel.learn(*batch, *plain, *form, *gradients), flat

        with announced(kernel.learn, "the memory network's kernel"):
            (nll, flat), *others = in_threads(count, work)
        for more, gradient in others:
            nll += more
            flat += gradient
        ctx.flat, ctx.count, ctx.sizes, ctx.shapes = flat, count, sizes, [weight.shape for weight in weights]
        return words.new_tensor(nll / count)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        parts = torch.split(ctx.flat * (slope / ctx.count), ctx.sizes)
        gradients = (part.view(shape) for part, shape in zip(parts, ctx.shapes, strict=True))
        return None, None, None, None, None, None, *gradients
