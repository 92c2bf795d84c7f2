"""The RBM against enumeration of small machines, numerical integration, scikit-learn, and its own free energy."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lamina.core import Encodes, Samples, Scores
from lamina.data.dataset import Data
from lamina.data.examples import Arrays
from lamina.recipes import harmoniums
from lamina.recipes.energy import rbm
from lamina.recipes.harmoniums import likelihood
from lamina.sampling.ais import paper_betas
from lamina.sampling.enumerate import log_partition, states
from lamina.systems.energy.rbm import RBM
from lamina.systems.energy.units import Bernoulli, Gaussian, flip


def machine(visible: int, hidden: int, seed: int = 0, chains: int = 0, k: int = 1, gaussian: bool = False) -> RBM:
    """Return a float64 machine with large random parameters."""
    torch.manual_seed(seed)
    shift, scale = torch.randn(visible), torch.rand(visible) + 0.5
    units = Gaussian(shift, scale) if gaussian else Bernoulli((visible,), binarize=False)
    model = RBM(units, hidden, k=k, chains=chains).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4 if gaussian else 1.0)
    return model


def every(units: int) -> Tensor:
    return torch.cat(list(states(units)))


def law(model: RBM) -> Tensor:
    """Return p(v) for all v."""
    return joint(model).logsumexp(1).softmax(0).detach()


def joint(model: RBM) -> Tensor:
    """Return -E for all (v, h), written out as in the definition."""
    v, h = every(len(model.a)), every(len(model.b))
    return (v @ model.a)[:, None] + (h @ model.b)[None] + torch.einsum("vi,ij,hj->vh", v, model.W, h)


def gradients(model: RBM, value: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(value, parameters), strict=True))


def transition(model: RBM) -> Tensor:
    """Return T[v, v'], the probability of one Gibbs step, from p(h | v) and p(v' | h) of the joint distribution."""
    log_joint = joint(model)
    return (log_joint.softmax(1) @ log_joint.softmax(0).t()).detach()


def test_free_energy_and_partition_by_joint_enumeration():
    model = machine(8, 6)
    log_joint = joint(model)
    torch.testing.assert_close(-model.free_energy(every(8)), log_joint.logsumexp(1), rtol=0, atol=1e-12)
    exact = float(log_joint.logsumexp((0, 1)).detach())
    assert abs(log_partition(model) - exact) < 1e-12  # sums over h
    wide = machine(6, 8)
    assert abs(log_partition(wide) - float(joint(wide).logsumexp((0, 1)).detach())) < 1e-12  # sums over v
    assert abs(float(model.log_prob(every(8), exact).exp().sum()) - 1) < 1e-12
    torch.testing.assert_close(model.encode(every(8)), log_joint.softmax(1) @ every(6), rtol=0, atol=1e-12)


@pytest.mark.parametrize("gaussian", [False, True])
@pytest.mark.parametrize("chains", [0, 40])
def test_surrogate_has_the_gradient_of_the_free_energy_difference(chains, gaussian):
    model = machine(7, 5, chains=chains, k=3, gaussian=gaussian)
    x, start = torch.rand(30, 7).double(), model.chains.clone()
    torch.manual_seed(1)
    surrogate = gradients(model, model.loss(x)["divergence"])
    torch.manual_seed(1)
    with torch.no_grad():
        data = model.visible.observed(x)
        h = start if chains else flip(model.up(data))
        negative = model.gibbs(model.visible.draw(model.down(h)), 2)
    expected = gradients(model, model.free_energy(data).mean() - model.free_energy(negative).mean())
    for name, value in expected.items():
        torch.testing.assert_close(surrogate[name], value, rtol=0, atol=1e-12)


def test_chains_from_the_model_give_the_gradient_of_the_likelihood():
    """200,000 exact chains, seed 2: a standard error is below 0.5 / sqrt(200,000) = 0.0011; bound 5 of them."""
    model = machine(6, 4, chains=200_000)
    data = torch.rand(50, 6).lt(0.3).double()
    torch.manual_seed(2)
    weights = joint(model).detach().logsumexp(0).softmax(0)
    model.chains.copy_(every(4)[weights.multinomial(200_000, replacement=True)])
    estimate = gradients(model, model.loss(data)["divergence"])
    exact = gradients(model, model.free_energy(data).mean() + joint(model).logsumexp((0, 1)))
    for name, value in exact.items():
        assert float((estimate[name] - value).abs().max()) < 0.0056
    moved = model.chains.mean(0) - weights @ every(4)  # the chains stay where they should
    assert float(moved.abs().max()) < 0.0056


@pytest.mark.parametrize("k", [1, 3])
def test_contrastive_divergence_by_powers_of_the_transition_matrix(k):
    """200,000 examples, seed 3, bound 5 standard errors of at most 0.0011; and CD-50 is the likelihood gradient."""
    model = machine(5, 3, k=k)
    torch.manual_seed(3)
    start = torch.rand(32).softmax(0).double()
    step = transition(model)
    data = every(5)[start.multinomial(200_000, replacement=True)]
    begun = torch.bincount((data @ 2.0 ** torch.arange(5).double()).long(), minlength=32) / 200_000

    def divergence(steps: int) -> dict[str, Tensor]:
        ended = begun.double() @ torch.linalg.matrix_power(step, steps)
        return gradients(model, (begun - ended) @ model.free_energy(every(5)))

    estimate = gradients(model, model.loss(data)["divergence"])
    for name, value in divergence(k).items():
        assert float((estimate[name] - value).abs().max()) < 0.0056
    exact = gradients(model, begun.double() @ model.free_energy(every(5)) + joint(model).logsumexp((0, 1)))
    for name, value in divergence(2000).items():
        torch.testing.assert_close(value, exact[name], rtol=0, atol=1e-10)


def test_gibbs_sampling_has_the_transitions_and_the_stationary_distribution_of_the_joint():
    """100,000 chains, seed 4: total variation over 32 states is about 0.5 * 32 * sqrt(1 / 32 / 100,000) = 0.009."""
    model = machine(5, 3)
    step, stationary = transition(model), law(model)
    torch.testing.assert_close(stationary @ step, stationary, rtol=0, atol=1e-12)
    torch.manual_seed(4)
    place = 2.0 ** torch.arange(5).double()
    for state in (0, 13, 31):
        ended = model.gibbs(every(5)[state].expand(100_000, -1), 1) @ place
        seen = torch.bincount(ended.long(), minlength=32) / 100_000
        assert float((seen - step[state]).abs().sum()) / 2 < 0.01
    with torch.no_grad():
        model.W.mul_(0.5)  # so that 100 steps from noise mix
    seen = torch.bincount((model.sample(100_000, steps=100) @ place).long(), minlength=32) / 100_000
    assert float((seen - law(model)).abs().sum()) / 2 < 0.01


def test_pseudo_likelihood_by_enumeration():
    """The one-bit form: 200,000 draws a row, seed 5; bound 5 standard errors of the draws."""
    model = machine(6, 4)
    log_p = law(model).log()
    order, model = torch.arange(64), model.requires_grad_(False)
    flipped = torch.stack([log_p[order ^ (1 << i)] for i in range(6)])
    expected = (log_p - torch.logaddexp(log_p, flipped)).sum(0)
    torch.testing.assert_close(model.pseudo_likelihood(every(6)), expected, rtol=0, atol=1e-12)
    torch.manual_seed(5)
    for row in (3, 40):
        draws = model.pseudo_likelihood_of_one(every(6)[row].expand(200_000, -1))
        assert abs(float(draws.mean() - expected[row])) < 5 * float(draws.std()) / 200_000**0.5
    with pytest.raises(ValueError, match="binary visible units"):
        machine(3, 2, gaussian=True).pseudo_likelihood(torch.zeros(1, 3).double())


def test_gaussian_units_by_numerical_integration():
    model = machine(2, 3, gaussian=True)
    axis = torch.linspace(-14, 14, 701, dtype=torch.float64)
    v, cell = torch.cartesian_prod(axis, axis), float(axis[1] - axis[0]) ** 2
    h = every(3)
    model.requires_grad_(False)
    log_joint = (-v.square().sum(-1) / 2 + v @ model.a)[:, None] + h @ model.b + v @ model.W @ h.t()
    torch.testing.assert_close(-model.free_energy(v), log_joint.logsumexp(1), rtol=0, atol=1e-12)
    exact = log_partition(model)
    assert abs(float(log_joint.exp().sum() * cell) / np.exp(exact) - 1) < 1e-10
    shift, scale = model.visible.shift, model.visible.scale
    raw = v * scale + shift  # a grid of raw values, with larger cells
    assert abs(float(model.log_prob(raw, exact).exp().sum()) * cell * float(scale.prod()) - 1) < 1e-10
    torch.testing.assert_close(model.visible.restored(model.visible.standard(raw)), raw)
    torch.manual_seed(6)  # 100,000 samples: a mean's standard error is below 3 / sqrt(100,000) = 0.0095
    weights = log_joint.exp().sum(1) * cell / np.exp(exact)
    assert float((model.sample(100_000, steps=50).mean(0) - weights @ raw).abs().max()) < 0.03


def test_sparsity_pulls_the_mean_activity_to_its_target():
    data = digits()
    activity = {}
    for weight in (0.0, 1.0):
        model = train(RBM(Bernoulli((64,)), 16, sparsity=weight, target=0.1), data, epochs=20)
        activity[weight] = model.encode(data).mean(0)
    assert float((activity[1.0] - 0.1).abs().max()) < 0.05
    assert float((activity[0.0] - 0.1).abs().mean()) > 0.15
    model = RBM(Bernoulli((64,), binarize=False), 16, sparsity=0.5, target=0.2)  # Hinton: the unit's input gets q - p
    (slope,) = torch.autograd.grad(model.loss(data)["sparsity"], model.b)
    torch.testing.assert_close(slope, 0.5 * (0.05 * model.encode(data).mean(0) - 0.05 * 0.2))


def digits() -> Tensor:
    from sklearn.datasets import load_digits

    return torch.from_numpy(load_digits().data / 16).float()


def train(model: RBM, x: Tensor, epochs: int, lr: float = 0.1, seed: int = 0) -> RBM:
    """Train with SGD, batches of 100 and a learning rate that falls to zero."""
    torch.manual_seed(seed)
    batches = -(-len(x) // 100)
    optimizer = torch.optim.SGD(model.parameters(), lr)
    for epoch in range(epochs):
        for i, rows in enumerate(torch.randperm(len(x)).split(100)):
            optimizer.param_groups[0]["lr"] = lr * (1 - (epoch * batches + i) / (epochs * batches))
            optimizer.zero_grad()
            sum(model.loss(x[rows]).values()).backward()
            optimizer.step()
    return model


def test_digits_beat_scikit_learn_and_independent_pixels():
    """12 hidden units, 200 epochs, lr 0.3 falling to zero, exact log Z; digits cut at 1/2, the last 397 held out."""
    from sklearn.neural_network import BernoulliRBM

    x = digits().gt(0.5).float()
    fitted, held = x[:1400], x[1400:]
    units = Bernoulli((64,))
    bias = units.matching(fitted.mean(0), len(fitted))
    model = train(RBM(units, 12, bias), fitted, epochs=200, lr=0.3)
    reached = float(model.log_prob(held, log_partition(model)).mean())
    pixels = float((held @ bias - nn.functional.softplus(bias).sum()).mean())
    assert reached > pixels + 4
    other = BernoulliRBM(12, learning_rate=0.3, batch_size=100, n_iter=200, random_state=0).fit(fitted.numpy())
    values = other.components_.T, other.intercept_visible_, other.intercept_hidden_
    for parameter, value in zip((model.W, model.a, model.b), values, strict=True):
        parameter.data.copy_(torch.from_numpy(value))
    np.testing.assert_allclose(model.encode(held).numpy(), other.transform(held.numpy()), atol=1e-5)
    assert reached > float(model.log_prob(held, log_partition(model)).mean()) + 1.5


def test_bars_and_stripes_persistent_chains_beat_contrastive_divergence():
    """4x4 bars and stripes (Fischer & Igel 2010), 16 hidden units, 3,000 updates, exact log Z."""
    rows = every(4).float()
    x = torch.cat([rows[:, None].expand(-1, 4, -1), rows[..., None].expand(-1, -1, 4)])
    reached = []
    for chains in (0, 32):
        model = train(RBM(Bernoulli((4, 4)), 16, chains=chains), x, epochs=3000)
        reached.append(float(model.log_prob(x, log_partition(model)).mean()))
    assert reached[1] > reached[0] + 0.25


def test_grey_values_are_drawn_afresh():
    """20,000 copies, seed 7: bound 5 standard errors of 0.5 / sqrt(20,000) = 0.0035."""
    torch.manual_seed(7)
    x = torch.rand(1, 2, 3).expand(20_000, -1, -1)
    drawn = Bernoulli((2, 3)).observed(x)
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert float((drawn.mean(0) - x[0].flatten()).abs().max()) < 0.018
    assert torch.equal(Bernoulli((2, 3), binarize=False).observed(x), x.flatten(1))


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_recipe_builds_from_an_outline_and_measures(visible, monkeypatch):
    torch.manual_seed(0)
    x = torch.rand(60, 1, 4, 4)
    data = Data("toy", Arrays(x=x), test=Arrays(x=x))
    run = rbm(data, hidden=6, batch=20, epochs=1, visible=visible, sparsity=0.1)
    model = run.system
    assert isinstance(model, Encodes)
    assert isinstance(model, Samples)
    assert isinstance(model, Scores)
    assert model.sample(3, steps=2).shape == model.reconstruct(x[:3]).shape == (3, 1, 4, 4)
    assert all(torch.isfinite(value) for value in model.metrics(x=x).values())
    rebuilt = rbm(Data.blank(data.outline()), hidden=6, visible=visible, sparsity=0.1).system
    rebuilt.load_state_dict(copy.deepcopy(model.state_dict()))
    assert torch.equal(rebuilt.score(x), model.score(x))
    monkeypatch.setattr(harmoniums, "paper_betas", partial(paper_betas, 1000))
    figures = likelihood(run)
    assert abs(figures["log_likelihood"] - figures["exact_log_likelihood"]) < 0.01 + 4 * figures["error"]


def test_recipe_refuses_what_does_not_fit():
    wide = Data("toy", Arrays(x=torch.full((4, 3), 2.0)))
    with pytest.raises(ValueError, match="binary units need values"):
        rbm(wide)
    with pytest.raises(ValueError, match="test data"):
        likelihood(rbm(wide, visible="gaussian"))
    with pytest.raises(ValueError, match="at least 1"):
        rbm(wide, visible="gaussian", k=0)
