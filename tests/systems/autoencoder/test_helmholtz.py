"""The Helmholtz machine against enumeration of small machines, the papers' delta rules, and closed forms."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lamina.core import Encodes, Samples, Scores
from lamina.data.dataset import Data
from lamina.data.examples import Arrays
from lamina.recipes import helmholtz
from lamina.recipes.helmholtz import likelihood, reweighted_wake_sleep, wake_sleep
from lamina.sampling.enumerate import states
from lamina.sampling.importance import importance_bound
from lamina.systems.autoencoder.helmholtz import HelmholtzMachine
from lamina.systems.energy.units import Bernoulli

SIZES = pytest.mark.parametrize("sizes", [(6, 3), (5, 3, 2)])


def machine(
    sizes: tuple[int, ...], seed: int = 0, samples: int = 1, recognition: str = "sleep", std: float = 1.0
) -> HelmholtzMachine:
    """Return a float64 machine with random parameters, large ones by default."""
    torch.manual_seed(seed)
    units = Bernoulli((sizes[0],), binarize=False)
    model = HelmholtzMachine(units, sizes[1:], samples=samples, recognition=recognition).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=std)
    return model


def every(units: int) -> Tensor:
    return torch.cat(list(states(units)))


def bits(h: Tensor, p: Tensor) -> Tensor:
    """Return the probability of independent bits, as a product."""
    return torch.where(h > 0.5, p, 1 - p).prod(-1)


def split(model: HelmholtzMachine, h: Tensor) -> list[Tensor]:
    return list(h.split([layer.out_features for layer in model.up], -1))


def tables(model: HelmholtzMachine) -> tuple[Tensor, Tensor]:
    """Return p(x, h) and q(h | x) for all x (rows) and all h (columns), from products of probabilities."""
    widths = [layer.out_features for layer in model.up]
    x, h = every(model.up[0].in_features), every(sum(widths))
    layers = [x[:, None].expand(-1, len(h), -1), *(part.expand(len(x), -1, -1) for part in split(model, h))]
    p, q = bits(layers[-1], torch.sigmoid(model.prior)), torch.ones(())
    for up, down, low, high in zip(model.up, model.down, layers, layers[1:], strict=False):
        p = p * bits(low, torch.sigmoid(high @ down.weight.T + down.bias))
        q = q * bits(high, torch.sigmoid(low @ up.weight.T + up.bias))
    return p, q


def gradients(model: HelmholtzMachine, value: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(value, parameters, allow_unused=True)
    return {name: slope for name, slope in zip(names, found, strict=True) if slope is not None}


def close(found: dict[str, Tensor], expected: dict[str, Tensor], bound: float) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=bound)


def enumerating(model: HelmholtzMachine, monkeypatch: pytest.MonkeyPatch) -> HelmholtzMachine:
    """Let `infer` return every hidden state as if drawn evenly, so that the weights are the exact posterior.

    Log q has the value 0 and its own gradient.
    """
    h = every(sum(layer.out_features for layer in model.up))
    model.samples = len(h)

    def infer(x: Tensor, samples: int) -> tuple[list[Tensor], Tensor]:
        layers = [x[None], *(part[:, None].expand(-1, len(x), -1) for part in split(model, h))]
        log_q = model.log_recognition(layers)
        return layers, log_q - log_q.detach()

    monkeypatch.setattr(model, "infer", infer)
    return model


@SIZES
def test_log_probabilities_and_bounds_by_enumeration(sizes):
    """Draws: 2,000 of each x, seed 1, bound 5 standard errors; weights of std 0.5, so that ω has no long tail."""
    model = machine(sizes, std=0.5).requires_grad_(False)
    p, q = tables(model)
    x, h = every(sizes[0]), every(sum(sizes[1:]))
    assert abs(float(p.sum()) - 1) < 1e-12
    layers = [x[None], *(part[:, None].expand(-1, len(x), -1) for part in split(model, h))]
    torch.testing.assert_close(model.log_joint(layers).T, p.log(), rtol=0, atol=1e-11)
    torch.testing.assert_close(model.log_recognition(layers).T, q.log(), rtol=0, atol=1e-11)
    exact, log_w = p.sum(1).log(), p.log() - q.log()
    elbo = (q * log_w).sum(1)
    pairs = torch.logaddexp(log_w[:, :, None], log_w[:, None]) - torch.tensor(2.0).double().log()
    two = torch.einsum("xi,xj,xij->x", q, q, pairs)  # the bound of 2 draws
    assert bool((elbo <= two).all())
    assert bool((two <= exact).all())
    torch.manual_seed(1)
    many = x.repeat(2000, 1)
    for samples, expected in ((1, elbo), (2, two)):
        draws = importance_bound(model, many, samples).reshape(2000, -1)
        assert bool(((draws.mean(0) - expected).abs() < 5 * draws.std(0) / 2000**0.5 + 1e-9).all())
    weights = model.log_weights(x, 2000).exp()  # unbiased for p(x)
    assert bool(((weights.mean(0) - exact.exp()).abs() < 5 * weights.std(0) / 2000**0.5).all())


@SIZES
def test_importance_bound_rises_to_the_log_likelihood(sizes):
    """Mean over all x, seed 2; 100 repeats for few draws: the steps between k = 1, 4, 16, 64 are 10 times the error."""
    model = machine(sizes).requires_grad_(False)
    exact = tables(model)[0].sum(1).log()
    torch.manual_seed(2)
    x = every(sizes[0])
    reached = [float(importance_bound(model, x.repeat(100, 1), k).mean()) for k in (1, 4, 16, 64)]
    assert reached == sorted(reached)
    assert reached[-1] < float(exact.mean())
    assert abs(float((importance_bound(model, x, 100_000) - exact).mean())) < 0.01


def test_weights_are_the_likelihood_if_recognition_is_exact():
    """One hidden unit: the posterior is logistic in x, so every draw weighs p(x)."""
    model = machine((6, 1), samples=3, recognition="both").requires_grad_(False)
    down, up = model.down[0], model.up[0]
    up.weight.copy_(down.weight.T)
    up.bias.copy_(model.prior + F.softplus(down.bias).sum() - F.softplus(down.bias + down.weight[:, 0]).sum())
    exact = tables(model)[0].sum(1).log()
    torch.testing.assert_close(model.log_weights(every(6), 7), exact.expand(7, -1), rtol=0, atol=1e-12)


@SIZES
def test_exact_posterior_gives_the_exact_gradients(sizes, monkeypatch):
    """Wake: of -log p(x). Wake-phase recognition: of KL(p(h | x) || q(h | x)). By enumeration."""
    model = machine(sizes, samples=2, recognition="wake")
    p, q = tables(model)
    expected = gradients(model, -p.sum(1).log().mean())
    posterior = (p / p.sum(1, keepdim=True)).detach()
    divergence = gradients(model, (posterior * (posterior.log() - q.log())).sum(1).mean())
    terms = enumerating(model, monkeypatch).loss(every(sizes[0]))
    close(gradients(model, terms["wake"]), expected, 1e-12)
    close(gradients(model, terms["wake_recognition"]), divergence, 1e-12)


@SIZES
def test_sleep_gradient_is_that_of_the_expectation_under_the_model(sizes):
    """400,000 dreams, seed 3: a standard error is below 0.5 / sqrt(400,000) = 0.0008; bound 5 of them."""
    model = machine(sizes)
    p, q = tables(model)
    exact = gradients(model, -(p.detach() * q.log()).sum())
    torch.manual_seed(3)
    slopes = gradients(model, model.loss(torch.zeros(400_000, sizes[0]).double())["sleep"])
    close(slopes, exact, 0.004)
    place = 2.0 ** torch.arange(sum(sizes)).double()
    seen = torch.bincount((torch.cat(model.dream(400_000), -1)[0] @ place).long(), minlength=2 ** sum(sizes)) / 400_000
    law = p.detach().T.flatten()  # the bits of x vary fastest in both
    assert float((seen - law).abs().sum()) / 2 < 0.5 * float((2 / torch.pi * law / 400_000).sqrt().sum()) * 1.5


@pytest.mark.parametrize(("samples", "recognition"), [(1, "sleep"), (4, "sleep"), (4, "wake"), (4, "both")])
def test_gradients_are_the_delta_rules(samples, recognition):
    """W gets Σ ω̃ (h - σ(b + W h')) h'ᵀ, V gets Σ ω̃ (h' - σ(c + V h)) hᵀ and its unweighted form on dreams."""
    model, x = machine((7, 4, 3), samples=samples, recognition=recognition), torch.rand(20, 7).lt(0.4).double()
    torch.manual_seed(4)
    found = gradients(model, sum(model.loss(x).values()))
    torch.manual_seed(4)
    with torch.no_grad():
        awake, _ = model.infer(x, samples)
        awake[0] = x.expand(samples, -1, -1)
        asleep = model.dream(20)
        p, q = bits(awake[-1], torch.sigmoid(model.prior)), torch.ones(())
        for up, down, low, high in zip(model.up, model.down, awake, awake[1:], strict=False):
            p = p * bits(low, torch.sigmoid(down(high)))
            q = q * bits(high, torch.sigmoid(up(low)))
        weight = p / q / (p / q).sum(0)
        phases = [(awake, weight)] * (recognition != "sleep") + [(asleep, torch.ones(1, 20))] * (recognition != "wake")
        expected = {"prior": -torch.einsum("kb,kbi->i", weight, awake[-1] - torch.sigmoid(model.prior)) / 20}
        for i, (up, down) in enumerate(zip(model.up, model.down, strict=True)):
            error = weight[..., None] * (awake[i] - torch.sigmoid(down(awake[i + 1])))
            expected[f"down.{i}.weight"] = -torch.einsum("kbi,kbj->ij", error, awake[i + 1]) / 20
            expected[f"down.{i}.bias"] = -error.sum((0, 1)) / 20
            rule = [(w[..., None] * (h[i + 1] - torch.sigmoid(up(h[i]))), h[i]) for h, w in phases]
            expected[f"up.{i}.weight"] = -sum(torch.einsum("kbi,kbj->ij", e, low) for e, low in rule) / 20
            expected[f"up.{i}.bias"] = -sum(e.sum((0, 1)) for e, _ in rule) / 20
    close(found, expected, 1e-12)


def test_phases_share_no_parameter():
    model = machine((6, 4, 3), samples=3, recognition="both")
    reached = {name: set(gradients(model, term)) for name, term in model.loss(torch.rand(9, 6).double()).items()}
    recognition = {name for name, _ in model.named_parameters() if name.startswith("up.")}
    assert reached["sleep"] == reached["wake_recognition"] == recognition
    assert reached["wake"] == {name for name, _ in model.named_parameters()} - recognition


def test_reweighted_gradient_tends_to_that_of_the_likelihood():
    """All 64 x, 2^14 draws of each, so 2^14 / K repeats, seed 5: a bias that falls with K, and noise below 0.005."""
    exact = machine((6, 3))
    expected = gradients(exact, -tables(exact)[0].sum(1).log().mean())
    reached = []
    for samples in (1, 8, 64, 4096):
        model = machine((6, 3), samples=samples)
        torch.manual_seed(5)
        found = gradients(model, model.loss(every(6).repeat(2**14 // samples, 1))["wake"])
        reached.append(max(float((found[name] - value).abs().max()) for name, value in expected.items()))
    assert reached[1] < 0.5 * reached[0]
    assert reached[2] < 0.5 * reached[1]
    assert reached[3] < 0.01


@pytest.mark.parametrize(("samples", "recognition"), [(1, "sleep"), (5, "both"), (5, "wake")])
def test_trained_likelihood_lies_between_independent_bits_and_the_entropy(samples, recognition):
    """Data of a random 6-3 machine with weights of std 2, exact likelihoods; 1,500 updates, falling rate."""
    law = tables(machine((6, 3), seed=2, std=2.0))[0].sum(1).detach()
    x, entropy = every(6), float(-(law * law.log()).sum())
    means = law @ x
    independent = float(law @ bits(x, means).log())
    torch.manual_seed(7)
    model = HelmholtzMachine(Bernoulli((6,)), (3,), means.logit(), samples, recognition).double()
    optimizer = torch.optim.Adam(model.parameters())
    for step in range(1500):
        optimizer.param_groups[0]["lr"] = 0.02 * (1 - step / 1500)
        optimizer.zero_grad()
        sum(model.loss(x[law.multinomial(100, replacement=True)]).values()).backward()
        optimizer.step()
    reached = float(law @ tables(model)[0].sum(1).log().detach())
    assert independent + 0.6 * (-entropy - independent) < reached <= -entropy


def test_grey_values_are_drawn_afresh_and_held_out_bits_are_not():
    model = HelmholtzMachine(Bernoulli((5,)), (3,))
    x = torch.full((400, 5), 0.5)
    torch.manual_seed(8)
    assert model.loss(x)["wake"] != model.loss(x)["wake"]
    seen = []
    model.infer = lambda x, samples: (seen.append(x), HelmholtzMachine.infer(model, x, samples))[1]
    model.loss(x)
    model.metrics(x)
    assert all(set(part.unique().tolist()) == {0.0, 1.0} for part in seen)


@pytest.mark.parametrize("shape", [(3, 4, 5), (6,)])
@pytest.mark.parametrize("make", [wake_sleep, reweighted_wake_sleep])
def test_color_images_and_rows(make, shape):
    x = torch.rand(30, *shape)
    data = Data("toy", Arrays(x=x), Arrays(x=x), Arrays(x=x))
    model = make(data, hidden=(4, 3), batch=10, epochs=1).system
    assert isinstance(model, Encodes)
    assert isinstance(model, Samples)
    assert isinstance(model, Scores)
    assert model.encode(x).shape == (30, 4)
    assert model.reconstruct(x).shape == (30, *shape)
    assert model.sample(7).shape == (7, *shape)
    assert set(model.sample(7).unique().tolist()) <= {0.0, 1.0}
    assert model.score(x).shape == (30,)
    assert model.log_weights(x, 5).shape == (5, 30)
    means = x.flatten(1).mean(0)
    torch.testing.assert_close(model.down[0].bias.sigmoid(), (30 * means + 1) / 32)
    rebuilt = make(Data.blank(data.outline()), hidden=(4, 3)).system
    rebuilt.load_state_dict(copy.deepcopy(model.state_dict()))
    assert torch.equal(rebuilt.encode(x), model.encode(x))


def test_measure_reaches_the_exact_likelihood(monkeypatch):
    """20,000 draws of each of 20 examples: the error of the mean is about 0.001."""
    x = torch.rand(20, 6)
    data = Data("toy", Arrays(x=x), test=Arrays(x=x))
    run = wake_sleep(data, hidden=(3,), epochs=1)
    for parameter in run.system.parameters():
        nn.init.normal_(parameter, std=0.5)
    monkeypatch.setattr(helmholtz, "SAMPLES", 20_000)
    figures = likelihood(run)
    torch.manual_seed(0)  # the figure's own binarization
    drawn = Bernoulli((6,)).observed(x).double()
    p, _ = tables(copy.deepcopy(run.system).double().requires_grad_(False))
    exact = -float(p.sum(1).log()[(drawn @ 2.0 ** torch.arange(6).double()).long()].mean())
    assert abs(figures["nll"] - exact) < 0.01
    assert figures["negative_elbo"] > exact
    assert likelihood(run) == figures


def test_refuses_what_cannot_work():
    data = Data("toy", Arrays(x=torch.rand(4, 3)))
    for arguments, told in (
        ({"hidden": ()}, "at least 1"),
        ({"hidden": (3, 0)}, "at least 1"),
        ({"samples": 1}, "samples to 2 or more"),
        ({"fall": 2.0}, "between 0 and 1"),
    ):
        with pytest.raises(ValueError, match=told):
            reweighted_wake_sleep(data, **arguments)
    with pytest.raises(ValueError, match="rescale it"):
        wake_sleep(Data("toy", Arrays(x=torch.full((4, 3), 2.0))))
    with pytest.raises(ValueError, match="test data"):
        likelihood(wake_sleep(data))
    assert wake_sleep(data, fall=0.0, optimizer="sgd").schedules["lr"](0.9) == 1e-2
