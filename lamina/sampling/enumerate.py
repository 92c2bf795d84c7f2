"""Exact normalization of a harmonium by enumerating the states of its smaller layer.

A harmonium (Welling, Rosen-Zvi & Hinton 2005, section 2) couples binary hidden units h to visible units v:

    p(v, h) = m(v) exp(aᵀv + vᵀWh + bᵀh) / Z

Its visible family fixes the carrier m and the log-partition A(θ) = log ∫ m(v) exp(θᵀv) dv, so that

    Z = Σ_h exp(bᵀh + A(a + Wh)),  and for binary v also  Z = Σ_v exp(aᵀv + Σ_j softplus(b_j + (vᵀW)_j))
"""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

LARGEST = 25  # units to enumerate: 2^25 states of a 784x25 machine take minutes


@runtime_checkable
class Family(Protocol):
    """A family of independent units, each with one natural parameter."""

    @property
    def binary(self) -> bool:
        """Whether the units are 0 or 1."""

    def log_partition(self, theta: Float[Tensor, "batch units"]) -> Float[Tensor, "batch"]:
        """Return A(θ), summed over the units."""

    def draw(self, theta: Float[Tensor, "batch units"]) -> Float[Tensor, "batch units"]:
        """Return a sample of the units given their natural parameters."""


@runtime_checkable
class Harmonium(Protocol):
    """What must be known of a model to normalize it; `W` is (visible, hidden)."""

    @property
    def W(self) -> Tensor: ...
    @property
    def a(self) -> Tensor: ...
    @property
    def b(self) -> Tensor: ...
    @property
    def visible(self) -> Family: ...


def states(units: int, chunk: int = 2**13) -> Iterator[Float[Tensor, "chunk units"]]:
    """Yield all 2^units binary states in float64, `chunk` at a time.

    >>> next(states(2)).tolist()
    [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    """
    places = torch.arange(units)
    for first in range(0, 2**units, chunk):
        numbers = torch.arange(first, min(first + chunk, 2**units))
        yield (numbers[:, None] >> places & 1).double()


@torch.no_grad()
def log_partition(model: Harmonium) -> float:
    """Return log Z in nats, computed in float64.

    Raises:
        ValueError: both layers are too large.
    """
    W, a, b = (parameter.double().cpu() for parameter in (model.W, model.a, model.b))
    visible, hidden = W.shape
    if hidden <= LARGEST and (hidden <= visible or not model.visible.binary):
        parts = (h @ b + model.visible.log_partition(torch.addmm(a, h, W.t())) for h in states(hidden))
    elif visible <= LARGEST and model.visible.binary:
        parts = (v @ a + F.softplus(torch.addmm(b, v, W)).sum(-1) for v in states(visible))
    else:
        raise ValueError(f"cannot enumerate {visible} x {hidden} units, at most {LARGEST} on one side; use ais")
    sums = torch.stack([part.logsumexp(0) for part in parts])
    return float(sums.logsumexp(0))
