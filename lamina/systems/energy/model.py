"""Energy-based model: a network gives each example an energy; an estimator makes it low on the data and high elsewhere.

    E(v) = -log m(v) - aᵀv + f(v)                p(v) = exp(-E(v)) / Z

f is the network, and m the carrier of the visible units (`lamina.systems.energy.units`): 1 for binary ones, and
exp(-|v|²/2) for real ones, which are standardized. With an f that is bounded, such as layers that end in tanh units and
a linear one, Z is finite. The estimators are those of `lamina.losses.energy`, where the papers are named. They shape
the energy by the tutorial's strategies 2 to 5 (Hinton, Bengio & LeCun 2015): push it up everywhere (maximum likelihood)
or at chosen places (contrastive divergence, noise, flipped bits), make the data its minima (score matching), point back
from where noise has led (denoising).

Maximum likelihood sums over all states of few bits, and for one or two real numbers integrates over the cube of half
width 5 around the mean, with a point drawn in each of equal cells: unbiased for Z, and for small cells for its log.

Noise-contrastive estimation draws noise from the same family without f, with a where it was at first, and learns log Z.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lamina.core import System, Terms
from lamina.losses import energy as losses
from lamina.sampling.enumerate import states
from lamina.sampling.gibbs import gibbs
from lamina.sampling.langevin import adjusted, unadjusted
from lamina.systems.energy.units import Bernoulli, Gaussian

Estimator = Literal[
    "score-matching",
    "sliced",
    "denoising",
    "pseudo-likelihood",
    "ratio-matching",
    "probability-flow",
    "noise-contrastive",
    "contrastive-divergence",
    "maximum-likelihood",
]

Estimate = Callable[["EnergyModel", Tensor], Tensor]

BITS = 16  # units whose states are summed over
CUBE, CELLS = 5.0, 64  # half the width of the cube for real numbers in standard deviations, and its cells on an axis
EXACT = 32  # features up to which the held-out score-matching loss is exact


class EnergyModel(System):
    """A network whose output is an energy, with the estimator that it learns by.

    Args:
        visible: binary units, or Gaussian ones for real values.
        network: values of the units (batch, visible) -> f (batch, 1); smooth if it learns by a slope.
        estimator: what is minimized.
        bias: initial a, such as `visible.matching` the data; zero by default.
        slices: directions an example for sliced score matching.
        deviation: of the noise for denoising, by that of the data.
        flips: bits an update turns, drawn at random; 0 for all.
        noises: noises an example for noise-contrastive estimation.
        k: steps of Langevin or sweeps of Gibbs sampling for an update by contrastive divergence.
        chains: persistent chains; with none, samples start from the batch.
        size: of a Langevin step, by the variance of the data.
        adjust: accept or reject Langevin steps of an update; otherwise they take samples whose law depends on `size`.

    Raises:
        ValueError: an estimator that is not for these units, or a number that makes no sense.
    """

    def __init__(
        self,
        visible: Bernoulli | Gaussian,
        network: nn.Module,
        estimator: Estimator,
        bias: Float[Tensor, "visible"] | None = None,
        slices: int = 1,
        deviation: float = 0.1,
        flips: int = 0,
        noises: int = 1,
        k: int = 10,
        chains: int = 0,
        size: float = 0.01,
        adjust: bool = True,
    ) -> None:
        super().__init__()
        estimates, count = BINARY if visible.binary else REAL, math.prod(visible.shape)
        if estimator not in estimates:
            kind = "binary" if visible.binary else "real"
            raise ValueError(f"{estimator} is not for {kind} values; choose one of {', '.join(estimates)}")
        if min(slices, noises, k) < 1 or chains < 0 or min(deviation, size) <= 0 or not 0 <= flips <= count:
            raise ValueError(
                f"slices, noises and k must be at least 1, deviation and size above 0, flips within 0..{count}, got"
                f" {slices}, {noises}, {k}, {deviation:g}, {size:g} and {flips}"
            )
        if estimator == "maximum-likelihood" and count > (BITS if visible.binary else 2):
            raise ValueError(f"maximum-likelihood is for {BITS} bits or 2 real values at most, an example has {count}")
        self.visible, self.network, self.estimator, self.estimate = visible, network, estimator, estimates[estimator]
        self.slices, self.deviation, self.flips, self.noises = slices, deviation, flips, noises
        self.k, self.size, self.adjust = k, size, adjust
        start = torch.zeros(count) if bias is None else bias.clone()
        self.a = nn.Parameter(start)
        self.log_Z = nn.Parameter(torch.zeros(())) if estimator == "noise-contrastive" else None
        self.base: Tensor
        self.chains: Tensor
        self.register_buffer("base", start.clone())
        self.register_buffer("chains", visible.draw(start.expand(chains, -1)))

    @torch.no_grad()
    def score(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch"]:
        """Return -E in nats: log p(x) up to a constant."""
        return -self.potential(self.visible.standard(x))

    @torch.no_grad()
    def log_prob(self, x: Float[Tensor, "batch ..."], log_partition: float) -> Float[Tensor, "batch"]:
        """Return log p(x) in nats, given log Z: a density of raw values if they are real."""
        return self.score(x) - log_partition - self.visible.log_volume()

    @torch.no_grad()
    def sample(self, count: int, steps: int = 1000) -> Float[Tensor, "count ..."]:
        """Return states of chains that start from the persistent ones, or else from the units without the network.

        Real ones take adjusted Langevin steps, binary ones a tenth as many Gibbs sweeps.
        """
        if len(self.chains):
            v = self.chains[torch.randint(len(self.chains), (count,), device=self.a.device)]
        else:
            v = self.noise(count)
        if self.visible.binary:
            return self.visible.restored(gibbs(self.potential, v, -(-steps // 10)))
        return self.visible.restored(adjusted(self.potential, v, steps, self.size)[0])

    def potential(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch"]:
        """Return E(v) in nats, of values as the network sees them."""
        f: Tensor = self.network(v)
        return f.squeeze(1) - v @ self.a - self.visible.log_carrier(v)

    def noise(self, count: int) -> Float[Tensor, "count visible"]:
        """Return draws of the units without the network."""
        return self.visible.draw(self.base.expand(count, -1))

    def noise_density(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch"]:
        """Return the log-density of the noise in nats."""
        return self.visible.log_carrier(v) + v @ self.base - self.visible.log_partition(self.base[None])

    def contrast(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, ""]:
        """Return the loss of noise-contrastive estimation, which learns log Z."""
        assert self.log_Z is not None
        log_Z, noise = self.log_Z, self.noise(self.noises * len(v))
        real, fake = losses.noise_contrastive(lambda u: self.potential(u) + log_Z, v, noise, self.noise_density)
        return real.mean() + fake.mean()

    def likelihood(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, ""]:
        """Return the mean of -log p(v) in nats, with log Z summed over all states, or integrated over the cube."""
        size = len(self.a)
        if self.visible.binary:
            u, cell = torch.cat(list(states(size))).to(v), 0.0
        else:
            width = 2 * CUBE / CELLS
            corners = torch.cartesian_prod(*[width * torch.arange(CELLS, dtype=v.dtype) - CUBE] * size).view(-1, size)
            u, cell = corners.to(v) + width * torch.rand_like(corners.to(v)), size * math.log(width)
        return self.potential(v).mean() + torch.logsumexp(-self.potential(u), 0) + cell

    @torch.no_grad()
    def negatives(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, "samples visible"]:
        """Return samples near the model, k steps from the data or from where the last update left the chains."""
        start = self.chains if len(self.chains) else v
        if self.visible.binary:
            ended = gibbs(self.potential, start, self.k)
        elif self.adjust:
            ended, _ = adjusted(self.potential, start, self.k, self.size)
        else:
            ended = unadjusted(self.potential, start, self.k, self.size)
        if len(self.chains):
            self.chains.copy_(ended)
        return ended

    def directions(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, "slices batch visible"]:
        """Return normal directions for sliced score matching."""
        return torch.randn(self.slices, *v.shape, dtype=v.dtype, device=v.device)

    def bits(self) -> Int[Tensor, "some"] | None:
        """Return which bits to turn, None for all."""
        return torch.randperm(len(self.a), device=self.a.device)[: self.flips] if self.flips else None

    def loss(self, x: Float[Tensor, "batch ..."]) -> Terms:
        """Return what the estimator minimizes; grey values of binary units are drawn as bits if the units say so."""
        return {"objective": self.estimate(self, self.visible.observed(x))}

    def metrics(self, x: Float[Tensor, "batch ..."]) -> Terms:
        """Return the score-matching loss, sliced above 32 features, or for bits minus the log-pseudo-likelihood."""
        v = self.visible.observed(x)
        if self.visible.binary:
            return {"pseudo_nll": losses.pseudo_likelihood(self.potential, v, self.bits()).mean()}
        exact = v.shape[1] <= EXACT
        return {"score_matching": (REAL["score-matching"] if exact else REAL["sliced"])(self, v)}


EITHER: dict[Estimator, Estimate] = {
    "noise-contrastive": lambda model, v: model.contrast(v),
    "maximum-likelihood": lambda model, v: model.likelihood(v),
    "contrastive-divergence": lambda model, v: losses.contrastive_divergence(model.potential, v, model.negatives(v)),
}
REAL: dict[Estimator, Estimate] = {
    **EITHER,
    "score-matching": lambda model, v: losses.score_matching(model.potential, v).mean(),
    "sliced": lambda model, v: losses.sliced_score_matching(model.potential, v, model.directions(v)).mean(),
    "denoising": lambda model, v: losses.denoising_score_matching(
        model.potential, v, torch.randn_like(v), model.deviation
    ).mean(),
}
BINARY: dict[Estimator, Estimate] = {
    **EITHER,
    "pseudo-likelihood": lambda model, v: losses.pseudo_likelihood(model.potential, v, model.bits()).mean(),
    "ratio-matching": lambda model, v: losses.ratio_matching(model.potential, v, model.bits()).mean(),
    "probability-flow": lambda model, v: losses.probability_flow(model.potential, v, model.bits()).mean(),
}
"""What each estimator minimizes, given the values of real and of binary units."""
