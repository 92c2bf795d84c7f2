"""The importance-weighted bound against log p(x) of a linear-Gaussian model, which is known in closed form."""

import math

import pytest
import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from lamina.sampling.importance import importance_bound


class Linear:
    """x = W z + s ε with z and ε from N(0, I), and q(z | x) = N(Ax, t² I), which is not the posterior."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.W = torch.randn(3, 2, generator=generator, dtype=torch.float64)
        self.s, self.t = 0.7, 0.6
        posterior = self.W.t() @ torch.linalg.inv(self.W @ self.W.t() + self.s**2 * torch.eye(3))
        self.A = 0.7 * posterior  # its means are off
        self.drawn: list[int] = []

    def log_weights(self, x: Float[Tensor, "batch 3"], samples: int) -> Float[Tensor, "samples batch"]:
        q = Normal(x @ self.A.t(), self.t)
        z = q.sample((samples,))
        self.drawn.append(samples)
        return (Normal(z @ self.W.t(), self.s).log_prob(x).sum(-1) + Normal(0, 1).log_prob(z).sum(-1)) - q.log_prob(
            z
        ).sum(-1)

    def log_prob(self, x: Tensor) -> Tensor:
        covariance = self.W @ self.W.t() + self.s**2 * torch.eye(3)
        return MultivariateNormal(torch.zeros(3).double(), covariance).log_prob(x)


def data(count: int) -> Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(1)).double()


def test_rises_with_k_and_converges_to_the_log_likelihood():
    """2,000 copies of one example, seed 0. Steps from k to 4k are told apart by 5 standard errors.

    The gap falls as 1/k (Burda et al. 2016, theorem 1; the delta method gives Var(w) / 2k p(x)²).
    """
    model, x = Linear(), data(1).expand(2000, -1)
    exact = float(model.log_prob(x[:1]))
    torch.manual_seed(0)
    bounds = [importance_bound(model, x, k) for k in (1, 4, 16, 64)]
    means = [float(bound.mean()) for bound in bounds]
    errors = [float(bound.std()) / 2000**0.5 for bound in bounds]
    for low, high, error in zip(means, means[1:], errors, strict=False):
        assert high - low > 5 * error
    assert means[-1] < exact
    ratio = (model.log_weights(x, 500) - exact).exp()
    assert abs((exact - means[-1]) - float(ratio.var()) / 128) < 5 * errors[-1]
    assert float((importance_bound(model, data(20), 20_000) - model.log_prob(data(20))).abs().max()) < 0.05


def test_one_sample_is_the_elbo():
    """100,000 draws, seed 1: 5 standard errors around E log p(x | z) - KL in closed form."""
    model, x = Linear(), data(1)
    mean = (x @ model.A.t())[0]
    error = (x[0] - model.W @ mean).square().sum() + model.t**2 * model.W.square().sum()
    likelihood = -error / (2 * model.s**2) - 1.5 * math.log(2 * math.pi * model.s**2)
    divergence = 0.5 * (mean.square() + model.t**2 - 1 - math.log(model.t**2)).sum()
    torch.manual_seed(1)
    draws = importance_bound(model, x.expand(100_000, -1), 1)
    assert abs(float(draws.mean() - (likelihood - divergence))) < 5 * float(draws.std()) / 100_000**0.5


def test_is_the_log_of_the_mean_weight_however_it_is_cut_up():
    class Fixed:
        """Weights that depend on the example and on the draw's number alone."""

        def __init__(self) -> None:
            self.seen: dict[float, int] = {}

        def log_weights(self, x: Float[Tensor, "batch 1"], samples: int) -> Float[Tensor, "samples batch"]:
            start = self.seen.get(float(x[0]), 0)
            self.seen[float(x[0])] = start + samples
            return torch.sin(torch.arange(start, start + samples)[:, None] * 1.7 + x.t()) * 30

    x = torch.randn(130, 1, generator=torch.Generator().manual_seed(2)).double()
    expected = (torch.sin(torch.arange(37)[:, None] * 1.7 + x.t()) * 30).logsumexp(0) - math.log(37)
    for rows in (1, 300, 5000):
        torch.testing.assert_close(importance_bound(Fixed(), x, 37, rows), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rows", [1, 700, 10_000])
def test_memory_is_bounded(rows):
    model = Linear()
    importance_bound(model, data(100), 50, rows)
    assert sum(model.drawn) == 50
    assert max(model.drawn) <= max(1, rows // 100)
