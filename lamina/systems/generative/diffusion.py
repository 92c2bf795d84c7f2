"""Diffusion model: noise is added to the data in small steps, and a network learns each step's inverse.

    q(x_t | x_{t-1}) = N(√α_t x_{t-1}, β_t I),   α_t = 1 - β_t,   t = 1 … T                               (forward)
    q(x_t | x_0) = N(√ᾱ_t x_0, (1 - ᾱ_t) I),   ᾱ_t = α_1 ⋯ α_t
    q(x_{t-1} | x_t, x_0) = N(μ̃_t, β̃_t I),   β̃_t = β_t (1 - ᾱ_{t-1}) / (1 - ᾱ_t),
        μ̃_t = (√ᾱ_{t-1} β_t x_0 + √α_t (1 - ᾱ_{t-1}) x_t) / (1 - ᾱ_t)
    p(x_T) = N(0, I),   p(x_{t-1} | x_t) = N(μ(x_t, t), diag σ²(x_t, t))                                   (reverse)
    -log p(x_0) ≤ KL(q(x_T | x_0) ‖ p(x_T)) + Σ_t E L_t                                                    (bound)
    L_t = KL(q(x_{t-1} | x_t, x_0) ‖ p(x_{t-1} | x_t)) for t > 1,   L_1 = -log p(x_0 | x_1)

The network gives f(x_t, t), an estimate of √ᾱ_t ε - √(1 - ᾱ_t) x_0 for the noise ε in x_t (Salimans & Ho 2022,
"Progressive distillation", section 4). Where f = 0, a reverse step is a forward one, as is right for N(0, I):

    μ(x_t, t) = √α_t x_t - β_t √(ᾱ_{t-1} / (1 - ᾱ_t)) f(x_t, t),   log σ² = w log β_t + (1 - w) log β̃_t

w is 1, or a number in 0..1 that the network gives (Nichol & Dhariwal 2021, "Improved denoising diffusion probabilistic
models", eq. 15); for t = 1 β̃_2 stands for β̃_1 = 0. Model and bound are those of Sohl-Dickstein, Weiss, Maheswaranathan
& Ganguli (2015), "Deep unsupervised learning using nonequilibrium thermodynamics", sections 2.1 to 2.5. Ho, Jain &
Abbeel (2020), "Denoising diffusion probabilistic models", eq. 14, minimize ‖ε - ε̂‖² at uniform t in its place.

An update takes one t an example from π(t), L_t / π(t) for the sum: half uniform, half as an error of f counts in it.

Differs from the paper: p(x_0 | x_1) is learned, where the paper inverts the first step by Bayes' rule under N(0, I).
The β_t are not learned.
"""

import math
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.quasirandom import SobolEngine

from lamina.core import System, Terms
from lamina.systems.energy.units import Gaussian

Weighting = Literal["bound", "noise"]
WAVES = 8  # frequencies at which the network sees t
HELD_OUT = 10  # random t an example for the held-out bound
SHARE = 1e-3  # of the bound, to learn the variance beside the noise (Nichol & Dhariwal 2021, section 3.1)
ROWS = 2000  # the network sees at once when the bound is summed
EDGE = 1e-6  # of probability, within which no quasi-random number falls


class Diffusion(System):
    """A chain of Gaussian steps from noise to data, trained on the bound or on predicting the noise.

    Args:
        visible: units that standardize the data.
        network: from x_t and waves of log (1 - ᾱ_t) / ᾱ_t, (batch, visible + 2 WAVES), to f, (batch, visible), and if
            the variances are learned to the logits of w after it, (batch, 2 visible).
        beta: variances β_1 … β_T of the forward steps.
        learned: learn the reverse variances; otherwise they are β_t.
        weighting: minimize the bound, or the error of the noise.

    Raises:
        ValueError: a step without noise, or that keeps nothing.
    """

    def __init__(
        self,
        visible: Gaussian,
        network: nn.Module,
        beta: Float[Tensor, "steps"],
        learned: bool = True,
        weighting: Weighting = "bound",
    ) -> None:
        super().__init__()
        if not len(beta) or not bool(((beta > 0) & (beta < 1)).all()):
            raise ValueError("a diffusion needs at least 1 step, and variances between 0 and 1; raise steps")
        self.visible, self.network, self.learned, self.weighting = visible, network, learned, weighting
        self.steps, self.size = len(beta), math.prod(visible.shape)
        self.beta: Tensor
        self.kept: Tensor
        self.lost: Tensor
        self.tilde: Tensor
        self.entropy: Tensor
        self.log_beta: Tensor
        self.log_least: Tensor
        self.waves: Tensor
        self.chances: Tensor
        for name, value in tables(beta).items():
            self.register_buffer(name, value, persistent=False)

    @torch.no_grad()
    def sample(self, count: int) -> Float[Tensor, "count ..."]:
        """Return draws from the model, by the reverse chain."""
        u = torch.randn(count, self.size, dtype=self.beta.dtype, device=self.beta.device)
        for t in range(self.steps, 0, -1):
            u = self.backward_step(u, t)
        return self.visible.restored(u)

    @torch.no_grad()
    def inpaint(
        self, x: Float[Tensor, "batch *shape"], known: Bool[Tensor, "*shape"], repeats: int = 10
    ) -> Float[Tensor, "batch *shape"]:
        """Return the examples with what is not known drawn given the rest.

        Known numbers come from the forward process. The law is exact in the limit of small steps and many repeats, in
        which each reverse step is undone and taken again (Lugmayr et al. 2022, "RePaint", algorithm 1).
        """
        v, mask = self.visible.standard(x), known.flatten()
        u = torch.randn_like(v)
        for t in range(self.steps, 0, -1):
            below, beta = torch.full((len(v),), t - 1, device=v.device), self.beta[t]
            for again in range(repeats):
                if again:
                    u = (1 - beta).sqrt() * u + beta.sqrt() * torch.randn_like(u)
                u = torch.where(mask, self.noised(v, below, torch.randn_like(v)), self.backward_step(u, t))
        return torch.where(known, x, self.visible.restored(u))

    @torch.no_grad()
    def score(self, x: Float[Tensor, "batch ..."], draws: int = 1, seed: int | None = None) -> Float[Tensor, "batch"]:
        """Return the bound on log p(x) in nats, a density of raw values: all steps, `draws` draws of x_t for each.

        With a seed, all examples get the same noise, which is quasi-random: the score is then a smooth function of x,
        the same in every call, and quick to settle as draws grow by powers of two. Its errors do not average out over
        examples.
        """
        parts = torch.split(self.visible.standard(x), max(1, ROWS // draws))
        noise = None if seed is None else self.shared(draws, seed)
        return torch.cat([-self.bound(v, draws, noise) for v in parts])

    def shared(self, draws: int, seed: int) -> Float[Tensor, "steps draws visible"]:
        """Return quasi-random normal numbers for every step, from scrambled Sobol points."""
        engines = [SobolEngine(self.size, True, seed + t) for t in range(self.steps)]  # type: ignore[no-untyped-call]
        points = torch.stack([engine.draw(draws) for engine in engines]).to(self.beta)
        noise: Tensor = torch.special.ndtri(points.clamp(EDGE, 1 - EDGE))
        return noise

    def bound(
        self,
        v: Float[Tensor, "batch visible"],
        draws: int,
        noise: Float[Tensor, "steps draws visible"] | None = None,
    ) -> Float[Tensor, "batch"]:
        """Return the bound on -log p(x) in nats from all steps, with new noise for each row or the given one."""
        rows, total = v.repeat(draws, 1), self.prior(v)
        for t in range(1, self.steps + 1):
            times = rows.new_full((len(rows),), t, dtype=torch.long)
            drawn = torch.randn_like(rows) if noise is None else noise[t - 1].repeat_interleave(len(v), 0)
            total = total + self.step(rows, times, drawn).view(draws, -1).mean(0)
        return total

    def prior(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch"]:
        """Return KL(q(x_T | x_0) ‖ N(0, I)) in nats, and the log-volume of raw values."""
        kept, lost = self.kept[-1], self.lost[-1]
        divergence = 0.5 * (kept * v.square() + lost - 1 - lost.log()).sum(1)
        return divergence + self.visible.log_volume()

    def step(
        self, v: Float[Tensor, "batch visible"], t: Int[Tensor, "batch"], noise: Float[Tensor, "batch visible"]
    ) -> Float[Tensor, "batch"]:
        """Return the bound's term of step t in nats, at the x_t that the noise makes."""
        u = self.noised(v, t, noise)
        return self.divergence(v, u, t, *self.reverse(u, t)[:2])

    def divergence(
        self,
        v: Float[Tensor, "batch visible"],
        u: Float[Tensor, "batch visible"],
        t: Int[Tensor, "batch"],
        mean: Float[Tensor, "batch visible"],
        log_variance: Float[Tensor, "batch visible"],
    ) -> Float[Tensor, "batch"]:
        """Return KL(q(x_{t-1} | x_t, x_0) ‖ N(mean, variance)) in nats; for t = 1 minus the log-density of x_0."""
        center, spread = self.posterior(v, u, t)
        cross = ((center - mean).square() + spread) * torch.exp(-log_variance) + log_variance + math.log(2 * math.pi)
        return 0.5 * cross.sum(1) - self.size * self.entropy[t]

    def noised(
        self, v: Float[Tensor, "batch visible"], t: Int[Tensor, "batch"], noise: Float[Tensor, "batch visible"]
    ) -> Float[Tensor, "batch visible"]:
        """Return x_t, a draw from q(x_t | x_0)."""
        return self.kept[t].sqrt()[:, None] * v + self.lost[t].sqrt()[:, None] * noise

    def posterior(
        self, v: Float[Tensor, "batch visible"], u: Float[Tensor, "batch visible"], t: Int[Tensor, "batch"]
    ) -> tuple[Float[Tensor, "batch visible"], Float[Tensor, "batch 1"]]:
        """Return the mean and variance of q(x_{t-1} | x_t, x_0)."""
        of_v = self.kept[t - 1].sqrt() * self.beta[t] / self.lost[t]
        of_u = (1 - self.beta[t]).sqrt() * self.lost[t - 1] / self.lost[t]
        return of_v[:, None] * v + of_u[:, None] * u, self.tilde[t][:, None]

    def reverse(
        self, u: Float[Tensor, "batch visible"], t: Int[Tensor, "batch"]
    ) -> tuple[Float[Tensor, "batch visible"], Float[Tensor, "batch visible"], Float[Tensor, "batch visible"]]:
        """Return the mean and log-variance of p(x_{t-1} | x_t), and the noise that the network sees in x_t."""
        output: Tensor = self.network(torch.cat([u, self.waves[t]], 1))
        f, kept, lost, beta = output[:, : self.size], self.kept[t], self.lost[t], self.beta[t]
        mean = (1 - beta).sqrt()[:, None] * u - (beta * (self.kept[t - 1] / lost).sqrt())[:, None] * f
        noise = lost.sqrt()[:, None] * u + kept.sqrt()[:, None] * f
        high, low = self.log_beta[t][:, None], self.log_least[t][:, None]
        if not self.learned:
            return mean, high.expand_as(u), noise
        return mean, torch.lerp(low.expand_as(u), high.expand_as(u), output[:, self.size :].sigmoid()), noise

    def backward_step(self, u: Float[Tensor, "batch visible"], t: int) -> Float[Tensor, "batch visible"]:
        """Return a draw from p(x_{t-1} | x_t)."""
        mean, log_variance, _ = self.reverse(u, torch.full((len(u),), t, device=u.device))
        return torch.addcmul(mean, torch.exp(0.5 * log_variance), torch.randn_like(u))

    def times(self, v: Float[Tensor, "batch visible"]) -> tuple[Int[Tensor, "batch"], Float[Tensor, "batch"]]:
        """Return a t from π for each row, evenly spread over the batch, and 1 / π(t)."""
        places = torch.arange(len(v), dtype=v.dtype, device=v.device) / len(v)
        shares = (places + torch.rand((), dtype=v.dtype, device=v.device)) % 1
        t = torch.searchsorted(self.chances.cumsum(0), shares, right=True).clamp_max(self.steps)
        return t, 1 / self.chances[t]

    def estimate(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, ""]:
        """Return an unbiased estimate of the mean bound in nats, from one t a row."""
        t, weights = self.times(v)
        return (self.prior(v) + weights * self.step(v, t, torch.randn_like(v))).mean()

    def loss(self, x: Float[Tensor, "batch ..."]) -> Terms:
        """Return the estimated bound in nats, or the squared error of the noise and what the variances learn from."""
        v = self.visible.standard(x)
        if self.weighting == "bound":
            return {"bound": self.estimate(v)}
        (t, weights), noise = self.times(v), torch.randn_like(v)
        u = self.noised(v, t, noise)
        mean, log_variance, seen = self.reverse(u, t)
        terms = {"noise": (weights * (noise - seen).square().sum(1)).mean() / self.steps}
        if self.learned:
            steps = self.divergence(v, u, t, mean.detach(), log_variance)
            terms["variance"] = SHARE * (weights * steps).mean()
        return terms

    def metrics(self, x: Float[Tensor, "batch ..."]) -> Terms:
        """Return the bound on -log p(x) in nats, estimated from ten t an example."""
        return {"bound": self.estimate(self.visible.standard(x).repeat(HELD_OUT, 1))}


def tables(beta: Float[Tensor, "steps"]) -> dict[str, Tensor]:
    """Return what depends on t alone, at indices 1 … T; 0 stands for the data."""
    b = torch.cat([beta.new_zeros(1), beta]).double()
    log_kept = torch.log1p(-b).cumsum(0)
    kept, lost = log_kept.exp(), -torch.expm1(log_kept)  # ᾱ and 1 - ᾱ
    tilde = torch.zeros_like(b)
    tilde[2:] = b[2:] * lost[1:-1] / lost[2:]
    least = torch.cat([b[:1], tilde[2:3] if len(beta) > 1 else b[1:], tilde[2:]])
    entropy = 0.5 * torch.log(2 * math.pi * math.e * tilde)
    entropy[:2] = 0  # x_0 is given, not drawn
    gain = kept[:-1] * b[1:] / lost[1:]  # weight of ½‖error of f‖² in the bound, if σ² = β_t
    chances = torch.cat([b[:1], 0.5 / len(beta) + 0.5 * gain / gain.sum()])
    level = lost[1:].log() - log_kept[1:]
    places = (level - level[0]) / (level[-1] - level[0]).clamp_min(1)
    angles = 0.5 * math.pi * places[:, None] * len(beta) ** (torch.arange(WAVES).to(b) / WAVES)
    waves = torch.cat([angles.sin(), angles.cos()], 1)
    constants = {"beta": b, "kept": kept, "lost": lost, "tilde": tilde, "entropy": entropy, "chances": chances}
    constants |= {"log_beta": b.log(), "log_least": least.log(), "waves": torch.cat([waves[:1], waves])}
    return {name: value.to(beta.dtype) for name, value in constants.items()}


def linear_betas(steps: int) -> Float[Tensor, "steps"]:
    """Return variances that rise on a straight line, as those of Ho et al. (2020), section 4, for 1000 steps."""
    return torch.linspace(0.1, 20, steps).div(steps).clamp_max(0.999)


def cosine_betas(steps: int) -> Float[Tensor, "steps"]:
    """Return variances with ᾱ_t along a squared cosine (Nichol & Dhariwal 2021, eq. 17)."""
    kept = torch.cos((torch.linspace(0, 1, steps + 1).double() + 0.008) / 1.008 * math.pi / 2).square()
    return (1 - kept[1:] / kept[:-1]).clamp_max(0.999).float()
