"""Replicated softmax: a Boltzmann machine whose visible units are the words of a document, with shared weights.

A document of D words from a vocabulary of K is its counts v, Σ_k v_k = D; h are binary topics:

    E(v, h) = -aᵀv - vᵀWh - D bᵀh,                               p(w_1 … w_D, h) = exp(-E(v, h)) / Z_D
    F(v)    = -log Σ_h exp(-E(v, h)) = -aᵀv - Σ_j softplus(D b_j + (vᵀW)_j)
    p(h_j = 1 | v) = σ(D b_j + (vᵀW)_j)                           p(w = k | h) = exp(a_k + (Wh)_k - A(h))
    A(h)    = log Σ_k exp(a_k + (Wh)_k)                           Z_D = Σ_h exp(D (bᵀh + A(h)))

Probabilities are of words in their order, which all orders share. A document is one softmax unit copied D times, and
so there is one machine for each length: the topics' biases grow with D, lest long documents turn all of them on.

All Z_D come from one run of annealed importance sampling with the length as the inverse temperature: at D = 0 topics
are fair coins, Z_0 = 2^hidden, and each step from D to D' multiplies the weight by exp((D' - D)(bᵀh + A(h))).

Salakhutdinov & Hinton (2009), "Replicated softmax: an undirected topic model", NIPS, section 2 (model), 2.1 (training)
and 2.2 (annealed importance sampling).

Differs from the paper: gradients are those of the mean over words and not over documents, so that learning rates do not
depend on lengths; chains may be persistent, each with a length of its own; the paper anneals one length at a time.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from lamina.core import System, Terms
from lamina.sampling.ais import Estimate, summary
from lamina.systems.energy.conditional import Fixed
from lamina.systems.energy.rbm import weights
from lamina.systems.energy.units import flip

ROWS = 2**23  # numbers that may be computed at once for the conditional of a word


class Document(NamedTuple):
    """The words of a document of a given length, as a family of visible units with A(θ) = D log Σ_k exp(θ_k)."""

    length: int
    binary: bool = False

    def log_partition(self, theta: Float[Tensor, "batch vocabulary"]) -> Float[Tensor, "batch"]:
        """Return A(θ)."""
        return self.length * theta.logsumexp(-1)

    def draw(self, theta: Float[Tensor, "batch vocabulary"]) -> Float[Tensor, "batch vocabulary"]:
        """Return the counts of words drawn from softmax(θ)."""
        return draw(theta, theta.new_full((len(theta),), self.length))


class ReplicatedSoftmax(System):
    """Replicated softmax trained by contrastive divergence.

    Args:
        vocabulary: how many words, K.
        hidden: how many topics.
        lengths: of documents such as those to come; each persistent chain has one of them, and so have samples.
        bias: initial a, such as the logs of the words' frequencies; zero by default.
        k: Gibbs steps an update. A schedule of "system.k" can raise it in the course of a run.
        persistent: let chains run on from update to update; otherwise every update starts from its batch.
    """

    def __init__(
        self,
        vocabulary: int,
        hidden: int,
        lengths: Float[Tensor, "chains"],
        bias: Float[Tensor, "vocabulary"] | None = None,
        k: int = 1,
        persistent: bool = False,
    ) -> None:
        super().__init__()
        if hidden < 1 or k < 1:
            raise ValueError(f"hidden and k must be at least 1, got {hidden} and {k}")
        self.k: float = k  # a schedule may set fractions; they are rounded
        self.W = nn.Parameter(0.01 * torch.randn(vocabulary, hidden))
        self.a = nn.Parameter(torch.zeros(vocabulary) if bias is None else bias.clone())
        self.b = nn.Parameter(torch.zeros(hidden))
        self.lengths: Tensor
        self.chains: Tensor
        self.register_buffer("lengths", lengths)
        self.register_buffer("chains", flip(torch.full((len(lengths) if persistent else 0, hidden), 0.5)))

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "batch vocabulary"]) -> Float[Tensor, "batch hidden"]:
        """Return the probabilities of the topics."""
        return self.field(counts(x)).sigmoid()

    @torch.no_grad()
    def reconstruct(self, x: Float[Tensor, "batch vocabulary"]) -> Float[Tensor, "batch vocabulary"]:
        """Return the expected counts given the topics' probabilities."""
        return self.down(self.encode(x)).softmax(-1) * counts(x).sum(1, keepdim=True)

    @torch.no_grad()
    def sample(self, count: int, steps: int = 1000) -> Float[Tensor, "count vocabulary"]:
        """Return the counts of documents with lengths such as those of the training data, from Gibbs chains."""
        length = self.lengths[torch.randint(len(self.lengths), (count,), device=self.W.device)]
        h = flip(self.b.new_full((count, len(self.b)), 0.5))
        return self.gibbs(draw(self.down(h), length), steps)

    @torch.no_grad()
    def score(self, x: Float[Tensor, "batch vocabulary"]) -> Float[Tensor, "batch"]:
        """Return -F in nats: log p(x) + log Z_D."""
        return -self.free_energy(counts(x))

    def topics(self, words: tuple[str, ...], top: int = 10) -> list[list[str]]:
        """Return for each topic the words that it raises most, strongest first; `words` names the vocabulary."""
        if len(words) != len(self.a):
            raise ValueError(f"{len(words)} words for a vocabulary of {len(self.a)}")
        return [[words[k] for k in best] for best in self.W.topk(min(top, len(words)), 0).indices.t().tolist()]

    def of_length(self, length: int) -> Fixed:
        """Return the machine for documents of one length, for `lamina.sampling`."""
        return Fixed(self.W, self.a, length * self.b, Document(length))

    def free_energy(self, v: Float[Tensor, "batch vocabulary"]) -> Float[Tensor, "batch"]:
        """Return F(v) in nats."""
        return -v @ self.a - F.softplus(self.field(v)).sum(-1)

    def field(self, v: Float[Tensor, "batch vocabulary"]) -> Float[Tensor, "batch hidden"]:
        """Return the topics' inputs D b + vᵀW."""
        return torch.addmm(torch.outer(v.sum(1), self.b), v, self.W)

    def down(self, h: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch vocabulary"]:
        """Return a + Wh."""
        return torch.addmm(self.a, h, self.W.t())

    def gibbs(self, v: Float[Tensor, "batch vocabulary"], steps: int) -> Float[Tensor, "batch vocabulary"]:
        """Return the counts after `steps` rounds of sampling h given v and v given h."""
        length = v.sum(1)
        for _ in range(steps):
            v = draw(self.down(flip(self.field(v).sigmoid())), length)
        return v

    def loss(self, x: Float[Tensor, "batch vocabulary"]) -> Terms:
        """Return a surrogate: its value means little, its gradient is that of contrastive divergence per word.

        As in `RBM.loss`, the gradient of F(v) is that of E(v, h) at the mean of h, which is held fixed.
        """
        with torch.no_grad():
            data = counts(x)
            length = data.sum(1)
            if len(self.chains):
                model = draw(self.down(self.chains), self.lengths)
            else:
                model = draw(self.down(flip(self.field(data).sigmoid())), length)
            v = torch.cat([data, self.gibbs(model, round(self.k) - 1)])
            weight = weights(len(data), len(model), v.dtype, v.device) / length.mean().clamp_min(1)
        field = self.field(v)
        with torch.no_grad():
            h = field.sigmoid()
            if len(self.chains):
                flip(h[len(data) :], out=self.chains)
            h.mul_(weight[:, None])
        return {"divergence": (weight @ v * self.a).sum() + (field * h).sum()}

    def metrics(self, x: Float[Tensor, "batch vocabulary"]) -> Terms:
        """Return -log p(word | all other words) in nats, for a random word of each document that has any."""
        v = counts(x)
        v = v[v.sum(1) > 0]
        if not len(v):
            return {"pseudo_likelihood": self.a.new_zeros(())}
        word = v.multinomial(1)
        rest = v.scatter_add(1, word, -torch.ones_like(word, dtype=v.dtype))
        field = torch.addmm(torch.outer(v.sum(1), self.b), rest, self.W)
        likely = self.completions(field).log_softmax(-1)
        return {"pseudo_likelihood": -likely.gather(1, word).mean()}

    def completions(self, field: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch vocabulary"]:
        """Return -F of documents with each word added, up to a constant, given the field D b + vᵀW without it."""
        parts = [
            F.softplus(part[:, None] + self.W).sum(-1) for part in torch.split(field, max(1, ROWS // self.W.numel()))
        ]
        return self.a + torch.cat(parts)


@torch.no_grad()
def log_partitions(
    model: ReplicatedSoftmax, lengths: Int64[Tensor, "lengths"], runs: int = 1000, steps: int = 1000, sweeps: int = 5
) -> list[Estimate]:
    """Return estimates of log Z_D for each length, from one run of annealed importance sampling.

    Args:
        model: what to normalize.
        lengths: D of each.
        runs: independent chains.
        steps: the least number of lengths to pass through, or every one if the longest is shorter.
        sweeps: Gibbs steps at each.
    """
    longest = int(lengths.max())
    passed = torch.linspace(0, longest, min(longest, steps) + 1).round().long()
    path = sorted({0, *passed.tolist(), *lengths.tolist()})
    log_weights = torch.zeros(runs, dtype=torch.float64, device=model.W.device)
    h = flip(model.b.new_full((runs, len(model.b)), 0.5))
    known, found = len(model.b) * math.log(2), {0: Estimate(len(model.b) * math.log(2), 0.0)}
    for now, then in pairwise(path):
        theta = model.down(h)
        log_weights += (then - now) * (h @ model.b + theta.logsumexp(-1))
        found[then] = summary(log_weights, known)
        v = model.gibbs(draw(theta, theta.new_full((runs,), then)), sweeps - 1)
        h = flip(model.field(v).sigmoid())
    return [found[length] for length in lengths.tolist()]


def draw(theta: Float[Tensor, "batch vocabulary"], length: Float[Tensor, "batch"]) -> Float[Tensor, "batch vocabulary"]:
    """Return for each row the counts of so many words drawn from softmax(θ)."""
    longest = max(1, int(length.max()))  # the one number that must leave the device
    words = theta.softmax(-1).multinomial(longest, replacement=True)
    kept = torch.arange(longest, device=theta.device) < length[:, None]
    return torch.zeros_like(theta).scatter_add_(1, words, kept.to(theta.dtype))


def counts(x: Float[Tensor, "batch vocabulary"]) -> Float[Tensor, "batch vocabulary"]:
    """Return counts as they were before `lamina.data.files` took a wide table of them for pictures and divided by 255.

    A row that holds a fraction has been divided; whole numbers are left as they are.
    """
    divided = (x != x.round()).any(1, keepdim=True)
    return torch.where(divided, (255 * x).round(), x)
