"""Annealed importance sampling against exact sums."""

import pytest
import torch
from torch import nn

from lamina.sampling.ais import ais, paper_betas, reverse_ais
from lamina.sampling.enumerate import log_partition, states
from lamina.systems.energy.rbm import RBM
from lamina.systems.energy.units import Bernoulli, Gaussian


def test_betas_are_those_of_the_paper():
    betas = paper_betas()
    assert len(betas) == 14501
    assert [int((betas < edge).sum()) for edge in (0.5, 0.9, 1.0)] == [500, 4500, 14500]
    assert float(betas[0]) == 0
    assert float(betas[-1]) == 1
    assert bool((betas.diff() > 0).all())


@pytest.mark.parametrize("hidden", [None, torch.linspace(-2, 1, 6)])
@pytest.mark.parametrize("gaussian", [False, True])
def test_estimates_fall_within_their_errors(gaussian, hidden):
    """25 estimates of a 12x6 machine with 50 betas, seed 0: the mean is exact to 4 errors, and as wide as said.

    The standard deviation of 25 values has a relative standard error of 0.14; bound 3 of them and 0.08 for the tails.
    """
    torch.manual_seed(0)
    units = Gaussian(torch.zeros(12), torch.ones(12)) if gaussian else Bernoulli((12,))
    model = RBM(units, 6).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3 if gaussian else 1.0)
    exact, base = log_partition(model), torch.zeros(12)
    found = [ais(model, base, betas=torch.linspace(0, 1, 51), hidden=hidden) for _ in range(25)]
    scores = torch.tensor([(estimate.value - exact) / estimate.error for estimate in found])
    assert abs(float(scores.mean())) < 4 / 25**0.5
    assert abs(float(scores.std()) - 1) < 0.5


@pytest.mark.parametrize("hidden", [None, torch.linspace(-2, 1, 6)])
def test_both_directions_bracket_the_truth(hidden):
    """600 estimates each way of a 10x6 machine with 10 betas and 2 runs, seed 0; backward from exact samples.

    Few betas and runs make the bias large: the mean forward is below the sum, the mean backward above.
    """
    torch.manual_seed(0)
    model = RBM(Bernoulli((10,)), 6).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=1.0)
    exact, base, betas = log_partition(model), torch.zeros(10), torch.linspace(0, 1, 11)
    every = torch.cat(list(states(10)))
    chances = (-model.free_energy(every)).softmax(0)
    ways = {
        -1: [ais(model, base, 2, betas, hidden).value for _ in range(600)],
        1: [reverse_ais(model, every[chances.multinomial(2, True)], base, betas, hidden).value for _ in range(600)],
    }
    for sign, values in ways.items():
        gap = sign * (torch.tensor(values) - exact)
        assert float(gap.mean()) > 4 * float(gap.std()) / 600**0.5
    many = torch.linspace(0, 1, 501)
    near = reverse_ais(model, every[chances.multinomial(200, True)], base, many, hidden)
    assert abs(near.value - exact) < 4 * near.error


def test_matched_hidden_units_keep_clear_of_a_transition():
    """12 visible and 200 hidden units with one coupling: nearly all mass is where all are off, seed 0.

    From half of the hidden units on, chains turn the visible ones on and cannot come back: log Z is 8 nats too small,
    and its standard error says nothing of it. From the hidden units' own means it is exact to 4 errors.
    """
    model = RBM(Bernoulli((12,)), 200).double()
    for parameter, value in ((model.W, 0.4), (model.a, -19.88), (model.b, -4.0)):
        nn.init.constant_(parameter, value)
    exact, base, betas = log_partition(model), torch.full((12,), -3.0), torch.linspace(0, 1, 1001)
    torch.manual_seed(0)
    missed = ais(model, base, betas=betas)
    assert missed.value < exact - 5
    assert missed.error < 0.2
    found = ais(model, base, betas=betas, hidden=torch.full((200,), -4.0))
    assert abs(found.value - exact) < 4 * found.error


def test_float32_keeps_up_over_many_temperatures():
    """A 784x10 machine with saturated units and log Z in the hundreds; 1450 steps, seed 1, bound 4 standard errors."""
    torch.manual_seed(1)
    model = RBM(Bernoulli((784,)), 10)
    nn.init.normal_(model.W, std=0.3)
    nn.init.constant_(model.a, -1.5)
    estimate = ais(model, runs=50, betas=paper_betas(1450))
    assert estimate.error < 0.15
    assert abs(estimate.value - log_partition(model)) < 4 * estimate.error


def test_independent_layers_are_exact_from_their_own_base():
    """Without couplings every weight is the same, so the estimate has no error."""
    model = RBM(Bernoulli((9,)), 4).double()
    nn.init.zeros_(model.W)
    nn.init.normal_(model.a)
    estimate = ais(model, runs=2, betas=torch.linspace(0, 1, 5))
    assert abs(estimate.value - log_partition(model)) < 1e-5
    assert estimate.error < 1e-5


def test_sums_are_the_same_in_chunks():
    assert torch.equal(torch.cat(list(states(5, chunk=3))), torch.cat(list(states(5))))


def test_bad_arguments_are_named():
    model = RBM(Bernoulli((30,)), 30)
    with pytest.raises(ValueError, match="use ais"):
        log_partition(model)
    with pytest.raises(ValueError, match="from 0 to 1"):
        ais(model, betas=torch.linspace(0, 0.9, 5))
    with pytest.raises(ValueError, match="at least 2"):
        ais(model, runs=1)
    with pytest.raises(ValueError, match="at least 2"):
        reverse_ais(model, torch.zeros(1, 30))
