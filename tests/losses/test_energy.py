"""The estimators against closed forms, brute force, and models whose true parameters they must find."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev, vmap

from lamina.losses import energy as losses
from lamina.sampling.enumerate import states
from lamina.systems.energy.boltzmann import BoltzmannMachine

EVERY = next(states(6))


def machine(seed):
    """Return a fully visible machine of six units with large random parameters, in float64."""
    torch.manual_seed(seed)
    model = BoltzmannMachine((6,), hidden=0, exact=True).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.7)
    return model


def network(seed, features):
    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Linear(features, 7), nn.Tanh(), nn.Linear(7, 1)).double()
    return layers, lambda x: layers(x).squeeze(1) + x.square().sum(1) / 2


def minimize(parameters, loss):
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=2000, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)


def maximum_likelihood(model, p, log_Z):
    return p @ model.joint_energy(EVERY) + model.joint_energy(EVERY).neg().logsumexp(0)


def noise_contrastive(model, p, log_Z):
    q = torch.linspace(-1, 1, 64).double().softmax(0)
    energy, log_density = (lambda v: model.joint_energy(v) + log_Z), (lambda v: q.log().repeat(2))
    real, fake = losses.noise_contrastive(energy, EVERY, EVERY, log_density)
    return p @ real + q @ fake


def flips(loss, model, p, log_Z):
    return p @ loss(model.joint_energy, EVERY)


POPULATION = {
    "maximum likelihood": maximum_likelihood,
    "noise-contrastive": noise_contrastive,
    "pseudo-likelihood": partial(flips, losses.pseudo_likelihood),
    "ratio matching": partial(flips, losses.ratio_matching),
    "probability flow": partial(flips, losses.probability_flow),
}


@pytest.mark.parametrize("name", POPULATION)
def test_the_true_parameters_minimize_the_loss_of_the_whole_population(name):
    """All 64 states of a fully visible machine, weighted by their probability; from another machine's parameters."""
    truth, model = machine(0), machine(1)
    p = truth.joint_energy(EVERY).neg().softmax(0).detach()
    log_Z = torch.zeros((), dtype=torch.float64, requires_grad=True)
    known = [*model.parameters(), *([log_Z] if name == "noise-contrastive" else [])]
    minimize(known, lambda: POPULATION[name](model, p, log_Z))
    for found, wanted in zip(model.parameters(), truth.parameters(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    if name == "noise-contrastive":
        torch.testing.assert_close(log_Z, truth.log_partition(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("rows", [2**16, 100, 3])  # in one call, in parts, a bit at a time
def test_losses_over_flips_by_brute_force(rows, monkeypatch):
    monkeypatch.setattr(losses, "ROWS", rows)
    model = machine(2).requires_grad_(False)
    calls = []

    def energy(v):
        calls.append(len(v))
        return model.joint_energy(v)

    p = model.joint_energy(EVERY).neg().softmax(0).tolist()
    expected = torch.zeros(3, 64, dtype=torch.float64)
    for state in range(64):
        for i in range(6):
            other = p[state ^ (1 << i)]
            expected[0, state] -= math.log(p[state] / (p[state] + other))
            expected[1, state] += (1 / (1 + p[state] / other)) ** 2
            expected[2, state] += math.sqrt(other / p[state])
    found = [loss(energy, EVERY) for loss in (losses.pseudo_likelihood, losses.ratio_matching, losses.probability_flow)]
    torch.testing.assert_close(torch.stack(found), expected, rtol=0, atol=1e-12)
    assert len(calls) == 3 * (2 if rows == 2**16 else 7)
    for loss, whole in zip(
        (losses.pseudo_likelihood, losses.ratio_matching, losses.probability_flow), found, strict=True
    ):
        parts = [loss(energy, EVERY, torch.tensor([i])) for i in range(6)]  # the mean over random bits is the sum
        torch.testing.assert_close(torch.stack(parts).mean(0), whole, rtol=0, atol=1e-12)


def test_score_matching_finds_the_inverse_sample_covariance():
    """E(v) = vᵀPv / 2 - hᵀv, whose mean is P⁻¹h."""
    torch.manual_seed(3)
    x = torch.randn(500, 3).double() @ (torch.eye(3) + 0.3 * torch.randn(3, 3)).double() + torch.randn(3).double()
    h = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    half = (0.5 * torch.eye(3, dtype=torch.float64)).requires_grad_()
    minimize([h, half], lambda: losses.score_matching(lambda v: (v @ half * v).sum(1) - v @ h, x).mean())
    precision = (half + half.t()).detach()
    torch.testing.assert_close(precision, x.t().cov(correction=0).inverse(), rtol=0, atol=1e-6)
    torch.testing.assert_close(torch.linalg.solve(precision, h.detach()), x.mean(0), rtol=0, atol=1e-6)


def test_denoising_finds_the_precision_of_the_smoothed_density():
    """All pairs of examples and cubature points ±√d e_i of the noise, which have its mean and covariance."""
    torch.manual_seed(4)
    x = torch.randn(40, 3).double() @ (torch.eye(3) + 0.3 * torch.randn(3, 3)).double()
    noise = math.sqrt(3) * torch.cat([torch.eye(3), -torch.eye(3)]).double()
    pairs = x.repeat_interleave(6, 0), noise.repeat(40, 1)
    half = (0.5 * torch.eye(3, dtype=torch.float64)).requires_grad_()
    minimize([half], lambda: losses.denoising_score_matching(lambda v: (v @ half * v).sum(1), *pairs, 0.5).mean())
    smoothed = x.t() @ x / 40 + 0.25 * torch.eye(3)
    torch.testing.assert_close((half + half.t()).detach(), smoothed.inverse(), rtol=0, atol=1e-6)


def test_score_matching_of_a_network_by_its_hessian():
    layers, energy = network(5, 4)
    x = torch.randn(9, 4).double()
    weights = dict(layers.named_parameters())

    def expected(weights):
        def one(v):
            return functional_call(layers, weights, v[None]).squeeze() + v.square().sum() / 2

        traces = vmap(jacrev(jacrev(one)))(x).diagonal(dim1=1, dim2=2).sum(1)
        return vmap(jacrev(one))(x).square().sum(1) / 2 - traces

    found = losses.score_matching(energy, x)
    torch.testing.assert_close(found, expected(weights), rtol=0, atol=1e-12)
    learned = [weights[name] for name in ("0.weight", "0.bias", "2.weight")]
    pairs = zip(
        torch.autograd.grad(found.sum(), learned), torch.autograd.grad(expected(weights).sum(), learned), strict=True
    )
    for slope, wanted in pairs:
        torch.testing.assert_close(slope, wanted, rtol=0, atol=1e-11)
    with torch.no_grad():  # held-out metrics are computed so
        torch.testing.assert_close(losses.score_matching(energy, x), found.detach(), rtol=0, atol=1e-12)


def test_sliced_score_matching_is_exact_for_orthogonal_directions_and_unbiased_for_normal_ones():
    """One example, 200,000 normal directions, seed 6: bound 5 standard errors of their mean."""
    _, energy = network(6, 4)
    x = torch.randn(5, 4).double()
    exact = losses.score_matching(energy, x)
    rotated = 2 * torch.linalg.qr(torch.randn(4, 4).double()).Q
    whole = losses.sliced_score_matching(energy, x, rotated[:, None].expand(-1, 5, -1))
    torch.testing.assert_close(whole, exact, rtol=0, atol=1e-12)
    many, directions = x[:1].expand(200_000, -1), torch.randn(1, 200_000, 4).double()
    each = losses.sliced_score_matching(energy, many, directions)
    assert abs(float((each.mean() - exact[0]).detach())) < 5 * float(each.detach().std()) / math.sqrt(200_000)


def test_noise_contrastive_estimation_by_its_definition_and_finite_differences():
    layers, energy = network(7, 3)
    x, noise = torch.randn(8, 3).double(), 2 * torch.randn(24, 3).double()
    log_Z = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    normal = torch.distributions.Normal(0.0, 2.0)

    def density(u):
        return normal.log_prob(u).sum(1)

    def loss():
        real, fake = losses.noise_contrastive(lambda u: energy(u) + log_Z, x, noise, density)
        return real.mean() + fake.mean()

    def posterior(u):  # that u is an example, of one example to three noises
        p, q = (-energy(u) - log_Z).exp(), density(u).exp()
        return p / (p + 3 * q)

    expected = -posterior(x).log().sum() / 8 - (1 - posterior(noise)).log().sum() / 8
    torch.testing.assert_close(loss(), expected, rtol=0, atol=1e-12)
    parameters = [layers[0].weight, layers[2].weight, layers[2].bias, log_Z]
    for parameter, slope in zip(parameters, torch.autograd.grad(loss(), parameters), strict=True):
        way = torch.randn_like(parameter)
        with torch.no_grad():
            ends = []
            for sign in (1, -2):
                parameter.add_(sign * 1e-5 * way)
                ends.append(loss())
            parameter.add_(1e-5 * way)
        torch.testing.assert_close((ends[0] - ends[1]) / 2e-5, (slope * way).sum(), rtol=1e-6, atol=1e-8)


def test_contrastive_divergence_has_the_gradient_of_the_likelihood_for_samples_of_the_model():
    """200,000 exact samples, seed 8: a standard error is below 0.5 / sqrt(200,000) = 0.0011; bound 5 of them."""
    model = machine(8)
    x = torch.rand(50, 6).lt(0.4).double()
    p = model.joint_energy(EVERY).neg().softmax(0).detach()
    samples = EVERY[p.multinomial(200_000, replacement=True)]
    parameters = list(model.parameters())
    found = torch.autograd.grad(losses.contrastive_divergence(model.joint_energy, x, samples), parameters)
    exact = torch.autograd.grad(model.joint_energy(x).mean() + model.log_partition(), parameters)
    for slope, wanted in zip(found, exact, strict=True):
        assert float((slope - wanted).abs().max()) < 0.0056
