"""Annealed importance sampling of a harmonium's normalization (Salakhutdinov & Murray 2008, section 4).

A chain v₁, v₂, ... goes from a base-rate model of independent units (W = 0, parameters a₀ and b₀, whose Z is known) to
the model of interest through K intermediate distributions, with x = (1 - β_k) b₀ + β_k (b + vᵀW) (their eq. 15 to 18):

    p*_k(v) = m(v) exp((1 - β_k) a₀ᵀv + β_k aᵀv) ∏_j (1 + exp(x_j)),   0 = β_0 < β_1 < ... < β_K = 1
    w       = ∏_k p*_k(v_k) / p*_{k-1}(v_k),   v_{k+1} from v_k by one Gibbs step that leaves p_k invariant
    Z       ≈ Z_0 · mean of w over independent runs,   log Z_0 = A(a₀) + ∑_j log(1 + exp(b₀_j))

The mean of w is unbiased, so log Z is too small on average and likelihoods err on the high side; the standard error
tells by how much, unless every run has missed a mode. The same chain can be run backward, from samples of the model to
the base-rate model: there the mean of 1/w is unbiased for Z_0 / Z, so log Z is too large on average, and the two
estimates bracket the truth if the samples are exact (Grosse, Ghahramani & Adams 2015, Sandwiching the marginal
likelihood using bidirectional Monte Carlo, section 3). `lamina.sampling.enumerate` has the notation and an exact sum.

Differs from the paper: its base-rate model has b₀ = 0, so that half of the hidden units are on at first. Where data
leaves most of them off, a first-order transition may then lie on the way to the states that look like data; if chains
do not cross it, log Z comes out far too small with a small standard error. From b₀ that matches their means the way
is shorter. Gaussian visible units (variance 1) anneal in the same way.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lamina.sampling.enumerate import Harmonium


class Estimate(NamedTuple):
    """An estimate of log Z in nats, and its standard error."""

    value: float
    error: float


def paper_betas(count: int = 14500) -> Float[Tensor, "betas"]:
    """Return inverse temperatures spaced as in section 5.1: of 14,500, 500 up to 0.5, 4,000 to 0.9 and 10,000 to 1."""
    first, second = round(count * 500 / 14500), round(count * 4000 / 14500)
    pieces = ((0.0, 0.5, first), (0.5, 0.9, second), (0.9, 1.0, count - first - second))
    parts = [torch.linspace(start, stop, size + 1, dtype=torch.float64)[:-1] for start, stop, size in pieces]
    return torch.cat([*parts, torch.ones(1, dtype=torch.float64)])


@torch.no_grad()
def ais(
    model: Harmonium,
    base: Float[Tensor, "visible"] | None = None,
    runs: int = 100,
    betas: Float[Tensor, "betas"] | None = None,
    hidden: Float[Tensor, "hidden"] | None = None,
) -> Estimate:
    """Return an estimate of log Z.

    Args:
        model: what to normalize.
        base: visible parameters a₀ of the base-rate model, such as those that match the means of the training data.
            The closer to the model, the smaller the error; by default the model's own.
        runs: independent chains.
        betas: inverse temperatures from 0 to 1; by default the paper's 14,500 steps.
        hidden: hidden parameters b₀ of the base-rate model, such as those that match the hidden units' means given
            training data; by default zeros.

    Raises:
        ValueError: betas that do not rise from 0 to 1, or fewer than two runs.
    """
    if runs < 2:
        raise ValueError(f"a standard error needs at least 2 runs, got {runs}")
    path = Path.between(base, hidden, model)
    log_weights = torch.zeros(runs, dtype=torch.float64, device=model.W.device)
    v = model.visible.draw(path.a.expand(runs, -1))
    for p, q in steps(betas):
        x = torch.addmm(model.b, v, model.W)
        log_weights += path.rise(v, x, p, q)
        v = path.move(x, q)
    return summary(log_weights, path.known())


@torch.no_grad()
def reverse_ais(
    model: Harmonium,
    samples: Float[Tensor, "runs visible"],
    base: Float[Tensor, "visible"] | None = None,
    betas: Float[Tensor, "betas"] | None = None,
    hidden: Float[Tensor, "hidden"] | None = None,
) -> Estimate:
    """Return an estimate of log Z that errs on the high side, from samples of the model.

    Args:
        model: what to normalize.
        samples: visible states drawn from the model, one a run. Those of long Gibbs chains are close; chains that lie
            where the data does, and not where the model's mass is, make the estimate worth little.
        base: as in `ais`.
        betas: as in `ais`.
        hidden: as in `ais`.

    Raises:
        ValueError: betas that do not rise from 0 to 1, or fewer than two runs.
    """
    if len(samples) < 2:
        raise ValueError(f"a standard error needs at least 2 runs, got {len(samples)}")
    path = Path.between(base, hidden, model)
    log_weights = torch.zeros(len(samples), dtype=torch.float64, device=model.W.device)
    x = torch.addmm(model.b, samples, model.W)
    for p, q in reversed(steps(betas)):
        v = path.move(x, q)
        x = torch.addmm(model.b, v, model.W)
        log_weights -= path.rise(v, x, p, q)
    estimate = summary(log_weights, 0.0)
    return Estimate(path.known() - estimate.value, estimate.error)


class Path(NamedTuple):
    """The distributions between a base-rate model, with parameters a and b, and the model of interest."""

    a: Tensor
    b: Tensor
    model: Harmonium

    @classmethod
    def between(cls, a: Tensor | None, b: Tensor | None, model: Harmonium) -> "Path":
        """Return the path from given parameters, or from the model's own of visible units and zeros of hidden ones."""
        a = model.a if a is None else a.to(model.a)
        return cls(a, torch.zeros_like(model.b) if b is None else b.to(model.b), model)

    def rise(
        self, v: Float[Tensor, "runs visible"], x: Float[Tensor, "runs hidden"], p: float, q: float
    ) -> Float[Tensor, "runs"]:
        """Return log p*_q(v) - log p*_p(v), given b + vᵀW of the model."""
        hidden = F.softplus(self.b.lerp(x, q)).sub_(F.softplus(self.b.lerp(x, p))).sum(-1)
        return hidden + (v @ (self.model.a - self.a)).mul_(q - p)

    def move(self, x: Float[Tensor, "runs hidden"], q: float) -> Float[Tensor, "runs visible"]:
        """Return the next states of Gibbs chains that leave p_q as it is, given b + vᵀW of the last."""
        model = self.model
        h = torch.rand_like(x).lt_(self.b.lerp(x, q).sigmoid_())
        return model.visible.draw(torch.addmm(self.a.lerp(model.a, q), h, model.W.t(), alpha=q))

    def known(self) -> float:
        """Return log Z_0."""
        A = float(self.model.visible.log_partition(self.a.double()[None]))
        return A + float(F.softplus(self.b.double()).sum())


def steps(betas: Float[Tensor, "betas"] | None) -> list[tuple[float, float]]:
    """Return neighboring inverse temperatures; ValueError if they do not rise from 0 to 1."""
    schedule = (paper_betas() if betas is None else betas).tolist()
    if schedule[0] != 0 or schedule[-1] != 1 or any(q < p for p, q in pairwise(schedule)):
        raise ValueError("the betas must rise from 0 to 1")
    return list(pairwise(schedule))


def summary(log_weights: Float[Tensor, "runs"], known: float) -> Estimate:
    """Return the log of the mean weight plus `known`, and its error: standard error of the mean over the mean."""
    runs = len(log_weights)
    relative = (log_weights - log_weights.max()).exp()
    value = known + float(log_weights.logsumexp(0)) - math.log(runs)
    return Estimate(value, float(relative.std() / relative.mean()) / math.sqrt(runs))
