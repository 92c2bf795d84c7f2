"""Restricted Boltzmann machine with binary hidden units, and binary or Gaussian visible ones (a harmonium).

    E(v, h) = -log m(v) - aᵀv - vᵀWh - bᵀh                       p(v, h) = exp(-E(v, h)) / Z
    F(v)    = -log Σ_h exp(-E(v, h)) = -log m(v) - aᵀv - Σ_j softplus(b_j + (vᵀW)_j)
    p(h_j = 1 | v) = σ(b_j + (vᵀW)_j)                             p(v | h) ∝ m(v) exp((a + Wh)ᵀv)

Binary units have m = 1, Gaussian units of variance 1 have m(v) = exp(-|v|²/2), so that their means are a + Wh.
The gradient of -log p(v) is that of F(v) less its mean under the model, which is estimated from Gibbs chains:

- contrastive divergence, CD-k: k steps from the data (Hinton 2002, "Training products of experts", section 4);
- persistent contrastive divergence, PCD-k: k steps from where the last update left the chains (Tieleman 2008, "Training
  restricted Boltzmann machines using approximations to the likelihood gradient", section 3).

The sparsity penalty is that of Hinton (2010), "A practical guide to training RBMs", section 11: cross-entropy between a
target p and the running mean activity q of each hidden unit; its gradient with respect to the unit's input is q - p.

Differs from the papers: chains are kept as hidden states, which saves one matrix product an update; Gaussian units have
fixed variances, those of the standardized data (section 13.2 of the guide).
"""

import functools
import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lamina.core import System, Terms
from lamina.systems.energy.centering import centered
from lamina.systems.energy.units import Bernoulli, Gaussian, flip

SMOOTHING = 0.95  # of a hidden unit's running mean activity, between the guide's 0.9 and 0.99


class RBM(System):
    """Restricted Boltzmann machine trained by contrastive divergence, persistent if it has chains.

    Args:
        visible: the visible units.
        hidden: how many hidden units.
        bias: initial visible bias a, such as `visible.matching` the data; zero by default.
        k: Gibbs steps an update. A schedule of "system.k" can raise it in the course of a run.
        chains: persistent chains; with none, every update starts from its batch.
        sparsity: weight of the sparsity penalty.
        target: mean activity of a hidden unit that the penalty wants.
        centering: how fast the centers of the gradient follow the mean states, in 0..1 an update; at 0 it is the usual
            gradient (`lamina.systems.energy.centering`).
    """

    def __init__(
        self,
        visible: Bernoulli | Gaussian,
        hidden: int,
        bias: Float[Tensor, "visible"] | None = None,
        k: int = 1,
        chains: int = 100,
        sparsity: float = 0.0,
        target: float = 0.1,
        centering: float = 0.0,
    ) -> None:
        super().__init__()
        if hidden < 1 or k < 1 or chains < 0:
            raise ValueError(f"hidden and k must be at least 1 and chains at least 0, got {hidden}, {k} and {chains}")
        size = math.prod(visible.shape)
        self.visible, self.sparsity, self.target, self.centering = visible, sparsity, target, centering
        self.k: float = k  # a schedule may set fractions; they are rounded
        self.W = nn.Parameter(0.01 * torch.randn(size, hidden))  # Hinton (2010), section 8.1
        self.a = nn.Parameter(torch.zeros(size) if bias is None else bias.clone())
        self.b = nn.Parameter(torch.zeros(hidden))
        self.chains: Tensor
        self.activity: Tensor
        self.register_buffer("chains", flip(torch.full((chains, hidden), 0.5)))
        self.register_buffer("activity", torch.full((hidden,), target))
        self.centers: Tensor  # of visible and hidden units
        start = [visible.mean(self.a.detach()[None])[0], torch.full((hidden,), 0.5)] if centering else [torch.zeros(0)]
        self.register_buffer("centers", torch.cat(start))

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch hidden"]:
        """Return the probabilities of the hidden units, of grey values those at their means."""
        return self.up(self.visible.standard(x))

    @torch.no_grad()
    def reconstruct(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """Return the visible units' means given the hidden units' probabilities."""
        return self.visible.restored(self.visible.mean(self.down(self.encode(x))))

    @torch.no_grad()
    def sample(self, count: int, steps: int = 1000) -> Float[Tensor, "count ..."]:
        """Return visible states of Gibbs chains that start from the persistent ones, or from noise if it has none."""
        if len(self.chains):
            h = self.chains[torch.randint(len(self.chains), (count,), device=self.W.device)]
        else:
            h = flip(self.b.new_full((count, len(self.b)), 0.5))
        return self.visible.restored(self.gibbs(self.visible.draw(self.down(h)), steps))

    @torch.no_grad()
    def score(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch"]:
        """Return -F in nats: log p(x) up to a constant."""
        return -self.free_energy(self.visible.standard(x))

    @torch.no_grad()
    def log_prob(self, x: Float[Tensor, "batch ..."], log_partition: float) -> Float[Tensor, "batch"]:
        """Return log p(x) in nats, given log Z from `lamina.sampling`: a density of raw values if x is Gaussian."""
        return self.score(x) - log_partition - self.visible.log_volume()

    def free_energy(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch"]:
        """Return F(v) in nats."""
        return -self.visible.log_carrier(v) - v @ self.a - F.softplus(torch.addmm(self.b, v, self.W)).sum(-1)

    def pseudo_likelihood(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch"]:
        """Return Σ_i log p(v_i | all other v) in nats, for binary units.

        Raises:
            ValueError: the visible units are not binary.
        """
        field = torch.addmm(self.b, v, self.W)
        bits = zip(v.unbind(1), self.a.unbind(), self.W.unbind(), strict=True)
        return torch.stack([self.conditional(field, v_i, a_i, W_i) for v_i, a_i, W_i in bits]).sum(0)

    def pseudo_likelihood_of_one(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch"]:
        """Return an unbiased estimate of `pseudo_likelihood` from one random unit of each row.

        Raises:
            ValueError: the visible units are not binary.
        """
        i = torch.randint(len(self.a), (len(v),), device=v.device)
        v_i = v.gather(1, i[:, None]).squeeze(1)
        return len(self.a) * self.conditional(torch.addmm(self.b, v, self.W), v_i, self.a[i], self.W[i])

    def conditional(
        self,
        field: Float[Tensor, "batch hidden"],
        v_i: Float[Tensor, "batch"],
        a_i: Float[Tensor, "*batch"],
        W_i: Float[Tensor, "*batch hidden"],
    ) -> Float[Tensor, "batch"]:
        """Return log p(v_i | all other v) = log σ(F(v with bit i flipped) - F(v)), where field = b + vᵀW."""
        if not self.visible.binary:
            raise ValueError("pseudo-likelihood needs binary visible units; for Gaussian ones estimate log Z with ais")
        turn = 1 - 2 * v_i
        rise = -turn * a_i + (F.softplus(field) - F.softplus(field + turn[:, None] * W_i)).sum(-1)
        return F.logsigmoid(rise)

    def up(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch hidden"]:
        """Return p(h_j = 1 | v)."""
        return torch.addmm(self.b, v, self.W).sigmoid()

    def down(self, h: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch visible"]:
        """Return the natural parameters of p(v | h)."""
        return torch.addmm(self.a, h, self.W.t())

    def gibbs(self, v: Float[Tensor, "batch visible"], steps: int) -> Float[Tensor, "batch visible"]:
        """Return the visible states after `steps` rounds of sampling h given v and v given h."""
        for _ in range(steps):
            v = self.visible.draw(self.down(flip(self.up(v))))
        return v

    def loss(self, x: Float[Tensor, "batch ..."]) -> Terms:
        """Return a surrogate: its value means little, its gradient is that of contrastive divergence.

        The gradient of F(v) is the mean of that of E(v, h) over p(h | v), and E is linear in h: so it is the gradient
        of E(v, up(v)) with up(v) held fixed. Data and chains, each with its weight, are one matrix product.
        """
        with torch.no_grad():
            data = self.visible.observed(x)
            h = self.chains if len(self.chains) else flip(self.up(data))
            model = self.gibbs(self.visible.draw(self.down(h)), round(self.k) - 1)
            v, weight = torch.cat([data, model]), weights(len(data), len(model), data.dtype, data.device)
        field = torch.addmm(self.b, v, self.W)
        with torch.no_grad():
            h = field.sigmoid()
            if len(self.chains):
                flip(h[len(data) :], out=self.chains)
            if self.sparsity:
                self.activity.lerp_(h[: len(data)].mean(0), 1 - SMOOTHING)
            if self.centering:
                self.centers.lerp_(torch.cat([data.mean(0), h[: len(data)].mean(0)]), self.centering)
        if self.centering:
            centers = torch.split(self.centers, [len(self.a), len(self.b)])
            terms = {"divergence": centered(weight, [v, h], centers, [self.W], [self.a, self.b])}
        else:  # without torch.dot, which takes six times as long by oneDNN; the carrier has no parameter
            h.mul_(weight[:, None])
            terms = {"divergence": ((model.mean(0) - data.mean(0)) * self.a).sum() + (field * h).sum()}
        if self.sparsity:
            terms["sparsity"] = self.sparsity * (self.activity - self.target) @ field[: len(data)].mean(0)
        return terms

    def metrics(self, x: Float[Tensor, "batch ..."]) -> Terms:
        """Return minus the estimated pseudo-likelihood in nats; for Gaussian units, the error of reconstruction."""
        v = self.visible.observed(x)
        if self.visible.binary:
            return {"pseudo_likelihood": -self.pseudo_likelihood_of_one(v).mean()}
        return {"reconstruction": (self.visible.mean(self.down(self.up(v))) - v).square().sum(-1).mean()}


@functools.lru_cache(maxsize=16)
def weights(data: int, chains: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "rows"]:
    """Return the weight of each row's -E in the loss: -1/data for examples, then 1/chains for samples."""
    given = torch.full((data,), -1 / data, dtype=dtype, device=device)
    return torch.cat([given, torch.full((chains,), 1 / chains, dtype=dtype, device=device)])
