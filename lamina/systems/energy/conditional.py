"""Conditional restricted Boltzmann machine: an RBM whose biases depend on a condition u, such as the frames before.

    E(v, h | u) = -log m(v) - (a + Au)ᵀv - vᵀWh - (b + Bu)ᵀh       p(v, h | u) = exp(-E(v, h | u)) / Z(u)

For every u it is an RBM with the biases a + Au and b + Bu (`lamina.systems.energy.rbm` has its equations), so a value
of v is likely where the condition foretells it directly (A), or by features that it makes likely (B), or where the
features agree with each other. The gradient of -log p(v | u) is that of F(v | u) less its mean under the model given u,
which k Gibbs steps from the data estimate (CD-k); persistent chains would need one for each u.

Taylor, Hinton & Roweis (2006), "Modeling human motion using binary latent variables", NIPS, section 3 (u are the n
frames before v, A and B their autoregressive and dynamic weights); Mnih, Larochelle & Hinton (2011), "Conditional
restricted Boltzmann machines for structured output prediction", UAI, section 3.

Differs from the papers: Gaussian units have fixed variances, those of the standardized data.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lamina.core import System, Terms
from lamina.sampling.enumerate import Family
from lamina.systems.energy.rbm import weights
from lamina.systems.energy.units import Bernoulli, Gaussian, flip


class Fixed(NamedTuple):
    """A machine with its condition fixed: a harmonium that `lamina.sampling` can normalize."""

    W: Tensor
    a: Tensor
    b: Tensor
    visible: Family


class ConditionalRBM(System):
    """Restricted Boltzmann machine of a frame given the frames before it, trained by contrastive divergence.

    Args:
        visible: the visible units.
        hidden: how many hidden units.
        start: a past, from which samples begin; as many frames as the condition has.
        bias: initial visible bias a, such as `visible.matching` the data; zero by default.
        k: Gibbs steps an update. A schedule of "system.k" can raise it in the course of a run.
    """

    def __init__(
        self,
        visible: Bernoulli | Gaussian,
        hidden: int,
        start: Float[Tensor, "frames ..."],
        bias: Float[Tensor, "visible"] | None = None,
        k: int = 1,
    ) -> None:
        super().__init__()
        if hidden < 1 or k < 1 or len(start) < 1:
            raise ValueError(f"hidden, k and frames must be at least 1, got {hidden}, {k} and {len(start)}")
        size = math.prod(visible.shape)
        self.visible = visible
        self.k: float = k  # a schedule may set fractions; they are rounded
        self.W = nn.Parameter(0.01 * torch.randn(size, hidden))
        self.A = nn.Parameter(0.01 * torch.randn(len(start) * size, size))  # the transpose of the equations' A
        self.B = nn.Parameter(0.01 * torch.randn(len(start) * size, hidden))
        self.a = nn.Parameter(torch.zeros(size) if bias is None else bias.clone())
        self.b = nn.Parameter(torch.zeros(hidden))
        self.start: Tensor
        self.register_buffer("start", start)

    @torch.no_grad()
    def encode(
        self, x: Float[Tensor, "batch ..."], past: Float[Tensor, "batch frames ..."]
    ) -> Float[Tensor, "batch hidden"]:
        """Return the probabilities of the hidden units, of grey values those at their means."""
        return self.up(self.visible.standard(x), self.biases(past)[1])

    @torch.no_grad()
    def generate(
        self, past: Float[Tensor, "batch frames ..."], count: int, steps: int = 30
    ) -> Float[Tensor, "batch count ..."]:
        """Return the next `count` frames after each past, one after the other.

        Each comes from Gibbs steps that begin at the frame before it, and is the mean given the hidden units at last.
        """
        past, made = past[:, -len(self.start) :], []
        for _ in range(count):
            a, b = self.biases(past)
            v = self.gibbs(self.visible.standard(past[:, -1]), a, b, steps - 1)
            frame = self.visible.restored(self.visible.mean(self.down(flip(self.up(v, b)), a)))
            past = torch.cat([past[:, 1:], frame[:, None]], 1)
            made.append(frame)
        return torch.stack(made, 1)

    def sample(self, count: int) -> Float[Tensor, "count ..."]:
        """Return the frames that follow the past that is kept with the model."""
        return self.generate(self.start[None], count)[0]

    @torch.no_grad()
    def score(self, x: Float[Tensor, "batch ..."], past: Float[Tensor, "batch frames ..."]) -> Float[Tensor, "batch"]:
        """Return -F in nats: log p(x | past) + log Z(past)."""
        return -self.free_energy(self.visible.standard(x), *self.biases(past))

    @torch.no_grad()
    def given(self, past: Float[Tensor, "frames ..."]) -> Fixed:
        """Return the machine after one past, for `lamina.sampling`."""
        a, b = self.biases(past[None])
        return Fixed(self.W, a[0], b[0], self.visible)

    def biases(
        self, past: Float[Tensor, "batch frames ..."]
    ) -> tuple[Float[Tensor, "batch visible"], Float[Tensor, "batch hidden"]]:
        """Return a + Au and b + Bu of the last frames of each past."""
        past = past[:, -len(self.start) :]
        u = self.visible.standard(past.flatten(0, 1)).reshape(len(past), -1)
        return torch.addmm(self.a, u, self.A), torch.addmm(self.b, u, self.B)

    def free_energy(
        self, v: Float[Tensor, "batch visible"], a: Float[Tensor, "batch visible"], b: Float[Tensor, "batch hidden"]
    ) -> Float[Tensor, "batch"]:
        """Return F(v | u) in nats, given the biases after u."""
        return -self.visible.log_carrier(v) - (v * a).sum(-1) - F.softplus(torch.addmm(b, v, self.W)).sum(-1)

    def up(self, v: Float[Tensor, "batch visible"], b: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch hidden"]:
        """Return p(h_j = 1 | v, u)."""
        return torch.addmm(b, v, self.W).sigmoid()

    def down(
        self, h: Float[Tensor, "batch hidden"], a: Float[Tensor, "batch visible"]
    ) -> Float[Tensor, "batch visible"]:
        """Return the natural parameters of p(v | h, u)."""
        return torch.addmm(a, h, self.W.t())

    def gibbs(
        self,
        v: Float[Tensor, "batch visible"],
        a: Float[Tensor, "batch visible"],
        b: Float[Tensor, "batch hidden"],
        steps: int,
    ) -> Float[Tensor, "batch visible"]:
        """Return the visible states after `steps` rounds of sampling h given v and v given h."""
        for _ in range(steps):
            v = self.visible.draw(self.down(flip(self.up(v, b)), a))
        return v

    def loss(self, x: Float[Tensor, "batch ..."], past: Float[Tensor, "batch frames ..."]) -> Terms:
        """Return a surrogate: its value means little, its gradient is that of contrastive divergence.

        As in `RBM.loss`, the gradient of F(v | u) is that of E(v, h | u) at the mean of h, which is held fixed. Data
        and samples share their biases, so that these enter by the differences of v and of h.
        """
        a, b = self.biases(past)
        with torch.no_grad():
            data = self.visible.observed(x)
            v = torch.cat([data, self.gibbs(data, a, b, round(self.k))])
            weight = weights(len(data), len(data), v.dtype, v.device)[:, None]
            h = self.up(v, b.repeat(2, 1)).mul_(weight)
            dv, dh = (v * weight).view(2, *a.shape).sum(0), h.view(2, *b.shape).sum(0)
        return {"divergence": (a * dv).sum() + (b * dh).sum() + (v @ self.W * h).sum()}

    def metrics(self, x: Float[Tensor, "batch ..."], past: Float[Tensor, "batch frames ..."]) -> Terms:
        """Return the squared error of the expected frame, in units of the data and summed over its numbers."""
        return {"error": (self.expected(past) - x).square().flatten(1).sum(1).mean()}

    @torch.no_grad()
    def expected(self, past: Float[Tensor, "batch frames ..."], steps: int = 30) -> Float[Tensor, "batch ..."]:
        """Return the next frame's mean, over the last half of Gibbs steps that begin at the frame before it."""
        a, b = self.biases(past)
        v, total = self.visible.standard(past[:, -1]), torch.zeros_like(a)
        for step in range(steps):
            theta = self.down(flip(self.up(v, b)), a)
            v = self.visible.draw(theta)
            if 2 * step >= steps:
                total += self.visible.mean(theta)
        return self.visible.restored(total / (steps - steps // 2))
