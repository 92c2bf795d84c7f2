"""The deep belief network against enumeration of small ones, the RBM that it extends, and autograd."""

import copy
import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from lamina.core import Encodes, Predicts, Samples, Scores
from lamina.data.dataset import Data
from lamina.data.examples import Arrays
from lamina.recipes import harmoniums
from lamina.recipes.deep import dbn, dbn_classifier
from lamina.recipes.harmoniums import likelihood
from lamina.sampling.ais import paper_betas
from lamina.sampling.enumerate import log_partition, states
from lamina.systems.energy.dbn import DBN
from lamina.systems.energy.rbm import RBM
from lamina.systems.energy.units import Bernoulli, Gaussian, flip
from lamina.train.fit import fit

SIZES = [(6, 5, 4), (4, 3, 3, 2)]


def network(sizes: tuple[int, ...], seed: int = 0, scale: float = 1.0, chains: int = 10) -> DBN:
    """Return a float64 network with large random parameters."""
    torch.manual_seed(seed)
    model = DBN(Bernoulli(sizes[:1], binarize=False), sizes[1:], chains=chains).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=scale)
    return model


def every(units: int) -> Tensor:
    return torch.cat(list(states(units)))


def conditional(layer: nn.Module, given: Tensor) -> Tensor:
    """Return p(h | given) for all states h of a layer of binary units, (states of given, states of h)."""
    p = layer(given).sigmoid()[:, None]
    h = every(p.shape[2])
    return (p * h + (1 - p) * (1 - h)).prod(2)


def law(model: DBN) -> Tensor:
    """Return p(v) for all v, by products of conditional tables and the enumerated top RBM."""
    h, g = every(len(model.top.a)), every(len(model.top.b))
    log_joint = (h @ model.top.a)[:, None] + g @ model.top.b + h @ model.top.W @ g.t()
    p = log_joint.logsumexp(1).softmax(0)
    for layer in reversed(model.down):
        p = p @ conditional(layer, every(layer.in_features))
    return p


def paths(model: DBN, v: Tensor) -> list[list[Tensor]]:
    """Return v with every combination of states of the hidden layers but the top one."""
    combinations = [[v[None]]]
    for layer in model.up:
        combinations = [[*path, h[None]] for path in combinations for h in every(layer.out_features)]
    return combinations


@pytest.mark.parametrize("sizes", SIZES)
def test_weights_average_to_the_likelihood(sizes):
    """Σ_h q(h | v) w = p(v) for every v, over all h; and p sums to one."""
    model = network(sizes).requires_grad_(False)
    Z = log_partition(model.top)
    p = law(model)
    assert abs(float(p.sum()) - 1) < 1e-12
    for v, p_v in zip(every(sizes[0]), p, strict=True):
        total, mass = 0.0, 0.0
        for path in paths(model, v):
            q = model.log_recognition(path).exp()
            log_w = model.log_joint(path) - model.top.free_energy(path[-1]) - model.log_recognition(path) - Z
            total, mass = total + float(q * log_w.exp()), mass + float(q)
        assert abs(mass - 1) < 1e-12
        assert abs(total / float(p_v) - 1) < 1e-10


@pytest.mark.parametrize("sizes", SIZES)
def test_the_bound_is_below_the_likelihood_and_rises_to_it(sizes):
    """4,000 draws for each of 16 examples, seed 1: bounds of 1, 10 and 100 draws rise; bound 5 standard errors."""
    model = network(sizes, scale=0.7).requires_grad_(False)
    Z, v, exact = log_partition(model.top), every(sizes[0])[:16], law(model)[:16].log()
    torch.manual_seed(1)
    log_w = model.log_weights(v, 4000) - Z
    bounds = [float((log_w.view(-1, k, 16).logsumexp(1) - math.log(k)).mean()) for k in (1, 10, 100)]
    assert bounds[0] < bounds[1] < bounds[2] < float(exact.mean())
    ratio = (log_w - exact).exp()  # of mean 1
    error = ratio.std(0) / 4000**0.5
    assert float(((ratio.mean(0) - 1).abs() / error).max()) < 5
    assert float(((model.bound(v, Z, 4000) - exact).abs() / error).max()) < 6  # the log of a mean near 1


@pytest.mark.parametrize("gaussian", [False, True])
def test_with_tied_weights_it_is_the_rbm(gaussian):
    """With the transposed RBM on top the likelihood is that of the RBM, and so is the weight of every single draw."""
    torch.manual_seed(0)
    units = Gaussian(torch.randn(6), torch.rand(6) + 0.5) if gaussian else Bernoulli((6,))
    rbm = RBM(units, 5).double()
    model = DBN(units, (5, 6)).double()
    for parameter in rbm.parameters():
        nn.init.normal_(parameter, std=0.5)
    model.adopt(0, rbm)
    if gaussian:
        return check_marginal(model, rbm)
    with torch.no_grad():
        for mine, value in ((model.top.W, rbm.W.t()), (model.top.a, rbm.b), (model.top.b, rbm.a)):
            mine.copy_(value)
    v, Z = every(6), log_partition(rbm)
    assert abs(log_partition(model.top) - Z) < 1e-12
    expected = rbm.log_prob(v, Z)
    torch.testing.assert_close(law(model).log(), expected, rtol=0, atol=1e-11)
    log_w = model.log_weights(v, 7) - Z
    torch.testing.assert_close(log_w, expected.expand(7, -1), rtol=0, atol=1e-11)
    torch.testing.assert_close(model.bound(v, Z, 1), expected, rtol=0, atol=1e-11)


def check_marginal(model: DBN, rbm: RBM) -> None:
    """With Gaussian units: log p(v | h) - log q(h | v) is the RBM's log p(v) - log p(h), for any v and h."""
    v, h = torch.randn(9, 6).double(), torch.rand(9, 5).round().double()
    log_p_h = h @ rbm.b + rbm.visible.log_partition(rbm.down(h))  # up to log Z
    found = model.log_joint([v, h]) - model.log_recognition([v, h])
    torch.testing.assert_close(found, -rbm.free_energy(v) - log_p_h, rtol=0, atol=1e-11)


@pytest.mark.parametrize("sizes", SIZES)
def test_samples_have_the_distribution_of_the_network(sizes):
    """100,000 chains, seed 2: total variation over 2^n states is about 0.4 * sqrt(2^n / 100,000) < 0.011."""
    model = network(sizes, scale=0.7, chains=2000).requires_grad_(False)
    torch.manual_seed(2)
    v = model.sample(100_000, steps=40)
    seen = torch.bincount((v @ 2.0 ** torch.arange(sizes[0]).double()).long(), minlength=2 ** sizes[0]) / 100_000
    assert float((seen - law(model)).abs().sum()) / 2 < 0.02


@pytest.mark.parametrize("chains", [0, 25])
def test_gradients_are_the_delta_rules(chains):
    """Each weight gets (what was seen - its probability) times what it was predicted from; the top RBM its own."""
    model = network((6, 5, 4, 3), chains=chains)
    x = torch.rand(20, 6).round().double()
    twin = copy.deepcopy(model)
    torch.manual_seed(3)
    sum(model.loss(x).values()).backward()
    torch.manual_seed(3)
    with torch.no_grad():
        wake = twin.ascend(x)
    twin.top.loss(wake[-1])["divergence"].backward()
    with torch.no_grad():
        top = twin.top.chains if chains else flip(twin.top.up(wake[-1]))
        dream = twin.descend(twin.top.visible.draw(twin.top.down(top)))
    for mine, its in zip(model.top.parameters(), twin.top.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, its.grad, rtol=0, atol=1e-12)
    for layers, seen, step in ((model.down, wake, 1), (model.up, dream, 0)):
        for i, layer in enumerate(layers):
            given, target = (seen[i + 1], seen[i]) if step else (seen[i], seen[i + 1])
            error = target - layer(given).sigmoid()
            torch.testing.assert_close(layer.weight.grad, -error.t() @ given / len(given), rtol=0, atol=1e-12)
            torch.testing.assert_close(layer.bias.grad, -error.mean(0), rtol=0, atol=1e-12)


def test_at_exact_chains_the_sleep_gradient_is_the_enumerated_one():
    """400,000 dreams, seed 4: bound 5 standard errors of at most 0.5 / sqrt(400,000) = 0.0008."""
    model = network((4, 3, 3), chains=400_000)
    top = model.top.requires_grad_(False)
    g = every(3)
    chances = (g @ top.b + torch.nn.functional.softplus(top.a + g @ top.W.t()).sum(1)).softmax(0)
    torch.manual_seed(4)
    top.chains.copy_(g[chances.multinomial(400_000, replacement=True)])
    sleep = model.loss(torch.rand(5, 4).round().double())["sleep"]
    found = torch.autograd.grad(sleep, list(model.up.parameters()))
    p_h = (-top.free_energy(every(3))).softmax(0)
    joint = (p_h[:, None] * conditional(model.down[0], every(3))).detach()  # (h, v)
    log_q = conditional(model.up[0], every(4)).log().t()
    exact = torch.autograd.grad(-(joint * log_q).sum(), list(model.up.parameters()))
    for a, b in zip(found, exact, strict=True):
        assert float((a - b).abs().max()) < 0.004


def test_training_finds_what_hangs_together():
    """Bits whose two halves are equal, 800 draws, seed 5: 6 log 2 = 4.16 nats if independent, and 3 log 2 at best."""
    torch.manual_seed(5)
    half = torch.rand(800, 3).round()
    data = Data("toy", Arrays(x=torch.cat([half, half], 1)))
    run = dbn(data, hidden=(8, 8), pretraining=10, pretraining_lr=2.0, epochs=10, lr=0.5, batch=40)
    fit(run)
    p = law(run.system.double().requires_grad_(False))
    reached = float(-p[torch.arange(8) * 9].log().mean())  # numbers whose halves are equal
    assert 3 * math.log(2) < reached < 3


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_recipe_measures_and_its_system_has_every_verb(visible, monkeypatch):
    torch.manual_seed(0)
    x = torch.rand(60, 1, 4, 4)
    data = Data("toy", Arrays(x=x), test=Arrays(x=x), unlabelled=Arrays(x=x[:20]))
    run = dbn(data, hidden=(6, 5, 4), pretraining=1, epochs=1, batch=20, visible=visible)
    assert len(run.train) == 4  # examples without a label serve as well
    assert run.before is not None
    stages = run.before()
    layers = []
    for stage in stages:
        fit(stage)
        layers.append(stage.system)
    model = run.system
    assert layers[-1] is model.top
    assert all(torch.equal(model.up[i].weight, layer.W.t()) for i, layer in enumerate(layers[:-1]))
    assert all(torch.equal(model.down[i].weight, layer.W) for i, layer in enumerate(layers[:-1]))
    for protocol in (Encodes, Samples, Scores):
        assert isinstance(model, protocol)
    assert model.encode(x).shape == (60, 4)
    assert model.sample(3, steps=2).shape == model.reconstruct(x[:3]).shape == (3, 1, 4, 4)
    assert all(torch.isfinite(value) for value in model.metrics(x=x).values())
    monkeypatch.setattr(harmoniums, "paper_betas", partial(paper_betas, 500))
    figures = likelihood(run)
    assert abs(figures["log_partition"] - log_partition(model.top)) < 0.01 + 4 * figures["error"]


def test_the_classifier_begins_with_the_machines():
    torch.manual_seed(0)
    x = torch.rand(60, 1, 4, 4)
    examples = Arrays(x=x, y=torch.arange(60) % 3)
    data = Data("toy", examples, examples, examples, ("a", "b", "c"))
    run = dbn_classifier(data, hidden=(6, 5), pretraining=1, epochs=1, batch=20)
    assert run.before is not None
    h = x.flatten(1)
    for stage in run.before():
        fit(stage)
        h = stage.system.encode(h)
    system = run.system.eval()
    torch.testing.assert_close(system.encode(x), h)
    assert isinstance(system, Predicts)
    torch.testing.assert_close(system.predict(x), torch.full((60, 3), 1 / 3))


def test_what_does_not_fit_is_refused():
    wide = Data("toy", Arrays(x=torch.full((4, 3), 2.0)))
    with pytest.raises(ValueError, match="binary units need values"):
        dbn(wide)
    with pytest.raises(ValueError, match="use rbm"):
        dbn(wide, hidden=(5,), visible="gaussian")
    with pytest.raises(ValueError, match="no labels"):
        dbn_classifier(wide, visible="gaussian")
    with pytest.raises(ValueError, match="test data"):
        likelihood(dbn(wide, hidden=(3, 2), visible="gaussian"))
