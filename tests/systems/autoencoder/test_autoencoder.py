"""Auto-encoders against closed forms, Jacobians, and densities that are known."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.func import jacrev, vmap

import lamina
from lamina.cli import main
from lamina.core import Encodes, Samples
from lamina.data.plane import moons
from lamina.modules.corruption import GaussianNoise, Masking
from lamina.recipes.autoencoder import cae, sda
from lamina.recipes.shallow import autoencoder
from lamina.systems.autoencoder.autoencoder import ACTIVATIONS, DISTANCES, Autoencoder, divergence
from lamina.systems.energy.units import Bernoulli, Gaussian
from lamina.systems.generative.gan import energy_distance


def units(size, binary=True):
    return Bernoulli((size,), binarize=False) if binary else Gaussian(torch.zeros(size), torch.ones(size))


def made(**settings):
    torch.manual_seed(0)
    system = Autoencoder(units(5), 4, **settings).double()
    with torch.no_grad():
        for parameter in system.parameters():
            parameter.normal_()
    return system


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_contraction_is_the_norm_of_the_jacobian(activation):
    system = made(activation=activation)
    v = torch.rand(7, 5, dtype=torch.float64)
    expected = vmap(jacrev(lambda row: system.code(row[None])[0]))(v).square().sum((1, 2)).mean()
    assert torch.allclose(system.jacobian(system.code(v)), expected, rtol=1e-12)


@torch.no_grad()
def test_reconstruction_error_is_minus_the_log_probability():
    system = made()
    v = torch.tensor(list(itertools.product((0.0, 1.0), repeat=5)), dtype=torch.float64)
    theta = system.natural(system.code(v[:1])).expand(len(v), -1)
    total = sum(math.exp(-float(system.distances(v[i : i + 1], theta[i : i + 1]))) for i in range(len(v)))
    assert abs(total - 1) < 1e-12
    gaussian = Autoencoder(units(5, binary=False), 4).double()
    expected = -torch.distributions.Normal(theta, 1.0).log_prob(v).sum(1) - 2.5 * math.log(2 * math.pi)
    assert torch.allclose(gaussian.distances(v, theta), expected, rtol=1e-12)


def test_sparsity_is_the_divergence_of_two_coins():
    q = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    coins = torch.distributions.Bernoulli
    expected = torch.distributions.kl_divergence(coins(torch.tensor(0.2, dtype=torch.float64)), coins(q))
    assert torch.allclose(divergence(0.2, q), expected, rtol=1e-12)


@pytest.mark.parametrize("tied", [True, False])
def test_gradient_equals_finite_differences(tied):
    system = made(tied=tied, contraction=0.3, sparsity=0.2)
    x = torch.rand(6, 5, dtype=torch.float64)
    sum(system.loss(x).values()).backward()
    for parameter in system.parameters():
        index, step = (0,) * parameter.ndim, 1e-6
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter[index] += sign * step
                values.append(float(sum(system.loss(x).values())))
                parameter[index] -= sign * step
        assert abs((values[0] - values[1]) / (2 * step) - float(parameter.grad[index])) < 1e-7


@pytest.mark.parametrize("activation", DISTANCES)
def test_saturation_is_the_distance_from_where_the_activation_is_flat(activation):
    """Flat places of a grid are found by finite differences, the nearest by looking at all of them."""
    a = torch.linspace(-4, 4, 801, dtype=torch.float64)
    s = ACTIVATIONS[activation]
    flat = a[(s(a + 1e-6) - s(a)).abs() < 1e-12]
    expected = (a[:, None] - flat).abs().amin(1)
    torch.testing.assert_close(DISTANCES[activation](s(a)), expected, rtol=0, atol=0.011)
    system, v = made(activation=activation, saturation=0.3), torch.rand(7, 5, dtype=torch.float64)
    each = DISTANCES[activation](s(system.encoder(v))).sum(1)
    assert torch.allclose(system.loss(v)["saturation"], 0.3 * each.mean(), rtol=1e-12)


def test_saturation_pushes_codes_into_the_flat_zones():
    """Points on two lines through the origin, seed 0: with saturation most codes are cut off, without it few."""
    shares = []
    for saturation in (0.0, 0.1):
        torch.manual_seed(0)
        system = Autoencoder(
            units(2, binary=False), 6, tied=False, activation="saturated-linear", saturation=saturation
        )
        optimizer = torch.optim.Adam(system.parameters(), lr=0.02)
        for _ in range(300):
            x = torch.randn(100, 1) * torch.where(
                torch.rand(100, 1) < 0.5, torch.tensor([1.0, 0.5]), torch.tensor([-0.5, 1])
            )
            optimizer.zero_grad()
            sum(system.loss(x).values()).backward()
            optimizer.step()
        shares.append(float((system.encode(x).abs() == 1).float().mean()))
    assert shares[0] < 0.4 < 0.6 < shares[1]
    with pytest.raises(ValueError, match="tanh codes are nowhere flat; for saturation choose one of saturated-linear"):
        made(activation="tanh", saturation=0.1)


def test_tied_weights_decode_by_the_transpose():
    tied, free = made(tied=True), made(tied=False)
    with torch.no_grad():
        free.encoder.load_state_dict(tied.encoder.state_dict())
        free.c.copy_(tied.c)
        free.V.copy_(tied.encoder.weight.t())
    x = torch.rand(3, 5, dtype=torch.float64)
    assert torch.allclose(tied.reconstruct(x), free.reconstruct(x), rtol=1e-14)
    assert len(list(tied.parameters())) + 1 == len(list(free.parameters()))


@pytest.mark.parametrize("noise", [1.0, 0.3])
def test_linear_denoising_gives_the_score_of_the_smoothed_density(noise):
    """For Gaussian data the best r is linear, and (r(x) - x) / σ² = -(C + σ²I)⁻¹ x, the score of data plus noise."""
    torch.manual_seed(0)
    mix = torch.randn(3, 3, dtype=torch.float64)
    covariance = mix @ mix.t()
    smoothed = covariance + noise**2 * torch.eye(3, dtype=torch.float64)
    system = Autoencoder(units(3, binary=False), 3, tied=False, activation="linear").double()
    V, W = covariance @ torch.linalg.inv(smoothed), torch.eye(3, dtype=torch.float64)
    with torch.no_grad():
        system.encoder.weight.copy_(W)
        system.V.copy_(V)
    x = torch.randn(10, 3, dtype=torch.float64)
    score = -torch.linalg.solve(smoothed, x.t()).t()
    assert torch.allclose(system.displacement(x) / noise**2, score, atol=1e-12)

    def expected_error(product):  # E |P x̃ - x|² in closed form
        rest = product - torch.eye(3, dtype=torch.float64)
        return (rest @ covariance @ rest.t() + noise**2 * product @ product.t()).trace()

    slope = torch.func.grad(expected_error)(V)  # so it is the minimum
    assert float(slope.abs().max()) < 1e-10


def test_training_learns_the_score_of_a_mixture():
    """Two Gaussians at ±1 of deviation 0.3, noise 0.3: the smoothed score in closed form.

    The correlation over 2000 draws from the smoothed density is above 0.97.
    """
    torch.manual_seed(0)
    system = Autoencoder(units(1, binary=False), 30, GaussianNoise(0.3), tied=False, activation="tanh")
    optimizer = torch.optim.Adam(system.parameters(), lr=0.1)
    for step in range(1000):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 1000)
        x = 0.3 * torch.randn(500, 1) + torch.where(torch.rand(500, 1) < 0.5, -1.0, 1.0)
        optimizer.zero_grad()
        system.loss(x)["reconstruction"].backward()
        optimizer.step()
    x = math.sqrt(0.18) * torch.randn(2000, 1) + torch.where(torch.rand(2000, 1) < 0.5, -1.0, 1.0)
    places = x.clone().requires_grad_(True)
    density = sum(torch.exp(-((places - m) ** 2) / (2 * 0.18)) for m in (-1, 1))  # variance 0.09 + 0.09
    score = torch.autograd.grad(density.log().sum(), places)[0]
    found = system.displacement(x) / 0.09
    assert float(torch.corrcoef(torch.stack([found[:, 0], score[:, 0]]))[0, 1]) > 0.97


def test_error_under_small_noise_has_a_curvature_term():
    """E|r(x + σz) - x|² = |r - x|² + σ²(‖∂r/∂x‖² + (r - x)·Δr) + O(σ⁴): the Jacobian alone is not enough."""
    system = made(tied=False, activation="tanh")
    x, deviation = torch.rand(5, dtype=torch.float64), 0.01

    def r(v):
        return system.natural(system.code(v[None]))[0]

    system.requires_grad_(False)
    J, H = jacrev(r)(x), jacrev(jacrev(r))(x)
    z = torch.eye(5, dtype=torch.float64) * math.sqrt(5)  # E over ±√5 e_i has the moments of a unit Gaussian up to 3
    rise = torch.stack([(r(x + s * deviation * row) - x).square().sum() for row in z for s in (1, -1)]).mean()
    slope = (rise - (r(x) - x).square().sum()) / deviation**2
    curvature = (r(x) - x) @ H.diagonal(dim1=1, dim2=2).sum(1)
    assert abs(float(slope - J.square().sum() - curvature)) < 0.02 * float(J.square().sum())
    assert abs(float(curvature)) > 0.1 * float(J.square().sum())


def test_chain_reaches_the_distribution_that_its_transition_matrix_has():
    """States of 3 bits; 20,000 chains of 30 steps; total variation below 0.03 (sampling alone gives about 0.007)."""
    torch.manual_seed(0)
    system = Autoencoder(units(3), 4, Masking(0.4))
    with torch.no_grad():
        system.encoder.weight.normal_()
        system.c.normal_()
    states = torch.tensor(list(itertools.product((0.0, 1.0), repeat=3)))
    codes = torch.tensor([4.0, 2.0, 1.0])
    kernel = torch.zeros(8, 8)
    for kept in states:  # each way of masking
        chance = 0.6 ** float(kept.sum()) * 0.4 ** float(3 - kept.sum())
        with torch.no_grad():
            p = system.natural(system.code(states * kept)).sigmoid()
        kernel += chance * (states * p[:, None] + (1 - states) * (1 - p[:, None])).prod(-1)
    stationary = torch.linalg.matrix_power(kernel, 200)[0]
    v = torch.zeros(20_000, 3)
    for _ in range(30):
        v = system.step(v)
    found = (v @ codes).long().bincount(minlength=8) / len(v)
    assert float((found - stationary).abs().sum()) / 2 < 0.03


@torch.no_grad()
def test_chain_of_the_best_linear_denoiser_has_the_distribution_of_the_data():
    """Independent Gaussians of variance c, noise σ² = 1/4: x given x̃ is N(a x̃, aσ²) with a = c / (c + σ²).

    The variance is estimated within 3 % from 300 batches of 1000; that of 20,000 chains of 100 steps is c within 5 %.
    """
    torch.manual_seed(0)
    c = torch.tensor([0.04, 1.0, 2.25])
    a = c / (c + 0.25)
    system = Autoencoder(units(3, binary=False), 3, GaussianNoise(0.5), tied=False, activation="linear")
    system.encoder.weight.copy_(torch.eye(3))
    system.V.copy_(a.diag())
    for _ in range(300):
        system.loss(c.sqrt() * torch.randn(1000, 3))
    assert torch.allclose(system.variance, a * 0.25, rtol=0.03)
    kept = system.eval().variance.clone()
    system.loss(torch.zeros(10, 3))
    assert torch.equal(system.variance, kept)  # learned in training only
    found = system.sample(20_000)
    assert torch.allclose(found.var(0), c, rtol=0.05)
    assert float(found.t().corrcoef().triu(1).abs().max()) < 0.03


def test_chain_of_a_denoising_autoencoder_follows_two_moons():
    """1000 samples, seed 0: their energy distance to test points is below half of that of a Gaussian with the moments.

    With draws of deviation 1 it is above twice that.
    """
    data, settings = moons(), {"noise": "gaussian", "level": 0.3, "visible": "gaussian"}
    run = autoencoder(data, hidden=256, activation="relu", tied=False, lr=2e-2, epochs=8, **settings)
    lamina.fit(run)
    units, (train, test) = run.system.visible, (part.fields["x"] for part in (data.train, data.test))
    torch.manual_seed(0)
    gaussian = torch.distributions.MultivariateNormal(train.mean(0), train.t().cov()).sample((1000,))
    chain = run.system.sample(1000)
    run.system.variance.fill_(1.0)
    samples = (chain, gaussian, run.system.sample(1000))
    near, middle, far = (float(energy_distance(units.standard(x), units.standard(test))) for x in samples)
    assert 2 * near < middle < far / 2


@torch.no_grad()
def test_walkback_starts_where_the_plain_form_is():
    system, x = made(walkback=3), torch.rand(6, 5, dtype=torch.float64)
    one = made()
    assert float(system.loss(x)["reconstruction"]) != float(one.loss(x)["reconstruction"])
    with torch.no_grad():
        for s in (system, one):
            s.encoder.weight.zero_()  # the reconstruction forgets its input, so that every step restores alike
    assert torch.allclose(system.loss(x)["reconstruction"], one.loss(x)["reconstruction"], rtol=1e-12)


def test_takes_images_of_any_shape_and_gives_them_back():
    torch.manual_seed(0)
    system = Autoencoder(Gaussian(torch.full((3, 4, 5), 0.5), torch.ones(3, 4, 5)), 7, GaussianNoise(0.1))
    x = torch.rand(6, 3, 4, 5)
    assert isinstance(system, Encodes | Samples)
    assert system.encode(x).shape == (6, 7)
    expected = -(system.reconstruct(x) - x).square().flatten(1).sum(1) / 2  # units of scale 1
    assert torch.allclose(system.score(x), expected, rtol=1e-4)
    assert system.reconstruct(x).shape == system.sample(6, steps=3).shape == x.shape
    assert all(value.ndim == 0 for value in system.metrics(x).values())


def test_refuses_what_makes_no_sense():
    for settings in ({"hidden": 0}, {"hidden": 3, "walkback": 0}, {"hidden": 3, "sparsity": 0.1, "activation": "tanh"}):
        with pytest.raises(ValueError, match=r"must be|needs"):
            Autoencoder(units(4), **settings)


@pytest.mark.parametrize("recipe", [sda, cae])
def test_a_classifier_of_any_values_comes_back_from_its_folder(recipe, tmp_path):
    generator = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(60, 4, generator=generator)
    data = lamina.from_arrays(x, (x[:, 0] > 0).long())
    with pytest.raises(ValueError, match="use visible=gaussian"):
        recipe(data, hidden=(3,))
    run = recipe(data, hidden=(3,), visible="gaussian", pretraining=1, epochs=1, batch=10)
    lamina.fit(run, tmp_path)
    assert torch.equal(lamina.load(tmp_path).predict(x), run.system.predict(x))


@pytest.mark.parametrize(
    ("words", "terms"),
    [
        ("", ["reconstruction"]),
        ("--no-tied --noise gaussian --level 0.1 --activation relu", ["reconstruction"]),
        ("--sparsity 0.1", ["reconstruction", "sparsity"]),
        ("--contraction 0.1 --saturation 0.1 --activation shrink", ["reconstruction", "contraction", "saturation"]),
    ],
)
def test_one_recipe_trains_every_kind_from_the_command_line(words, terms, tmp_path):
    folder, shared = str(tmp_path / "run"), ("--visible", "gaussian", "--hidden", "5", "--epochs", "1")
    assert main(["train", "autoencoder", "--data", "moons", *words.split(), *shared, "--out", folder]) == 0
    system = lamina.load(folder)
    assert list(system.loss(torch.zeros(3, 2))) == terms
    assert (system.V is None) == ("--no-tied" not in words)
    assert main(["sample", folder, "-n", "7", "--out", str(tmp_path / "x.npy")]) == 0
    assert np.load(tmp_path / "x.npy").shape == (7, 2)
