"""The discriminative and hybrid RBM against enumeration, finite differences, and scikit-learn on digits."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from lamina.core import Encodes, Predicts, Samples, Scores
from lamina.data.dataset import Data
from lamina.data.examples import Arrays
from lamina.data.standard import digits
from lamina.recipes.discriminative import drbm
from lamina.sampling.enumerate import states
from lamina.systems.energy.discriminative import DiscriminativeRBM
from lamina.systems.energy.units import Bernoulli, Gaussian
from lamina.train.evaluate import evaluate
from lamina.train.fit import fit
from lamina.train.trainer import Trainer

V, H, C = 5, 4, 3


def machine(generative: float = 0.0, chains: int = 0, k: int = 1, gaussian: bool = False) -> DiscriminativeRBM:
    """Return a float64 machine with large random parameters."""
    torch.manual_seed(0)
    units = Gaussian(torch.randn(V), torch.rand(V) + 0.5) if gaussian else Bernoulli((V,), binarize=False)
    model = DiscriminativeRBM(units, H, C, generative=generative, k=k, chains=chains).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4 if gaussian else 0.8)
    return model


def every(units: int) -> Tensor:
    return torch.cat(list(states(units)))


def joint(model: DiscriminativeRBM, x: Tensor) -> Tensor:
    """Return -E for (x, all y, all h), written out as in the definition."""
    h = every(H)
    by_x = (x @ model.a)[:, None, None] + torch.einsum("vi,ij,hj->vh", x, model.W, h)[:, None]
    if not model.visible.binary:
        by_x = by_x - x.square().sum(1)[:, None, None] / 2
    return by_x + model.d[:, None] + h @ model.b + model.U @ h.t()


def gradients(model: DiscriminativeRBM, value: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
    return dict(zip(names, found, strict=True))


def likelihood(model: DiscriminativeRBM, x: Tensor, y: Tensor) -> Tensor:
    """Return the mean of log p(x, y), by enumeration."""
    log_joint = joint(model, x).logsumexp(2).gather(1, y[:, None])
    return log_joint.mean() - joint(model, every(V)).logsumexp((0, 1, 2))


def some(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(count, V, generator=generator).lt(0.4).double()
    return x, torch.randint(C, (count,), generator=generator)


@pytest.mark.parametrize("gaussian", [False, True])
def test_closed_forms_by_enumeration(gaussian):
    model = machine(gaussian=gaussian).requires_grad_(False)
    x = torch.randn(20, V).double() if gaussian else torch.cat([every(V), torch.rand(9, V).double()])
    raw, log_joint = model.visible.restored(x), joint(model, x)
    posterior = log_joint.flatten(1).softmax(1).unflatten(1, (C, -1))  # p(y, h | x)
    exact = {"rtol": 0, "atol": 1e-12}
    torch.testing.assert_close(model.predict(raw), posterior.sum(2), **exact)
    torch.testing.assert_close(model.encode(raw), posterior.sum(1) @ every(H), **exact)
    torch.testing.assert_close(model.score(raw), log_joint.logsumexp((1, 2)), **exact)
    free = torch.stack([model.free_energy(x, torch.full((len(x),), y)) for y in range(C)], 1)
    torch.testing.assert_close(-free, log_joint.logsumexp(2), **exact)
    torch.testing.assert_close(model.predict(raw), (-free).softmax(1), **exact)  # consistent with the joint


def test_partition_by_enumeration():
    model = machine().requires_grad_(False)
    assert abs(model.log_partition() - float(joint(model, every(V)).logsumexp((0, 1, 2)))) < 1e-12
    model = DiscriminativeRBM(Bernoulli((2,)), 26, 2)
    with pytest.raises(ValueError, match="at most 25"):
        model.log_partition()


def test_partition_of_gaussian_units_by_numerical_integration():
    torch.manual_seed(0)
    model = DiscriminativeRBM(Gaussian(torch.zeros(1), torch.ones(1)), H, C).double().requires_grad_(False)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.6)
    axis = torch.linspace(-16, 16, 4001, dtype=torch.float64)
    total = joint(model, axis[:, None]).exp().sum() * (axis[1] - axis[0])
    assert abs(float(total.log()) - model.log_partition()) < 1e-10


def test_discriminative_gradient_by_finite_differences_and_by_the_posterior():
    model = machine()
    x, y = some(12)
    x = x * torch.rand_like(x)  # grey values
    found = gradients(model, model.loss(x, y)["discriminative"])
    assert not found["a"].any()  # it cancels
    for name, parameter in model.named_parameters():
        flat, numeric = parameter.data.view(-1), torch.zeros_like(parameter).view(-1)
        for i in range(len(flat)):
            ends = []
            for step in (1e-5, -1e-5):
                flat[i] += step
                with torch.no_grad():
                    ends.append(float(model.loss(x, y)["discriminative"]))
                flat[i] -= step
            numeric[i] = (ends[0] - ends[1]) / 2e-5
        torch.testing.assert_close(found[name].view(-1), numeric, rtol=0, atol=1e-9)
    with torch.no_grad():  # the paper's closed form: Σ_k (p(k | x) - 1{k = y}) σ(b + U_k + xᵀW)
        rest = (model.predict(x) - nn.functional.one_hot(y, C)) / len(x)
        pull = rest[..., None] * (model.field(x)[:, None] + model.U).sigmoid()
        torch.testing.assert_close(found["W"], x.t() @ pull.sum(1), rtol=0, atol=1e-12)
        torch.testing.assert_close(found["U"], pull.sum(0), rtol=0, atol=1e-12)


def test_without_the_generative_term_it_is_the_discriminative_one():
    (x, y), plain, hybrid = some(12), machine(), machine(generative=0.3)
    assert plain.loss(x, y).keys() == {"discriminative"}
    torch.testing.assert_close(plain.loss(x, y)["discriminative"], hybrid.loss(x, y)["discriminative"], rtol=0, atol=0)
    state = torch.get_rng_state()
    plain.loss(x, y)
    assert torch.equal(state, torch.get_rng_state())  # and it draws nothing


@pytest.mark.parametrize("gaussian", [False, True])
@pytest.mark.parametrize("chains", [0, 40])
def test_hybrid_surrogate_has_the_gradient_of_the_free_energy_difference(chains, gaussian):
    model = machine(0.7, chains, k=3, gaussian=gaussian)
    (x, y), start = some(30), model.chains.clone()
    data = model.visible.standard(x)
    torch.manual_seed(1)
    surrogate = gradients(model, model.loss(x, y)["generative"])
    torch.manual_seed(1)
    with torch.no_grad():
        up = (model.field(data) + model.U[y]).sigmoid()
        negative = model.gibbs(start if chains else torch.rand_like(up).lt(up).double(), 3)
    difference = model.free_energy(data, y).mean() - model.free_energy(*negative).mean()
    for name, value in gradients(model, 0.7 * difference).items():
        torch.testing.assert_close(surrogate[name], value, rtol=0, atol=1e-12)


def test_chains_from_the_model_give_the_exact_gradient_of_the_hybrid():
    """200,000 exact chains, seed 2: a standard error is below 0.5 / sqrt(200,000) = 0.0011; bound 5 of them."""
    model = machine(generative=1.0, chains=200_000)
    x, y = some(50)
    torch.manual_seed(2)
    weights = joint(model, every(V)).detach().logsumexp((0, 1)).softmax(0)
    model.chains.copy_(every(H)[weights.multinomial(200_000, replacement=True)])
    estimate = gradients(model, sum(model.loss(x, y).values()))
    nll = -joint(model, x).logsumexp(2).log_softmax(1).gather(1, y[:, None]).mean()
    for name, value in gradients(model, nll - likelihood(model, x, y)).items():
        assert float((estimate[name] - value).abs().max()) < 0.0056, name
    assert float((model.chains.mean(0) - weights @ every(H)).abs().max()) < 0.0056  # the chains stay where they should


def test_gibbs_sampling_by_enumeration():
    """100,000 chains, seed 3: total variation over n states is about 0.4 sqrt(n / 100,000), 0.012 for n = 96."""
    model = machine().requires_grad_(False)
    place = 2 ** torch.arange(V)
    law = joint(model, every(V)).logsumexp(2).flatten().softmax(0).unflatten(0, (-1, C))  # p(x, y)
    torch.manual_seed(3)
    x, y = model.gibbs(model.start(100_000), 40)
    seen = torch.bincount((x @ place.double()).long() * C + y, minlength=32 * C).double() / 100_000
    assert float((seen - law.flatten()).abs().sum()) / 2 < 0.018
    for label in range(C):
        x = model.sample_of(torch.full((100_000,), label), steps=40)
        seen = torch.bincount((x @ place.double()).long(), minlength=32) / 100_000
        assert float((seen - law[:, label] / law[:, label].sum()).abs().sum()) / 2 < 0.011
    seen = torch.bincount((model.sample(100_000, steps=40) @ place.double()).long(), minlength=32) / 100_000
    assert float((seen - law.sum(1)).abs().sum()) / 2 < 0.011


def test_digits_beat_logistic_regression():
    """8x8 digits, seed 0, 400 test examples; rate and epochs were chosen on the 200 validation examples."""
    from sklearn.linear_model import LogisticRegression

    data = digits()
    run = drbm(data, hidden=60, lr=0.05, epochs=50, batch=50)
    fit(run)
    test = data.test.fetch(torch.arange(400))
    train = data.train.fetch(torch.arange(len(data.train)))
    linear = LogisticRegression(max_iter=2000).fit(train["x"].flatten(1).numpy(), train["y"].numpy())
    error = evaluate(run.system, run.test)["error"]
    assert error < 1 - linear.score(test["x"].flatten(1).numpy(), test["y"].numpy())
    assert error == pytest.approx(float((run.system.predict(test["x"]).argmax(1) != test["y"]).float().mean()))


def test_a_hybrid_learns_the_joint_distribution():
    """12 hidden units, 40 epochs, exact log Z; log p(x, y) of the 200 validation digits, cut at 1/2, in nats."""
    data = digits()
    run = drbm(data, hidden=12, generative=1.0, lr=0.03, epochs=40)
    model, held = run.system, data.valid.fetch(torch.arange(200))
    x, y, bias = held["x"].gt(0.5).float().flatten(1), held["y"], run.system.a.detach().clone()
    for _ in Trainer(run):
        pass
    with torch.no_grad():
        reached = float(-model.free_energy(x, y).mean()) - model.log_partition()
    alone = float((x @ bias - nn.functional.softplus(bias).sum()).mean()) - math.log(10)  # independent pixels and class
    assert reached > alone + 5


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_recipe_builds_from_an_outline_and_keeps_the_form_of_the_data(visible):
    torch.manual_seed(0)
    x = torch.rand(60, 3, 4, 5)
    data = Data("toy", Arrays(x=x, y=torch.arange(60) % 2), classes=("a", "b"))
    arguments = {"hidden": 6, "visible": visible, "generative": 0.1}
    model = drbm(data, batch=20, epochs=1, **arguments).system
    for verb in (Predicts, Encodes, Samples, Scores):
        assert isinstance(model, verb)
    assert model.sample(3, steps=2).shape == model.sample_of(torch.tensor([0, 1, 1]), steps=2).shape == (3, 3, 4, 5)
    assert model.encode(x).shape == (60, 6)
    rebuilt = drbm(Data.blank(data.outline()), **arguments).system
    rebuilt.load_state_dict(copy.deepcopy(model.state_dict()))
    assert torch.equal(rebuilt.predict(x), model.predict(x))


def test_refuses_what_does_not_fit():
    wide = Data("toy", Arrays(x=torch.full((4, 3), 2.0), y=torch.arange(4)), classes=tuple("abcd"))
    with pytest.raises(ValueError, match="binary units need values"):
        drbm(wide)
    with pytest.raises(ValueError, match="no labels"):
        drbm(Data("toy", Arrays(x=torch.rand(4, 3))))
    with pytest.raises(ValueError, match="at least"):
        drbm(wide, visible="gaussian", hidden=0)
    with pytest.raises(ValueError, match="generative"):
        drbm(wide, visible="gaussian", generative=-1.0)
