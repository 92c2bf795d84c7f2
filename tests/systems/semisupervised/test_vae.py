"""The semi-supervised variational auto-encoder against loops over classes and integrals over styles."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

import lamina
from lamina.core import Encodes, Predicts, Samples
from lamina.recipes.semisupervised import ladder, m1_m2, m2
from lamina.systems.autoencoder.vae import VAE
from lamina.systems.energy.units import Bernoulli, Gaussian
from lamina.systems.semisupervised.vae import Given, SemiSupervisedVAE


def made(visible=None, latent=1, classes=2, codes=None, scale=0.7):
    torch.manual_seed(0)
    visible = visible or Bernoulli((3,), binarize=False)
    system = SemiSupervisedVAE(visible, classes, (5,), latent, share=0.25, alpha=0.5, codes=codes).double()
    with torch.no_grad():
        for parameter in system.parameters():
            parameter.normal_(0, scale)
    return system


def bits():
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=3)), dtype=torch.float64)


def test_class_beside_the_input_is_a_row_of_weights():
    layer, x = Given(4, 3, (5, 6), 2).double(), torch.randn(7, 4, dtype=torch.float64)
    weight = torch.cat([layer.first.weight, layer.shift.t()], 1)
    for k in range(3):
        given = torch.cat([x, F.one_hot(torch.full((7,), k), 3).double()], 1)
        expected = layer.rest(F.linear(given, weight, layer.first.bias))
        assert torch.allclose(layer(x)[k], expected, rtol=1e-12)
        assert torch.allclose(layer(x, torch.full((7,), k))[0], expected, rtol=1e-12)


def test_terms_equal_loops_over_classes():
    system, x, y = made(), bits()[:3], torch.tensor([0, 1, 1])
    unlabelled = bits()[3:]
    torch.manual_seed(1)
    terms = system.loss(x, y, unlabelled)
    torch.manual_seed(1)
    own, bounds = system.bounds(x, y), system.bounds(unlabelled)  # the same draws
    q = system.classifier(bits()).softmax(1)
    labelled = sum(own[0, i] for i in range(3)) / 3
    free = sum(q[3 + i, k] * (bounds[k, i] + q[3 + i, k].log()) for i in range(5) for k in range(2)) / 5
    told = -sum(q[i, y[i]].log() for i in range(3)) / 3
    expected = {"labelled": 0.25 * labelled, "unlabelled": 0.75 * free, "classification": 0.5 * told}
    for name, value in expected.items():
        assert torch.allclose(terms[name], value, rtol=1e-12), name


@torch.no_grad()
def test_the_bound_of_a_class_is_its_row_of_all_bounds(monkeypatch):
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)  # both at the mean of q(z | x, y)
    for visible in (None, Gaussian(torch.zeros(3), torch.ones(3)).double()):
        system, y = made(visible, classes=4), torch.arange(8) % 4
        assert torch.allclose(system.bounds(bits(), y)[0], system.bounds(bits())[y, torch.arange(8)], rtol=1e-12)


@torch.no_grad()
def test_bounds_lie_below_the_exact_log_likelihood():
    """log p(x, y) by the trapezoid rule over one style; 20,000 draws, standard errors below 0.02 nats."""
    system, x = made(scale=0.3), bits()
    z = torch.linspace(-9, 9, 4001, dtype=torch.float64)
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(z)
    theta = system.decoder(z[:, None])  # (classes, styles, bits)
    joint = torch.stack(
        [
            torch.trapezoid((prior + system.log_likelihood(row.expand(len(z), -1), theta)).exp(), z, dim=1).log()
            for row in x
        ],
        1,
    ) - math.log(2)
    assert abs(float(joint.exp().sum()) - 1) < 1e-10  # p(x, y) sums to one
    torch.manual_seed(0)
    drawn = torch.stack([system.bounds(x) for _ in range(20_000)])
    mean, error = drawn.mean(0), drawn.std(0) / math.sqrt(20_000)
    assert float(error.max()) < 0.02
    assert bool((-mean <= joint + 4 * error).all())
    log_q = F.log_softmax(system.classifier(x), 1).t()
    free = (log_q.exp() * (mean + log_q)).sum(0)
    assert bool((-free <= joint.logsumexp(0) + 4 * error.amax(0)).all())


@pytest.mark.parametrize("visible", [Bernoulli((3,), binarize=False), Gaussian(torch.zeros(3), torch.ones(3))])
def test_gradient_equals_finite_differences(visible):
    system, x, y = made(visible.double(), latent=2), bits()[:3], torch.tensor([0, 1, 1])

    def value():
        torch.manual_seed(1)
        return sum(system.loss(x, y, bits()[3:]).values())

    value().backward()
    for name, parameter in system.named_parameters():
        index, step = (0,) * parameter.ndim, 1e-6
        ends = []
        for sign in (1, -2):
            with torch.no_grad():
                parameter[index] += sign * step
                ends.append(float(value()))
        with torch.no_grad():
            parameter[index] += step
        assert abs((ends[0] - ends[1]) / (2 * step) - float(parameter.grad[index])) < 1e-6, name


def test_gaussian_density_integrates_to_one():
    system = made(Gaussian(torch.zeros(1), torch.ones(1)).double())
    x = torch.linspace(-40, 40, 40_001, dtype=torch.float64)
    theta = torch.tensor([0.3, 0.4], dtype=torch.float64).expand(1, len(x), 2)
    density = system.log_likelihood(x[:, None], theta).exp()
    assert abs(float(torch.trapezoid(density[0], x)) - 1) < 1e-10


def test_codes_of_another_stay_as_they_are():
    torch.manual_seed(0)
    units = Bernoulli((1, 2, 3))
    codes = VAE(torch.nn.Linear(6, 8), torch.nn.Linear(4, 6), 4, units).double()
    system = made(Gaussian(torch.zeros(4), torch.ones(4)).double(), latent=2, codes=codes)
    x = torch.rand(5, 1, 2, 3, dtype=torch.float64)
    sum(system.loss(x, torch.tensor([0, 1, 0, 1, 0]), x).values()).backward()
    assert all(parameter.grad is None for parameter in codes.parameters())
    assert isinstance(system, Predicts | Encodes | Samples)
    assert system.predict(x).shape == (5, 2)
    assert torch.allclose(system.predict(x).sum(1), torch.ones(5, dtype=torch.float64))
    assert system.encode(x).shape == (5, 2)
    made_up = system.double().analogies(x)
    assert made_up.shape == (2, *x.shape)
    own = system.decode(system.encode(x), system.predict(x).argmax(1))
    assert torch.allclose(made_up[system.predict(x).argmax(1), torch.arange(5)], own, rtol=1e-12)


def test_refuses_sizes_that_make_no_sense():
    with pytest.raises(ValueError, match="at least 1"):
        SemiSupervisedVAE(Bernoulli((3,)), 2, (), 1, 0.5)


def test_learns_from_rows_without_a_label():
    """Two noisy rows of pixels: 4 labels and 200 rows without one; every unlabelled row is seen in an epoch."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(240) % 2
    x = 0.2 * torch.rand(240, 8, generator=generator) + 0.7 * F.one_hot(y, 2).repeat_interleave(4, 1)
    labels = [int(k) if i >= 200 else None for i, k in enumerate(y)]
    data = lamina.from_arrays(x.numpy(), labels)
    run = m2(data, labels=0, share=0.0, hidden=(8,), latent=2, batch=20)
    assert run.system.share == pytest.approx(len(data.train) / (len(data.train) + 200))
    seen = torch.cat([batch["unlabelled"] for batch in run.train.epoch(0)])
    assert len(seen) >= 200 + len(data.train) - 20
    first = ladder(data, labels=0, hidden=(6,), costs=(1.0, 0.1, 0.1))
    assert set(next(first.train.epoch(0))) == {"x", "y", "unlabelled"}
    two = m1_m2(data, labels=0, code=2, code_hidden=(4,), hidden=(4,), latent=2, batch=20)
    (pretraining,) = two.before()
    assert len(pretraining.train.examples) == 200 + len(data.train)
