"""Boltzmann machine: binary units, visible and hidden, with symmetric couplings between any two of them.

    E(s) = -½ sᵀCs - bᵀs,   C = Cᵀ,  C_ii = 0            p(s) = exp(-E(s)) / Z,   s = (v, h)
    p(s_i = 1 | all others) = σ((b_i + (Cs)_i) / T)       at temperature T; the model is that of T = 1
    -∂/∂C_ij log p(v)       = ⟨s_i s_j⟩free - ⟨s_i s_j⟩clamped

Both statistics are exact, by enumeration, or those of Gibbs sampling with simulated annealing: from random states,
temperatures fall to 1, and there states are collected. Where log Z is too much to enumerate, annealed importance
sampling estimates it (`lamina.sampling.ais`), from independent fair bits at infinite temperature:

    Z ≈ 2^units · mean over chains of exp(-(E(s_0) + ... + E(s_{K-1})) / K),   s_k after a sweep at T = K / k

Ackley, Hinton & Sejnowski (1985), "A learning algorithm for
Boltzmann machines", sections 2 (annealing), 3 (learning) and 4.1 (the encoder; noisy clamping).

Differs from the paper: its temperatures 20, 15, 12, 10 and steps of 2 are divided by 10 here, which is the same; units
take turns in a fixed order, where the paper draws the next unit at random.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lamina.core import System, Terms
from lamina.kernels.anneal import anneal
from lamina.kernels.compiling import compiled
from lamina.sampling.ais import Estimate, summary
from lamina.sampling.enumerate import states
from lamina.systems.energy.units import flip

LARGEST = 20  # units to enumerate together
ROWS = 64  # examples whose hidden states are enumerated at once, which bounds the memory
PATH = 100  # sweeps of annealed importance sampling whose states are kept at once
PAPER = (2.0, 2.0, 1.5, 1.5, 1.2, 1.2, 1.0, 1.0, 1.0, 1.0)  # section 4.1, divided by 10


class BoltzmannMachine(System):
    """Boltzmann machine that learns by the difference of clamped and free statistics.

    Args:
        shape: of one example.
        hidden: how many hidden units; 0 makes it fully visible.
        groups: parts of the visible units, of one size, that have no couplings between them.
        lateral: couple hidden units to each other.
        exact: enumerate the states of the hidden units and one group, of at most 20 units together; otherwise sample.
        noise: probabilities that clamping turns a unit that is on off, and one that is off on.
        temperatures: of the sweeps before states are collected.
        collect: sweeps at temperature 1 whose states are collected.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        hidden: int,
        groups: int = 1,
        lateral: bool = True,
        exact: bool = False,
        noise: tuple[float, float] = (0.0, 0.0),
        temperatures: tuple[float, ...] = PAPER,
        collect: int = 10,
    ) -> None:
        super().__init__()
        self.shape, self.visible = shape, math.prod(shape)
        self.hidden, units = hidden, self.visible + hidden
        if hidden < 0 or collect < 1 or groups < 1 or self.visible % groups:
            raise ValueError(
                f"{self.visible} visible units in {groups} groups, {hidden} hidden, {collect} sweeps: no machine"
            )
        self.summed = hidden + self.visible // groups  # units that have to be enumerated together
        if exact:
            within_reach(self.summed)
        if min(temperatures, default=1.0) <= 0 or not all(0 <= p <= 1 for p in noise):
            raise ValueError(f"temperatures must be above 0 and noise within 0..1, got {temperatures} and {noise}")
        self.groups, self.exact, self.noise = groups, exact, noise
        self.temperatures, self.collect = temperatures, collect
        group = torch.arange(self.visible) * groups // self.visible
        joined = torch.ones(units, units, dtype=torch.bool)
        joined[: self.visible, : self.visible] = group[:, None] == group
        joined[self.visible :, self.visible :] = lateral
        self.pairs: Tensor
        self.register_buffer("pairs", joined.triu(1).nonzero().t(), persistent=False)
        self.w = nn.Parameter(0.1 * torch.randn(self.pairs.shape[1]))  # C_ij of each pair
        self.b = nn.Parameter(torch.zeros(units))

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch hidden"]:
        """Return p(h_j = 1 | v): exact for at most 20 hidden units, otherwise means of sampled states."""
        v = x.flatten(1)
        if self.hidden > LARGEST:
            return self.settled(v, torch.arange(self.visible)).mean(0)[:, self.visible :]
        return torch.cat([self.scores(part).softmax(1) @ every(self.hidden, v) for part in torch.split(v, ROWS)])

    @torch.no_grad()
    def score(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch"]:
        """Return log Σ_h exp(-E(v, h)) in nats: log p(v) up to log Z.

        Raises:
            ValueError: more than 20 hidden units.
        """
        return torch.cat([self.scores(part).logsumexp(1) for part in torch.split(x.flatten(1), ROWS)])

    @torch.no_grad()
    def sample(self, count: int) -> Float[Tensor, "count ..."]:
        """Return visible states after annealing from random ones."""
        v = self.b.new_zeros(count, self.visible)
        return self.settled(v, torch.arange(0))[-1, :, : self.visible].reshape(-1, *self.shape)

    @torch.no_grad()
    def complete(self, x: Float[Tensor, "batch ..."], given: Bool[Tensor, "..."]) -> Float[Tensor, "batch ..."]:
        """Return x with the other units' means in place of all that is not `given`, a mask of one example's shape."""
        v, free = x.flatten(1).clone(), (~given).flatten().nonzero().squeeze(1)
        if max(len(free), self.hidden) <= LARGEST:
            ways = every(len(free), v)
            for row in v:
                tried = row.repeat(len(ways), 1)
                tried[:, free] = ways
                row[free] = self.score(tried).softmax(0) @ ways
        else:
            v[:, free] = self.settled(v, given.flatten().nonzero().squeeze(1)).mean(0)[:, free]
        return v.view_as(x)

    def log_partition(self) -> Float[Tensor, ""]:
        """Return log Z in nats, with the groups of visible units summed out one by one for each hidden state.

        Raises:
            ValueError: the hidden units and those of a group are more than 20.
        """
        within_reach(self.summed)
        size, unseen = self.visible // self.groups, slice(self.visible, None)
        h, v, C = every(self.hidden, self.b), every(size, self.b), self.couplings()
        total = self.within(h, C, unseen)
        for first in range(0, self.visible, size):
            group = slice(first, first + size)
            shown = torch.addmm(self.within(v, C, group)[:, None], v @ C[group, unseen], h.t())
            total = total + shown.logsumexp(0)
        return total.logsumexp(0)

    @torch.no_grad()
    def estimated_log_partition(self, runs: int = 100, sweeps: int = 10_000) -> Estimate:
        """Return an estimate of log Z in nats, from so many chains of K = `sweeps`; it errs on the low side.

        Raises:
            ValueError: fewer than two runs, which leave no standard error.
        """
        if runs < 2:
            raise ValueError(f"a standard error needs at least 2 runs, got {runs}")
        s, C = flip(self.b.new_full((len(self.b), runs), 0.5)), self.couplings()
        total = self.joint_energy(s.t()).double()
        for part in torch.split(torch.arange(1, sweeps), PATH):
            path = self.swept(s, C, range(len(s)), (sweeps / part).tolist(), len(part))
            total += self.joint_energy(path.flatten(0, 1)).view(len(part), runs).double().sum(0)
            s = path[-1].t().contiguous()
        return summary(-total / sweeps, len(s) * math.log(2))

    def within(
        self, s: Float[Tensor, "states some"], C: Float[Tensor, "units units"], units: slice
    ) -> Float[Tensor, "states"]:
        """Return -E of states of some units, but for their couplings to others."""
        return s @ self.b[units] + ((s @ C[units, units]) * s).sum(1) / 2

    def couplings(self) -> Float[Tensor, "units units"]:
        """Return C."""
        i, j = self.pairs
        upper = self.w.new_zeros(len(self.b), len(self.b)).index_put((i, j), self.w)
        return upper + upper.t()

    def joint_energy(self, s: Float[Tensor, "batch units"]) -> Float[Tensor, "batch"]:
        """Return E(s) in nats, of all units; `energy` is that of examples, with the hidden units summed out."""
        return -self.within(s, self.couplings(), slice(None))

    def scores(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch states"]:
        """Return -E(v, h) for all states h of the hidden units, of which there may be 20."""
        within_reach(self.hidden)
        h, C = every(self.hidden, v), self.couplings()
        seen, unseen = slice(self.visible), slice(self.visible, None)
        across = torch.addmm(self.within(h, C, unseen), v @ C[seen, unseen], h.t())
        return across + self.within(v, C, seen)[:, None]

    @torch.no_grad()
    def settled(
        self, v: Float[Tensor, "batch visible"], held: Int[Tensor, " held"]
    ) -> Float[Tensor, "sweeps batch units"]:
        """Return states collected at temperature 1 after annealing from random ones; the units `held` stay as in v."""
        s = flip(v.new_full((len(self.b), len(v)), 0.5))
        s[held] = v.t()[held]
        free = sorted(set(range(len(self.b))) - set(held.tolist()))
        return self.swept(s, self.couplings(), free, (*self.temperatures, *[1.0] * self.collect), self.collect)

    def swept(
        self,
        s: Float[Tensor, "units batch"],
        C: Float[Tensor, "units units"],
        free: Sequence[int],
        temperatures: Sequence[float],
        collect: int,
    ) -> Float[Tensor, "collect batch units"]:
        """Return the states after the last sweeps; each draws all free units anew, in turn, at its own temperature.

        A unit is on if T logit(u) < b_i + C_i s, with u uniform.
        """
        if compiled(s):
            return anneal(s, C, self.b, torch.tensor(free, dtype=torch.int64), temperatures, collect)
        states = []
        for temperature in temperatures:
            bar = torch.rand_like(s).logit_().mul_(temperature).sub_(self.b[:, None])
            for i in free:
                torch.gt(C[i] @ s, bar[i], out=s[i])
            states.append(s.t().clone())
        return torch.stack(states[-collect:])

    def loss(self, x: Float[Tensor, "batch ..."]) -> Terms:
        """Return -log p(v), or a surrogate with the gradient that sampled states give; grey values become bits."""
        off, on = self.noise
        v = flip((x * (1 - off) + (1 - x) * on).flatten(1))
        if self.exact:
            return {"nll": self.log_partition() - self.scores(v).logsumexp(1).mean()}
        clamped, free = (
            self.joint_energy(self.settled(v, held).flatten(0, 1)).mean()
            for held in (torch.arange(self.visible), torch.arange(0))
        )
        return {"divergence": clamped - free}

    def metrics(self, x: Float[Tensor, "batch ..."]) -> Terms:
        """Return -log p(v) in nats, or where that is too much -Σ_i log p(v_i | all others), hidden units sampled."""
        v = flip(x.flatten(1))
        if self.summed <= LARGEST:
            return {"nll": self.log_partition() - self.score(v).mean()}
        s = self.settled(v, torch.arange(self.visible))[-1]
        field = (s @ self.couplings() + self.b)[:, : self.visible]
        return {"pseudo_nll": F.binary_cross_entropy_with_logits(field, v, reduction="sum") / len(v)}


def within_reach(units: int) -> None:
    """Raise ValueError if there are too many units to enumerate."""
    if units > LARGEST:
        raise ValueError(f"cannot enumerate {units} units, at most {LARGEST}; make the machine smaller, or sample")


def every(units: int, like: Tensor) -> Float[Tensor, "states units"]:
    """Return all states of some units."""
    return torch.cat(list(states(units))).to(like)
