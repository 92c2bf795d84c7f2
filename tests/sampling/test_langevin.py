"""Langevin dynamics on Gaussians, whose stationary laws are known, and Gibbs sampling by its transition matrix."""

import torch

from lamina.sampling.enumerate import states
from lamina.sampling.gibbs import gibbs
from lamina.sampling.langevin import adjusted, unadjusted


def test_adjusted_steps_leave_a_gaussian_invariant_at_any_size():
    """100,000 chains, seed 0: standard errors are below 2 / sqrt(100,000) = 0.0063 of a mean of variance at most 2,
    sqrt(2) times 2 / sqrt(100,000) = 0.009 of a covariance; bounds of 5 and the acceptance far from 0 and 1."""
    torch.manual_seed(0)
    mean, covariance = torch.tensor([1.0, -2.0]).double(), torch.tensor([[2.0, 0.6], [0.6, 0.5]]).double()
    precision = covariance.inverse()

    def energy(x):
        return ((x - mean) @ precision * (x - mean)).sum(1) / 2

    start = mean + torch.randn(100_000, 2).double()  # not from the target
    x, share = adjusted(energy, start, steps=60, size=0.4)
    assert 0.3 < float(share) < 0.8
    assert float((x.mean(0) - mean).abs().max()) < 0.03
    assert float((x.t().cov() - covariance).abs().max()) < 0.045


def test_unadjusted_steps_have_their_known_bias():
    """s² = 0.5 and η = 0.3 give the variance s² / (1 - η/2s²) = 0.714, where 0.5 is wanted; 200,000 chains, seed 1:
    standard error 0.714 sqrt(2 / 200,000) = 0.0023, bound 5. Adjusted steps have the variance 0.5."""
    torch.manual_seed(1)
    x = torch.randn(200_000, 1).double()
    ended = unadjusted(lambda v: v.square().sum(1), x, steps=40, size=0.3)
    assert abs(float(ended.var()) - 0.5 / (1 - 0.3)) < 0.0115
    ended, _ = adjusted(lambda v: v.square().sum(1), x, steps=40, size=0.3)
    assert abs(float(ended.var()) - 0.5) < 0.008


def test_no_steps_and_infinite_energies():
    x = torch.tensor([[0.5], [0.9]])
    same, share = adjusted(lambda v: v.square().sum(1), x, steps=0, size=0.1)
    assert torch.equal(same, x)
    assert float(share) == 0

    def walls(v):
        return torch.where((v - 0.5).abs() < 0.5, 0.0, torch.inf).sum(1) + 0 * v.sum(1)

    torch.manual_seed(2)
    inside, share = adjusted(walls, x, steps=200, size=0.1)
    assert bool((inside - 0.5).abs().max() < 0.5)
    assert 0 < float(share) < 1


def test_gibbs_sampling_by_its_transition_matrix():
    """A table of 16 energies; 100,000 chains a start, seed 3: total variation is about 0.5 * 16 * sqrt(1/16/100,000),
    0.006. The matrix of a sweep, the product of those of its units, leaves exp(-E) / Z as it is."""
    torch.manual_seed(3)
    table, every, place = torch.randn(16).double(), next(states(4)), 2 ** torch.arange(4)
    sweep, law = torch.eye(16).double(), table.neg().softmax(0)
    for i in range(4):
        other = torch.arange(16) ^ (1 << i)
        turn = law[other] / (law + law[other])
        step = torch.diag(1 - turn)
        step[torch.arange(16), other] = turn
        sweep = sweep @ step
    torch.testing.assert_close(law @ sweep, law)

    def energy(x):
        return table[(x.long() * place).sum(1)]

    for state in (0, 5, 14):
        for sweeps in (1, 2):
            ended = gibbs(energy, every[state].expand(100_000, -1), sweeps)
            seen = torch.bincount((ended.long() * place).sum(1), minlength=16) / 100_000
            expected = torch.linalg.matrix_power(sweep, sweeps)[state]
            assert float((seen - expected).abs().sum()) / 2 < 0.01
