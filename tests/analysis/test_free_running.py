"""Free-running error against closed forms of Markov chains, and against the model's own passes."""

import math

import numpy as np
import pytest
import torch

from lamina.analysis.free_running import free_running, plot_free_running
from lamina.systems.language.model import LanguageModel


def chain(p, count, seed=0):
    rng, text = np.random.default_rng(seed), [0]
    for _ in range(count - 1):
        text.append(int(rng.choice(len(p), p=p[text[-1]].numpy())))
    return torch.tensor(text)


def markov(p):
    def step(tokens, state):
        return p[tokens].log(), state

    return step, lambda rows: torch.zeros(rows, 1)


def test_errors_of_a_markov_chain_have_the_closed_form():
    """4,000 stretches of a chain of 3 symbols, seed 0: all means within 4 standard errors.

    At distance k, given x_0: −Σ_a P^{k-1}(x_0, a) Σ_b P^k(x_0, b) log P(a, b), as own and true symbols part at x_0;
    forced, the entropy of a step from the law of x_{k-1}.
    """
    p = torch.tensor([[0.8, 0.15, 0.05], [0.1, 0.8, 0.1], [0.3, 0.1, 0.6]], dtype=torch.float64)
    text, context, horizon, stretches = chain(p, 60_000), 5, 6, 4000
    torch.manual_seed(0)
    found = free_running(*markov(p), text, context, horizon, stretches)
    begins = torch.linspace(0, len(text) - context - horizon, stretches).long()
    start = torch.eye(3, dtype=torch.float64)[text[begins + context - 1]]
    for k in range(1, horizon + 1):
        own, true = (start @ torch.linalg.matrix_power(p, n) for n in (k - 1, k))
        free = -(own @ p.log() * true).sum(1).mean()
        forced = (own @ -(p * p.log()).sum(1)).mean()
        for (mean, error), expected in zip(found.means().values(), (free, forced), strict=True):
            assert abs(float(mean[k - 1] - expected)) < 4 * float(error[k - 1])
    means = found.means()["free"][0]
    assert (means[:4].diff() > 0).all()  # errors compound
    assert torch.equal(found.free[:, 0], found.forced[:, 0])


def test_a_model_that_knows_a_periodic_text_never_loses_the_way():
    p = torch.eye(3).roll(1, 1) * (1 - 3e-9) + 1e-9
    found = free_running(*markov(p), torch.arange(200) % 3, 2, 40, 20)
    assert float(found.free.max()) < 1e-6


def test_forced_errors_are_those_of_one_pass():
    torch.manual_seed(0)
    system = LanguageModel(7, hidden=5, layers=2, embedding=4).double()
    text = torch.randint(7, (60,), generator=torch.Generator().manual_seed(1))
    found = free_running(system.following, system.nothing, text, 8, 10, 3)
    for row, begin in enumerate((0, 21, 42)):
        part = text[begin : begin + 18]
        logits, _ = system.following(part[None, :-1], system.nothing(1))
        expected = -logits.log_softmax(2)[0, 7:].gather(1, part[8:, None])[:, 0]
        torch.testing.assert_close(found.forced[row], expected.detach(), rtol=0, atol=1e-12)
    assert not torch.allclose(found.free[:, 1:], found.forced[:, 1:])


def test_a_uniform_model_errs_by_log_v_everywhere():
    found = free_running(*markov(torch.full((5, 5), 0.2)), torch.arange(50) % 5, 3, 4, 7)
    torch.testing.assert_close(found.free, torch.full((7, 4), math.log(5)))
    torch.testing.assert_close(found.forced, found.free)


def test_pictures_and_bad_sizes(tmp_path):
    models = {name: free_running(*markov(torch.full((5, 5), 0.2)), torch.arange(50) % 5, 3, 4, 7) for name in "ab"}
    plot_free_running(models, tmp_path / "errors.png")
    assert (tmp_path / "errors.png").stat().st_size > 5000
    for sizes in ((0, 4, 7), (3, 0, 7), (3, 4, 0), (30, 21, 7)):
        with pytest.raises(ValueError, match="50 symbols hold no stretch of"):
            free_running(*markov(torch.full((5, 5), 0.2)), torch.arange(50) % 5, *sizes)
