"""Estimators of energy-based models: losses of an energy E(x) whose normalization log Z need not be known.

    p(x) = exp(-E(x)) / Z,   ψ(x) = ∇ log p(x) = -∇E(x),   Δ_i(x) = E(x with bit i flipped) - E(x)

Real x:

    exact score matching     ½ ‖∇E(x)‖² - tr ∇²E(x)                     Hyvärinen (2005), JMLR 6, eq. 4
    sliced score matching    ½ ‖∇E(x)‖² - mean of vᵀ ∇²E(x) v           Song, Garg, Shi & Ermon (2019), UAI, eq. 8
    denoising score matching ½ ‖ψ(x̃) - (x - x̃)/σ²‖²,  x̃ = x + σε         Vincent (2011), Neural Computation 23, eq. 9

Binary x:

    pseudo-likelihood        -Σ_i log σ(Δ_i)                            Besag (1975), The Statistician 24
    ratio matching           Σ_i σ(-Δ_i)²                               Hyvärinen (2007), CSDA 51, section 2.2
    probability flow         Σ_i exp(-Δ_i / 2)                          Sohl-Dickstein et al. (2011), ICML, eq. 14

Both:

    noise-contrastive        -log σ(G(x)) - Σ log σ(-G(noise))          Gutmann & Hyvärinen (2010), AISTATS, eq. 2 and 3
                             G(u) = -E(u) - log q(u) - log ν,  ν noises an example
    contrastive divergence   mean of E(x) - mean of E(samples)          Hinton (2002), Neural Computation 14, section 4

An energy is a function of (batch, features) that gives (batch,). All but contrastive divergence return the loss of each
example, so that weighted means can be taken; random numbers are arguments, so that nothing is drawn here.

Differs from the papers: flow to flipped states that are data too is counted, and the factor of time is left out. Sliced
score matching is the form of reduced variance, in which (vᵀψ)² is replaced by its mean over v.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

Energy = Callable[[Tensor], Tensor]
"""E(x) in nats: (batch, features) -> (batch,)."""

ROWS = 2**16  # flipped examples whose energies are computed at once, which bounds the memory without gradients


def score_matching(energy: Energy, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch"]:
    """Return the exact score-matching loss; takes as many products with the Hessian as there are features."""
    features = x.shape[1]
    basis = math.sqrt(features) * torch.eye(features, dtype=x.dtype, device=x.device)
    return sliced_score_matching(energy, x, basis[:, None].expand(-1, len(x), -1))


def sliced_score_matching(
    energy: Energy, x: Float[Tensor, "batch features"], directions: Float[Tensor, "slices batch features"]
) -> Float[Tensor, "batch"]:
    """Return the sliced score-matching loss; the directions have mean 0 and covariance 1, such as normal numbers.

    It is unbiased for the exact one, and equal to it for orthogonal directions of length √features.
    """
    x, g = slope(energy, x)
    keep = torch.is_grad_enabled()
    (products,) = torch.autograd.grad(g, x, directions, is_grads_batched=True, create_graph=keep)
    return g.square().sum(1) / 2 - (directions * products).sum(-1).mean(0)


def denoising_score_matching(
    energy: Energy, x: Float[Tensor, "batch features"], noise: Float[Tensor, "batch features"], deviation: float
) -> Float[Tensor, "batch"]:
    """Return the denoising score-matching loss, given normal noise; it fits the density of x + deviation · noise."""
    _, g = slope(energy, x + deviation * noise)
    return (g - noise / deviation).square().sum(1) / 2


def rises(
    energy: Energy, x: Float[Tensor, "batch bits"], bits: Int[Tensor, "some"] | None = None
) -> Float[Tensor, "batch some"]:
    """Return Δ_i(x) for all bits, or for those named; the energies of many flipped examples are computed at once."""
    bits = torch.arange(x.shape[1], device=x.device) if bits is None else bits
    flipped = []
    for part in torch.split(bits, max(1, ROWS // len(x))):
        mask = F.one_hot(part, x.shape[1]).to(x.dtype)
        flipped.append(energy((x[:, None] - mask).abs().flatten(0, 1)).view(len(x), len(part)))
    return torch.cat(flipped, 1) - energy(x)[:, None]


def pseudo_likelihood(
    energy: Energy, x: Float[Tensor, "batch bits"], bits: Int[Tensor, "some"] | None = None
) -> Float[Tensor, "batch"]:
    """Return minus the log-pseudo-likelihood in nats; bits drawn at random give an unbiased estimate of it."""
    return x.shape[1] * F.softplus(-rises(energy, x, bits)).mean(1)


def ratio_matching(
    energy: Energy, x: Float[Tensor, "batch bits"], bits: Int[Tensor, "some"] | None = None
) -> Float[Tensor, "batch"]:
    """Return the ratio-matching loss; bits drawn at random give an unbiased estimate of it."""
    return x.shape[1] * rises(energy, x, bits).neg().sigmoid().square().mean(1)


def probability_flow(
    energy: Energy, x: Float[Tensor, "batch bits"], bits: Int[Tensor, "some"] | None = None
) -> Float[Tensor, "batch"]:
    """Return the flow of probability out of x along single-bit flips; random bits give an unbiased estimate of it."""
    return x.shape[1] * (rises(energy, x, bits) / -2).exp().mean(1)


def noise_contrastive(
    energy: Energy,
    x: Float[Tensor, "batch features"],
    noise: Float[Tensor, "noises features"],
    log_density: Callable[[Tensor], Tensor],
) -> tuple[Float[Tensor, "batch"], Float[Tensor, "noises"]]:
    """Return the losses of examples and of noises, whose means are to be added.

    Args:
        energy: of a normalized model, such as E plus a parameter, which then learns log Z.
        x: examples.
        noise: draws of the noise, ν times as many.
        log_density: log q of the noise in nats: (batch, features) -> (batch,).
    """
    ratio = len(noise) / len(x)
    u = torch.cat([x, noise])
    G = -energy(u) - log_density(u) - math.log(ratio)
    real, fake = G[: len(x)], G[len(x) :]
    return F.softplus(-real), ratio * F.softplus(fake)


def contrastive_divergence(
    energy: Energy, x: Float[Tensor, "batch features"], samples: Float[Tensor, "samples features"]
) -> Float[Tensor, ""]:
    """Return a surrogate: for samples of the model it has the gradient of -log p(x), a mean over the batch."""
    return energy(x).mean() - energy(samples).mean()


def slope(
    energy: Energy, x: Float[Tensor, "batch features"]
) -> tuple[Float[Tensor, "batch features"], Float[Tensor, "batch features"]]:
    """Return x as a leaf, and ∇E(x) as a function of it and of the energy's parameters, without gradients on too."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (g,) = torch.autograd.grad(energy(x).sum(), x, create_graph=True)
    return x, g
