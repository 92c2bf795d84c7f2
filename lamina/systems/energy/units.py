"""Visible units of an RBM: families of independent units with one natural parameter θ each.

    p(v; θ) = m(v) exp(θᵀv - A(θ)),   A(θ) = log ∫ m(v) exp(θᵀv) dv

Binary units have m = 1, A(θ) = Σ softplus(θ) and means σ(θ). Gaussian units of variance 1 have m(v) = exp(-|v|²/2),
A(θ) = Σ (θ² + log 2π) / 2 and means θ (Welling, Rosen-Zvi & Hinton 2005, "Exponential family harmoniums", section 2).
A family also knows how raw data becomes values of its units, and back.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lamina.kernels import flips
from lamina.kernels.compiling import compiled


def flip(p: Float[Tensor, "*any"], out: Float[Tensor, "*any"] | None = None) -> Float[Tensor, "*any"]:
    """Return ones with probability `p`, else zeros.

    Args:
        p: probabilities.
        out: where to write, contiguous; a new tensor by default.
    """
    out = torch.empty_like(p, memory_format=torch.contiguous_format) if out is None else out
    if compiled(p) and p.dtype == torch.float32:
        flips.flip(p.detach(), out)
        return out
    return out.uniform_().lt_(p)


class Bernoulli(nn.Module):
    """Binary visible units.

    Args:
        shape: of one example.
        binarize: take values between 0 and 1 for probabilities, and learn from a fresh binary sample at every update;
            otherwise learn from the values themselves.
    """

    binary = True

    def __init__(self, shape: tuple[int, ...], binarize: bool = True) -> None:
        super().__init__()
        self.shape, self.binarize = shape, binarize

    def standard(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch visible"]:
        """Return the units' values for raw input."""
        return x.flatten(1)

    def restored(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch ..."]:
        """Return raw values of the units."""
        return v.reshape(-1, *self.shape)

    def observed(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch visible"]:
        """Return what an update learns from."""
        return flip(self.standard(x)) if self.binarize else self.standard(x)

    def log_carrier(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch"]:
        """Return log m(v)."""
        return v.new_zeros(len(v))

    def log_volume(self) -> Float[Tensor, ""]:
        """Return the log of the raw volume that a unit volume of `standard` values stands for."""
        return torch.zeros(())

    def log_partition(self, theta: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch"]:
        """Return A(θ) = log Σ_v m(v) exp(θᵀv)."""
        return F.softplus(theta).sum(-1)

    def mean(self, theta: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch visible"]:
        """Return the units' means."""
        return theta.sigmoid()

    def matching(self, means: Float[Tensor, "visible"], count: int) -> Float[Tensor, "visible"]:
        """Return θ for means over `count` examples: log p / (1 - p), where p counts a zero and a one more (Laplace)."""
        return torch.log(means * count + 1) - torch.log((1 - means) * count + 1)

    def draw(self, theta: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch visible"]:
        """Return a sample of the units."""
        return flip(theta.sigmoid())


class Gaussian(nn.Module):
    """Real visible units of variance 1 around a + Wh, for data that is shifted and scaled.

    Args:
        shift: mean of the data, in the shape of one example.
        scale: standard deviation of the data.
    """

    binary = False

    def __init__(self, shift: Float[Tensor, "*shape"], scale: Float[Tensor, "*shape"]) -> None:
        super().__init__()
        self.shift: Tensor
        self.scale: Tensor
        self.register_buffer("shift", shift)
        self.register_buffer("scale", scale)
        self.shape = tuple(shift.shape)

    def standard(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch visible"]:
        """Return the units' values for raw input."""
        return ((x - self.shift) / self.scale).flatten(1)

    def restored(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch ..."]:
        """Return raw values of the units."""
        return v.reshape(-1, *self.shape) * self.scale + self.shift

    def observed(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch visible"]:
        """Return what an update learns from."""
        return self.standard(x)

    def log_carrier(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch"]:
        """Return log m(v)."""
        return v.square().sum(-1).mul(-0.5)

    def log_volume(self) -> Float[Tensor, ""]:
        """Return the log of the raw volume that a unit volume of `standard` values stands for."""
        return self.scale.log().sum()

    def log_partition(self, theta: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch"]:
        """Return A(θ) = log ∫ m(v) exp(θᵀv) dv."""
        return (theta.square() + math.log(2 * math.pi)).sum(-1) / 2

    def mean(self, theta: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch visible"]:
        """Return the units' means."""
        return theta

    def matching(self, means: Float[Tensor, "visible"], count: int) -> Float[Tensor, "visible"]:
        """Return θ for means over `count` examples."""
        return means

    def draw(self, theta: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch visible"]:
        """Return a sample of the units."""
        return torch.randn_like(theta).add_(theta)
