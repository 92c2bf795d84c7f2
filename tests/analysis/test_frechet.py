import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from lamina.analysis.frechet import encoded, frechet_distance
from lamina.modules.mlp import mlp
from lamina.systems.vision.classifier import Classifier


def gaussian(mean, covariance, count=50, seed=0):
    """Return rows whose sample mean and covariance are exactly these."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, len(mean), generator=generator, dtype=torch.float64)
    x = x - x.mean(0)
    x = torch.linalg.solve_triangular(torch.linalg.cholesky(torch.atleast_2d(x.T.cov())), x.T, upper=False).T  # white
    return x @ torch.linalg.cholesky(torch.as_tensor(covariance, dtype=torch.float64)).T + torch.as_tensor(mean)


def test_one_dimension():
    """(μ − ν)² + (s − t)², for deviations s and t."""
    a, b = gaussian([1.0], [[4.0]]), gaussian([-2.0], [[0.25]], seed=1)
    assert frechet_distance(a, b) == pytest.approx(3**2 + 1.5**2, abs=1e-12)


def test_covariances_that_commute():
    """|μ − ν|² + Σ (√λ − √κ)², with the eigenvalues in a common basis."""
    basis = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)).Q
    first, second = torch.tensor([1.0, 2, 3, 4]).double(), torch.tensor([9.0, 0.5, 3, 1]).double()
    mean, other = torch.tensor([1.0, 0, 0, 2]).double(), torch.tensor([0.0, 0, 3, 0]).double()
    a, b = (
        gaussian(m, basis * spread @ basis.T, seed=i) for i, (m, spread) in enumerate([(mean, first), (other, second)])
    )
    expected = (mean - other).square().sum() + (first.sqrt() - second.sqrt()).square().sum()
    assert frechet_distance(a, b) == pytest.approx(expected.item(), abs=1e-10)


def test_agrees_with_scipy_s_matrix_root():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(200, 12)) @ rng.normal(size=(12, 12)), rng.normal(size=(150, 12)) + rng.normal(size=12)
    s, t = np.cov(a.T), np.cov(b.T)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real)
    assert frechet_distance(torch.from_numpy(a), torch.from_numpy(b)) == pytest.approx(expected, rel=1e-9)


def test_fewer_examples_than_features():
    """Singular covariances: a plane of 5 of 30 dimensions against the same, turned over; and a set against itself."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(10, 30, generator=generator)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-10)
    assert frechet_distance(a, a + 1) == pytest.approx(30, abs=1e-4)
    flat = torch.cat([gaussian([0.0] * 5, np.eye(5)), torch.zeros(50, 25)], 1)
    assert frechet_distance(flat, flat.flip(1)) == pytest.approx(10, abs=1e-10)  # nothing in common: both traces


def test_is_the_smallest_mean_squared_distance_of_pairs():
    """The optimal map between Gaussians, S^−½ (S^½ T S^½)^½ S^−½, moves one sample onto the other's moments."""
    s, t = np.array([[2.0, 0.5], [0.5, 1]]), np.array([[1.0, -0.3], [-0.3, 3]])
    a = gaussian([0.0, 0.0], s)
    root = sqrtm(s)
    turn = torch.from_numpy(np.linalg.inv(root) @ sqrtm(root @ t @ root) @ np.linalg.inv(root))
    b = a @ turn.T + torch.tensor([1.0, 2.0]).double()
    torch.testing.assert_close(b.T.cov(), torch.from_numpy(t))
    moved = (a - b).square().sum(1)
    centered = (moved.sum() - 50 * 5) / 49 + 5  # the covariances have 49 in their denominator, the means 50
    assert frechet_distance(a, b) == pytest.approx(centered.item(), abs=1e-10)


def test_features_of_a_classifier_in_parts():
    torch.manual_seed(0)
    classifier = Classifier(torch.nn.Identity(), mlp((3,), (4,), 2)).eval()
    x = torch.randn(2500, 3)
    torch.testing.assert_close(encoded(classifier, x), classifier.encode(x))


def test_needs_two_of_each_kind():
    with pytest.raises(ValueError, match="at least 2 examples"):
        frechet_distance(torch.zeros(1, 3), torch.zeros(9, 3))
