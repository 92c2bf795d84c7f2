"""Energies over the plane: square ICA against a product that was mixed, and figures of scores in any unit."""

import math

import pytest
import torch

from lamina.analysis.energy_plane import rivals, tempered
from lamina.data.plane import mixture, mixture_log_density


def test_square_ica_finds_the_density_of_mixed_sources():
    """Two Laplace sources, 4,000 mixed examples, seed 0: nll within 0.05 nats of the truth on 4,000 others.

    A single Gaussian is at least 0.1 behind."""
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(2, (8500, 2), generator=generator) * 2 - 1
    s = signs * torch.empty(8500, 2).exponential_(generator=generator)
    A = torch.tensor([[1.0, 0.7], [-0.3, 2.0]])
    x = s @ A.t() + torch.tensor([3.0, -1.0])
    scores = rivals(x[:4000], x[4000:4500])
    test, sources = x[4500:], s[4500:]
    truth = float((sources.abs().sum(1) + 2 * math.log(2)).mean() + A.det().log())
    assert abs(-float(scores["square ICA"](test).mean()) - truth) < 0.05
    single = torch.distributions.MultivariateNormal(x[:4000].mean(0), x[:4000].t().cov())
    assert -float(single.log_prob(test).mean()) > truth + 0.1
    with pytest.raises(ValueError, match="none is a sum of others"):
        rivals(x[:, :1].expand(-1, 2)[:400], x[:100])


def test_a_score_in_any_unit_gets_the_nll_of_its_density():
    """The density itself, times 7 and plus 3: the entropy of the mixture, up to the grid and what lies beyond it."""
    data = mixture()
    valid, test = data.valid.fields["x"], data.test.fields["x"]
    entropy = -float(mixture_log_density(test).mean())
    for factor, shift in ((1.0, 0.0), (7.0, 3.0), (0.02, -1.0)):
        found = tempered(lambda x, a=factor, b=shift: a * mixture_log_density(x) + b, valid, test)
        assert abs(found - entropy) < 0.03
    flat = tempered(lambda x: torch.zeros(len(x)), valid, test)
    assert flat > entropy + 0.5
