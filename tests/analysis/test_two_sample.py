import math

import pytest
import torch
from scipy.stats import binom, kstest

from lamina.analysis.two_sample import tail, two_sample_test
from lamina.modules.mlp import mlp


def small(shape, classes):
    return mlp(shape, (4,), classes)


def normal(mean):
    return 0.5 * math.erfc(-mean / math.sqrt(2))


def test_null_distribution():
    """Seeds 0..149: 64 + 64 points of one Gaussian, 64 held out.

    The mean within 4 standard errors of 1/2; a variance of 1/4m within 4 of its own, which are √(2/149); probabilities
    that a Kolmogorov-Smirnov test takes for uniform, up to the steps of 1/64 that accuracies have (0.1 of probability
    at the middle).
    """
    found = []
    for seed in range(150):
        torch.manual_seed(seed)
        found.append(two_sample_test(torch.randn(64, 2), torch.randn(64, 2), small, epochs=1, seed=seed))
    accuracies = torch.tensor([test.accuracy for test in found], dtype=torch.float64)
    held = found[0].held
    assert held == 64
    assert abs(accuracies.mean() - 0.5) < 4 * math.sqrt(1 / (4 * held) / 150)
    assert abs(accuracies.var() * 4 * held - 1) < 4 * math.sqrt(2 / 149)
    assert kstest([test.p for test in found], "uniform").statistic < 1.63 / math.sqrt(150) + 0.1


@pytest.mark.parametrize("right", [40, 50, 60, 65])
def test_tail_is_the_binomial_s(right):
    """The Gaussian stands half a step from the sum; 2·10⁻³ is the next term of its expansion at m = 100."""
    exact = binom.sf(right - 1, 100, 0.5)
    assert tail((right - 0.5) / 100, 100) == pytest.approx(exact, abs=2e-3)


@pytest.mark.parametrize("distance", [1.0, 2.0])
def test_reaches_the_best_accuracy(distance):
    """Two Gaussians at a distance d: 1/2 + V/2 = Φ(d/2). 2,000 held out: 4 standard errors are at most 0.045."""
    torch.manual_seed(0)
    test = two_sample_test(torch.randn(2000, 1), torch.randn(2000, 1) + distance, epochs=3)
    assert test.accuracy == pytest.approx(normal(distance / 2), abs=0.045)
    assert test.p < 1e-9


def test_sees_what_single_pixels_do_not_show():
    """Stripes of which each pixel is as often on in both kinds: lying and upright."""
    torch.manual_seed(0)
    lines = (torch.rand(150, 1, 12, 1) < 0.5).float().expand(-1, -1, -1, 12)
    test = two_sample_test(lines, (torch.rand(150, 1, 1, 12) < 0.5).float().expand(-1, -1, 12, -1), epochs=20)
    assert test.accuracy > 0.8


def test_repeats_and_leaves_no_trace():
    torch.manual_seed(0)
    real, fake = torch.randn(70, 3), torch.randn(40, 3) + 1
    state = torch.get_rng_state()
    first = two_sample_test(real, fake, small)
    assert torch.equal(state, torch.get_rng_state())
    assert first == two_sample_test(real[:40], fake, small)  # the larger is cut
    assert first.held == 40


def test_needs_two_of_each_kind():
    with pytest.raises(ValueError, match="at least 2 examples"):
        two_sample_test(torch.zeros(1, 3), torch.zeros(9, 3))
