"""Vector fields: scores against autograd of densities, and what an auto-encoder learns of them."""

import pytest
import torch

import lamina
from lamina.analysis.vector_field import (
    agreement,
    learned_score,
    mixture_score,
    noise_of,
    plot_fields,
    smoothed_score,
)
from lamina.data.plane import mixture_log_density, moons
from lamina.recipes.shallow import autoencoder

SIGMA = torch.tensor([0.3, 0.5], dtype=torch.float64)


def gradient(log_density, x):
    places = x.clone().requires_grad_(True)
    return torch.autograd.grad(log_density(places).sum(), places)[0]


def test_smoothed_score_is_the_gradient_of_the_log_of_gaussians_around_the_points():
    generator = torch.Generator().manual_seed(0)
    points, x = (torch.randn(count, 2, generator=generator, dtype=torch.float64) for count in (50, 1500))

    def log_density(places):
        return torch.distributions.Normal(points, SIGMA).log_prob(places[:, None]).sum(-1).logsumexp(1)

    torch.testing.assert_close(smoothed_score(points, SIGMA)(x), gradient(log_density, x), rtol=1e-9, atol=1e-9)


def test_mixture_score_is_that_of_the_known_density_with_noise_added():
    """Without noise by autograd; with noise the density is a sum over a grid of noises 0.1 deviations apart."""
    x = torch.randn(10, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    torch.testing.assert_close(mixture_score(SIGMA * 1e-6)(x), gradient(mixture_log_density, x), rtol=1e-8, atol=1e-8)
    axis = torch.linspace(-10, 10, 201, dtype=torch.float64)
    noises = torch.cartesian_prod(axis, axis)

    def log_density(places):
        shifted = (places[:, None] + noises * SIGMA).flatten(0, 1)
        return (mixture_log_density(shifted).reshape(len(places), -1) - noises.square().sum(1) / 2).logsumexp(1)

    torch.testing.assert_close(mixture_score(SIGMA)(x), gradient(log_density, x), rtol=1e-6, atol=1e-6)


def test_agreement_of_fields_that_are_known():
    x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    for factor, cosine, error in ((1.0, 1.0, 0.0), (3.0, 1.0, 4.0), (-1.0, -1.0, 4.0)):
        found = agreement(lambda u, a=factor: -a * u, torch.neg, x)
        assert abs(found.cosine - cosine) < 1e-6
        assert abs(found.error - error) < 1e-5
    turned = agreement(lambda u: u.flip(1) * u.new_tensor([1.0, -1.0]), torch.neg, x)
    assert abs(turned.cosine) < 1e-6
    assert abs(turned.error - 2) < 1e-5


def test_a_denoising_autoencoder_learns_the_smoothed_score(tmp_path):
    """Moons, seed 0, noise of 0.3 deviations: on held-out points with noise, cosine above 0.8, error below 0.1."""
    data, settings = moons(), {"noise": "gaussian", "level": 0.3, "visible": "gaussian"}
    run = autoencoder(data, hidden=256, activation="relu", tied=False, lr=2e-2, epochs=8, **settings)
    lamina.fit(run)
    sigma, train, held = noise_of(run.system), data.train.fields["x"], data.valid.fields["x"]
    torch.testing.assert_close(sigma, 0.3 * train.std(0, correction=0))
    torch.manual_seed(0)
    learned, exact = learned_score(run.system), smoothed_score(train, sigma)
    found = agreement(learned, exact, held + sigma * torch.randn_like(held))
    assert found.cosine > 0.8
    assert found.error < 0.1
    plot_fields({"learned": learned, "exact": exact}, train, sigma, tmp_path / "field.svg")
    assert (tmp_path / "field.svg").read_text().count("<g id=") > 4
    with pytest.raises(ValueError, match="nothing to draw"):
        plot_fields({}, train, sigma, tmp_path / "none.png")


def test_refuses_what_estimates_no_score():
    data = moons(count=50, held=10)
    for settings in ({"noise": "masking", "level": 0.1}, {"noise": "gaussian", "level": 0.0}):
        with pytest.raises(ValueError, match="Gaussian noise and Gaussian units only"):
            learned_score(autoencoder(data, hidden=3, visible="gaussian", **settings).system)
