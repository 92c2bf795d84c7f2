"""Ladder network: a classifier that learns from few labels because each of its layers must also be denoised.

A noisy and a clean encoder share weights. A decoder goes down again and reconstructs each clean layer from the noisy
layer beside it and the reconstruction above it. With z⁰ = h⁰ = x, and for layers l = 1..L with batch means μˡ and
standard deviations σˡ:

    pˡ = Wˡ hˡ⁻¹,   zˡ = (pˡ − μˡ) / σˡ,   hˡ = relu(zˡ + βˡ),   logits = γ (zᴸ + βᴸ)
    noisy path: the same, with N(0, noise²) added to x and to every zˡ; its variables carry a tilde
    uᴸ = norm(softmax(noisy logits)),   uˡ = norm(Vˡ ẑˡ⁺¹),   ẑˡ = g(z̃ˡ, uˡ)
    g(z̃, u) = (z̃ − m(u)) v(u) + m(u)
    m(u) = a₁ sigmoid(a₂ u + a₃) + a₄ u + a₅,   v(u) = a₆ sigmoid(a₇ u + a₈) + a₉ u + a₁₀
    loss = −log p̃(y | x) + Σₗ λₗ ‖(ẑˡ − μˡ) / σˡ − zˡ‖² / widthˡ                    (no μ, σ at l = 0)

Here norm is batch normalization, and m, v have coefficients of their own for every unit. As zˡ is itself normalized by
μˡ and σˡ, the cost is ‖(ẑˡ − pˡ) / σˡ‖² of the clean path. Gradients flow through the clean path too. The three groups
of rows (noisy labelled, noisy unlabelled, clean unlabelled) are normalized apart, but share each product with Wˡ.

There is a decoder down to the lowest layer whose λ is not zero. With a cost at the top alone (the Γ-model) it is
one combinator for each class, and Wˡ may be any layer: of maps, μ, σ and β are shared by the pixels.

Rasmus, Valpola, Honkala, Berglund & Raiko (2015), Semi-supervised learning with ladder networks, sections 3, 4.1 and
4.2, algorithm 1.

Differs from the paper: predictions normalize with running averages of the clean path's μ and σ² on unlabelled rows,
where the authors' code makes a last pass over the training set, with the statistics of the labelled rows. The clean
path runs on unlabelled rows alone, which changes no cost.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lamina.core import System, Terms

EPSILON = 1e-10  # added to variances; of the authors' code
FRESH = 0.01  # weight of a new batch in the running averages


class Combine(torch.autograd.Function):
    """The combinator g(z̃, u), with its backward pass written out to keep and pass over few temporaries."""

    @staticmethod
    def forward(ctx: Any, noisy: Tensor, above: Tensor, a: Tensor) -> Tensor:
        s, t = torch.addcmul(a[2], a[1], above).sigmoid_(), torch.addcmul(a[7], a[6], above).sigmoid_()
        mean = torch.addcmul(a[4], a[3], above).addcmul_(a[0], s)
        gain = torch.addcmul(a[9], a[8], above).addcmul_(a[5], t)
        rest = noisy - mean
        ctx.save_for_backward(above, a, s, t, gain, rest)
        return mean.addcmul_(rest, gain)

    @staticmethod
    @once_differentiable  # what is saved has no graph
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (slope,) = slopes
        above, a, s, t, gain, rest = ctx.saved_tensors
        noisy = slope * gain
        mean, gain = slope - noisy, slope * rest  # gradients of m and v
        inside_m, inside_v = mean * s, gain * t
        of_s, of_t = inside_m.sum(0), inside_v.sum(0)
        inside_m.addcmul_(inside_m, s, value=-1)  # times the slope of the sigmoid but for a₁, a₆
        inside_v.addcmul_(inside_v, t, value=-1)
        signal = (mean * a[3]).addcmul_(gain, a[8]).addcmul_(inside_m, a[0] * a[1]).addcmul_(inside_v, a[5] * a[6])
        return (
            noisy,
            signal,
            torch.stack(
                [
                    *(of_s, a[0] * inner(inside_m, above), a[0] * inside_m.sum(0), inner(mean, above), mean.sum(0)),
                    *(of_t, a[5] * inner(inside_v, above), a[5] * inside_v.sum(0), inner(gain, above), gain.sum(0)),
                ]
            ),
        )


class Dense(nn.Linear):
    """A full layer without biases, upon examples of any shape."""

    def __init__(self, low: int, high: int) -> None:
        super().__init__(low, high, bias=False)
        nn.init.normal_(self.weight, std=low**-0.5)

    def forward(self, h: Float[Tensor, "rows *shape"]) -> Float[Tensor, "rows units"]:
        return F.linear(h.flatten(1), self.weight)


class Ladder(System):
    """A classifier that learns from labelled and unlabelled examples.

    Args:
        widths: units of every layer, from the input to the classes; of maps, their number.
        costs: weight λ of every layer's denoising cost; nothing is decoded below the last that is not zero.
        noise: standard deviation of the noise on every layer.
        up: layers without biases in place of dense ones; the last gives the classes.

    Raises:
        ValueError: fewer than two layers, not one cost a layer, or layers of other kinds with a cost below the top.
    """

    def __init__(
        self, widths: tuple[int, ...], costs: tuple[float, ...], noise: float = 0.3, up: Sequence[nn.Module] = ()
    ) -> None:
        super().__init__()
        if len(widths) < 2 or len(costs) != len(widths):
            raise ValueError(
                f"a ladder needs two or more layers and a cost for each, got {len(widths)} and {len(costs)}"
            )
        if up and any(costs[:-1]):
            raise ValueError(f"only dense layers are decoded: set all costs but the last to 0, got {costs}")
        self.widths, self.costs, self.noise = widths, costs, noise
        self.lowest = next((level for level, cost in enumerate(costs) if cost), len(costs))
        pairs = list(pairwise(widths))
        self.up = nn.ModuleList(up or (Dense(low, high) for low, high in pairs))
        self.down = nn.ParameterList(torch.randn(low, high) / math.sqrt(high) for low, high in pairs[self.lowest :])
        self.beta = nn.ParameterList(torch.zeros(high) for _, high in pairs)
        self.gamma = nn.Parameter(torch.ones(widths[-1]))
        start = torch.tensor([0.0, 1, 0, 0, 0, 0, 1, 0, 0, 0])  # a₁..a₁₀: g = 0 at first
        self.combinators = nn.ParameterList(start[:, None].repeat(1, width) for width in widths[self.lowest :])
        self.register_buffer("mean", torch.zeros(sum(widths[1:])))  # of all layers, one after the other
        self.register_buffer("variance", torch.ones(sum(widths[1:])))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))  # that the averages have seen
        self.mean: Tensor
        self.variance: Tensor
        self.batches: Tensor

    @torch.no_grad()
    def predict(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch classes"]:
        """Return class probabilities."""
        return self.logits(x).softmax(1)

    def logits(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch classes"]:
        """Return the clean path's logits, normalized with the running averages."""
        h = x
        means, variances = (torch.split(statistic, list(self.widths[1:])) for statistic in (self.mean, self.variance))
        for level, (layer, mean, variance) in enumerate(zip(self.up, means, variances, strict=True), 1):
            p = layer(h)
            h = self.activation((p - along(mean, p)) * along((variance + EPSILON).rsqrt(), p), level)
        return h

    def activation(self, z: Float[Tensor, "rows width *pixels"], level: int) -> Float[Tensor, "rows width *pixels"]:
        """Return h of a layer: rectified, or the logits at the top."""
        shifted = z + along(self.beta[level - 1], z)
        h: Tensor = shifted * self.gamma if level == len(self.up) else shifted.relu()
        return h

    def loss(
        self,
        x: Float[Tensor, "labelled *shape"],
        y: Int[Tensor, " labelled"],
        unlabelled: Float[Tensor, "unlabelled *shape"],
    ) -> Terms:
        """Return the cross-entropy in nats and each layer's weighted denoising cost."""
        rows = [len(x), len(unlabelled), len(unlabelled)]  # noisy, noisy, clean
        h = torch.cat([self.corrupted(torch.cat([x, unlabelled])), unlabelled])
        noisy, clean = [h[rows[0] : -rows[2]].flatten(1)], [unlabelled.flatten(1)]
        variances, means = [torch.ones_like(clean[0][0])], list[Tensor]()
        for level, layer in enumerate(self.up, 1):
            *parts, p = torch.split(layer(h).to(self.gamma.dtype), rows)  # as statistics want it, under any autocast
            parts = [self.corrupted(normalized(part)) for part in parts]
            over = (0, *range(2, p.ndim))
            mean = p.mean(over)
            centered = p - along(mean, p)
            variance = centered.square().mean(over) + EPSILON
            h = self.activation(torch.cat([*parts, centered * along(variance.rsqrt(), p)]), level)
            noisy.append(parts[1])
            clean.append(p)
            variances.append(variance)
            means.append(mean)
        if self.training:
            self.remember(torch.cat(means), torch.cat(variances[1:]))
        terms = {"nll": F.cross_entropy(h[: rows[0]], y)}
        above = h[rows[0] : -rows[2]].softmax(1)
        for level in reversed(range(self.lowest, len(self.widths))):
            held = level - self.lowest  # place among what the decoder holds
            projected = linear(above, self.down[held]) if level < len(self.up) else above
            above = combine(noisy[level], normalized(projected), self.combinators[held])
            if self.costs[level]:
                error = (above - clean[level]).square().mean(0) / variances[level]
                terms[f"denoising_{level}"] = self.costs[level] * error.mean()
        return terms

    def corrupted(self, rows: Float[Tensor, "rows *shape"]) -> Float[Tensor, "rows *shape"]:
        return torch.add(rows, torch.randn_like(rows), alpha=self.noise)

    @torch.no_grad()
    def remember(self, mean: Float[Tensor, " units"], variance: Float[Tensor, " units"]) -> None:
        """Take a batch into the running averages: a plain average at first, then one that forgets."""
        self.batches += 1
        fresh = self.batches.to(mean.dtype).reciprocal().clamp_min(FRESH)
        self.mean.lerp_(mean, fresh)
        self.variance.lerp_(variance, fresh)

    def metrics(self, x: Float[Tensor, "batch *shape"], y: Int[Tensor, " batch"]) -> Terms:
        logits = self.logits(x)
        return {"error": (logits.argmax(1) != y).float().mean(), "nll": F.cross_entropy(logits, y)}


def combine(
    noisy: Float[Tensor, "rows width"], above: Float[Tensor, "rows width"], a: Float[Tensor, "10 width"]
) -> Float[Tensor, "rows width"]:
    """Return ẑ = g(z̃, u) with a₁..a₁₀ as the rows of `a`."""
    z: Tensor = Combine.apply(noisy, above, a)  # type: ignore[no-untyped-call]
    return z


def linear(rows: Float[Tensor, "rows width"], weight: Float[Tensor, "units width"]) -> Float[Tensor, "rows units"]:
    """Return the matrix product in the weights' own format, as statistics want it, under any autocast."""
    return F.linear(rows, weight).to(weight.dtype)


def normalized(rows: Float[Tensor, "rows width *pixels"]) -> Float[Tensor, "rows width *pixels"]:
    """Return the rows with mean 0 and variance 1 in every column, or every map."""
    return F.batch_norm(rows, None, None, training=True, eps=EPSILON)


def along(values: Float[Tensor, " width"], rows: Float[Tensor, "rows width *pixels"]) -> Tensor:
    """Return one number a column, or a map, in the shape that goes with the rows."""
    return values.view(-1, *[1] * (rows.ndim - 2))


def inner(a: Float[Tensor, "rows width"], b: Float[Tensor, "rows width"]) -> Float[Tensor, " width"]:
    """Return the inner product of every pair of columns."""
    return (a * b).sum(0)
