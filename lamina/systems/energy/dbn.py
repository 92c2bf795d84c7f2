"""Deep belief network: a restricted Boltzmann machine on top, and directed layers of binary units below it.

    p(v, h¹ … hᴸ) = p(v | h¹) … p(hᴸ⁻² | hᴸ⁻¹) p_RBM(hᴸ⁻¹, hᴸ)        p(h^l = 1 | h^(l+1)) = σ(b + W h^(l+1))
    q(h | v)      = q(h¹ | v) … q(hᴸ⁻¹ | hᴸ⁻²)                        q(h^(l+1) = 1 | h^l) = σ(c + V h^l)

Layers are first trained greedily as RBMs, each upon the codes of the one below; W and V are then an RBM's weights and
their transpose. Fine-tuning unties them, by the up-down algorithm, a contrastive form of wake-sleep:

    wake    -log p(h^l | h^(l+1)) over the generative weights, for v from the data and h from q(h | v)
    top     (persistent) contrastive divergence of the top RBM on hᴸ⁻¹ from q
    sleep   -log q(h | v) over the recognition weights, for states drawn downward from the top RBM's chains

With hᴸ summed out, p_RBM(hᴸ⁻¹) = exp(-F(hᴸ⁻¹)) / Z, so that `lamina.sampling.importance` gives the bound on log p(v)
but for log Z of the top RBM alone, which `lamina.sampling.ais` estimates. Hinton, Osindero & Teh (2006), "A fast
learning algorithm for deep belief nets", sections 4 (greedy learning), 5 and appendix B (up-down); Salakhutdinov &
Murray (2008), "On the quantitative analysis of deep belief networks", section 4.2 (bound).

Differs from the paper: chains of the top RBM may persist, where the paper's start from q in every update.
"""

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lamina.core import System, Terms
from lamina.sampling.importance import importance_bound
from lamina.systems.autoencoder.helmholtz import linear, log_prob
from lamina.systems.energy.rbm import RBM
from lamina.systems.energy.units import Bernoulli, Gaussian, flip


class DBN(System):
    """Deep belief network trained by the up-down algorithm.

    Args:
        visible: the visible units.
        hidden: units of each hidden layer, from the lowest to the top; two layers at least.
        bias: initial visible bias, such as `visible.matching` the data; zero by default.
        k: Gibbs steps of the top RBM an update. A schedule of "system.top.k" can raise it in the course of a run.
        chains: persistent chains of the top RBM; with none, every update starts from its batch.

    Raises:
        ValueError: fewer than two hidden layers, or a size that makes no sense.
    """

    def __init__(
        self,
        visible: Bernoulli | Gaussian,
        hidden: tuple[int, ...],
        bias: Float[Tensor, "visible"] | None = None,
        k: int = 1,
        chains: int = 100,
    ) -> None:
        super().__init__()
        if len(hidden) < 2 or min(hidden) < 1:
            raise ValueError(f"a deep belief network needs two hidden layers of units, got {hidden}; for one, use rbm")
        self.visible = visible
        widths = (math.prod(visible.shape), *hidden[:-1])
        self.up = nn.ModuleList(linear(low, high) for low, high in pairwise(widths))  # c, V of layer i to i + 1
        down = [linear(high, low) for low, high in pairwise(widths)]  # b, W of layer i + 1 to i
        if bias is not None:
            down[0].bias.data.copy_(bias)
        self.down = nn.ModuleList(down)
        self.top = RBM(Bernoulli((hidden[-2],)), hidden[-1], k=k, chains=chains)

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch features"]:
        """Return probabilities of the top layer, from those of the layers below in turn."""
        h = self.visible.standard(x)
        for layer in self.up:
            h = layer(h).sigmoid()
        return self.top.up(h)

    @torch.no_grad()
    def reconstruct(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """Return the visible units' means given the lowest hidden layer's probabilities."""
        h = self.up[0](self.visible.standard(x)).sigmoid()
        return self.visible.restored(self.visible.mean(self.down[0](h)))

    @torch.no_grad()
    def sample(self, count: int, steps: int = 1000) -> Float[Tensor, "count ..."]:
        """Return visible states drawn downward from Gibbs chains of the top RBM."""
        return self.visible.restored(self.descend(self.top.sample(count, steps))[0])

    def score(self, x: Float[Tensor, "batch ..."], samples: int = 100) -> Float[Tensor, "batch"]:
        """Return the importance-weighted lower bound but for log Z of the top RBM in nats."""
        return importance_bound(self, x, samples)

    def bound(self, x: Float[Tensor, "batch ..."], log_partition: float, samples: int = 100) -> Float[Tensor, "batch"]:
        """Return the lower bound on log p(x) in nats, given log Z of the top RBM: of raw values if x is Gaussian."""
        return self.score(x, samples) - log_partition - self.visible.log_volume()

    @torch.no_grad()
    def log_weights(self, x: Float[Tensor, "batch ..."], samples: int) -> Float[Tensor, "samples batch"]:
        """Return log p(x, h) - log q(h | x) in nats but for log Z, for draws of h¹ … hᴸ⁻¹, with hᴸ summed out."""
        v = self.visible.standard(x)
        states = self.ascend(v.expand(samples, *v.shape).flatten(0, 1))
        log_w = self.log_joint(states) - self.top.free_energy(states[-1]) - self.log_recognition(states)
        return log_w.view(samples, len(x))

    def ascend(self, v: Float[Tensor, "batch visible"]) -> list[Float[Tensor, "batch _"]]:
        """Return v and states of the hidden layers but the top one, drawn from q(h | v)."""
        states = [v]
        for layer in self.up:
            states.append(flip(layer(states[-1]).sigmoid()))
        return states

    def descend(self, h: Float[Tensor, "batch units"]) -> list[Float[Tensor, "batch _"]]:
        """Return states of v and of the layers below h, drawn given it, and h itself."""
        states = [h]
        for layer in reversed(self.down[1:]):
            states.insert(0, flip(layer(states[0]).sigmoid()))
        return [self.visible.draw(self.down[0](states[0])), *states]

    def log_joint(self, states: list[Float[Tensor, "batch _"]]) -> Float[Tensor, "batch"]:
        """Return log p(v, h¹ … hᴸ⁻² | hᴸ⁻¹) in nats."""
        v, theta = states[0], self.down[0](states[1])
        total: Tensor = self.visible.log_carrier(v) + (v * theta).sum(-1) - self.visible.log_partition(theta)
        for layer, below, above in zip(self.down[1:], states[1:], states[2:], strict=False):
            total = total + log_prob(below, layer(above))
        return total

    def log_recognition(self, states: list[Float[Tensor, "batch _"]]) -> Float[Tensor, "batch"]:
        """Return log q(h¹ … hᴸ⁻¹ | v) in nats."""
        pairs = zip(self.up, states, states[1:], strict=False)
        return torch.stack([log_prob(above, layer(below)) for layer, below, above in pairs]).sum(0)

    def loss(self, x: Float[Tensor, "batch ..."]) -> Terms:
        """Return the terms of the up-down algorithm; of that of the top RBM only the gradient means something."""
        with torch.no_grad():
            states = self.ascend(self.visible.observed(x))
        divergence = self.top.loss(states[-1])["divergence"]
        with torch.no_grad():
            chains = self.top.chains if len(self.top.chains) else flip(self.top.up(states[-1]))
            h = self.top.gibbs(self.top.visible.draw(self.top.down(chains)), round(self.top.k) - 1)
            dream = self.descend(h)
        wake, sleep = -self.log_joint(states).mean(), -self.log_recognition(dream).mean()
        return {"wake": wake, "top": divergence, "sleep": sleep}

    def metrics(self, x: Float[Tensor, "batch ..."]) -> Terms:
        """Return -log p(v, h¹ … | hᴸ⁻¹) in nats for h from q: how well v is restored, and not how likely it is."""
        return {"reconstruction": -self.log_joint(self.ascend(self.visible.observed(x))).mean()}

    @torch.no_grad()
    def adopt(self, i: int, layer: RBM) -> None:
        """Take over an RBM's weights between layers i and i + 1, downward and upward."""
        down, up = self.down[i], self.up[i]
        assert isinstance(down, nn.Linear)
        assert isinstance(up, nn.Linear)
        down.weight.copy_(layer.W)
        down.bias.copy_(layer.a)
        up.weight.copy_(layer.W.t())
        up.bias.copy_(layer.b)


class Values(nn.Module):
    """What a classifier gets from visible units: their values for raw input."""

    def __init__(self, units: Bernoulli | Gaussian) -> None:
        super().__init__()
        self.units = units

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch visible"]:
        return self.units.standard(x)
