"""How far the numbers of a code stand for the factors that the data was made from, one each.

    I(c; v) = H(c) + H(v) - H(c, v)   in nats, from counts
    gap of v = (I(c₁; v) - I(c₂; v)) / H(v),   c₁ and c₂ the two numbers of the code that tell most of v
    MIG = mean gap of the factors

Chen, Li, Grosse & Duvenaud (2018), "Isolating sources of disentanglement in variational autoencoders", section 4.1. The
linear probe asks for less: that the factor can be read from all of the code, by logistic regression if it takes whole
numbers (accuracy), else by linear regression (R²); both by scikit-learn.

Differs from the paper: the entropies are those of a histogram of the codes, with bins of equal width, and not of draws
from q(z | x), as in Locatello et al. (2019), "Challenging common assumptions in the unsupervised learning of
disentangled representations". From N examples, counts overestimate I of independent numbers by (bins - 1)² / 2N nats.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

BINS = 20  # Locatello et al. (2019)
COLUMNS = 64  # numbers of a code counted at once: 30 MB for 10,000 examples of six factors

Table = dict[str, list[float]]
"""Figures of each factor, in named columns."""


def disentangling(
    train: tuple[Float[Tensor, "train latent"], Float[Tensor, "train factors"]],
    held: tuple[Float[Tensor, "held latent"], Float[Tensor, "held factors"]],
    bins: int = BINS,
    seed: int = 0,
) -> Table:
    """Return probe and gap of each factor, for the codes and for two controls: permuted codes, and the factors as code.

    Args:
        train: codes and factors of the examples that probes are fitted to.
        held: those of the examples that probes are scored on, and gaps are counted on.
        bins: of the histograms.
        seed: of the permutation.

    Raises:
        ValueError: the code is a single number, or a factor never varies.
    """
    generator = torch.Generator().manual_seed(seed)
    permuted = [z[torch.randperm(len(z), generator=generator)] for z, _ in (train, held)]
    kinds = {"": (train[0], held[0]), " permuted": permuted, " of itself": (train[1], held[1])}
    read = {f"probe{kind}": probes((z, train[1]), (other, held[1])) for kind, (z, other) in kinds.items()}
    apart = {f"gap{kind}": gaps(other, held[1], bins).tolist() for kind, (_, other) in kinds.items()}
    return read | apart


def markdown(table: Table, names: Sequence[str]) -> str:
    """Return a Markdown table with a row for each factor, and one for the mean of the gaps, MIG."""
    rows = [["factor", *table], ["---"] * (1 + len(table))]
    for name, values in zip(names, zip(*table.values(), strict=True), strict=True):
        rows.append([name, *(f"{value:.3f}" for value in values)])
    means = {name: f"{sum(column) / len(column):.3f}" for name, column in table.items() if name.startswith("gap")}
    rows.append(["MIG", *(means.get(name, "") for name in table)])  # accuracies and R² have no common mean
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def figures(table: Table, names: Sequence[str]) -> dict[str, float]:
    """Return MIG, and the probe and gap of each factor by name, of the codes and of the two controls."""
    named = {f"{kind} {name}": value for kind in table for name, value in zip(names, table[kind], strict=True)}
    means = {kind.replace("gap", "MIG"): sum(table[kind]) / len(names) for kind in table if kind.startswith("gap")}
    return means | named


def principal_components(x: Float[Tensor, "examples ..."], count: int) -> Callable[[Tensor], Tensor]:
    """Return a function from examples to their coordinates along the principal axes of `x`, the best linear code.

    Raises:
        ValueError: more coordinates are wanted than an example has numbers.
    """
    flat = x.flatten(1)
    if not 0 < count <= flat.shape[1]:
        raise ValueError(f"examples of {flat.shape[1]} numbers have no {count} principal components")
    mean, axes = flat.mean(0), torch.linalg.eigh(flat.t().cov()).eigenvectors
    return lambda other: (other.flatten(1) - mean) @ axes[:, -count:].flip(1)


def probes(
    train: tuple[Float[Tensor, "train latent"], Float[Tensor, "train factors"]],
    held: tuple[Float[Tensor, "held latent"], Float[Tensor, "held factors"]],
) -> list[float]:
    """Return how well each factor is read from the code: accuracy if it takes whole numbers, else R²."""
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    (z, v), (held_z, held_v) = ([part.cpu().numpy() for part in pair] for pair in (train, held))
    found = []
    for k in range(v.shape[1]):
        whole = bool((v[:, k] == v[:, k].round()).all())
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000) if whole else LinearRegression())
        found.append(float(probe.fit(z, v[:, k]).score(held_z, held_v[:, k])))
    return found


def gaps(
    z: Float[Tensor, "examples latent"], factors: Float[Tensor, "examples factors"], bins: int = BINS
) -> Float[Tensor, "factors"]:
    """Return how much more the best number of the code tells of each factor than the second, as a share of its entropy.

    Raises:
        ValueError: the code is a single number, or a factor never varies.
    """
    if z.shape[1] < 2:
        raise ValueError("the gap compares the numbers of a code, and this code has one: give the system at least 2")
    v = binned(factors, bins)
    entropies = mutual_information(v, v).diagonal()
    if len(constants := (entropies < 1e-9).nonzero()):
        raise ValueError(f"factor {int(constants[0])} never varies in these examples: leave it out")
    best, second = mutual_information(binned(z, bins), v).topk(2, 0).values
    found: Tensor = (best - second) / entropies
    return found


def mutual_information_gap(
    z: Float[Tensor, "examples latent"], factors: Float[Tensor, "examples factors"], bins: int = BINS
) -> float:
    """Return MIG: 1 if each factor is told by one number of the code and by no other, 0 at the least."""
    return float(gaps(z, factors, bins).mean())


def binned(values: Float[Tensor, "examples columns"], bins: int) -> Int[Tensor, "examples columns"]:
    """Return the bin of each value, of so many of equal width between the least and the greatest of its column."""
    low, high = values.aminmax(dim=0)
    width = (high - low).clamp_min(torch.finfo(values.dtype).tiny)
    return ((values - low) / width * bins).long().clamp_max(bins - 1)


def mutual_information(
    a: Int[Tensor, "examples left"], b: Int[Tensor, "examples right"]
) -> Float[Tensor, "left right"]:
    """Return the mutual information in nats of each column of `a` with each of `b`, which number bins from 0 on."""
    return torch.cat([information_of(some, b) for some in torch.split(a, COLUMNS, 1)])


def information_of(a: Int[Tensor, "examples left"], b: Int[Tensor, "examples right"]) -> Float[Tensor, "left right"]:
    """Return the mutual information in nats of each pair of columns, all pairs counted at once."""
    left, right, bins, levels = a.shape[1], b.shape[1], int(a.max()) + 1, int(b.max()) + 1
    pair = torch.arange(left * right, device=a.device).reshape(left, right)
    cells = (pair * bins + a[:, :, None]) * levels + b[:, None]
    counts = torch.bincount(cells.flatten(), minlength=left * right * bins * levels)
    joint = counts.reshape(left, right, bins, levels).double() / len(a)
    return entropy(joint.sum(3)) + entropy(joint.sum(2)) - entropy(joint.flatten(2))


def entropy(p: Float[Tensor, "*any cells"]) -> Float[Tensor, "*any"]:
    """Return the entropy in nats of probabilities along the last axis."""
    return -torch.xlogy(p, p).sum(-1)
