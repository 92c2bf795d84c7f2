"""The deep Boltzmann machine against enumeration of small machines, autograd, and annealed importance sampling."""

import copy
import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lamina.core import Encodes, Predicts, Samples, Scores
from lamina.data.dataset import Data
from lamina.data.examples import Arrays
from lamina.recipes import harmoniums
from lamina.recipes.deep import dbm, dbm_classifier
from lamina.recipes.greedy import doubled
from lamina.recipes.harmoniums import likelihood
from lamina.sampling.ais import ais, paper_betas
from lamina.sampling.enumerate import log_partition, states
from lamina.systems.energy.dbm import DBM, layers_of
from lamina.systems.energy.units import Bernoulli, Gaussian
from lamina.train.fit import fit

SIZES = [(6, 5, 4), (4, 3, 3, 2)]


def machine(sizes: tuple[int, ...], seed: int = 0, scale: float = 1.0, chains: int = 10, **settings) -> DBM:
    """Return a float64 machine with large random parameters."""
    torch.manual_seed(seed)
    model = DBM(Bernoulli(sizes[:1], binarize=False), sizes[1:], chains=chains, **settings).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=scale)
    return model


def every(units: int) -> Tensor:
    return torch.cat(list(states(units)))


def joint(model: DBM) -> Tensor:
    """Return -E of all states, one axis a layer, written out as in the definition."""
    layers = [every(len(b)) for b in model.b]
    depth = len(layers)
    total = torch.zeros([1] * depth).double()
    for i, (h, b) in enumerate(zip(layers, model.b, strict=True)):
        total = total + (h @ b).view([-1 if j == i else 1 for j in range(depth)])
    for i, W in enumerate(model.W):
        pair = layers[i] @ W @ layers[i + 1].t()
        total = total + pair.view([-1 if j == i else pair.shape[1] if j == i + 1 else 1 for j in range(depth)])
    return total


def exact(model: DBM) -> Tensor:
    """Return log p(v) for all v."""
    log_p = joint(model).flatten(1).logsumexp(1)
    return log_p - log_p.logsumexp(0)


def gradients(model: DBM, value: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(value, list(model.parameters())))


@pytest.mark.parametrize("sizes", SIZES)
def test_the_harmonium_of_even_and_odd_layers_has_the_same_sum(sizes):
    """Exactly; and with 100 runs of 2,000 temperatures, seed 0, within 4 standard errors."""
    model = machine(sizes)
    Z = float(joint(model).detach().flatten().logsumexp(0))
    assert abs(log_partition(model.harmonium()) - Z) < 1e-12
    estimate = ais(model.harmonium(), torch.zeros(sum(sizes[::2])), betas=paper_betas(2000))
    assert estimate.error < 0.1
    assert abs(estimate.value - Z) < 4 * estimate.error


@pytest.mark.parametrize("sizes", SIZES)
def test_the_bound_is_below_the_likelihood_and_near_it(sizes):
    """Weights of standard deviation 1 at three seeds: the gap is above 0 for every v, and 0.5 nats in the mean at most.

    For weak couplings it is Σ W_ij² var(h_i) var(h_j) / 2 over the hidden ones to second order, and a variance is 1/4
    at most.
    """
    for seed in range(3):
        model = machine(sizes, seed)
        gap = exact(model).detach() - model.bound(every(sizes[0]), log_partition(model.harmonium()))
        assert float(gap.min()) > -1e-12
        assert float(gap.mean()) < 0.5
    weak = machine(sizes, scale=0.1).requires_grad_(False)
    gap = exact(weak).detach() - weak.bound(every(sizes[0]), log_partition(weak.harmonium()))
    assert 0 < float(gap.max()) < 1.1 * sum(float(W.square().sum()) for W in weak.W[1:]) / 32


@pytest.mark.parametrize("sizes", SIZES)
def test_the_bound_is_energy_and_entropy_and_rises_with_every_step(sizes):
    model = machine(sizes).requires_grad_(False)
    v, before = every(sizes[0]), torch.tensor(-torch.inf)
    for steps in (1, 2, 3, 5, 10, 50):
        now = model.score(v, steps)
        assert float((now - before).min()) > -1e-12
        before = now
    means = model.infer(v, 200)
    means[1::2] = [model.theta(means, i).sigmoid() for i in model.odd]
    direct = sum(h @ b for h, b in zip(means, model.b, strict=True))
    direct = direct + sum(((h @ W) * up).sum(1) for h, W, up in zip(means, model.W, means[1:], strict=False))
    for q in means[1:]:
        direct = direct - (q * q.log() + (1 - q) * (1 - q).log()).sum(1)
    torch.testing.assert_close(model.score(v, 200), direct, rtol=0, atol=1e-12)


def test_the_mean_field_has_come_to_rest():
    model = machine((6, 5, 4)).requires_grad_(False)
    means = model.infer(every(6), 300)
    for i in (1, 2):
        torch.testing.assert_close(means[i], model.theta(means, i).sigmoid(), rtol=0, atol=1e-10)
    torch.testing.assert_close(model.encode(every(6)), means[2], rtol=0, atol=1e-3)


@pytest.mark.parametrize("sizes", SIZES)
def test_at_exact_particles_the_surrogate_has_the_gradient_of_the_bound(sizes):
    """200,000 exact chains, seed 2: a standard error is below 0.5 / sqrt(200,000) = 0.0011; bound 5 of them.

    On the right is the derivative of the whole bound, with the mean field found anew by differentiable steps.
    """
    model = machine(sizes, chains=200_000, steps=300, scale=0.7)
    odd = torch.cat([torch.cartesian_prod(*[torch.arange(2**n) for n in sizes[1::2]]).view(-1, len(sizes[1::2]))])
    rows = torch.cat([every(n)[odd[:, i]] for i, n in enumerate(sizes[1::2])], 1)
    order = [i for i in range(len(sizes)) if i % 2 == 0]
    chances = joint(model).detach().logsumexp(order).flatten().softmax(0)
    torch.manual_seed(2)
    model.chains.copy_(rows[chances.multinomial(200_000, replacement=True)])
    data = torch.rand(30, sizes[0]).lt(0.3).double()
    found = gradients(model, -model.loss(data)["divergence"])
    means = [data, *(m.clone() for m in model.infer(data, 300)[1:])]
    for _ in range(30):
        for i in (*model.odd, *model.even[1:]):
            means[i] = model.theta(means, i).sigmoid()
    bound = sum(h @ b for h, b in zip(means, model.b, strict=True))
    bound = bound + sum(((h @ W) * up).sum(1) for h, W, up in zip(means, model.W, means[1:], strict=False))
    for q in means[1:]:
        bound = bound - (q * q.log() + (1 - q) * (1 - q).log()).sum(1)
    expected = gradients(model, bound.mean() - joint(model).flatten().logsumexp(0))
    for a, b in zip(found, expected, strict=True):
        assert float((a - b).abs().max()) < 0.0056
    assert float((model.chains.mean(0) - chances @ rows).abs().max()) < 0.0056  # the chains stay where they should


def test_where_the_posterior_factors_the_gradient_is_that_of_the_likelihood():
    """Without couplings to the top layer the mean field is exact; 200,000 chains as above, seed 3."""
    model = machine((5, 4, 3), chains=200_000)
    nn.init.zeros_(model.W[1])
    chances = joint(model).detach().logsumexp((0, 2)).softmax(0)
    torch.manual_seed(3)
    model.chains.copy_(every(4)[chances.multinomial(200_000, replacement=True)])
    index = torch.randint(32, (40,))
    found = gradients(model, -model.loss(every(5)[index])["divergence"])
    for a, b in zip(found, gradients(model, exact(model)[index].mean()), strict=True):
        assert float((a - b).abs().max()) < 0.0056


@pytest.mark.parametrize("sizes", SIZES)
def test_gibbs_sampling_has_the_distribution_of_the_machine(sizes):
    """100,000 chains, seed 4: total variation over 2^n states is about 0.5 * sqrt(2^n / 100,000) * 0.8 < 0.011."""
    model = machine(sizes, chains=2000, scale=0.5).requires_grad_(False)
    torch.manual_seed(4)
    v = model.sample(100_000, steps=40)
    seen = torch.bincount((v @ 2.0 ** torch.arange(sizes[0]).double()).long(), minlength=2 ** sizes[0]) / 100_000
    assert float((seen - exact(model).exp()).abs().sum()) / 2 < 0.02


def test_a_set_of_layers_is_drawn_from_its_conditional():
    """50,000 draws of v and h² given one h¹, seed 5: bound 5 standard errors of at most 0.0023."""
    model = machine((4, 3, 3)).requires_grad_(False)
    torch.manual_seed(5)
    state = 5
    v, _, h2 = model.gibbs(every(3)[state].expand(50_000, -1), 0)
    chances = joint(model)[:, state].flatten().softmax(0).view(16, 8)
    place = (v @ 2.0 ** torch.arange(4).double() * 8 + h2 @ 2.0 ** torch.arange(3).double()).long()
    seen = torch.bincount(place, minlength=128).view(16, 8) / 50_000
    assert float((seen - chances).abs().max()) < 0.0115


def test_pretraining_doubles_what_comes_from_the_copies():
    """Conditionals of the RBMs are those of section 3, and a machine made of them lies between its two layers'."""
    model = DBM(Bernoulli((6,)), (5, 4, 3), chains=2)
    low, middle, top = layers_of(model)
    for layer in (low, middle, top):
        for parameter in layer.parameters():
            nn.init.normal_(parameter)
    v, h1, h2, h3 = (torch.rand(7, n).round() for n in (6, 5, 4, 3))
    drawn = model.chains.clone()
    model.compose([low, middle, top])
    W, (a, b1, b2, c) = model.W, model.b
    x = doubled({"x": v})["x"]
    torch.testing.assert_close(low.up(x), (low.b + 2 * v @ W[0]).sigmoid())
    torch.testing.assert_close(low.down(h1), (a + h1 @ W[0].t()).repeat(1, 2))
    torch.testing.assert_close(middle.up(h1), (middle.b + 2 * h1 @ W[1]).sigmoid())
    torch.testing.assert_close(middle.down(h2), middle.a + 2 * h2 @ W[1].t())
    torch.testing.assert_close(top.up(h2), (c + h2 @ W[2]).sigmoid().repeat(1, 2))
    torch.testing.assert_close(top.down(h3.repeat(1, 2)), top.a + 2 * h3 @ W[2].t())
    assert torch.equal(model.chains, torch.cat([low.chains, drawn[:, 5:]], 1))
    assert (len(low.chains), len(middle.chains), len(top.chains)) == (2, 0, 0)
    torch.testing.assert_close(b1, (low.b + middle.a) / 2)
    torch.testing.assert_close(b2, (middle.b + top.a) / 2)
    assert parametrize.is_parametrized(low)
    assert {tuple(p.shape) for p in low.parameters()} == {(6, 5), (6,), (5,)}
    mean = (low.up(x).logit() + middle.down(h2)) / 2
    torch.testing.assert_close(model.theta([v, h1, h2, h3], 1), mean)


def test_gaussian_units_by_numerical_integration():
    torch.manual_seed(0)
    units = Gaussian(torch.randn(1), torch.rand(1) + 0.5)
    model = DBM(units, (3, 2), chains=500).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    model.requires_grad_(False)
    v = torch.linspace(-14, 14, 2801, dtype=torch.float64)[:, None]
    h1, h2 = every(3), every(2)
    inner = (h1 @ model.b[1])[:, None] + h2 @ model.b[2] + h1 @ model.W[1] @ h2.t()
    log_joint = -v.square() / 2 + v * model.b[0] + (v @ model.W[0] @ h1.t() + inner.logsumexp(1))
    Z = log_partition(model.harmonium())
    assert abs(float(log_joint.exp().sum() * 0.01) / math.exp(Z) - 1) < 1e-10
    raw = v * units.scale + units.shift
    log_p = log_joint.logsumexp(1) - Z - units.scale.log()
    gap = log_p - model.bound(raw, Z)
    assert float(gap.min()) > -1e-12
    assert float(gap.max()) < 0.2
    mean = float((log_p.exp() * raw[:, 0]).sum() * 0.01 * units.scale)
    assert abs(float(model.sample(50_000, steps=30).mean()) - mean) < 0.03  # 5 errors of at most 0.0057


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_recipe_measures_and_its_system_has_every_verb(visible, monkeypatch):
    torch.manual_seed(0)
    x = torch.rand(60, 1, 4, 4)
    data = Data("toy", Arrays(x=x), test=Arrays(x=x), unlabelled=Arrays(x=x[:20]))
    run = dbm(data, hidden=(6, 5), pretraining=1, epochs=1, batch=20, visible=visible)
    assert len(run.train) == 4  # examples without a label serve as well
    before = copy.deepcopy(run.system.state_dict())
    fit(run)
    model = run.system
    assert not torch.equal(model.W[1], before["W.1"])
    for protocol in (Encodes, Samples, Scores):
        assert isinstance(model, protocol)
    assert model.encode(x).shape == (60, 5)
    assert model.sample(3, steps=2).shape == model.reconstruct(x[:3]).shape == (3, 1, 4, 4)
    assert all(torch.isfinite(value) for value in model.metrics(x=x).values())
    monkeypatch.setattr(harmoniums, "paper_betas", partial(paper_betas, 500))
    figures = likelihood(run)
    assert abs(figures["log_partition"] - log_partition(model.harmonium())) < 0.01 + 4 * figures["error"]


def test_the_classifier_begins_as_one_more_mean_field_step():
    torch.manual_seed(0)
    x = torch.rand(60, 1, 4, 4)
    examples = Arrays(x=x, y=torch.arange(60) % 3)
    data = Data("toy", examples, examples, examples, ("a", "b", "c"))
    run = dbm_classifier(data, hidden=(6, 5), pretraining=1, joint=1, epochs=1, batch=20)
    assert run.before is not None
    for stage in run.before():
        fit(stage)
        machine = stage.system
    system = run.system.eval()
    means = machine.infer(x.flatten(1), machine.steps)
    h1 = machine.theta(means, 1).sigmoid()
    torch.testing.assert_close(system.encode(x), machine.theta([x, h1], 2).sigmoid())
    assert isinstance(system, Predicts)
    torch.testing.assert_close(system.predict(x), torch.full((60, 3), 1 / 3))


def test_what_does_not_fit_is_refused():
    wide = Data("toy", Arrays(x=torch.full((4, 3), 2.0)))
    with pytest.raises(ValueError, match="binary units need values"):
        dbm(wide)
    with pytest.raises(ValueError, match="use rbm"):
        dbm(wide, hidden=(5,), visible="gaussian")
    with pytest.raises(ValueError, match="at least 1"):
        dbm(wide, hidden=(5, 0), visible="gaussian")
    with pytest.raises(ValueError, match="test data"):
        likelihood(dbm(wide, hidden=(3, 2), visible="gaussian"))
