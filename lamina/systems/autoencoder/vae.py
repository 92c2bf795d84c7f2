"""Variational auto-encoder: a model with latent variables, and a network that infers them.

    p(x, z) = N(z; 0, I) p(x | z),   q(z | x) = N(z; μ(x), diag σ²(x)),   w = p(x, z) / q(z | x)
    log p(x) ≥ E_q log p(x | z) - KL(q(z | x) ‖ p(z))                                    (ELBO)
    KL = ½ Σ_j (μ_j² + σ_j² - 1 - log σ_j²)
    log p(x) ≥ E log 1/k Σᵢ wᵢ,   z₁ … z_k from q(· | x)                                 (importance-weighted, k > 1)

The encoder gives (μ, log σ), the decoder the logits of p(x | z) = ∏ Bernoulli, or the means of p(x | z) = ∏ N(·, s²).
Gradients pass through the draws z = μ + σ ε, ε from N(0, I). Kingma & Welling (2014), "Auto-encoding variational
Bayes", sections 2.3 and 2.4, appendix B; Burda, Grosse & Salakhutdinov (2016), "Importance weighted autoencoders",
eq. 8. β weighs the KL term (Higgins et al. 2017, "β-VAE", eq. 4).

Differs from the papers: Gaussian units have one s for each number of x, the same for all z. No prior on the weights.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lamina.core import System, Terms
from lamina.sampling.importance import importance_bound
from lamina.systems.energy.units import Bernoulli, Gaussian

FLOOR = 0.01  # least s, by a number's standard deviation: the density of one that never varies would grow without bound


class VAE(System):
    """Variational auto-encoder, trained on the ELBO or, with several samples, on the importance-weighted bound.

    Args:
        encoder: from (batch, visible) to (batch, 2 latent): μ, then log σ.
        decoder: from (batch, latent) to the units' logits or means, (batch, visible) after flattening.
        latent: numbers of z.
        visible: the units of x, which also turn raw values to theirs.
        samples: draws of z an example and update, k.
        beta: weight β of the KL term; 1 is the bound. A schedule of "system.beta" can let it grow.
        noise: standard deviation s of Gaussian units, by the standard deviation of the data.
        learned: learn s, one for each number of x, from `noise` on.

    Raises:
        ValueError: a number out of its range.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        latent: int,
        visible: Bernoulli | Gaussian,
        samples: int = 1,
        beta: float = 1.0,
        noise: float = 1.0,
        learned: bool = True,
    ) -> None:
        super().__init__()
        if latent < 1 or samples < 1 or beta < 0:
            raise ValueError(f"latent and samples must be at least 1 and beta 0, got {latent}, {samples} and {beta}")
        if noise < FLOOR:
            raise ValueError(f"the noise of standardized data must be at least {FLOOR}, got {noise}; raise it")
        self.encoder, self.decoder, self.latent, self.visible = encoder, decoder, latent, visible
        self.samples, self.beta = samples, float(beta)
        self.log_noise: Tensor
        if not visible.binary:
            log_noise = torch.full((math.prod(visible.shape),), math.log(noise))
            if learned:
                self.log_noise = nn.Parameter(log_noise)
            else:
                self.register_buffer("log_noise", log_noise)

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch latent"]:
        """Return the means of q(z | x)."""
        return self.posterior(self.visible.standard(x))[0]

    @torch.no_grad()
    def decode(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch ..."]:
        """Return the means of p(x | z)."""
        return self.visible.restored(self.visible.mean(self.decoder(z).flatten(1)))

    def reconstruct(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """Return the means of p(x | z) at the means of q(z | x)."""
        return self.decode(self.encode(x))

    @torch.no_grad()
    def sample(self, count: int) -> Float[Tensor, "count ..."]:
        """Return draws from p(x); for the means of p(x | z) alone, `decode` draws from N(0, I)."""
        weight = next(self.decoder.parameters())
        z = torch.randn(count, self.latent, dtype=weight.dtype, device=weight.device)
        theta = self.decoder(z).flatten(1)
        if self.visible.binary:
            return self.visible.restored(self.visible.draw(theta))
        return self.visible.restored(torch.addcmul(theta, self.log_deviation().exp(), torch.randn_like(theta)))

    @torch.no_grad()
    def score(self, x: Float[Tensor, "batch ..."], samples: int = 100) -> Float[Tensor, "batch"]:
        """Return an estimate of the importance-weighted bound on log p(x) in nats; the more samples, the tighter."""
        return importance_bound(self, x, samples)

    def log_weights(self, x: Float[Tensor, "batch ..."], samples: int) -> Float[Tensor, "samples batch"]:
        """Return log w in nats for draws from q(z | x); grey values of binary units are taken as they are."""
        return self.weighed(self.visible.standard(x), samples)

    def weighed(
        self, v: Float[Tensor, "batch visible"], samples: int, beta: float = 1.0
    ) -> Float[Tensor, "samples batch"]:
        """Return log p(x | z) + β log p(z) / q(z | x) for draws from q(z | x)."""
        mean, log_scale = self.posterior(v)
        noise = torch.randn(samples, *mean.shape, dtype=mean.dtype, device=mean.device)
        z = torch.addcmul(mean, log_scale.exp(), noise)
        ratio = (log_scale + 0.5 * (noise.square() - z.square())).sum(-1)
        theta = self.decoder(z.flatten(0, 1)).reshape(samples, len(v), -1)
        return self.log_likelihood(v, theta) + beta * ratio

    def posterior(self, v: Float[Tensor, "batch visible"]) -> tuple[Tensor, Tensor]:
        """Return μ and log σ of q(z | x)."""
        mean, log_scale = self.encoder(v).chunk(2, 1)
        return mean, log_scale

    def log_likelihood(
        self, v: Float[Tensor, "batch visible"], theta: Float[Tensor, "*samples batch visible"]
    ) -> Float[Tensor, "*samples batch"]:
        """Return log p(x | z) in nats, given the decoder's output; of Gaussian units, the density of raw values."""
        return log_likelihood(self.visible, v, theta, None if self.visible.binary else self.log_deviation())

    def log_deviation(self) -> Float[Tensor, "visible"]:
        """Return log s of Gaussian units."""
        return self.log_noise.clamp_min(math.log(FLOOR))

    def parts(self, v: Float[Tensor, "batch visible"]) -> tuple[Tensor, Tensor]:
        """Return -log p(x | z) for one draw of z, and the KL term, for each example in nats."""
        mean, log_scale = self.posterior(v)
        scale = log_scale.exp()
        theta = self.decoder(torch.addcmul(mean, scale, torch.randn_like(mean))).flatten(1)
        divergence = (0.5 * (mean.square() + scale.square() - 1) - log_scale).sum(1)
        return -self.log_likelihood(v, theta), divergence

    def loss(self, x: Float[Tensor, "batch ..."]) -> Terms:
        """Return minus the ELBO in its two terms, or minus the importance-weighted bound, in nats."""
        v = self.visible.observed(x)
        if self.samples > 1:
            log_weights = self.weighed(v, self.samples, self.beta)
            return {"bound": math.log(self.samples) - log_weights.logsumexp(0).mean()}
        reconstruction, divergence = self.parts(v)
        return {"reconstruction": reconstruction.mean(), "kl": self.beta * divergence.mean()}

    def metrics(self, x: Float[Tensor, "batch ..."]) -> Terms:
        """Return minus the bound that is trained (with β = 1) in nats, and the two terms of the ELBO."""
        v = self.visible.observed(x)
        reconstruction, divergence = (part.mean() for part in self.parts(v))
        terms = {"negative_elbo": reconstruction + divergence, "reconstruction": reconstruction, "kl": divergence}
        if self.samples == 1:
            return terms
        bound = importance_bound(self, self.visible.restored(v), self.samples)
        return {"negative_bound": -bound.mean(), **terms}


def log_likelihood(
    units: Bernoulli | Gaussian,
    v: Float[Tensor, "batch visible"],
    theta: Float[Tensor, "*samples batch visible"],
    log_s: Float[Tensor, "visible"] | None,
) -> Float[Tensor, "*samples batch"]:
    """Return the log-likelihood in nats of binary units with logits θ, or Gaussian ones of means θ and deviations s."""
    if log_s is None:
        return (theta * v).sum(-1) - F.softplus(theta).sum(-1)
    errors = (v - theta) * log_s.neg().exp()
    volume = log_s.sum() + 0.5 * v.shape[1] * math.log(2 * math.pi) + units.log_volume()
    return -0.5 * errors.square().sum(-1) - volume
