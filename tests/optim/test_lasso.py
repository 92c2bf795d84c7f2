"""Coordinate descent against FISTA, scikit-learn and the conditions of an optimum."""

import pytest
import torch

from lamina.optim.fista import fista
from lamina.optim.lasso import lasso


def problem(examples=7, codes=12, features=9, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(examples, features, generator=generator, dtype=dtype)
    B = torch.randn(codes, features, generator=generator, dtype=dtype)
    return x, B, B @ B.t(), x @ B.t()


def energy(z, gram, correlation, sparsity):
    return 0.5 * ((z @ gram) * z).sum(1) - (z * correlation).sum(1) + sparsity * z.abs().sum(1)


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 2.0, 100.0])
def test_no_energy_is_lower(sparsity):
    """More codes than features, so that several codes may be best, and their energy is what is compared."""
    _, _, gram, correlation = problem()
    z = lasso(gram, correlation, sparsity, steps=100_000, tolerance=1e-10)
    found = energy(z, gram, correlation, sparsity)
    best = energy(fista(gram, correlation, sparsity, steps=200_000, tolerance=1e-9), gram, correlation, sparsity)
    torch.testing.assert_close(found, best, rtol=1e-9, atol=1e-9)


def test_slopes_are_those_of_an_optimum():
    """At the least energy the slope of the smooth part is -λ sign z where z is not zero, and within ±λ elsewhere."""
    _, _, gram, correlation = problem()
    z = lasso(gram, correlation, 0.5, tolerance=1e-11, steps=100_000)
    slope = z @ gram - correlation
    torch.testing.assert_close(slope[z != 0], -0.5 * z[z != 0].sign(), rtol=0, atol=1e-8)
    assert bool((slope[z == 0].abs() <= 0.5 + 1e-8).all())
    assert 0 < int((z != 0).sum()) < z.numel()


def test_codes_are_scikit_learns():
    from sklearn.linear_model import Lasso

    x, B, gram, correlation = problem(features=20)
    model = Lasso(alpha=0.5 / 20, fit_intercept=False, tol=1e-12, max_iter=100_000)
    theirs = torch.stack([torch.from_numpy(model.fit(B.t().numpy(), row.numpy()).coef_) for row in x])
    torch.testing.assert_close(lasso(gram, correlation, 0.5, tolerance=1e-11), theirs, rtol=0, atol=1e-8)


def test_any_start_leads_to_the_same_codes_and_stays_as_it_is():
    _, _, gram, correlation = problem(features=20)
    start = torch.randn(7, 12, dtype=torch.float64)
    kept = start.clone()
    expected = lasso(gram, correlation, 0.5, tolerance=1e-11)
    torch.testing.assert_close(lasso(gram, correlation, 0.5, start, tolerance=1e-11), expected, rtol=0, atol=1e-9)
    assert torch.equal(start, kept)


def test_parts_of_a_batch_in_threads_are_the_whole():
    _, _, gram, correlation = problem(examples=40)
    threads = torch.get_num_threads()
    alone = lasso(gram, correlation, 0.5)
    torch.set_num_threads(2)
    try:
        assert torch.equal(lasso(gram, correlation, 0.5), alone)
    finally:
        torch.set_num_threads(threads)


def test_single_precision_and_columns_that_are_not_contiguous():
    _, _, gram, correlation = problem(features=20, dtype=torch.float32)
    expected = lasso(gram.double(), correlation.double(), 0.5, tolerance=1e-9).float()
    found = lasso(gram.t(), correlation.t().contiguous().t(), 0.5, tolerance=1e-5)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_a_code_without_an_atom_stays_zero():
    _, B, _, _ = problem()
    B[3] = 0
    z = lasso(B @ B.t(), torch.ones(2, 12, dtype=torch.float64), 0.5)
    assert torch.equal(z[:, 3], torch.zeros(2, dtype=torch.float64))


def test_bad_arguments_are_one_line():
    _, _, gram, correlation = problem()
    for bad in ({"steps": 0}, {"sparsity": -1.0}, {"tolerance": -1.0}):
        with pytest.raises(ValueError, match="steps must be at least 1"):
            lasso(gram, correlation, **({"sparsity": 0.5} | bad))
