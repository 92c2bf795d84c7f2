"""Points of the plane: splits, and the known density against its integral and its own samples."""

import math

import pytest
import torch

from lamina.data.plane import FACTORS, MEANS, WEIGHTS, mixture, mixture_log_density, moons, spiral

every = pytest.mark.parametrize("make", [mixture, moons, spiral])


@every
def test_splits_are_drawn_from_the_seed_and_test_points_never_change(make):
    data, again, other = make(count=50, held=20), make(count=50, held=20), make(seed=1, count=50, held=20)
    assert (len(data.train), len(data.valid), len(data.test)) == (50, 20, 10_000)
    for part in ("train", "valid", "test"):
        x, same, new = (getattr(d, part).fields["x"] for d in (data, again, other))
        assert x.shape[1:] == data.shape == (2,)
        assert torch.equal(x, same)
        assert torch.equal(x, new) == (part == "test")
    points = torch.cat([getattr(data, part).fields["x"] for part in ("train", "valid", "test")])
    assert len(points.unique(dim=0)) == len(points)  # nothing is in two splits
    if data.classes:
        assert set(data.train.fields["y"].tolist()) == set(range(len(data.classes)))
    with pytest.raises(ValueError, match="at least 1"):
        make(count=0)


def test_the_mixture_has_its_density():
    """It integrates to one, and has the mean log-density, moments and weights of 10,000 training and test points, seed
    0: bounds of 5 standard errors, which for a variance of at most 3.9 is 5 * 3.9 sqrt(2 / 10,000) = 0.28. It is what
    torch's distributions give, too."""
    axis = torch.linspace(-9, 10, 1001, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    cell = float(axis[1] - axis[0]) ** 2
    p = mixture_log_density(grid).exp() * cell
    assert abs(float(p.sum()) - 1) < 1e-6
    normal, weights = torch.distributions.MultivariateNormal, torch.tensor(WEIGHTS).double()
    parts = normal(torch.tensor(MEANS).double(), scale_tril=torch.tensor(FACTORS, dtype=torch.float64))
    some = grid[::999]
    expected = torch.logsumexp(weights.log() + parts.log_prob(some[:, None]), 1)
    torch.testing.assert_close(mixture_log_density(some), expected, rtol=1e-6, atol=1e-6)
    data = mixture()
    mean, entropy = p @ grid, -float(p @ mixture_log_density(grid))
    assert torch.allclose(mean, torch.tensor(WEIGHTS).double() @ torch.tensor(MEANS).double(), atol=1e-5)
    for part in (data.train, data.test):
        x = part.fields["x"].double()
        each = -mixture_log_density(x)
        assert abs(float(each.mean()) - entropy) < 5 * float(each.std()) / math.sqrt(len(x))
        assert bool(((x.mean(0) - mean).abs() < 5 * x.std(0) / math.sqrt(len(x))).all())
        covariance = (grid - mean).t() @ ((grid - mean) * p[:, None])
        assert float((x.t().cov() - covariance).abs().max()) < 0.28
    share = torch.bincount(data.train.fields["y"]) / 10_000
    assert float((share - torch.tensor(WEIGHTS)).abs().max()) < 0.025


def test_moons_and_spiral_lie_around_their_curves():
    data = moons(noise=1e-9)
    x, y = (data.test.fields[name] for name in ("x", "y"))
    middle = torch.tensor([[0.0, 0.0], [1.0, 0.5]])[y]
    assert torch.allclose((x - middle).norm(dim=1), torch.ones(len(x)), atol=1e-5)
    assert bool(((x - middle)[:, 1] * (1 - 2 * y) > -1e-5).all())
    x = spiral(noise=1e-9).test.fields["x"].double()
    radius, angle = x.norm(dim=1), torch.atan2(x[:, 1], x[:, 0]) / (2 * math.pi)
    turn = radius - angle
    assert float((turn - turn.round()).abs().max()) < 1e-5
    assert float(radius.max()) <= 1.5 + 1e-6
