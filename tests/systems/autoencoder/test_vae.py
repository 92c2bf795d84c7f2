"""The VAE against PCA and factor analysis of scikit-learn, torch.distributions, enumeration and integration."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from lamina.core import Encodes, Samples, Scores
from lamina.data.dataset import Data
from lamina.data.examples import Arrays
from lamina.optim.schedules import linear
from lamina.recipes.variational import bounds, iwae, vae
from lamina.sampling.enumerate import states
from lamina.sampling.importance import importance_bound
from lamina.systems.autoencoder.vae import FLOOR, VAE
from lamina.systems.energy.units import Bernoulli, Gaussian
from lamina.train.trainer import Trainer, Update

SEEN, LATENT = 6, 2


def model(gaussian: bool = False, seen: int = SEEN, latent: int = LATENT, samples: int = 1, seed: int = 0) -> VAE:
    """Return a float64 VAE of small tanh networks with random weights."""
    torch.manual_seed(seed)
    units = Gaussian(torch.randn(seen), torch.rand(seen) + 0.5) if gaussian else Bernoulli((seen,))
    encoder = nn.Sequential(nn.Linear(seen, 5), nn.Tanh(), nn.Linear(5, 2 * latent))
    decoder = nn.Sequential(nn.Linear(latent, 5), nn.Tanh(), nn.Linear(5, seen))
    for layer in (*encoder, *decoder):
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.7)
    return VAE(encoder, decoder, latent, units, samples, noise=0.6).double()


def widen(system: VAE) -> VAE:
    """Return the model with a q(z | x) that is wider than p(z), so that its weights have a finite variance."""
    with torch.no_grad():
        system.encoder[-1].weight.mul_(0.2)
        system.encoder[-1].bias[system.latent :].fill_(0.5)
    return system


def examples(count: int, gaussian: bool, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, SEEN, generator=generator, dtype=torch.float64)
    return x if gaussian else (x > 0).double()


def correlated(count: int) -> np.ndarray:
    """Return rows whose numbers have two common causes, and noise of different strengths."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, 2)) @ rng.normal(size=(2, SEEN)) + rng.normal(size=(count, SEEN)) * np.linspace(
        0.3, 1, SEEN
    )


def mean_log_weight(system: VAE, v: Tensor, draws: int) -> Tensor:
    """Return log w of many draws, written out with torch.distributions, from the network's own outputs."""
    mean, log_scale = system.encoder(v).chunk(2, 1)
    q = Normal(mean, log_scale.exp())
    z = q.rsample((draws,))
    theta = system.decoder(z)
    if system.visible.binary:
        likelihood = torch.distributions.Bernoulli(logits=theta).log_prob(v).sum(-1)
    else:
        units = system.visible
        raw = Normal(theta * units.scale + units.shift, system.log_noise.exp() * units.scale)
        likelihood = raw.log_prob(units.restored(v)).sum(-1)
    return likelihood + Normal(0, 1).log_prob(z).sum(-1) - q.log_prob(z).sum(-1)


def test_at_the_optimum_every_weight_is_the_likelihood_of_probabilistic_pca():
    """Tipping & Bishop (1999), eq. 7 and 8: the columns of W are orthogonal, so the true posterior is diagonal."""
    from sklearn.decomposition import PCA

    x = correlated(300)
    pca = PCA(LATENT).fit(x)
    s2, lengths = pca.noise_variance_, np.sqrt(pca.explained_variance_ - pca.noise_variance_)
    W = torch.from_numpy(pca.components_.T * lengths)
    units = Gaussian(torch.from_numpy(pca.mean_), torch.full((SEEN,), 2.0).double())  # raw values are twice the units'
    encoder, decoder = nn.Linear(SEEN, 2 * LATENT), nn.Linear(LATENT, SEEN, bias=False)
    system = VAE(encoder, decoder, LATENT, units, noise=math.sqrt(s2) / 2).double()
    precision = (W.t() @ W).diagonal() + s2
    with torch.no_grad():
        system.log_noise.fill_(math.log(math.sqrt(s2) / 2))  # in float64
        decoder.weight.copy_(W / 2)
        encoder.weight.zero_()
        encoder.weight[:LATENT].copy_(2 * W.t() / precision[:, None])
        encoder.bias.copy_(torch.cat([torch.zeros(LATENT), 0.5 * torch.log(s2 / precision)]))
    exact = torch.from_numpy(pca.score_samples(x))
    raw = torch.from_numpy(x)
    torch.manual_seed(0)
    torch.testing.assert_close(system.log_weights(raw, 7), exact.expand(7, -1), rtol=0, atol=1e-9)
    torch.testing.assert_close(system.score(raw, 3), exact, rtol=0, atol=1e-9)
    copies = raw[:1].expand(20_000, -1)  # 20,000 draws, seed 0: 5 standard errors of the ELBO's
    elbo = -sum(system.parts(system.visible.standard(copies)))
    assert abs(float((elbo.mean() - exact[0]).detach())) < 5 * float(elbo.std().detach()) / 20_000**0.5


def test_training_reaches_the_likelihood_of_factor_analysis():
    """A linear decoder can turn its factors so that the posterior is diagonal, so the bound can close.

    1,000 rows, seed 0, 2,000 updates; the mean of 200 draws of the ELBO for each row has a standard error below 0.005.
    """
    from sklearn.decomposition import FactorAnalysis

    x = correlated(1000)
    best = FactorAnalysis(LATENT, tol=1e-8, max_iter=5000).fit(x).score(x)
    raw = torch.from_numpy(x).float()
    torch.manual_seed(0)
    units = Gaussian(raw.mean(0), raw.std(0))
    system = VAE(nn.Linear(SEEN, 2 * LATENT), nn.Linear(LATENT, SEEN), LATENT, units)
    optimizer = torch.optim.Adam(system.parameters(), 0.02, fused=True)
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, 2000)
    for _ in range(2000):
        optimizer.zero_grad()
        sum(system.loss(raw).values()).backward()
        optimizer.step()
        falling.step()
    reached = float(system.log_weights(raw, 200).mean().detach())
    assert best - 0.02 < reached < best + 0.02
    drawn = system.sample(100_000)  # its standard errors are below 3 * sqrt(2 / 100,000) = 0.014 of a variance
    factors = torch.from_numpy(np.cov(x.T)).float()
    assert float((drawn.T.cov() - factors).abs().max()) < 0.1 * float(factors.diagonal().max())


@pytest.mark.parametrize("gaussian", [False, True])
def test_loss_by_torch_distributions(gaussian):
    """200,000 draws, seed 2; bound 5 standard errors."""
    system = model(gaussian).requires_grad_(False)
    x = examples(1, gaussian)
    v = system.visible.standard(x)
    mean, log_scale = system.encoder(v).chunk(2, 1)
    torch.manual_seed(2)
    _, divergence = system.parts(v)
    expected = kl_divergence(Normal(mean, log_scale.exp()), Normal(0, 1)).sum(1)
    torch.testing.assert_close(divergence, expected, rtol=0, atol=1e-12)
    draws = mean_log_weight(system, v, 200_000)[:, 0]
    wide = v.expand(200_000, -1)
    reconstruction, divergence = system.parts(wide)
    error = math.hypot(float(draws.std()), float(reconstruction.std())) / 200_000**0.5
    assert abs(float(draws.mean() + reconstruction.mean() + divergence.mean())) < 5 * error
    q = Normal(mean, log_scale.exp())  # the KL term by its definition
    z = q.sample((200_000,))
    ratio = (q.log_prob(z) - Normal(0, 1).log_prob(z)).sum(-1)
    assert abs(float(ratio.mean() - expected[0])) < 5 * float(ratio.std()) / 200_000**0.5


@pytest.mark.parametrize("gaussian", [False, True])
def test_weights_and_bound_by_torch_distributions(gaussian):
    system, x = model(gaussian, samples=5), examples(20, gaussian)
    torch.manual_seed(3)
    weights = system.log_weights(x, 5)
    torch.manual_seed(3)
    expected = mean_log_weight(system, system.visible.standard(x), 5)
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-10)
    system.visible.binarize = False  # binary values stay what they are, so that the loss draws the same numbers
    torch.manual_seed(3)
    terms = system.loss(x)
    assert list(terms) == ["bound"]
    torch.testing.assert_close(-terms["bound"], expected.exp().mean(0).log().mean(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("beta", [1.0, 0.3])
@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize("gaussian", [False, True])
def test_gradient_by_finite_differences(gaussian, samples, beta):
    """In float64, the noise of z fixed by its seed, along a random direction of all parameters at once."""
    system, x = model(gaussian, samples=samples), examples(30, gaussian)
    system.beta = beta
    parameters = list(system.parameters())
    direction = [torch.randn_like(parameter) for parameter in parameters]

    def total() -> Tensor:
        torch.manual_seed(4)
        return sum(system.loss(x).values())

    @torch.no_grad()
    def moved(step: float) -> float:
        for parameter, part in zip(parameters, direction, strict=True):
            parameter.add_(part, alpha=step)
        return float(total())

    slopes = torch.autograd.grad(total(), parameters)
    slope = sum(float((a * b).sum()) for a, b in zip(slopes, direction, strict=True))
    difference = (moved(1e-5) - moved(-2e-5)) / 2e-5  # the second call begins where the first has ended
    assert abs(slope - difference) < 1e-6 * (1 + abs(slope))


def test_beta_weighs_the_kl_term_and_a_schedule_can_set_it():
    system, x = model(), examples(30, False)
    torch.manual_seed(5)
    whole = system.loss(x)
    system.beta = 0.25
    torch.manual_seed(5)
    part = system.loss(x)
    assert torch.equal(part["reconstruction"], whole["reconstruction"])
    torch.testing.assert_close(part["kl"], whole["kl"] / 4)
    torch.manual_seed(5)
    held_out = system.metrics(x)["negative_elbo"]
    torch.testing.assert_close(held_out, whole["kl"] + whole["reconstruction"])  # the bound, whatever beta
    run = vae(Data("toy", Arrays(x=torch.rand(40, 6))), hidden=(4,), latent=2, batch=10, epochs=2)
    run.schedules = {**run.schedules, "system.beta": linear(0.0, 1.0, end=0.5)}
    seen = [run.system.beta for event in Trainer(run) if isinstance(event, Update)]
    assert seen == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1, 1, 1])


def test_binary_likelihoods_sum_to_one_and_the_score_tends_to_the_integral_over_z():
    """2,000 importance samples for each of 64 states, seed 6."""
    system = widen(model(latent=1)).requires_grad_(False)
    x = torch.cat(list(states(SEEN)))
    z = torch.linspace(-9, 9, 2001, dtype=torch.float64)[:, None]
    theta = system.decoder(z)[:, None]
    given = system.log_likelihood(x, theta.expand(-1, len(x), -1))
    torch.testing.assert_close(given.exp().sum(1), torch.ones(len(z)).double(), rtol=0, atol=1e-12)
    exact = (given + Normal(0, 1).log_prob(z) + math.log(float(z[1] - z[0]))).logsumexp(0)
    assert abs(float(exact.exp().sum()) - 1) < 1e-12
    torch.manual_seed(6)
    weights = system.log_weights(x, 2000)
    estimate = weights.logsumexp(0) - math.log(2000)
    errors = (weights - exact).exp().std(0) / 2000**0.5
    assert bool(((estimate - exact).abs() < 5 * errors + 1e-3).all())
    assert bool((importance_bound(system, x, 2000) > weights.mean(0) - 1e-3).all())  # above the ELBO
    torch.manual_seed(7)  # 100,000 samples of 64 states: total variation is about 0.4 * sqrt(64 / 100,000) = 0.01
    place = 2.0 ** torch.arange(SEEN).double()
    seen = torch.bincount((system.sample(100_000) @ place).long(), minlength=64) / 100_000
    assert float((seen - exact.exp()).abs().sum()) / 2 < 0.02


@pytest.mark.parametrize("learned", [False, True])
def test_gaussian_density_of_raw_values_integrates_to_one(learned):
    torch.manual_seed(0)
    units = Gaussian(torch.tensor([3.0]), torch.tensor([2.5]))
    encoder, decoder = nn.Linear(1, 2), nn.Linear(1, 1)
    nn.init.zeros_(encoder.weight)
    with torch.no_grad():
        encoder.bias.copy_(torch.tensor([0.0, 0.5]))  # wider than p(z), so that the weights are bounded
    system = VAE(encoder, decoder, 1, units, noise=0.4, learned=learned).double()
    assert isinstance(system.log_noise, nn.Parameter) == learned
    raw = torch.linspace(-40, 40, 8001, dtype=torch.float64)[:, None]
    z = torch.tensor([[0.7]], dtype=torch.float64)
    theta = system.decoder(z).detach()
    density = system.log_likelihood(units.standard(raw), theta.expand(len(raw), -1)).detach().exp()
    cell = float(raw[1] - raw[0])
    assert abs(float(density.sum()) * cell - 1) < 1e-10
    mean = float(density @ raw[:, 0]) * cell
    assert abs(mean - float(system.decode(z))) < 1e-8
    spread = float(density @ (raw[:, 0] - mean).square()) * cell
    assert abs(spread**0.5 - 0.4 * 2.5) < 1e-6
    marginal = system.score(raw[::10], 4000).exp()  # 801 values of x, 4,000 draws, seed 0
    assert abs(float(marginal.sum()) * cell * 10 - 1) < 0.02


def test_a_number_that_never_varies_keeps_the_density_bounded():
    system = model(gaussian=True)
    with torch.no_grad():
        system.log_noise.fill_(-50)
    exact = (system.visible.scale.double() * FLOOR).log().sum() + SEEN / 2 * math.log(2 * math.pi)
    v = torch.zeros(1, SEEN).double()
    torch.testing.assert_close(-system.log_likelihood(v, v)[0], exact.detach(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 28, 28), (7,)])
def test_pictures_and_rows_keep_their_shape(shape, visible):
    torch.manual_seed(0)
    x = torch.rand(12, *shape) * (1 if visible == "bernoulli" else 100)
    system = vae(Data("toy", Arrays(x=x)), hidden=(6,), latent=4, visible=visible).system
    assert isinstance(system, Encodes)
    assert isinstance(system, Samples)
    assert isinstance(system, Scores)
    assert system.encode(x).shape == (12, 4)
    assert system.score(x).shape == (12,)
    assert system.log_weights(x, 3).shape == (3, 12)
    assert system.reconstruct(x).shape == x.shape
    assert system.sample(5).shape == system.decode(torch.zeros(5, 4)).shape == (5, *shape)


def test_networks_may_be_convolutions():
    encoder = nn.Sequential(nn.Unflatten(1, (2, 8, 8)), nn.Conv2d(2, 3, 3, 2, 1), nn.Flatten(), nn.Linear(48, 6))
    decoder = nn.Sequential(nn.Linear(3, 48), nn.Unflatten(1, (3, 4, 4)), nn.ConvTranspose2d(3, 2, 4, 2, 1))
    system = VAE(encoder, decoder, 3, Bernoulli((2, 8, 8)), samples=4)
    x = torch.rand(5, 2, 8, 8)
    sum(system.loss(x).values()).backward()
    assert system.reconstruct(x).shape == system.sample(5).shape == x.shape
    assert system.log_weights(x, 4).shape == (4, 5)


def test_learns_digits_better_than_independent_pixels():
    """scikit-learn's 1,797 digits, grey values as probabilities; the last 297 are held out, binary values of seed 8."""
    from sklearn.datasets import load_digits

    x = torch.from_numpy(load_digits().images / 16).float()[:, None]
    run = vae(Data("digits", Arrays(x=x[:1500])), hidden=(64,), latent=8, lr=5e-3, epochs=60)
    for _ in Trainer(run):
        pass
    torch.manual_seed(8)
    held_out = (torch.rand_like(x[1500:]) < x[1500:]).float()
    p = x[:1500].mean(0).clamp(1e-3, 1 - 1e-3)
    independent = torch.distributions.Bernoulli(p).log_prob(held_out).sum((1, 2, 3))
    gain = run.system.score(held_out) - independent  # paired: 5 standard errors
    assert float(gain.mean()) > 5 * float(gain.std()) / len(gain) ** 0.5


@pytest.mark.parametrize(("visible", "samples"), [("bernoulli", 1), ("bernoulli", 3), ("gaussian", 1)])
def test_recipe_builds_from_an_outline_and_measures(visible, samples):
    torch.manual_seed(0)
    x = torch.rand(60, 1, 4, 4)
    data = Data("toy", Arrays(x=x), Arrays(x=x), Arrays(x=x))
    run = vae(data, hidden=(6,), latent=2, samples=samples, batch=20, epochs=1, visible=visible)
    system = run.system
    terms = system.metrics(x=x)
    assert next(iter(terms)) == ("negative_elbo" if samples == 1 else "negative_bound")
    rebuilt = vae(Data.blank(data.outline()), hidden=(6,), latent=2, samples=samples, visible=visible).system
    rebuilt.load_state_dict(copy.deepcopy(system.state_dict()))
    assert torch.equal(rebuilt.encode(x), system.encode(x))
    state = torch.get_rng_state()
    figures = bounds(run)
    assert figures == bounds(run)
    assert torch.equal(state, torch.get_rng_state())
    assert figures["nll"] < figures["negative_elbo"] + 0.1
    assert figures["negative_elbo"] == pytest.approx(figures["reconstruction"] + figures["kl"])
    if visible == "bernoulli":  # at the outset the output is close to that of independent pixels at their means
        assert abs(figures["nll"] - 16 * math.log(2)) < 4


def test_the_output_starts_at_the_means_of_the_data():
    x = torch.rand(50, 9) * torch.linspace(0.1, 1, 9)
    system = vae(Data("toy", Arrays(x=x)), hidden=(4,), latent=2).system
    p = (x.mean(0) * 50 + 1) / 52  # Laplace's rule, as in `Bernoulli.matching`
    torch.testing.assert_close(system.decoder[-1].bias, p.logit())


def test_refuses_what_cannot_work():
    wide = Data("toy", Arrays(x=torch.full((4, 3), 2.0)))
    with pytest.raises(ValueError, match="use visible=gaussian"):
        vae(wide)
    with pytest.raises(ValueError, match="test data"):
        bounds(vae(wide, visible="gaussian"))
    with pytest.raises(ValueError, match="at least 1"):
        iwae(Data("toy", Arrays(x=torch.rand(4, 3))), samples=0)
    with pytest.raises(ValueError, match=r"noise .* raise it"):
        vae(wide, visible="gaussian", noise=0.001)
    with pytest.raises(ValueError, match="every layer"):
        vae(wide, visible="gaussian", hidden=(3, 0))
