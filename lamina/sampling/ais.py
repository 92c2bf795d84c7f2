"""Annealed importance sampling of a harmonium's normalization (Salakhutdinov & Murray 2008, section 4).

A chain v₁, v₂, ... goes from a base-rate model (W = 0, b = 0, visible parameters a₀, whose Z is known) to the model of
interest through K intermediate distributions, with x = b + vᵀW (their eq. 15 to 18):

    p*_k(v) = m(v) exp((1 - β_k) a₀ᵀv + β_k aᵀv) ∏_j (1 + exp(β_k x_j)),   0 = β_0 < β_1 < ... < β_K = 1
    w       = ∏_k p*_k(v_k) / p*_{k-1}(v_k),   v_{k+1} from v_k by one Gibbs step that leaves p_k invariant
    Z       ≈ Z_0 · mean of w over independent runs,   log Z_0 = A(a₀) + hidden · log 2

The mean of w is unbiased, so log Z is too small on average and likelihoods err on the high side; the standard error
tells by how much, unless every run has missed a mode. `lamina.sampling.enumerate` has the notation and an exact sum.

Differs from the paper: the base-rate model's own hidden units are summed out, as they do nothing but multiply Z_0 by
2^hidden; Gaussian visible units (variance 1) anneal in the same way.
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
    steps = [torch.linspace(start, stop, size + 1, dtype=torch.float64)[:-1] for start, stop, size in pieces]
    return torch.cat([*steps, torch.ones(1, dtype=torch.float64)])


@torch.no_grad()
def ais(
    model: Harmonium,
    base: Float[Tensor, "visible"] | None = None,
    runs: int = 100,
    betas: Float[Tensor, "betas"] | None = None,
) -> Estimate:
    """Return an estimate of log Z.

    Args:
        model: what to normalize.
        base: visible parameters a₀ of the base-rate model, such as those that match the means of the training data.
            The closer to the model, the smaller the error; by default the model's own.
        runs: independent chains.
        betas: inverse temperatures from 0 to 1; by default the paper's 14,500 steps.

    Raises:
        ValueError: betas that do not rise from 0 to 1, or fewer than two runs.
    """
    schedule = (paper_betas() if betas is None else betas).tolist()
    if schedule[0] != 0 or schedule[-1] != 1 or any(q < p for p, q in pairwise(schedule)):
        raise ValueError("the betas must rise from 0 to 1")
    if runs < 2:
        raise ValueError(f"a standard error needs at least 2 runs, got {runs}")
    W, a, b = model.W, model.a, model.b
    start = a if base is None else base.to(a)
    tilt = a - start
    log_weights = torch.zeros(runs, dtype=torch.float64, device=W.device)
    v = model.visible.draw(start.expand(runs, -1))
    for p, q in pairwise(schedule):
        x = torch.addmm(b, v, W)
        scaled = x * q
        log_weights += F.softplus(scaled).sub_(F.softplus(x.mul_(p))).sum(-1)
        log_weights += (v @ tilt).mul_(q - p)
        h = torch.rand_like(scaled).lt_(scaled.sigmoid_())
        v = model.visible.draw(torch.addmm(torch.lerp(start, a, q), h, W.t(), alpha=q))
    known = float(model.visible.log_partition(start.double()[None])) + W.shape[1] * math.log(2)
    return summary(log_weights, known)


def summary(log_weights: Float[Tensor, "runs"], known: float) -> Estimate:
    """Return the log of the mean weight plus `known`, and its error: standard error of the mean over the mean."""
    runs = len(log_weights)
    relative = (log_weights - log_weights.max()).exp()
    value = known + float(log_weights.logsumexp(0)) - math.log(runs)
    return Estimate(value, float(relative.std() / relative.mean()) / math.sqrt(runs))
