"""Input normalization with an inverse, fitted on training data: equal brightness and contrast, then no correlation.

    u = (x - mean of x) / √(variance of x + contrast)         of each example by itself; u = x without contrast
    v = (u - μ) W,   u = μ + v W⁺
    none: W = I/σ                                             σ²: variance of u, a mean over the numbers
    PCA:  W = U (Λ + floor · σ²)^-½                           UΛUᵀ: covariance of u, largest variances first
    ZCA:  W = U (Λ + floor · σ²)^-½ Uᵀ

With floor 0 the covariance of v is the identity on all directions that vary. A floor keeps down the noise of those that
hardly do (Coates, Ng & Lee 2011, An analysis of single-layer networks in unsupervised feature learning, section 3.1).
"""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Method = Literal["none", "pca", "zca"]


class Whitening(nn.Module):
    """A fixed linear map of examples, with or without contrast normalization, that knows the way back.

    Args:
        shape: of one example.
        mean: μ.
        W: the map, or a single number.
        back: its inverse.
        level: the usual brightness of an example.
        spread: its usual contrast.
        contrast: what is added to an example's variance; 0 leaves brightness and contrast as they are.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        mean: Float[Tensor, "numbers"],
        W: Float[Tensor, "numbers features"] | Float[Tensor, ""],
        back: Float[Tensor, "features numbers"] | Float[Tensor, ""],
        level: Float[Tensor, "1 1"],
        spread: Float[Tensor, "1 1"],
        contrast: float = 0.0,
    ) -> None:
        super().__init__()
        self.shape, self.contrast = shape, contrast
        self.features = W.shape[1] if W.ndim else math.prod(shape)
        self.mean: Tensor
        self.W: Tensor
        self.back: Tensor
        self.level: Tensor
        self.spread: Tensor
        self.register_buffer("mean", mean)
        self.register_buffer("W", W)
        self.register_buffer("back", back)
        self.register_buffer("level", level)
        self.register_buffer("spread", spread)

    @classmethod
    def fitted(
        cls,
        x: Float[Tensor, "examples ..."],
        method: Method = "none",
        components: int = 0,
        floor: float = 0.0,
        contrast: float = 0.0,
    ) -> "Whitening":
        """Return what whitens these examples.

        Args:
            x: training examples.
            method: "none" centers, and divides all numbers by one scale.
            components: directions of largest variance to keep; 0 keeps all.
            floor: see above.
            contrast: see above.

        Raises:
            ValueError: a negative floor or contrast, more components than numbers, or components without whitening.
        """
        rows, shape = x.flatten(1), tuple(x.shape[1:])
        if not 0 <= components <= rows.shape[1]:
            raise ValueError(f"components must lie in 0..{rows.shape[1]}, the numbers of an example, got {components}")
        if components and method == "none":
            raise ValueError("components are those of a whitening: choose pca or zca, or leave components at 0")
        if floor < 0 or contrast < 0:
            raise ValueError(f"floor and contrast must be at least 0, got {floor} and {contrast}")
        level, spread = moments(rows, contrast)
        u = (rows - level) / spread if contrast else rows
        mean = u.mean(0)
        W, back = maps(u - mean, method, components, floor)
        return cls(shape, mean, W, back, level.mean(0, keepdim=True), spread.mean(0, keepdim=True), contrast)

    def standard(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch features"]:
        """Return v for raw input."""
        rows = x.flatten(1)
        if self.contrast:
            level, spread = moments(rows, self.contrast)
            rows = (rows - level) / spread
        return through(rows - self.mean, self.W)

    def restored(
        self, v: Float[Tensor, "batch features"], like: Float[Tensor, "batch ..."] | None = None
    ) -> Float[Tensor, "batch ..."]:
        """Return raw input for v, with the brightness and contrast of the examples `like`, or the usual ones."""
        rows = through(v, self.back) + self.mean
        if self.contrast:
            level, spread = (self.level, self.spread) if like is None else moments(like.flatten(1), self.contrast)
            rows = rows * spread + level
        return rows.reshape(-1, *self.shape)

    def directions(self, v: Float[Tensor, "batch features"]) -> Float[Tensor, "batch ..."]:
        """Return how raw input changes along v, up to contrast."""
        return through(v, self.back).reshape(-1, *self.shape)


def moments(
    rows: Float[Tensor, "batch numbers"], contrast: float
) -> tuple[Float[Tensor, "batch 1"], Float[Tensor, "batch 1"]]:
    """Return the mean of each example, and the root of its variance plus `contrast`."""
    variance, mean = torch.var_mean(rows, 1, correction=0, keepdim=True)
    return mean, (variance + contrast).sqrt()


def through(
    v: Float[Tensor, "batch ins"], W: Float[Tensor, "ins outs"] | Float[Tensor, ""]
) -> Float[Tensor, "batch _"]:
    """Return v W."""
    return v @ W if W.ndim else v * W


def maps(
    u: Float[Tensor, "examples numbers"], method: Method, components: int, floor: float
) -> tuple[Float[Tensor, "*into"], Float[Tensor, "*back"]]:
    """Return W and W⁺ for centered examples."""
    if method == "none":
        scale = u.square().mean().sqrt()
        scale = torch.where(scale > 0, scale, 1.0)
        return 1 / scale, scale
    covariance = (u.t() @ u / len(u)).double()
    variances, axes = torch.linalg.eigh(covariance)  # smallest first
    kept = slice(len(variances) - (components or len(variances)), None)
    total = variances + floor * variances.mean()
    total, axes = total[kept].flip(0), axes[:, kept].flip(1)
    varies = total > 1e-6 * total[0].clamp_min(torch.finfo(torch.float64).tiny)  # the rest is rounding
    scale = total.clamp_min(0).sqrt()
    W, back = axes * torch.where(varies, 1 / scale, 0.0), (axes * torch.where(varies, scale, 0.0)).t()
    if method == "zca":
        W, back = W @ axes.t(), axes @ back
    return W.to(u.dtype), back.to(u.dtype)
