"""The vector field that a denoising auto-encoder learns, beside the score of the data with its noise added.

    x̃ = x + n,   x a training point,   n ~ N(0, Σ),   Σ = diag σ²
    p_σ(x̃) = 1/N Σ_i N(x̃; x_i, Σ)                                               smoothed density
    ∇ log p_σ(x̃) = Σ⁻¹ (Σ_i w_i x_i - x̃),   w_i ∝ exp(-½ (x̃ - x_i)ᵀ Σ⁻¹ (x̃ - x_i))
    r*(x̃) = E(x | x̃) = x̃ + Σ ∇ log p_σ(x̃)                                       the best reconstruction

So Σ⁻¹ (r(x) - x) estimates the score of the smoothed density at any σ, and that of the data as σ goes to zero: Vincent
(2011), A connection between score matching and denoising autoencoders, section 4; Alain & Bengio (2014), What
regularized auto-encoders learn from the data-generating distribution, theorem 1. Plots need matplotlib
(`lamina[report]`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from lamina.analysis.energy_plane import POINTS, SHOWN, plane_around
from lamina.data.plane import FACTORS, MEANS, WEIGHTS
from lamina.modules.corruption import GaussianNoise
from lamina.systems.autoencoder.autoencoder import Autoencoder
from lamina.systems.energy.units import Gaussian

Field = Callable[[Tensor], Tensor]
"""(places, features) -> (places, features): a vector at each place."""

ROWS = 1000  # places whose distances from all training points are computed at once
STRIDE = 8  # points of the plane's grid from one arrow to the next
NEAR = 3.0  # deviations of the noise from a point within which noisy data lies, and arrows are dark


@dataclass(frozen=True)
class Agreement:
    """How a vector field u agrees with another one v, where the places say.

    Args:
        cosine: mean of the cosines of the angles between u and v.
        error: mean of |u - v|² by that of |v|².
    """

    cosine: float
    error: float


def noise_of(system: Autoencoder) -> Float[Tensor, "features"]:
    """Return the standard deviation σ of an auto-encoder's noise for each number of raw input.

    Raises:
        ValueError: it has no Gaussian noise, or no Gaussian units.
    """
    noise, units = system.corruption, system.visible
    if not isinstance(noise, GaussianNoise) or not noise.deviation or not isinstance(units, Gaussian):
        raise ValueError("a score is estimated with Gaussian noise and Gaussian units only: give it both, and a level")
    return units.scale.flatten() * noise.deviation


def learned_score(system: Autoencoder) -> Field:
    """Return the score Σ⁻¹ (r(x) - x) that an auto-encoder has learned, as a function of raw input.

    Raises:
        ValueError: it has no Gaussian noise, or no Gaussian units.
    """
    variance = noise_of(system).square()
    return lambda x: system.displacement(x) / variance


def smoothed_score(points: Float[Tensor, "points features"], deviation: Float[Tensor, "features"]) -> Field:
    """Return the score of training points with Gaussian noise added: that of a Gaussian around each of them."""

    def score(x: Float[Tensor, "places features"]) -> Float[Tensor, "places features"]:
        weights = torch.softmax(torch.cdist(x / deviation, points / deviation).square() / -2, 1)
        return (weights @ points - x) / deviation.square()

    return lambda x: torch.cat([score(part) for part in torch.split(x, ROWS)])


def mixture_score(deviation: Float[Tensor, "2"]) -> Field:
    """Return the score of the data set `mixture` with Gaussian noise added, from its true density."""
    weights, means, factors = (deviation.new_tensor(values) for values in (WEIGHTS, MEANS, FACTORS))
    precisions = torch.linalg.inv(factors @ factors.mT + deviation.square().diag())

    def score(x: Float[Tensor, "places 2"]) -> Float[Tensor, "places 2"]:
        offsets = means - x[:, None]
        pulls = (precisions @ offsets[..., None]).squeeze(-1)
        logits = weights.log() + precisions.logdet() / 2 - (offsets * pulls).sum(-1) / 2
        pull: Tensor = (logits.softmax(1)[..., None] * pulls).sum(1)
        return pull

    return score


def agreement(found: Field, exact: Field, places: Float[Tensor, "places features"]) -> Agreement:
    """Return how a field agrees with the exact one, over places such as held-out examples with noise added."""
    u, v = found(places), exact(places)
    error = (u - v).square().sum() / v.square().sum()
    return Agreement(float(torch.cosine_similarity(u, v, dim=1).mean()), float(error))


def plot_fields(
    fields: Mapping[str, Field], x: Float[Tensor, "examples 2"], deviation: Float[Tensor, "2"], path: Path
) -> None:
    """Write a picture of points and of each field around them, as PNG, SVG or PDF by the file's name.

    An arrow is Σ times the vector, r(x) - x, and so leads to the best reconstruction; longer ones than from one arrow
    to the next are cut there. They are pale where noisy data hardly lies, so that nothing about them was learned.

    Args:
        fields: scores to draw, by title.
        x: points.
        deviation: σ of the noise.
        path: of the picture.

    Raises:
        ValueError: there is no field.
    """
    from matplotlib.figure import Figure

    if not fields:
        raise ValueError("there is nothing to draw: give at least one field")
    (across, up), grid = plane_around(x)
    places = grid.reshape(POINTS, POINTS, 2)[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE].flatten(0, 1)
    near = torch.cdist(places / deviation, x / deviation).amin(1) < NEAR
    longest = STRIDE * min(across[1] - across[0], up[1] - up[0])
    colors = ["black" if inside else "0.75" for inside in near.tolist()]
    height = 4.5 * (up[-1] - up[0]) / (across[-1] - across[0])
    figure = Figure(figsize=(4.5 * len(fields), height + 0.5), layout="constrained")
    for panel, (title, field) in zip(figure.subplots(1, len(fields), squeeze=False)[0], fields.items(), strict=True):
        arrows = field(places) * deviation.square()
        arrows = arrows * (longest / arrows.norm(dim=1, keepdim=True)).clamp_max(1)
        panel.scatter(*x[:SHOWN].cpu().numpy().T, s=2, color="tab:orange", alpha=0.4, linewidths=0)
        ends = (*places.cpu().numpy().T, *arrows.cpu().numpy().T)
        panel.quiver(*ends, color=colors, angles="xy", scale_units="xy", scale=1, width=0.003)
        panel.set(xlim=(across[0], across[-1]), ylim=(up[0], up[-1]), title=title, aspect="equal")
        panel.set_axis_off()
    figure.savefig(path, dpi=90)
