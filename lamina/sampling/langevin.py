"""Langevin dynamics: samples of a density exp(-E(x)) / Z by steps along -∇E with noise.

    x' = x - η ∇E(x) + √(2η) ε,   ε ~ N(0, 1)                           (1)

Unadjusted, the chain has another stationary density than p, which comes near it as η goes to zero: for E = x²/2s² its
variance is s² / (1 - η/2s²). Adjusted, x' is accepted with probability min(1, p(x') q(x | x') / p(x) q(x' | x)), where
q is the density of step (1), and p is stationary at any η.

Roberts & Tweedie (1996), "Exponential convergence of Langevin distributions and their discrete approximations",
sections 1.4.1 (unadjusted) and 1.4.2 (adjusted); their step h is 2η.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad_and_value


@torch.no_grad()
def unadjusted(
    energy: Callable[[Tensor], Tensor], x: Float[Tensor, "batch features"], steps: int, size: float
) -> Float[Tensor, "batch features"]:
    """Return where chains are after some steps of size η from x."""
    slope = torch.func.grad(lambda v: energy(v).sum())
    for _ in range(steps):
        x = torch.randn_like(x).mul_(math.sqrt(2 * size)).add_(x).sub_(slope(x), alpha=size)
    return x


@torch.no_grad()
def adjusted(
    energy: Callable[[Tensor], Tensor], x: Float[Tensor, "batch features"], steps: int, size: float
) -> tuple[Float[Tensor, "batch features"], Float[Tensor, ""]]:
    """Return where chains are after some steps of size η from x, each accepted or not, and the share accepted."""

    def total(v: Tensor) -> tuple[Tensor, Tensor]:
        each = energy(v)
        return each.sum(), each

    slope = grad_and_value(total, has_aux=True)
    g, (_, E) = slope(x)
    accepted = x.new_zeros(())
    for _ in range(steps):
        noise = torch.randn_like(x)
        proposal = x - size * g + math.sqrt(2 * size) * noise
        g_new, (_, E_new) = slope(proposal)
        back = (x - proposal + size * g_new).square().sum(1) / (4 * size)  # -log q(x | x') up to a constant
        rise = E_new - E + back - noise.square().sum(1) / 2
        taken = torch.rand_like(E).log_() < -rise  # never where the energy is not finite
        x, g = (torch.where(taken[:, None], new, old) for new, old in ((proposal, x), (g_new, g)))
        E = torch.where(taken, E_new, E)
        accepted += taken.to(x.dtype).mean()
    return x, accepted / max(steps, 1)
