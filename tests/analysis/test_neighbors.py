import pytest
import torch
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from lamina.analysis import neighbors
from lamina.analysis.neighbors import nearest, nearest_error, two_sample_accuracy


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Cut every distance matrix of these tests into several blocks, the last one smaller."""
    monkeypatch.setattr(neighbors, "CELLS", 1000)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_classifier_agrees_with_scikit_learn(dtype):
    torch.manual_seed(0)
    points, x = torch.rand(150, 1, 4, 5, dtype=dtype), torch.rand(67, 1, 4, 5, dtype=dtype)
    labels, y = torch.randint(3, (150,)), torch.randint(3, (67,))
    theirs = KNeighborsClassifier(1, algorithm="brute").fit(points.flatten(1), labels)
    assert nearest(points, x).tolist() == theirs.kneighbors(x.flatten(1))[1][:, 0].tolist()
    assert nearest_error(points, labels, x, y) == pytest.approx(1 - theirs.score(x.flatten(1), y), abs=1e-6)


def test_two_sample_accuracy_agrees_with_scikit_learn():
    torch.manual_seed(0)
    real, fake = torch.randn(60, 3), 0.8 * torch.randn(45, 3) + 0.5
    kinds = torch.tensor([0] * 60 + [1] * 45).numpy()
    right = cross_val_score(KNeighborsClassifier(1), torch.cat((real, fake)).numpy(), kinds, cv=LeaveOneOut())
    ours = two_sample_accuracy(real, fake)
    assert ours == pytest.approx((right[:60].mean(), right[60:].mean()), abs=1e-6)


def test_two_sample_accuracy_of_extremes():
    torch.manual_seed(0)
    x = torch.randn(50, 3)
    assert two_sample_accuracy(x, x + 100) == (1.0, 1.0)
    assert two_sample_accuracy(x, x + 1e-3) == (0.0, 0.0)  # copies: each one's nearest is its twin


def test_two_sample_accuracy_of_one_distribution_is_a_half():
    """Seed 0, 600 + 600 examples; the bound is 4 standard errors of independent trials, 4 sqrt(1/4 / 600) = 0.082."""
    torch.manual_seed(0)
    for accuracy in two_sample_accuracy(torch.randn(600, 2), torch.randn(600, 2)):
        assert abs(accuracy - 0.5) < 0.082


def test_refuses_to_measure_to_no_point():
    with pytest.raises(ValueError, match="at least one point"):
        nearest(torch.zeros(0, 3), torch.zeros(2, 3))
