"""Proximal gradient descent against scikit-learn, optimality conditions, closed forms and theorems."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lamina.optim.fista import curvature, descend, fista, ista, momenta

LAMBDA = 0.3


def problem(codes=24, features=12, batch=9, seed=0):
    """Return a random dictionary with atoms of norm 1, and examples, in float64."""
    generator = torch.Generator().manual_seed(seed)
    B = F.normalize(torch.randn(codes, features, dtype=torch.float64, generator=generator), dim=1)
    return B, torch.randn(batch, features, dtype=torch.float64, generator=generator)


def energy(B, x, z, sparsity=LAMBDA):
    return (x - z @ B).square().sum(1) / 2 + sparsity * z.abs().sum(1)


def solved(B, x, **settings):
    return fista(B @ B.t(), x @ B.t(), LAMBDA, **settings)


def test_codes_are_those_of_scikit_learn():
    """Lasso minimizes |x - zB|² / (2n) + a |z|₁, n = 12 numbers of an example: a = λ / n."""
    from sklearn.linear_model import Lasso

    B, x = problem()
    found = solved(B, x, steps=20_000, tolerance=1e-9)
    for row, z in zip(x, found, strict=True):
        lasso = Lasso(alpha=LAMBDA / 12, fit_intercept=False, tol=1e-14, max_iter=100_000)
        other = torch.from_numpy(lasso.fit(B.t().numpy(), row.numpy()).coef_)
        assert abs(float(energy(B, row[None], z[None]) - energy(B, row[None], other[None]))) < 1e-8
        np.testing.assert_allclose(z, other, atol=1e-6)


@pytest.mark.parametrize("method", [fista, ista])
def test_codes_are_optimal_as_the_tolerance_says(method):
    """KKT: the slope of the error is -λ sign(z) where z is not zero, and within ±λ elsewhere."""
    B, x = problem()
    z = method(B @ B.t(), x @ B.t(), LAMBDA, steps=100_000, tolerance=1e-6)
    slope = (z @ B - x) @ B.t()
    violation = torch.where(z != 0, slope + LAMBDA * z.sign(), F.relu(slope.abs() - LAMBDA))
    assert 0 < float(violation.norm(dim=1).max()) <= 1e-6
    assert 0.2 < float((z != 0).double().mean()) < 0.6


def test_momentum_converges_as_its_theorem_says_and_beats_plain_descent():
    B, x = problem()
    L, best = float(curvature(B @ B.t())), solved(B, x, steps=50_000, tolerance=1e-12)
    least, distance = energy(B, x, best), best.square().sum(1)
    assert abs(L - float(torch.linalg.matrix_norm(B, 2)) ** 2) < 1e-12
    for k in range(1, 101):
        above = energy(B, x, solved(B, x, steps=k)) - least
        plain = energy(B, x, ista(B @ B.t(), x @ B.t(), LAMBDA, steps=k)) - least
        assert bool((above <= 2 * L * distance / (k + 1) ** 2 + 1e-12).all())
        assert bool((plain <= L * distance / (2 * k) + 1e-12).all())
        if k >= 10:
            assert float(above.mean()) < float(plain.mean())


def test_momenta_are_those_of_the_paper():
    t = [1.0]
    for _ in range(5):
        t.append((1 + np.sqrt(1 + 4 * t[-1] ** 2)) / 2)
    expected = [(a - 1) / b for a, b in itertools.pairwise(t)]
    np.testing.assert_allclose(list(itertools.islice(momenta(), 5)), expected, rtol=1e-15)


@pytest.mark.parametrize("seed", range(3))
def test_energy_never_rises_above_that_of_the_start(seed):
    B, x = problem(seed=seed)
    start = torch.randn(9, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) / 2
    kept, first = start.clone(), energy(B, x, start)
    energies = torch.stack([energy(B, x, solved(B, x, start=start, steps=k)) for k in range(1, 150)])
    assert bool((energies <= first).all())
    assert bool((energies.diff(dim=0) > 1e-9).any())  # though it is not monotone
    assert torch.equal(start, kept)


def test_a_warm_start_goes_on_and_the_optimum_stays():
    B, x = problem()
    gram, correlation = B @ B.t(), x @ B.t()
    half = ista(gram, correlation, LAMBDA, steps=7)
    whole = ista(gram, correlation, LAMBDA, steps=12)
    torch.testing.assert_close(ista(gram, correlation, LAMBDA, half, steps=5), whole, rtol=0, atol=1e-13)
    best = solved(B, x, steps=50_000, tolerance=1e-12)
    torch.testing.assert_close(solved(B, x, start=best, steps=3), best, rtol=0, atol=1e-10)


def test_orthonormal_atoms_are_thresholded_in_one_step():
    Q = torch.linalg.qr(problem(12)[0]).Q
    x = problem()[1]
    torch.testing.assert_close(solved(Q, x, steps=1), F.softshrink(x @ Q.t(), LAMBDA), rtol=0, atol=1e-14)
    torch.testing.assert_close(solved(Q, x, steps=30), F.softshrink(x @ Q.t(), LAMBDA), rtol=0, atol=1e-13)


def test_without_sparsity_it_solves_least_squares():
    B, x = problem(6)
    z = fista(B @ B.t(), x @ B.t(), 0.0, steps=20_000, tolerance=1e-11)
    torch.testing.assert_close(z, torch.linalg.lstsq(B.t(), x.t()).solution.t(), rtol=0, atol=1e-9)


def test_no_atom_and_much_sparsity_give_zero_codes():
    B, x = problem()
    assert not bool(fista(0 * B @ B.t(), 0 * x @ B.t(), LAMBDA).any())
    assert not bool(fista(B @ B.t(), x @ B.t(), float((x @ B.t()).abs().max())).any())


def test_memory_of_a_step_is_kept():
    """The codes of 5 and of 500 steps take as many allocations."""
    from torch.profiler import ProfilerActivity, profile

    B, x = problem()
    gram, correlation, counts = B @ B.t(), x @ B.t(), []
    for steps in (5, 500):
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
            descend(gram, correlation, LAMBDA, None, steps, 0.0, momenta())
        counts.append(sum(event.name == "[memory]" for event in found.events()))
    assert counts[0] == counts[1] > 0


def test_refuses_what_makes_no_sense():
    B, x = problem()
    for settings in ({"steps": 0}, {"tolerance": -1.0}):
        with pytest.raises(ValueError, match="steps must be at least 1"):
            solved(B, x, **settings)
    with pytest.raises(ValueError, match="sparsity and tolerance at least 0"):
        ista(B @ B.t(), x @ B.t(), -0.1)
