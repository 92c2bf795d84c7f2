"""Disentangling: mutual information against closed forms and scikit-learn, its gap on codes whose gap is known."""

import math

import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import mutual_info_score, r2_score

from lamina.analysis.disentangling import (
    binned,
    disentangling,
    figures,
    gaps,
    markdown,
    mutual_information,
    mutual_information_gap,
    principal_components,
    probes,
)


def lattice(*levels):
    """All combinations of factors, each once, so that they are exactly independent."""
    return torch.cartesian_prod(*(torch.arange(count).double() for count in levels))


def turned(z, degrees):
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return z @ torch.tensor([[cos, sin], [-sin, cos]], dtype=z.dtype)


def test_mutual_information_of_a_known_joint():
    """p = (3 1; 1 3) / 8 has I = log 2 - h(1/4) nats: the marginals are even, and H(b | a) = h(1/4)."""
    a, b = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]), torch.tensor([0, 0, 0, 1, 0, 1, 1, 1])
    conditional = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    found = mutual_information(a[:, None], b[:, None])
    assert float(found) == pytest.approx(math.log(2) - conditional, abs=1e-12)


def test_mutual_information_equals_scikit_learn(monkeypatch):
    monkeypatch.setattr("lamina.analysis.disentangling.COLUMNS", 2)  # several parts, the last one smaller
    generator = torch.Generator().manual_seed(0)
    a = torch.randint(5, (200, 3), generator=generator)
    b = (a[:, [0, 2]] + torch.randint(3, (200, 2), generator=generator)) % 4
    found = mutual_information(a, b)
    for i in range(3):
        for j in range(2):
            assert float(found[i, j]) == pytest.approx(mutual_info_score(a[:, i], b[:, j]), abs=1e-12)


def test_bins_have_equal_width():
    values = torch.tensor([[0.0, 5.0], [0.24, 5.0], [0.26, 5.0], [0.99, 5.0], [1.0, 5.0]])
    assert binned(values, 4).t().tolist() == [[0, 0, 1, 3, 3], [0, 0, 0, 0, 0]]


def test_gap_of_the_factors_themselves_is_one():
    """Also scaled, swapped and beside a number that tells nothing; the examples are all combinations, so exactly."""
    v = lattice(3, 4, 5)
    assert mutual_information_gap(v, v) == pytest.approx(1, abs=1e-12)
    beside = torch.cat([-3 * v[:, [2, 0, 1]] + 1, torch.zeros(len(v), 1)], 1)
    assert gaps(beside, v).tolist() == pytest.approx([1, 1, 1], abs=1e-12)


def test_gap_of_known_codes():
    """Twice the same number has none; of (v₁, v₂ = v₁ half the time), the gap of v₁ is 1 - I(v₁; c₂) / H(v₁)."""
    v = lattice(4, 4)
    assert gaps(v[:, [0, 0]], v).tolist() == pytest.approx([0, 0], abs=1e-12)
    one = torch.tensor([[0.0], [0], [0], [0], [1], [1], [1], [1]])
    noisy = torch.tensor([[0.0], [0], [0], [1], [0], [1], [1], [1]])
    conditional = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    found = gaps(torch.cat([noisy, one], 1), one)
    assert float(found) == pytest.approx(conditional / math.log(2), abs=1e-12)


def test_gap_of_noise_is_nearly_none():
    """10,000 examples, seed 0, 20 bins: counts give independent numbers I = 19² / 20,000 = 0.018 nats on average, with
    a deviation of √(2 · 19²) / 20,000 = 0.0013. The gap is at most I / H, H = 3 nats: 0.008 is 4 deviations up."""
    generator = torch.Generator().manual_seed(0)
    z, v = torch.randn(10_000, 6, generator=generator), torch.rand(10_000, 4, generator=generator)
    found = gaps(z, v)
    assert 0 <= float(found.min()) <= float(found.max()) < 0.008


def test_gap_falls_as_a_code_is_turned():
    v = lattice(20, 20)
    found = [mutual_information_gap(turned(v, degrees), v) for degrees in (0, 10, 30, 45)]
    assert found == sorted(found, reverse=True)
    assert found[0] == pytest.approx(1, abs=1e-12)
    assert found[3] == pytest.approx(0, abs=1e-2)  # a half of each factor in each number


def test_probes_equal_scikit_learn():
    """Logistic regression on numbers of variance 1 and the least-squares line, on the same split."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(300, 4, generator=generator)
    z = (z - z[:200].mean(0)) / z[:200].std(0, correction=0)
    noise = torch.randn(300, 2, generator=generator)
    classes = (z[:, 0] + noise[:, 0]).round().clamp(-1, 1)
    line = z[:, 1] - 2 * z[:, 2] + noise[:, 1]
    v = torch.stack([classes, line], 1)
    found = probes((z[:200], v[:200]), (z[200:], v[200:]))
    theirs = LogisticRegression(max_iter=1000).fit(z[:200], classes[:200])
    assert found[0] == pytest.approx(theirs.score(z[200:], classes[200:]), abs=1e-6)
    predicted = LinearRegression().fit(z[:200], line[:200]).predict(z[200:])
    assert found[1] == pytest.approx(r2_score(line[200:], predicted), abs=1e-5)


def test_table_stands_beside_its_controls():
    """Factors turned by 30 degrees, 3000 + 3000 examples, seed 0, 10 bins. Permuted codes: R² within 0.01 of 0 (that of
    two regressors scatters by about 2 / 3000), a gap below twice 9² / 6000 nats of an entropy of 2.3, 0.012."""
    generator = torch.Generator().manual_seed(0)
    v = torch.rand(6000, 2, generator=generator)
    z = turned(v, 30)
    train, held = (z[:3000], v[:3000]), (z[3000:], v[3000:])
    table = disentangling(train, held, bins=10)
    assert list(table) == ["probe", "probe permuted", "probe of itself", "gap", "gap permuted", "gap of itself"]
    assert table["probe"] == pytest.approx([1, 1], abs=1e-5)
    assert table["probe of itself"] == pytest.approx([1, 1], abs=1e-5)
    assert table["probe permuted"] == pytest.approx([0, 0], abs=0.01)
    assert max(table["gap permuted"]) < 0.012 < 0.1 < min(table["gap"])
    assert max(table["gap"]) < 0.5 < 0.98 < min(table["gap of itself"])
    assert table == disentangling(train, held, bins=10)
    lines = markdown(table, ("x", "y")).splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("| factor | probe |")
    mean = sum(table["gap"]) / 2
    assert lines[-1].split(" | ")[4] == f"{mean:.3f}"
    assert mean == pytest.approx(mutual_information_gap(*held, bins=10))


def test_what_cannot_be_is_refused():
    v = lattice(3, 3)
    with pytest.raises(ValueError, match="at least 2"):
        gaps(v[:, :1], v)
    with pytest.raises(ValueError, match="factor 1 never varies"):
        gaps(v, torch.cat([v[:, :1], torch.ones(9, 1)], 1))


def test_figures_by_name():
    table = {"probe": [1.0, 0.5], "gap": [0.2, 0.4], "gap permuted": [0.0, 0.1]}
    found = figures(table, ("x", "y"))
    assert found["MIG"] == pytest.approx(0.3)
    assert found["MIG permuted"] == pytest.approx(0.05)
    assert (found["probe x"], found["gap y"], found["gap permuted y"]) == (1.0, 0.4, 0.1)


def test_principal_components_are_those_of_scikit_learn():
    x = torch.randn(50, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    other = x.flip(0) + 1
    theirs = PCA(4).fit(x.flatten(1).numpy()).transform(other.flatten(1).numpy())
    ours = principal_components(x, 4)(other).numpy()
    assert abs(abs(ours) - abs(theirs)).max() < 1e-12  # the sign of an axis means nothing
    with pytest.raises(ValueError, match="no 7 principal"):
        principal_components(x, 7)
