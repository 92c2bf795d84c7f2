"""Helmholtz machine: a stack of binary layers with top-down generative and bottom-up recognition weights.

    p(x, h) = p(h⁽ᴸ⁾) Π p(h⁽ˡ⁾ | h⁽ˡ⁺¹⁾)        p(h⁽ˡ⁾ = 1 | h⁽ˡ⁺¹⁾) = σ(b + W h⁽ˡ⁺¹⁾),  h⁽⁰⁾ = x
    q(h | x) = Π q(h⁽ˡ⁺¹⁾ | h⁽ˡ⁾)                q(h⁽ˡ⁺¹⁾ = 1 | h⁽ˡ⁾) = σ(c + V h⁽ˡ⁾)

Wake-sleep (Hinton, Dayan, Frey & Neal 1995, "The wake-sleep algorithm for unsupervised neural networks") minimizes

    wake    -log p(x, h)   over the generative weights, for data x and h drawn from q(h | x)
    sleep   -log q(h | x)  over the recognition weights, for (x, h) drawn from p, a dream

Reweighted wake-sleep (Bornschein & Bengio 2015, sections 2 and 3) draws h₁ … h_K from q for each example, and weighs
them:

    ωₖ = p(x, hₖ) / q(hₖ | x),   ω̃ₖ = ωₖ / Σ ω,   log p(x) ≥ E log 1/K Σ ωₖ
    wake               -Σ ω̃ₖ log p(x, hₖ)    whose gradient tends to that of -log p(x) as K grows
    wake_recognition   -Σ ω̃ₖ log q(hₖ | x)   whose gradient tends to that of KL(p(h | x) ‖ q(h | x))

With K = 1 the weight is 1, which is wake-sleep. States and weights ω̃ are held fixed, and p and q share no parameter, so
one backward pass over the sum of the terms gives each weight the gradient of its own rule.

Differs from the papers: the visible bias may start at the log-odds of the data's means; grey values are drawn afresh as
bits at every update; as many dreams as examples.
"""

import math
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lamina.core import System, Terms
from lamina.sampling.importance import importance_bound
from lamina.systems.energy.units import Bernoulli, flip

Recognition = Literal["sleep", "wake", "both"]
"""What the recognition weights learn from: dreams, weighted draws for the data, or both."""

HELD_OUT = 5  # draws an example for the held-out bound, as many as the paper's K


class HelmholtzMachine(System):
    """Sigmoid belief network with a recognition network, trained by wake-sleep or reweighted wake-sleep.

    Args:
        visible: the visible units.
        hidden: units of each hidden layer, from the lowest to the top.
        bias: initial visible bias, such as `visible.matching` the data; zero by default.
        samples: draws of the hidden states for each example of an update, K.
        recognition: what the recognition weights learn from.

    Raises:
        ValueError: no hidden layer, a size below one, or a weighted update of the recognition weights from one draw.
    """

    def __init__(
        self,
        visible: Bernoulli,
        hidden: tuple[int, ...],
        bias: Float[Tensor, "visible"] | None = None,
        samples: int = 1,
        recognition: Recognition = "sleep",
    ) -> None:
        super().__init__()
        if not hidden or min((*hidden, samples)) < 1:
            raise ValueError(f"hidden sizes and samples must be at least 1, got {hidden} and {samples}")
        if samples == 1 and recognition != "sleep":
            raise ValueError(f"recognition={recognition} weighs draws against each other: set samples to 2 or more")
        self.visible, self.samples, self.recognition = visible, samples, recognition
        widths = (math.prod(visible.shape), *hidden)
        self.up = nn.ModuleList(linear(low, high) for low, high in pairwise(widths))  # c, V of layer l to l + 1
        down = [linear(high, low) for low, high in pairwise(widths)]  # b, W of layer l + 1 to l
        if bias is not None:
            down[0].bias.data.copy_(bias)
        self.down = nn.ModuleList(down)
        self.prior = nn.Parameter(torch.zeros(hidden[-1]))  # log-odds of the top layer

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch features"]:
        """Return the recognition probabilities of the lowest hidden layer, of grey values those at their means."""
        features: Tensor = self.up[0](self.visible.standard(x)).sigmoid()
        return features

    @torch.no_grad()
    def reconstruct(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """Return the visible units' means given those probabilities."""
        return self.visible.restored(self.visible.mean(self.down[0](self.encode(x))))

    @torch.no_grad()
    def sample(self, count: int) -> Float[Tensor, "count ..."]:
        """Return visible states of dreams: exact and independent samples of the model."""
        return self.visible.restored(self.dream(count)[0][0])

    def score(self, x: Float[Tensor, "batch ..."], samples: int = 100) -> Float[Tensor, "batch"]:
        """Return the importance-weighted lower bound on log p(x) in nats, from 100 draws an example by default."""
        return importance_bound(self, x, samples)

    @torch.no_grad()
    def log_weights(self, x: Float[Tensor, "batch ..."], samples: int) -> Float[Tensor, "samples batch"]:
        """Return log ω in nats for `samples` draws of the hidden states of each example."""
        states, log_q = self.infer(self.visible.standard(x), samples)
        return self.log_joint(states) - log_q

    def infer(
        self, x: Float[Tensor, "batch visible"], samples: int
    ) -> tuple[list[Float[Tensor, "_ batch _"]], Float[Tensor, "samples batch"]]:
        """Return x with an axis before it, states of all hidden layers drawn from q(h | x), and log q of them."""
        states, log_q = [x[None]], x.new_zeros(samples, len(x))
        for layer in self.up:
            logits = layer(states[-1])  # of x once, for all draws
            states.append(flip(logits.detach().sigmoid().expand(samples, -1, -1)))
            log_q = log_q + log_prob(states[-1], logits)
        return states, log_q

    @torch.no_grad()
    def dream(self, count: int) -> list[Float[Tensor, "1 count _"]]:
        """Return states of all layers drawn from p, the visible one first."""
        states = [flip(self.prior.sigmoid().expand(1, count, -1))]
        for layer in reversed(self.down):
            states.insert(0, flip(layer(states[0]).sigmoid()))
        return states

    def log_joint(self, states: list[Float[Tensor, "_ batch _"]]) -> Float[Tensor, "samples batch"]:
        """Return log p(x, h) in nats of the states of all layers, the visible one first."""
        total = log_prob(states[-1], self.prior)
        for layer, below, above in zip(self.down, states, states[1:], strict=False):
            total = total + log_prob(below, layer(above))
        return total

    def log_recognition(self, states: list[Float[Tensor, "_ batch _"]]) -> Float[Tensor, "samples batch"]:
        """Return log q(h | x) in nats of the states of all layers, the visible one first."""
        parts = [
            log_prob(above, layer(below)) for layer, below, above in zip(self.up, states, states[1:], strict=False)
        ]
        return torch.stack(parts).sum(0)

    def loss(self, x: Float[Tensor, "batch ..."]) -> Terms:
        """Return the terms of the wake and of the sleep phase in nats."""
        with torch.set_grad_enabled(self.recognition != "sleep"):
            states, log_q = self.infer(self.visible.observed(x), self.samples)
        log_p = self.log_joint(states)
        weights = (log_p - log_q).detach().softmax(0)
        terms = {"wake": -(weights * log_p).sum(0).mean()}
        if self.recognition != "sleep":
            terms["wake_recognition"] = -(weights * log_q).sum(0).mean()
        if self.recognition != "wake":
            terms["sleep"] = -self.log_recognition(self.dream(len(x))).mean()
        return terms

    def metrics(self, x: Float[Tensor, "batch ..."]) -> Terms:
        """Return minus the importance-weighted bound of a fresh binary draw in nats, from 5 draws an example."""
        return {"bound": -importance_bound(self, self.visible.restored(self.visible.observed(x)), HELD_OUT).mean()}


def linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a layer with the initial weights of Glorot & Bengio (2010), normally distributed, and biases of zero."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_normal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def log_prob(h: Float[Tensor, "*#rows units"], logits: Float[Tensor, "*#rows units"]) -> Float[Tensor, "..."]:
    """Return log p(h) in nats of independent binary units: Σ h a - log(1 + exp(a)) for log-odds a."""
    return (h * logits).sum(-1) - F.softplus(logits).sum(-1)
