"""Importance-weighted bound on the log-likelihood of a model with latent variables (Burda et al. 2016, eq. 8 and 9).

    log p(x) ≥ E log 1/k Σᵢ wᵢ,   wᵢ = p(x, zᵢ) / q(zᵢ | x),   z₁ … z_k from q(· | x)

With k = 1 it is the variational bound (ELBO). It rises with k and tends to log p(x).
"""

import math
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Weighs(Protocol):
    """A model that draws its latent variables and weighs them."""

    def log_weights(self, x: Float[Tensor, "batch ..."], samples: int) -> Float[Tensor, "samples batch"]:
        """Return log w in nats for `samples` draws of the latent variables of each example."""


@torch.no_grad()
def importance_bound(
    model: Weighs, x: Float[Tensor, "batch ..."], samples: int, rows: int = 5000
) -> Float[Tensor, "batch"]:
    """Return the bound for each example in nats; an unbiased estimate of it, and of 1/k Σ w itself.

    Args:
        model: draws latent variables and weighs them.
        x: examples.
        samples: draws an example, k.
        rows: weights computed at once, which bounds the memory.
    """
    parts = [bound_of(model, part, samples, max(1, rows // len(part))) for part in torch.split(x, 100)]
    return torch.cat(parts)


def bound_of(model: Weighs, x: Float[Tensor, "batch ..."], samples: int, most: int) -> Float[Tensor, "batch"]:
    """Return the bound with at most `most` draws at once."""
    total = x.new_full((len(x),), -math.inf)
    for first in range(0, samples, most):
        total = torch.logaddexp(total, model.log_weights(x, min(most, samples - first)).logsumexp(0))
    return total - math.log(samples)
