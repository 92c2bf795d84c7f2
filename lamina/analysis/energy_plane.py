"""Energies over the plane, side by side: what different systems make low around the same two-dimensional points.

The energy of a system is minus its score. Energies differ in unit and in their constant, so each has colors of its own:
from its lowest value on the plane, dark, to three times as far above that as 95 % of the points lie, pale.

With them the models that shape their energy by construction (the tutorial's strategy 1): principal components, whose
energy is the squared distance from a line, k-means, that from the nearest center, and a mixture of Gaussians, which is
normalized. They are scikit-learn's (`lamina[sklearn]`); plots need matplotlib (`lamina[report]`).
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

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
    """Return the scores of principal components (one), k-means, and the mixture of Gaussians best on validation data.

    That of the mixture is a log-likelihood in nats.

    Raises:
        ValueError: scikit-learn is not installed.
    """
    try:
        from sklearn.cluster import KMeans
        from sklearn.decomposition import PCA
        from sklearn.mixture import GaussianMixture
    except ImportError:
        raise ValueError("PCA, k-means and mixtures come with scikit-learn: pip install 'lamina[sklearn]'") from None
    train, held = (part.double().cpu().numpy() for part in (x, valid))
    line, means = PCA(1).fit(train), KMeans(CENTERS, n_init=3, random_state=seed).fit(train)
    mixtures = [GaussianMixture(count, random_state=seed).fit(train) for count in COMPONENTS]
    best = max(mixtures, key=lambda model: float(model.score(held)))

    def distance(u: NDArray[np.float64]) -> NDArray[np.float64]:
        rebuilt: NDArray[np.float64] = line.inverse_transform(line.transform(u))
        each: NDArray[np.float64] = np.square(u - rebuilt).sum(1)
        return each

    return {
        "PCA": scored(lambda u: -distance(u)),
        "k-means": scored(lambda u: -np.square(means.transform(u)).min(1)),
        "mixture of Gaussians": scored(best.score_samples),
    }


def scored(function: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Score:
    """Return a score of tensors from one of arrays."""
    return lambda x: torch.from_numpy(function(x.double().cpu().numpy())).to(x)
