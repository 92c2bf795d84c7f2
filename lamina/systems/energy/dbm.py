"""Deep Boltzmann machine: layers of binary units with couplings between neighboring layers only.

    E(h⁰ … hᴸ) = -log m(v) - Σ_l b_lᵀh^l - Σ_l (h^l)ᵀW_l h^(l+1),   h⁰ = v                p = exp(-E) / Z
    p(h^l_j = 1 | neighbors) = σ(b_l + W_(l-1)ᵀh^(l-1) + W_l h^(l+1))_j

Given the odd layers the even ones are independent, and the other way round. So the machine is a harmonium between the
two sets: Gibbs sampling draws a set at once, `lamina.sampling` normalizes it as it does an RBM, and with the odd layers
summed out the free energy of the even ones, e, is F(e) = -log Σ_odd exp(-E). Some of e are hidden; for them stand means
μ = q(h = 1), and as E is linear in each layer

    log p(v) ≥ -F(v, μ_even) + H(μ_even) - log Z           H is the entropy of q

The mean field that makes the bound tight is found by setting μ of the odd layers, and then of the even ones, to the
conditional above with μ for its neighbors; each such step raises the bound. Its gradient is that of -F(v, μ) with μ
held fixed, less the mean of that of -F(e) under the model, which is taken over persistent chains. Salakhutdinov &
Hinton (2009), "Deep Boltzmann machines", sections 2 (learning), 3 (pre-training), 3.1 (log Z) and 3.2 (classifier).

Differs from the paper: the odd layers of the chains are summed out in the gradient; the bias of a layer that two
pre-trained RBMs share is the mean of theirs; in pre-training, two copies of a grey value are two draws.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lamina.core import System, Terms
from lamina.systems.energy.centering import centered
from lamina.systems.energy.rbm import RBM, weights
from lamina.systems.energy.units import Bernoulli, Gaussian, flip

SETTLED = 25  # mean-field steps of the verbs, as in the paper's section 4


class Mixed(NamedTuple):
    """Visible units with binary ones beside them: the even layers as one family of units."""

    units: Bernoulli | Gaussian
    visible: int

    @property
    def binary(self) -> bool:
        """Whether all units are 0 or 1."""
        return self.units.binary

    def log_partition(self, theta: Float[Tensor, "batch units"]) -> Float[Tensor, "batch"]:
        """Return A(θ), summed over the units."""
        return self.units.log_partition(theta[:, : self.visible]) + F.softplus(theta[:, self.visible :]).sum(-1)

    def matching(self, means: Float[Tensor, "units"], count: int) -> Float[Tensor, "units"]:
        """Return θ for means over `count` examples."""
        shown = self.units.matching(means[: self.visible], count)
        return torch.cat([shown, Bernoulli(()).matching(means[self.visible :], count)])

    def draw(self, theta: Float[Tensor, "batch units"]) -> Float[Tensor, "batch units"]:
        """Return a sample of the units."""
        shown = self.units.draw(theta[:, : self.visible])
        return torch.cat([shown, flip(theta[:, self.visible :].sigmoid())], 1)


class Bipartite(NamedTuple):
    """The machine as a harmonium between its even layers, "visible", and its odd ones, "hidden"."""

    W: Tensor
    a: Tensor
    b: Tensor
    visible: Mixed


class DBM(System):
    """Deep Boltzmann machine trained by mean field on the data and persistent chains.

    Args:
        visible: the visible units.
        hidden: units of each hidden layer, from the lowest to the top; two layers at least.
        bias: initial visible bias, such as `visible.matching` the data; zero by default.
        steps: mean-field steps of an update.
        k: Gibbs steps an update. A schedule of "system.k" can raise it in the course of a run.
        chains: persistent chains.
        centering: how fast the centers of the gradient follow the mean states, in 0..1 an update; at 0 it is the usual
            gradient (`lamina.systems.energy.centering`).

    Raises:
        ValueError: fewer than two hidden layers, or a size below one.
    """

    def __init__(
        self,
        visible: Bernoulli | Gaussian,
        hidden: tuple[int, ...],
        bias: Float[Tensor, "visible"] | None = None,
        steps: int = 5,
        k: int = 1,
        chains: int = 100,
        centering: float = 0.0,
    ) -> None:
        super().__init__()
        if len(hidden) < 2:
            raise ValueError(f"a deep Boltzmann machine needs two hidden layers, got {hidden}; for one, use rbm")
        if min((*hidden, steps, k, chains)) < 1:
            sizes = f"{hidden}, {steps}, {k} and {chains}"
            raise ValueError(f"hidden sizes, steps, k and chains must be at least 1, got {sizes}")
        widths = (math.prod(visible.shape), *hidden)
        self.visible, self.steps, self.centering = visible, steps, centering
        self.k: float = k  # a schedule may set fractions; they are rounded
        self.even, self.odd = range(0, len(widths), 2), range(1, len(widths), 2)
        self.W = nn.ParameterList([0.01 * torch.randn(low, high) for low, high in pairwise(widths)])
        self.b = nn.ParameterList([torch.zeros(width) for width in widths])
        if bias is not None:
            self.b[0].data.copy_(bias)
        self.centers: Tensor  # of all layers, one after the other
        self.register_buffer("centers", torch.zeros(sum(widths)))
        if centering:
            self.centers.copy_(torch.cat([visible.mean(self.b[0].detach()[None])[0], torch.full((sum(hidden),), 0.5)]))
        self.chains: Tensor
        self.register_buffer("chains", flip(torch.full((chains, sum(widths[i] for i in self.odd)), 0.5)))

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch features"]:
        """Return the mean-field means of the top layer, of grey values those at their means."""
        return self.infer(self.visible.standard(x), SETTLED)[-1]

    @torch.no_grad()
    def reconstruct(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """Return the visible units' means given the mean field."""
        means = self.infer(self.visible.standard(x), SETTLED)
        return self.visible.restored(self.visible.mean(self.theta(means, 0)))

    @torch.no_grad()
    def sample(self, count: int, steps: int = 1000) -> Float[Tensor, "count ..."]:
        """Return visible states of Gibbs chains that start from the persistent ones."""
        chosen = self.chains[torch.randint(len(self.chains), (count,), device=self.chains.device)]
        return self.visible.restored(self.gibbs(chosen, steps)[0])

    @torch.no_grad()
    def score(self, x: Float[Tensor, "batch ..."], steps: int = SETTLED) -> Float[Tensor, "batch"]:
        """Return the bound but for log Z in nats: -F(v, μ) + H(μ) at the mean field."""
        means = self.infer(self.visible.standard(x), steps)
        total = self.visible.log_carrier(means[0])
        for i in self.even:
            total = total + means[i] @ self.b[i]
            if i:
                total = total + (torch.special.entr(means[i]) + torch.special.entr(1 - means[i])).sum(-1)
        for i in self.odd:
            total = total + F.softplus(self.theta(means, i)).sum(-1)
        return total

    @torch.no_grad()
    def bound(self, x: Float[Tensor, "batch ..."], log_partition: float) -> Float[Tensor, "batch"]:
        """Return the lower bound on log p(x) in nats, given log Z: on a density of raw values if x is Gaussian."""
        return self.score(x) - log_partition - self.visible.log_volume()

    def harmonium(self) -> Bipartite:
        """Return the machine in the form that `lamina.sampling` normalizes."""
        even, odd = ({i: len(self.b[i]) for i in layers} for layers in (self.even, self.odd))
        blocks = [[self.b[0].new_zeros(low, high) for high in odd.values()] for low in even.values()]
        for i, W in enumerate(self.W):
            blocks[(i + 1) // 2][i // 2] = W.t() if i % 2 else W
        a, b = (torch.cat([self.b[i] for i in layers]) for layers in (even, odd))
        return Bipartite(torch.cat([torch.cat(row, 1) for row in blocks]), a, b, Mixed(self.visible, even[0]))

    def theta(self, states: Sequence[Tensor], i: int) -> Float[Tensor, "batch units"]:
        """Return the natural parameters of layer i given its neighbors' states or means."""
        total: Tensor = self.b[i]
        if i:
            total = torch.addmm(total, states[i - 1], self.W[i - 1])
        return torch.addmm(total, states[i + 1], self.W[i].t()) if i < len(self.W) else total

    @torch.no_grad()
    def infer(self, v: Float[Tensor, "batch visible"], steps: int) -> list[Float[Tensor, "batch _"]]:
        """Return v and the mean-field means of all hidden layers.

        They begin with a pass upward with doubled weights, as if each layer got from above what it gets from below.
        """
        shown = torch.addmm(self.b[1], v, self.W[0])
        means = [v]
        for i, W in enumerate(self.W):
            twice = 2 if i + 1 < len(self.W) else 1
            means.append(torch.addmm(self.b[i + 1], means[-1], W, alpha=twice).sigmoid_())
        for _ in range(steps):
            means[1] = torch.addmm(shown, means[2], self.W[1].t()).sigmoid_()
            for i in (*self.odd[1:], *self.even[1:]):
                means[i] = self.theta(means, i).sigmoid_()
        return means

    def gibbs(self, odd: Float[Tensor, "batch odd"], rounds: int) -> list[Float[Tensor, "batch _"]]:
        """Return states of all layers: the even ones drawn given the odd ones, after `rounds` rounds more of both."""
        parts = iter(torch.split(odd, [len(self.b[i]) for i in self.odd], 1))
        states = [next(parts) if i % 2 else odd for i in range(len(self.b))]
        self.draw(states, self.even)
        for _ in range(rounds):
            self.draw(states, self.odd)
            self.draw(states, self.even)
        return states

    def draw(self, states: list[Tensor], layers: range) -> None:
        """Draw some layers anew given the others."""
        for i in layers:
            theta = self.theta(states, i)
            states[i] = flip(theta.sigmoid_()) if i else self.visible.draw(theta)

    def loss(self, x: Float[Tensor, "batch ..."]) -> Terms:
        """Return a surrogate: its value means little, its gradient is that of the bound, centered.

        As in `RBM.loss`, the gradient of F is that of E with the odd layers' means held fixed; data and chains are one
        matrix product.
        """
        with torch.no_grad():
            data = self.infer(self.visible.observed(x), self.steps)
            model = self.gibbs(self.chains, round(self.k) - 1)
            states = [torch.cat(pair) for pair in zip(data, model, strict=True)]
            weight = weights(len(x), len(self.chains), states[0].dtype, x.device)
            for i in self.odd:
                states[i] = self.theta(states, i).sigmoid_()
            flip(torch.cat([states[i][len(x) :] for i in self.odd], 1), out=self.chains)
            self.centers.lerp_(torch.cat([h[: len(x)].mean(0) for h in states]), self.centering)
        centers = torch.split(self.centers, [len(b) for b in self.b])
        return {"divergence": centered(weight, states, centers, [*self.W], [*self.b])}

    def metrics(self, x: Float[Tensor, "batch ..."]) -> Terms:
        """Return -log p(v | μ) in nats, which tells how well the mean field restores, and not how likely v is."""
        v = self.visible.observed(x)
        theta = self.theta(self.infer(v, self.steps), 0)
        log_p = self.visible.log_carrier(v) + (v * theta).sum(-1) - self.visible.log_partition(theta)
        return {"reconstruction": -log_p.mean()}

    @torch.no_grad()
    def compose(self, layers: Sequence[RBM]) -> None:
        """Take over weights of the RBMs that `layers_of` made, from the lowest to the top, and chains of the lowest."""
        for i, (layer, W) in enumerate(zip(layers, self.W, strict=True)):
            low, high = W.shape
            inner = 0 < i < len(self.W) - 1
            W.copy_(layer.W[:low, :high] / 2 if inner else layer.W[:low, :high])
            below = layer.a[:low].to(W.device)
            self.b[i].copy_((self.b[i] + below) / 2 if i else below)
            self.b[i + 1].copy_(layer.b[:high])
        self.chains[:, : len(self.b[1])] = layers[0].chains


class MeanField(nn.Module):
    """What a classifier gets from a machine (section 3.2): x, and the mean field of the second hidden layer beside it.

    Args:
        machine: it stays as it is while the classifier learns.
    """

    def __init__(self, machine: DBM) -> None:
        super().__init__()
        self.machine = machine

    @torch.no_grad()
    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch features"]:
        v = self.machine.visible.standard(x)
        return torch.cat([v, self.machine.infer(v, self.machine.steps)[2]], 1)


class Twice(nn.Module):
    """Lays a tensor beside itself along an axis: two copies of some units, with the same weights.

    Its gradient is the mean of the copies', so that weights and biases go on at the same pace.
    """

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, once: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        half = once / 2
        both = half + half.detach()
        return torch.cat([both, both], self.axis)

    def right_inverse(self, both: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the first copy, in memory of its own, as torch's fused optimizers take parameters to be."""
        return both.narrow(self.axis, 0, both.shape[self.axis] // 2).clone(memory_format=torch.contiguous_format)


def layers_of(machine: DBM) -> list[RBM]:
    """Return the RBMs of the pre-training (section 3): the lowest sees v twice, the top one has its units twice."""
    units, widths = machine.visible, [len(b) for b in machine.b]
    twice: Bernoulli | Gaussian = (
        Gaussian(units.shift.flatten().repeat(2), units.scale.flatten().repeat(2))
        if isinstance(units, Gaussian)
        else Bernoulli((2 * widths[0],), units.binarize)
    )
    below = [twice, *(Bernoulli((width,)) for width in widths[1:-1])]
    sizes = [*widths[1:-1], 2 * widths[-1]]
    chains = [len(machine.chains), *(0 for _ in sizes[1:])]  # persistent ones drive the upper layers' units off
    made = zip(below, sizes, chains, strict=True)
    layers = [RBM(low, size, chains=count, centering=machine.centering) for low, size, count in made]
    layers[0].a.data.copy_(machine.b[0].detach().repeat(2))
    for layer, axis, bias in ((layers[0], 0, "a"), (layers[-1], 1, "b")):
        parametrize.register_parametrization(layer, "W", Twice(axis))
        parametrize.register_parametrization(layer, bias, Twice(0))
    return layers
