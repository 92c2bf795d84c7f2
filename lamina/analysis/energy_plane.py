"""Energies over the plane, side by side: what different systems make low around the same two-dimensional points.

The energy of a system is minus its score. Energies differ in unit and in their constant, so each has colors of its own:
from its lowest value on the plane, dark, to three times as far above that as 95 % of the points lie, pale.

With them the models that shape their energy by construction (the tutorial's strategy 1): principal components, whose
energy is the squared distance from a line, k-means, that from the nearest center, square ICA, whose density is a
product along as many directions as an example has numbers, and a mixture of Gaussians; the last two are normalized.
They are scikit-learn's (`lamina[sklearn]`); plots need matplotlib (`lamina[report]`).
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

Score = Callable[[Tensor], Tensor]
"""(examples, features) -> (examples,): the higher, the likelier."""

POINTS = 200  # of the grid on an axis
LEVELS = 16
SHOWN = 2000  # points drawn
COLUMNS = 5
CENTERS = 20  # of k-means
COMPONENTS = (1, 2, 4, 8, 16, 32)  # numbers of Gaussians to choose from


def plot_energies(
    scores: Mapping[str, Score], x: Float[Tensor, "examples 2"], path: Path, titles: Mapping[str, str] | None = None
) -> None:
    """Write a picture of the points and of the energy of each score around them, as PNG, SVG or PDF by the file's name.

    Args:
        scores: what to draw, by name.
        x: points.
        path: of the picture.
        titles: what to write above a panel in place of its name.

    Raises:
        ValueError: there is no score.
    """
    from matplotlib.figure import Figure

    if not scores:
        raise ValueError("there is nothing to draw: give at least one score")
    axis, grid = plane_around(x)
    columns = min(COLUMNS, len(scores) + 1)
    rows = math.ceil((len(scores) + 1) / columns)
    height = 2.4 * (axis[1][-1] - axis[1][0]) / (axis[0][-1] - axis[0][0])
    figure = Figure(figsize=(2.4 * columns, (min(height, 4.8) + 0.5) * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel in panels:
        panel.set_axis_off()
        panel.set_aspect("equal")
        panel.set(xlim=(axis[0][0], axis[0][-1]), ylim=(axis[1][0], axis[1][-1]))
    points = x[:SHOWN].cpu().numpy()
    panels[0].scatter(*points.T, s=2, color="0.2", alpha=0.4, linewidths=0)
    panels[0].set_title("data", fontsize=10)
    for panel, (name, score) in zip(panels[1:], scores.items(), strict=False):
        energy, typical = (-score(u).double().cpu().numpy() for u in (grid, x))
        lowest = energy.min()
        highest = lowest + 3 * max(float(np.quantile(typical, 0.95)) - lowest, 1e-6)
        levels = np.linspace(lowest, highest, LEVELS + 1)
        panel.contourf(*axis, energy.clip(lowest, highest).reshape(POINTS, POINTS), levels, cmap="magma")
        panel.set_title(name if titles is None else titles.get(name, name), fontsize=10)
    figure.savefig(path, dpi=150)


def plane_around(x: Float[Tensor, "examples 2"]) -> tuple[list[NDArray[np.float64]], Float[Tensor, "grid 2"]]:
    """Return the two axes of a grid around points, with a sixth of their extent as margin, and its points by rows."""
    low, high = x.double().cpu().quantile(torch.tensor([0.001, 0.999], dtype=torch.float64), dim=0)
    margin = (high - low) / 6
    axes = [np.linspace(float(a), float(b), POINTS) for a, b in zip(low - margin, high + margin, strict=True)]
    across, up = np.meshgrid(*axes)
    return axes, torch.from_numpy(np.stack([across.ravel(), up.ravel()], 1)).to(x)


def rivals(
    x: Float[Tensor, "examples features"], valid: Float[Tensor, "valid features"], seed: int = 0
) -> dict[str, Score]:
    """Return the scores of principal components (one), k-means, square ICA, and a mixture of Gaussians.

    Those of the last two are log-likelihoods in nats. The number of Gaussians is the best on validation data, and so it
    is for the density of each independent component, which is a mixture too.

    Raises:
        ValueError: scikit-learn is not installed, or a number of the examples is a sum of others.
    """
    try:
        from sklearn.cluster import KMeans
        from sklearn.decomposition import PCA, FastICA
        from sklearn.mixture import GaussianMixture
    except ImportError:
        raise ValueError(
            "PCA, ICA, k-means and mixtures come with scikit-learn: pip install 'lamina[sklearn]'"
        ) from None
    train, held = (part.double().cpu().numpy() for part in (x, valid))
    line, means = PCA(1).fit(train), KMeans(CENTERS, n_init=3, random_state=seed).fit(train)
    if np.linalg.matrix_rank(train - train.mean(0)) < train.shape[1]:
        raise ValueError("square ICA needs numbers of which none is a sum of others: leave such columns out")
    ica = FastICA(whiten="unit-variance", max_iter=2000, tol=1e-3, random_state=seed).fit(train)

    def best(train: NDArray[np.float64], held: NDArray[np.float64]) -> Any:
        mixtures = [GaussianMixture(count, random_state=seed).fit(train) for count in COMPONENTS]
        return max(mixtures, key=lambda model: float(model.score(held)))

    marginals = [best(s, t) for s, t in zip(parts(ica.transform(train)), parts(ica.transform(held)), strict=True)]

    def product(u: NDArray[np.float64]) -> NDArray[np.float64]:
        each = [model.score_samples(s) for model, s in zip(marginals, parts(ica.transform(u)), strict=True)]
        total: NDArray[np.float64] = np.sum(each, 0) + np.linalg.slogdet(ica.components_)[1]
        return total

    def distance(u: NDArray[np.float64]) -> NDArray[np.float64]:
        rebuilt: NDArray[np.float64] = line.inverse_transform(line.transform(u))
        each: NDArray[np.float64] = np.square(u - rebuilt).sum(1)
        return each

    return {
        "PCA": scored(lambda u: -distance(u)),
        "k-means": scored(lambda u: -np.square(means.transform(u)).min(1)),
        "square ICA": scored(product),
        "mixture of Gaussians": scored(best(train, held).score_samples),
    }


def parts(u: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return the columns, each as a matrix."""
    return np.split(u, u.shape[1], 1)


def tempered(score: Score, valid: Float[Tensor, "valid 2"], test: Float[Tensor, "test 2"]) -> float:
    """Return minus the mean log-likelihood of test points in nats, with exp(score / T) normalized over a plane.

    The temperature T is the best on validation points, as the unit of a score that is no log-likelihood is arbitrary.
    log Z is a sum over the grid of `plane_around` the validation points; points beyond the grid do not count.
    """
    (across, up), grid = plane_around(valid)
    cell = math.log((across[1] - across[0]) * (up[1] - up[0]))
    inside = [u[((u >= grid.amin(0)) & (u <= grid.amax(0))).all(1)] for u in (valid, test)]
    energies, held, tested = (-score(u).double().cpu() for u in (grid, *inside))
    lowest, unit = energies.min(), (held - energies.min()).quantile(0.5).clamp_min(1e-12)
    beta = torch.logspace(-3, 3, 121, dtype=torch.float64)[:, None] / unit
    log_Z = torch.logsumexp(-beta * (energies - lowest), 1, keepdim=True) + cell
    best = (beta * (held - lowest) + log_Z).mean(1).argmin()
    return float((beta * (tested - lowest) + log_Z)[best].mean())


def scored(function: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Score:
    """Return a score of tensors from one of arrays."""
    return lambda x: torch.from_numpy(function(x.double().cpu().numpy())).to(x)
