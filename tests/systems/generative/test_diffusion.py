"""Diffusion against composed steps, integration, torch.distributions, and Gaussian data, where all is known."""

import copy
import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from lamina.core import Samples, Scores
from lamina.data.dataset import Data
from lamina.data.examples import Arrays
from lamina.data.plane import mixture
from lamina.recipes.diffusion import bound, diffusion
from lamina.systems.energy.units import Gaussian
from lamina.systems.generative.diffusion import WAVES, Diffusion, Weighting, cosine_betas, linear_betas, tables
from lamina.train.fit import fit

MEAN, SPREAD = torch.tensor([0.5, -0.3]).double(), torch.tensor([0.8, 0.3]).double()  # of the units' values
SHIFT, SCALE = torch.tensor([1.0, 2.0]).double(), torch.tensor([0.5, 3.0]).double()


class Linear(nn.Module):
    """The best network for data from N(MEAN, SPREAD²), by regression of each step on the next."""

    def __init__(self, learned: bool) -> None:
        super().__init__()
        self.learned = learned

    def attach(self, system: Diffusion) -> None:
        s2, kept, lost, beta = SPREAD.square(), system.kept[:, None], system.lost[:, None], system.beta[:, None]
        self.total = kept * s2 + lost  # variance of x_t
        self.waves, self.kept, self.lost = system.waves, kept, lost
        below = self.total[:-1] * beta[1:] / self.total[1:]  # variance of x_{t-1} given x_t
        self.variance = torch.cat([beta[:1].expand(1, 2), below])
        high, low = system.log_beta[1:, None], system.log_least[1:, None]
        self.logits = torch.cat([torch.zeros(1, 2).double(), ((below.log() - low) / (high - low)).logit()])

    def forward(self, inputs: Tensor) -> Tensor:
        u, waves = inputs[:, :2], inputs[:, 2:]
        t = 1 + torch.cdist(waves, self.waves[1:]).argmin(1)
        kept, lost = self.kept[t], self.lost[t]
        residual = (u - kept.sqrt() * MEAN) / self.total[t]
        noise = lost.sqrt() * residual
        data = MEAN + kept.sqrt() * SPREAD.square() * residual
        f = kept.sqrt() * noise - lost.sqrt() * data
        return torch.cat([f, self.logits[t]], 1) if self.learned else f


def optimal(steps: int, learned: bool = True, weighting: Weighting = "bound") -> Diffusion:
    network = Linear(learned)
    system = Diffusion(Gaussian(SHIFT, SCALE), network, cosine_betas(steps).double(), learned, weighting)
    network.attach(system)
    return system


def random(steps: int = 5, size: int = 2, learned: bool = True, weighting: Weighting = "bound") -> Diffusion:
    """Return a float64 model of a small tanh network with random weights."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(size + 2 * WAVES, 6), nn.Tanh(), nn.Linear(6, 2 * size if learned else size))
    units = Gaussian(SHIFT[:size].clone(), SCALE[:size].clone())
    return Diffusion(units, network.double(), linear_betas(10)[:steps].double(), learned, weighting).double()


def at(t: int, count: int) -> Tensor:
    return torch.full((count,), t)


def exact_bound(system: Diffusion, v: Tensor) -> Tensor:
    """Return the bound; its mean over the signs of the noise is exact where its terms are quadratic in the noise."""
    total = system.prior(v)
    for t in range(1, system.steps + 1):
        for sign in (1.0, -1.0):
            total = total + 0.5 * system.step(v, at(t, len(v)), torch.full_like(v, sign))
    return total


@pytest.mark.parametrize("schedule", [linear_betas, cosine_betas])
@pytest.mark.parametrize("steps", [1, 2, 30, 1000])
def test_forward_closed_form_is_the_composed_steps(schedule, steps):
    beta = schedule(steps).double()
    assert bool(((beta > 0) & (beta < 1)).all())
    system = Diffusion(Gaussian(SHIFT, SCALE), nn.Identity(), beta)
    mean, variance = torch.tensor([[1.7, -0.4]]).double(), torch.zeros(()).double()
    v = mean
    for t in range(1, steps + 1):
        mean, variance = (1 - beta[t - 1]).sqrt() * mean, (1 - beta[t - 1]) * variance + beta[t - 1]
        center = system.noised(v, at(t, 1), torch.zeros_like(v))
        torch.testing.assert_close(center, mean, rtol=1e-10, atol=1e-14)
        width = system.noised(v, at(t, 1), torch.ones_like(v)) - center
        torch.testing.assert_close(width.square()[0, 0], variance, rtol=1e-10, atol=1e-14)
    assert torch.isfinite(system.waves).all()
    assert abs(float(system.chances.sum()) - 1) < 1e-12


def test_schedules_are_the_papers():
    torch.testing.assert_close(linear_betas(1000)[[0, -1]], torch.tensor([1e-4, 0.02]))
    kept = (1 - cosine_betas(50).double()).cumprod(0)
    place = (torch.arange(1, 50).double() / 50 + 0.008) / 1.008 * math.pi / 2
    start = math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    torch.testing.assert_close(kept[:49], place.cos().square() / start, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("t", [2, 3, 5])
def test_posterior_is_bayes_rule_by_integration(t):
    system = random(size=1)
    v, u = torch.tensor([[0.9]]).double(), torch.tensor([[-0.2]]).double()
    grid = torch.linspace(-9, 9, 20_001, dtype=torch.float64)
    kept, beta = system.kept[t - 1], system.beta[t]
    prior = Normal(kept.sqrt() * v[0], (1 - kept).sqrt()).log_prob(grid)
    weights = (prior + Normal((1 - beta).sqrt() * grid, beta.sqrt()).log_prob(u[0])).softmax(0)
    mean = weights @ grid
    center, variance = system.posterior(v, u, at(t, 1))
    torch.testing.assert_close(center[0, 0], mean, rtol=0, atol=1e-10)
    torch.testing.assert_close(variance[0, 0], weights @ (grid - mean).square(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("t", [1, 2, 5])
def test_reverse_mean_is_the_posterior_mean_at_the_predicted_data(t):
    system = random()
    v = torch.randn(7, 2).double()
    u = torch.randn(7, 2).double()
    f = system.network(torch.cat([u, system.waves[at(t, 7)]], 1))[:, :2]
    data = system.kept[t].sqrt() * u - system.lost[t].sqrt() * f
    mean, log_variance, noise = system.reverse(u, at(t, 7))
    torch.testing.assert_close(mean, system.posterior(data, u, at(t, 7))[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(noise, (u - system.kept[t].sqrt() * data) / system.lost[t].sqrt(), rtol=0, atol=1e-12)
    least = system.tilde[max(t, 2)]
    assert bool(((log_variance > least.log()) & (log_variance < system.beta[t].log())).all())
    center, variance = system.posterior(v, u, at(t, 7))
    p = Normal(mean, (0.5 * log_variance).exp())
    term = kl_divergence(Normal(center, variance.sqrt()), p) if t > 1 else -p.log_prob(v)
    torch.testing.assert_close(system.divergence(v, u, at(t, 7), mean, log_variance), term.sum(1), rtol=0, atol=1e-11)


@pytest.mark.parametrize("steps", [10, 50, 200])
def test_on_gaussian_data_only_the_end_of_the_chain_is_a_gap(steps):
    """With the exact reverse steps the bound lacks E log q(x_T) / p(x_T) given x_0, at every x."""
    system = optimal(steps)
    v = torch.randn(20, 2).double()
    raw = Normal(SHIFT + SCALE * MEAN, SCALE * SPREAD)
    kept, lost = system.kept[-1], system.lost[-1]
    total = kept * SPREAD.square() + lost
    center = kept.sqrt() * v  # of x_T given x_0
    ratio = 0.5 * (center.square() + lost - ((center - kept.sqrt() * MEAN).square() + lost) / total - total.log())
    expected = -raw.log_prob(system.visible.restored(v)).sum(1) + ratio.sum(1)
    torch.testing.assert_close(exact_bound(system, v), expected, rtol=0, atol=1e-9)


def test_with_fixed_variances_the_gap_is_that_of_each_step_and_falls_with_their_number():
    """E over the data is exact at four points a number, mean ± deviation; a step's gap is ½ (r - 1 - log r)."""
    entropy = Normal(SHIFT, SCALE * SPREAD).entropy().sum()
    gaps = []
    for steps in (4, 8, 16, 32, 64, 128):
        system = optimal(steps, learned=False)
        v = torch.stack([MEAN + SPREAD, MEAN - SPREAD])
        gaps.append(float(exact_bound(system, v).mean() - entropy))
        network = system.network
        r = network.variance[1:] / system.beta[1:, None]
        end = kl_divergence(Normal(system.kept[-1].sqrt() * MEAN, network.total[-1].sqrt()), Normal(0.0, 1.0))
        expected = end.sum() + 0.5 * (r - 1 - r.log()).sum()
        assert gaps[-1] == pytest.approx(float(expected), abs=1e-9)
    assert all(0 < after < 0.7 * before for before, after in pairwise(gaps))


def test_samples_of_the_best_chain_have_the_mean_and_variance_of_the_data():
    """200,000 draws, seed 0; bound 5 standard errors. Inpainting independent numbers draws the same."""
    torch.manual_seed(0)
    system, count = optimal(20), 200_000
    drawn = system.sample(count)
    known = torch.tensor([True, False])
    x = torch.tensor([4.0, 0.0]).double().expand(count, -1)
    painted = system.inpaint(x, known, 1)
    assert torch.equal(painted[:, 0], x[:, 0])
    for z in (system.visible.standard(drawn).sub(MEAN) / SPREAD, (system.visible.standard(painted) - MEAN) / SPREAD):
        last = z[:, 1]
        assert abs(float(last.mean())) < 5 / count**0.5
        assert abs(float(last.var()) - 1) < 5 * (2 / count) ** 0.5
    first = (system.visible.standard(drawn)[:, 0] - MEAN[0]) / SPREAD[0]
    assert abs(float(first.mean())) < 5 / count**0.5
    assert abs(float(first.var()) - 1) < 5 * (2 / count) ** 0.5


class Correlated(nn.Module):
    """The best network for two numbers from N(0, S), of a batch at one t."""

    def __init__(self, S: Tensor, beta: Tensor) -> None:
        super().__init__()
        self.waves, kept = tables(beta)["waves"], tables(beta)["kept"][:, None, None]
        inverse = torch.linalg.inv(kept * S + (1 - kept) * torch.eye(2).double())
        self.slopes = (kept * (1 - kept)).sqrt() * (torch.eye(2).double() - S) @ inverse

    def forward(self, inputs: Tensor) -> Tensor:
        t = 1 + int(torch.cdist(inputs[:1, 2:], self.waves[1:]).argmin())
        return inputs[:, :2] @ self.slopes[t]


def test_inpainting_tends_to_the_conditional_with_repeats():
    """Correlation 0.8: given 1, y is from N(0.8, 0.6²). 50 steps, 10,000 draws, seed 6: standard errors below 0.01."""
    beta = cosine_betas(50).double()
    S = torch.tensor([[1.0, 0.8], [0.8, 1.0]]).double()
    units = Gaussian(torch.zeros(2).double(), torch.ones(2).double())
    system = Diffusion(units, Correlated(S, beta), beta, learned=False)
    x, known = torch.tensor([[1.0, 0.0]]).double().expand(10_000, -1), torch.tensor([True, False])
    torch.manual_seed(6)
    means, spreads = zip(
        *(
            (float(y.mean()), float(y.std()))
            for y in (system.inpaint(x, known, repeats)[:, 1] for repeats in (1, 5, 30))
        ),
        strict=True,
    )
    assert means[0] < means[1] < means[2]
    assert abs(means[2] - 0.8) < 0.03
    assert abs(spreads[2] - 0.6) < 0.03


@pytest.mark.parametrize("learned", [False, True])
def test_score_is_the_mean_log_ratio_of_simulated_chains_and_below_the_integrated_likelihood(learned):
    """100,000 chains of 3 steps, seed 1, bound 5 standard errors; p(x_0) by matrices on a grid."""
    system = random(3, 1, learned).requires_grad_(False)
    v = torch.tensor([[0.7]]).double()
    torch.manual_seed(1)
    chain = [v.expand(100_000, 1)]
    ratio = torch.zeros(100_000).double()
    for t in (1, 2, 3):
        q = Normal((1 - system.beta[t]).sqrt() * chain[-1], system.beta[t].sqrt())
        chain.append(q.sample())
        ratio -= q.log_prob(chain[-1])[:, 0]
        mean, log_variance, _ = system.reverse(chain[-1], at(t, 100_000))
        ratio += Normal(mean, (0.5 * log_variance).exp()).log_prob(chain[-2])[:, 0]
    ratio += Normal(0.0, 1.0).log_prob(chain[-1])[:, 0] - SCALE[0].log()
    score = system.score(system.visible.restored(v.expand(100_000, 1)))
    error = math.hypot(float(ratio.std()), float(score.std())) / 100_000**0.5
    assert abs(float(ratio.mean() - score.mean())) < 5 * error
    grid = torch.linspace(-12, 12, 1201, dtype=torch.float64)
    density = Normal(0.0, 1.0).log_prob(grid).exp()
    for t in (3, 2, 1):
        mean, log_variance, _ = system.reverse(grid[:, None], at(t, len(grid)))
        moves = Normal(mean, (0.5 * log_variance).exp()).log_prob(grid).exp()
        density = density @ moves * 0.02
    assert abs(float(density.sum()) * 0.02 - 1) < 1e-6
    place = int((grid - 0.7).abs().argmin())
    assert float(score.mean()) < float(density[place].log() - SCALE[0].log())


def test_estimate_from_random_times_is_unbiased_for_the_full_sum():
    """4,000 estimates from batches of 6 against 4,000 full sums, seed 2; bound 5 standard errors."""
    system = random(learned=True).requires_grad_(False)
    v = torch.randn(6, 2).double()
    torch.manual_seed(2)
    estimates = torch.stack([system.loss(system.visible.restored(v))["bound"] for _ in range(4000)])
    sums = -system.score(system.visible.restored(v), 4000).mean()
    spread = float(torch.stack([-system.score(system.visible.restored(v)).mean() for _ in range(200)]).std())
    error = math.hypot(float(estimates.std()), spread) / 4000**0.5
    assert abs(float(estimates.mean() - sums)) < 5 * error
    drawn = torch.stack([system.times(v)[0] for _ in range(4000)])  # each row by itself, so that order does not matter
    for row in drawn.T:
        seen = torch.bincount(row, minlength=6)[1:] / 4000
        expected = system.chances[1:]
        assert bool(((seen - expected).abs() < 5 * (expected * (1 - expected) / 4000).sqrt()).all())


def test_a_seeded_score_is_the_mean_over_new_noise_is_smooth_and_repeats():
    """4,000 draws against 256 quasi-random ones, seed 6: 5 standard errors. Points 1e-6 apart differ by below 1e-3."""
    system = random(6, 2, True).requires_grad_(False)
    x = torch.randn(7, 2).double()
    torch.manual_seed(6)
    drawn = torch.stack([system.score(x, 40) for _ in range(100)])
    found = system.score(x, 256, seed=3)
    assert bool(((found - drawn.mean(0)).abs() < 5 * drawn.std(0) / 10).all())
    assert torch.equal(found, system.score(x, 256, seed=3))
    torch.testing.assert_close(found[2:5], system.score(x[2:5], 256, seed=3), rtol=0, atol=1e-12)
    torch.testing.assert_close(system.score(x + 1e-6, 4, seed=3), system.score(x, 4, seed=3), rtol=0, atol=1e-3)
    assert not torch.equal(found, system.score(x, 256, seed=4))


def test_noise_error_of_the_best_network_is_the_variance_left():
    """Var(ε | x_t) = ᾱ_t s² / (ᾱ_t s² + 1 - ᾱ_t), mean over uniform t; 400,000 examples, seed 3, 5 standard errors."""
    system = optimal(10, weighting="noise")
    torch.manual_seed(3)
    x = system.visible.restored(MEAN + SPREAD * torch.randn(400, 1000, 2).double().flatten(0, 1))
    found = torch.stack([system.loss(part)["noise"] for part in x.split(1000)])
    left = system.kept[1:, None] * SPREAD.square() / system.network.total[1:]
    assert abs(float(found.mean() - left.sum(1).mean())) < 5 * float(found.std()) / 400**0.5


def test_with_noise_errors_the_bound_teaches_only_the_variances():
    system, x = random(weighting="noise"), torch.randn(9, 2).double()
    torch.manual_seed(4)
    slope = torch.autograd.grad(system.loss(x)["variance"], system.network[-1].weight)[0]
    assert bool((slope[:2] == 0).all())
    assert bool((slope[2:] != 0).all())
    assert list(random(weighting="noise", learned=False).loss(x)) == ["noise"]


@pytest.mark.parametrize("weighting", ["bound", "noise"])
@pytest.mark.parametrize("learned", [False, True])
def test_gradient_by_finite_differences(learned, weighting):
    """In float64, times and noise fixed by the seed; of the last layer, so that detached means do not move."""
    system, x = random(learned=learned, weighting=weighting), torch.randn(30, 2).double()
    name = "noise" if weighting == "noise" else "bound"
    parameters = list(system.parameters())
    direction = [torch.randn_like(parameter) for parameter in parameters]

    def total() -> Tensor:
        torch.manual_seed(5)
        return system.loss(x)[name]

    @torch.no_grad()
    def moved(size: float) -> float:
        for parameter, part in zip(parameters, direction, strict=True):
            parameter.add_(part, alpha=size)
        return float(total())

    slopes = torch.autograd.grad(total(), parameters)
    slope = sum(float((a * b).sum()) for a, b in zip(slopes, direction, strict=True))
    difference = (moved(1e-5) - moved(-2e-5)) / 2e-5  # the second call begins where the first has ended
    assert abs(slope - difference) < 1e-6 * (1 + abs(slope))


def test_bound_comes_near_the_entropy_of_the_mixture_from_above():
    """10,000 test points, 30 passes: the difference of paired figures has a standard error of about 0.01 nats."""
    run = diffusion(mixture(), steps=100, epochs=30)
    fit(run)
    figures = bound(run)
    assert -0.05 < figures["nll"] - figures["entropy"] < 0.25
    state = torch.get_rng_state()
    assert figures == bound(run)
    assert torch.equal(state, torch.get_rng_state())
    x = torch.tensor([[-2.0, 9.0]]).expand(1000, -1)  # where the first Gaussian is alone, y given x is from N(0, 1)
    y = run.system.inpaint(x, torch.tensor([True, False]))[:, 1]
    assert abs(float(y.mean())) < 0.2
    assert 0.8 < float(y.std()) < 1.2


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 28, 28), (7,)])
@pytest.mark.parametrize("weighting", ["bound", "noise"])
def test_pictures_and_rows_keep_their_shape(shape, weighting):
    x = torch.rand(12, *shape) * 100
    x[:, ..., 0] = 3.0  # never varies
    data = Data("toy", Arrays(x=x), Arrays(x=x), Arrays(x=x))
    run = diffusion(data, steps=6, hidden=(6,), weighting=weighting, batch=6, epochs=2)
    system = run.system
    assert isinstance(system, Samples)
    assert isinstance(system, Scores)
    fit(run)
    assert system.score(x, 3).shape == (12,)
    assert system.sample(5).shape == (5, *shape)
    known = torch.rand(shape) < 0.5
    painted = system.inpaint(x, known)
    assert torch.equal(painted[:, known], x[:, known])
    assert not torch.equal(painted, x)
    assert math.isfinite(bound(run)["nll"])
    blank = Data.blank(data.outline())
    rebuilt = diffusion(blank, steps=6, hidden=(6,), weighting=weighting).system
    rebuilt.load_state_dict(copy.deepcopy(system.state_dict()))
    torch.manual_seed(0)
    expected = system.sample(3)
    torch.manual_seed(0)
    assert torch.equal(rebuilt.sample(3), expected)


def test_before_training_a_reverse_step_is_a_forward_one():
    run = diffusion(Data("toy", Arrays(x=torch.randn(50, 3))), learned=False, hidden=(4,), steps=5)
    u = torch.randn(6, 3)
    mean, log_variance, _ = run.system.reverse(u, at(3, 6))
    torch.testing.assert_close(mean, (1 - run.system.beta[3]).sqrt() * u)
    torch.testing.assert_close(log_variance, run.system.beta[3].log().expand(6, 3))


def test_refuses_what_cannot_work():
    data = Data("toy", Arrays(x=torch.randn(10, 3)))
    with pytest.raises(ValueError, match="at least 1 step"):
        diffusion(data, steps=0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        Diffusion(Gaussian(SHIFT, SCALE), nn.Identity(), torch.tensor([0.1, 1.0]))
    with pytest.raises(ValueError, match="every layer"):
        diffusion(data, hidden=(0,))
    with pytest.raises(ValueError, match="test data"):
        bound(diffusion(data))
