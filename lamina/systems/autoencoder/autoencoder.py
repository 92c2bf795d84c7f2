"""Auto-encoder of one hidden layer: denoising, contractive, sparse, saturating, with tied weights or not.

    x̃ ~ C(x̃ | x)                                    corruption
    h(x̃) = s(W x̃ + b)                               code
    r(x̃) = g(V h + c),   V = Wᵀ if tied             reconstruction
    L = -log p(x; r(x̃)) + λ ‖∂h/∂x‖²_F + β Σ_j KL(ρ ‖ ĥ_j) + γ Σ_j d(a_j),   a = W x̃ + b

- Denoising: Vincent, Larochelle, Lajoie, Bengio & Manzagol (2010), Stacked denoising autoencoders, section 3.
- Contractive: Rifai et al. (2011), Contractive auto-encoders, eq. 4; ‖∂h/∂x‖²_F = Σ_j s'_j² ‖W_j‖² in closed form.
- Sparse: the mean activity ĥ_j of a hidden unit is pulled to a target ρ.
- Saturating: d(a) is the distance of an activation from the nearest zone in which s is flat; Goroshin & LeCun (2013),
  Saturating auto-encoders, eq. 1 and 2. It is 1 - |h| where s cuts off at -1 and 1 ("saturated-linear"), h for the
  rectifier, and |h| for shrinkage by 1.
- Generative: corrupting and drawing from the reconstruction, in turns, is a Markov chain whose states follow the data
  (Bengio, Yao, Alain & Vincent 2013, Generalized denoising auto-encoders as generative models, theorem 1). Walkback
  (section 5) runs that chain while learning, and asks for x from each of its states.

With squared error and Gaussian noise of small variance σ², (r(x) - x) / σ² is the score ∇ log p(x) of the data, and at
any σ² that of the data with the noise added (Alain & Bengio 2014, theorem 1; Vincent 2011, section 4).

Gaussian units are p(x | h) = N(r, diag s²) with one s for each number of x. At any s that all numbers share, the
likeliest r is that of least squares: -log p(x; r) stands for (x - r)² / 2, against which λ, β and γ are weighed as
published. Given r, the likeliest s is closed:

    s² = E (x - r(x̃))²

Differs from the papers: ĥ_j is the mean over a batch, s² a running mean over batches.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lamina.core import System, Terms
from lamina.systems.energy.units import Bernoulli, Gaussian

Activation = Literal["sigmoid", "tanh", "linear", "saturated-linear", "relu", "shrink"]

ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "linear": lambda a: a,
    "saturated-linear": F.hardtanh,
    "relu": F.relu,
    "shrink": lambda a: F.softshrink(a, 1.0),
}
SLOPES: dict[Activation, Callable[[Tensor], Tensor]] = {
    "sigmoid": lambda h: h * (1 - h),
    "tanh": lambda h: 1 - h.square(),
    "linear": torch.ones_like,
    "saturated-linear": lambda h: (h.abs() < 1).to(h.dtype),
    "relu": lambda h: (h > 0).to(h.dtype),
    "shrink": lambda h: (h != 0).to(h.dtype),
}
DISTANCES: dict[Activation, Callable[[Tensor], Tensor]] = {
    "saturated-linear": lambda h: 1 - h.abs(),
    "relu": lambda h: h,
    "shrink": torch.abs,
}
"""s(a), and as functions of h = s(a) its slope, and the distance of a from where it is flat, if it is anywhere."""

RATE = 0.05  # of a batch in the running mean of s²; after 100 updates less than a hundredth of its start is left


class Autoencoder(System):
    """A hidden layer from which the input is restored.

    Args:
        visible: binary units, for values in 0..1 with cross-entropy, or Gaussian ones, with squared error.
        hidden: units of the code.
        corruption: noise on what is encoded, as in `lamina.modules.corruption`; none by default.
        bias: initial bias c, such as `visible.matching` the data; zero by default.
        tied: decode by the transpose of the encoder's weights.
        activation: of the code; sparsity needs "sigmoid", saturation one that has flat zones.
        contraction: weight λ of the squared norm of the code's Jacobian.
        sparsity: weight β of the pull to the target.
        target: mean activity ρ that sparsity wants.
        walkback: steps of the chain from which an update restores the input.
        saturation: weight γ of the distance of activations from the flat zones.

    Raises:
        ValueError: a size or weight that makes no sense.
    """

    def __init__(
        self,
        visible: Bernoulli | Gaussian,
        hidden: int,
        corruption: nn.Module | None = None,
        bias: Float[Tensor, "visible"] | None = None,
        tied: bool = True,
        activation: Activation = "sigmoid",
        contraction: float = 0.0,
        sparsity: float = 0.0,
        target: float = 0.05,
        walkback: int = 1,
        saturation: float = 0.0,
    ) -> None:
        super().__init__()
        if hidden < 1 or walkback < 1:
            raise ValueError(f"hidden and walkback must be at least 1, got {hidden} and {walkback}")
        if sparsity and (activation != "sigmoid" or not 0 < target < 1):
            raise ValueError(f"sparsity needs sigmoid codes and a target within 0..1, got {activation} and {target}")
        if saturation and activation not in DISTANCES:
            raise ValueError(
                f"{activation} codes are nowhere flat; for saturation choose one of {', '.join(DISTANCES)}"
            )
        size = math.prod(visible.shape)
        self.visible, self.activation, self.walkback = visible, activation, walkback
        self.corruption = corruption or nn.Identity()
        self.contraction, self.sparsity, self.target, self.saturation = contraction, sparsity, target, saturation
        self.encoder = nn.Linear(size, hidden)
        limit = math.sqrt(6 / (size + hidden)) * (4 if activation == "sigmoid" else 1)  # Glorot & Bengio (2010), eq. 16
        nn.init.uniform_(self.encoder.weight, -limit, limit)
        nn.init.zeros_(self.encoder.bias)
        self.V = None if tied else nn.Parameter(self.encoder.weight.detach().t().clone())
        self.c = nn.Parameter(torch.zeros(size) if bias is None else bias.clone())
        self.variance: Tensor
        if not visible.binary:
            self.register_buffer("variance", torch.ones(size))

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch hidden"]:
        """Return the code of raw input, without noise."""
        return self.code(self.visible.standard(x))

    @torch.no_grad()
    def decode(self, h: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch ..."]:
        """Return the raw input that a code stands for."""
        return self.visible.restored(self.visible.mean(self.natural(h)))

    @torch.no_grad()
    def reconstruct(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """Return r(x) for raw input, without noise."""
        return self.decode(self.encode(x))

    @torch.no_grad()
    def sample(self, count: int, steps: int = 100) -> Float[Tensor, "count ..."]:
        """Return the last states of Markov chains that start from noise; of binary units, their means."""
        v = self.visible.draw(torch.zeros_like(self.c).expand(count, -1))
        for _ in range(steps - 1):
            v = self.step(v)
        theta = self.natural(self.code(self.corruption(v)))
        return self.visible.restored(self.visible.mean(theta) if self.visible.binary else self.draw(theta))

    @torch.no_grad()
    def step(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch visible"]:
        """Return the next states of Markov chains: corrupted, encoded, decoded and drawn."""
        return self.draw(self.natural(self.code(self.corruption(v))))

    @torch.no_grad()
    def score(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch"]:
        """Return minus the energy, which is the error of reconstruction in nats; it is no log-likelihood."""
        v = self.visible.standard(x)
        return -self.distances(v, self.natural(self.code(v)))

    @torch.no_grad()
    def displacement(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """Return r(x) - x for raw input: where the auto-encoder pulls it; over σ², an estimate of the score."""
        return self.reconstruct(x) - x

    def code(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch hidden"]:
        """Return h(v)."""
        return ACTIVATIONS[self.activation](self.encoder(v))

    def natural(self, h: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch visible"]:
        """Return the natural parameters V h + c of the reconstruction: logits, or means of Gaussian units."""
        return torch.addmm(self.c, h, self.encoder.weight if self.V is None else self.V.t())

    def draw(self, theta: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch visible"]:
        """Return a sample of p(x; θ): of Gaussian units, with deviation s."""
        if self.visible.binary:
            return self.visible.draw(theta)
        return torch.addcmul(theta, self.variance.sqrt(), torch.randn_like(theta))

    def distances(
        self, v: Float[Tensor, "batch visible"], theta: Float[Tensor, "batch visible"]
    ) -> Float[Tensor, "batch"]:
        """Return -log p(v; θ) in nats: cross-entropy, or half the squared error, for s = 1 and up to a constant."""
        if self.visible.binary:
            return F.binary_cross_entropy_with_logits(theta, v, reduction="none").sum(1)
        return (theta - v).square().sum(1) / 2

    def jacobian(self, h: Float[Tensor, "batch hidden"]) -> Float[Tensor, ""]:
        """Return ‖∂h/∂v‖²_F, a mean over the batch."""
        return SLOPES[self.activation](h).square().mean(0) @ self.encoder.weight.square().sum(1)

    def loss(self, x: Float[Tensor, "batch ..."]) -> Terms:
        """Return the reconstruction error in nats, and the penalties; in training, follow s² of Gaussian units."""
        v = self.visible.observed(x)
        state, terms = v, dict[str, Tensor]()
        for k in range(self.walkback):
            h = self.code(self.corruption(state))
            theta = self.natural(h)
            terms["reconstruction"] = terms.get("reconstruction", 0) + self.distances(v, theta).mean() / self.walkback
            if self.training and not self.visible.binary:
                self.variance.lerp_((v - theta.detach()).square().mean(0), RATE)
            if k + 1 < self.walkback:
                state = self.draw(theta.detach())
        if self.contraction:
            terms["contraction"] = self.contraction * self.jacobian(h)
        if self.sparsity:
            terms["sparsity"] = self.sparsity * divergence(self.target, h.mean(0)).sum()
        if self.saturation:
            terms["saturation"] = self.saturation * DISTANCES[self.activation](h).sum(1).mean()
        return terms

    def metrics(self, x: Float[Tensor, "batch ..."]) -> Terms:
        """Return the error of restoring corrupted input, and that of clean input, in nats."""
        v = self.visible.observed(x)
        noisy, clean = (self.distances(v, self.natural(self.code(u))).mean() for u in (self.corruption(v), v))
        return {"denoising": noisy, "reconstruction": clean}


def divergence(target: float, q: Float[Tensor, "units"]) -> Float[Tensor, "units"]:
    """Return KL(ρ ‖ q) of binary units in nats."""
    q = q.clamp(1e-6, 1 - 1e-6)
    return target * (target / q).log() + (1 - target) * ((1 - target) / (1 - q)).log()
