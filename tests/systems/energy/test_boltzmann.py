"""The Boltzmann machine against enumeration of small machines, exact transition matrices, and the RBM."""

import math

import pytest
import torch
from torch import Tensor, nn

from lamina.core import Encodes, Samples, Scores
from lamina.data.dataset import Data
from lamina.data.encoder import encoder
from lamina.data.examples import Arrays
from lamina.kernels.anneal import anneal
from lamina.recipes.boltzmann import boltzmann as boltzmann_recipe
from lamina.recipes.boltzmann import boltzmann_encoder, likelihood, solved, trials
from lamina.systems.energy import boltzmann
from lamina.systems.energy.boltzmann import BoltzmannMachine, every
from lamina.systems.energy.rbm import RBM
from lamina.systems.energy.units import Bernoulli
from lamina.train.fit import fit

LIKE = torch.zeros(0).double()


def machine(visible: int, hidden: int, std: float = 0.8, **arguments: object) -> BoltzmannMachine:
    """Return a float64 machine with large random parameters."""
    torch.manual_seed(0)
    model = BoltzmannMachine((visible,), hidden, **arguments).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=std)
    return model


def log_weights(model: BoltzmannMachine) -> Tensor:
    """Return -E of all states, written out as sums over pairs and units."""
    s = every(len(model.b), LIKE)
    return s @ model.b + sum(w * s[:, i] * s[:, j] for w, (i, j) in zip(model.w, model.pairs.t(), strict=True))


def law(model: BoltzmannMachine) -> Tensor:
    return log_weights(model).softmax(0).detach()


def correlations(model: BoltzmannMachine, s: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    """Return the means of s_i s_j over all pairs, and of s, under weights p of the states s."""
    i, j = model.pairs
    return p @ (s[:, i] * s[:, j]), p @ s


@pytest.fixture(params=["kernel", "torch"])
def way(request, monkeypatch):
    """Sweep by the compiled kernel, or as on a GPU by torch's operations."""
    monkeypatch.setattr(boltzmann, "compiled", lambda like: request.param == "kernel")


@pytest.mark.parametrize("groups", [1, 2])
def test_energy_and_closed_forms_by_enumeration(groups):
    model = machine(4, 3, groups=groups).requires_grad_(False)
    s, exact = every(7, LIKE), {"rtol": 0, "atol": 1e-12}
    torch.testing.assert_close(-model.joint_energy(s), log_weights(model), **exact)
    table = log_weights(model).view(8, 16)  # (h, v)
    v, h = every(4, LIKE), every(3, LIKE)
    torch.testing.assert_close(model.score(v), table.logsumexp(0), **exact)
    torch.testing.assert_close(model.encode(v), table.softmax(0).t() @ h, **exact)
    torch.testing.assert_close(model.log_partition(), table.logsumexp((0, 1)), **exact)
    given = torch.tensor([True, False, True, False])
    completed, p = model.complete(v, given), table.logsumexp(0).exp()
    for row, found in zip(v, completed, strict=True):
        agree = (v[:, given] == row[given]).all(1) * p
        torch.testing.assert_close(found, agree @ v / agree.sum(), **exact)
    C = model.couplings()
    assert torch.equal(C, C.t())
    assert not C.diagonal().any()


def test_without_couplings_within_layers_it_is_an_rbm():
    torch.manual_seed(0)
    rbm = RBM(Bernoulli((4,), binarize=False), 3).double().requires_grad_(False)
    for parameter in rbm.parameters():
        nn.init.normal_(parameter)
    model = machine(4, 3).requires_grad_(False)
    i, j = model.pairs
    across = (i < 4) & (j >= 4)
    model.w.copy_(torch.where(across, rbm.W[i.clamp(max=3), (j - 4).clamp(min=0)], 0))
    model.b.copy_(torch.cat([rbm.a, rbm.b]))
    v = every(4, LIKE)
    torch.testing.assert_close(model.score(v), rbm.score(v), rtol=0, atol=1e-12)
    torch.testing.assert_close(model.encode(v), rbm.encode(v), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("visible", "hidden", "groups"), [(5, 0, 1), (4, 3, 1), (4, 3, 2)])
def test_exact_gradient_is_the_difference_of_correlations(visible, hidden, groups):
    model = machine(visible, hidden, groups=groups, exact=True)
    x = torch.rand(20, visible).lt(0.4).double()
    found = torch.autograd.grad(model.loss(x)["nll"], (model.w, model.b))
    p, s = law(model), every(visible + hidden, LIKE)
    free = correlations(model, s, p)
    clamped = [0, 0]
    for v in x:
        agree = (s[:, :visible] == v).all(1) * p
        pair, unit = correlations(model, s, agree / agree.sum())
        clamped = [clamped[0] + pair / len(x), clamped[1] + unit / len(x)]
    for slope, expected, seen in zip(found, free, clamped, strict=True):
        torch.testing.assert_close(slope, expected - seen, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("way")
def test_sampled_statistics_agree_with_enumeration():
    """20,000 chains of 5 collected sweeps, seed 1: a mean's standard error is below 0.5 / sqrt(20,000) = 0.0035.

    Two such means are taken apart, clamped and free: bound 5 standard errors, 5 sqrt(2) 0.0035 = 0.025.
    """
    model, exact = machine(4, 3, collect=5), machine(4, 3, exact=True)
    x = torch.rand(10, 4).lt(0.4).double()
    torch.manual_seed(1)
    found = torch.autograd.grad(model.loss(x.repeat(2000, 1))["divergence"], (model.w, model.b))
    expected = torch.autograd.grad(exact.loss(x)["nll"], (exact.w, exact.b))
    for slope, value in zip(found, expected, strict=True):
        assert float((slope - value).abs().max()) < 0.025
    torch.testing.assert_close(model.settled(x, torch.arange(4))[:, :, :4], x.expand(5, -1, -1))  # clamped stay so


@pytest.mark.usefixtures("way")
def test_one_unit_at_a_time_has_detailed_balance_and_the_sweep_its_transitions():
    """100,000 chains a state, seed 2: total variation over 16 states is about 0.4 sqrt(16 / 100,000) = 0.005."""
    model = machine(4, 0).requires_grad_(False)
    C, s, place = model.couplings(), every(4, LIKE), 2.0 ** torch.arange(4).double()
    for temperature in (1.0, 1.7):
        stationary, whole = (log_weights(model) / temperature).softmax(0), torch.eye(16).double()
        for i in range(4):
            step = torch.zeros(16, 16).double()
            on = ((s @ C[i] + model.b[i]) / temperature).sigmoid()
            for value, p in ((0.0, 1 - on), (1.0, on)):
                moved = s.clone()
                moved[:, i] = value
                step[torch.arange(16), (moved @ place).long()] += p
            flow = stationary[:, None] * step
            torch.testing.assert_close(flow, flow.t(), rtol=0, atol=1e-14)
            whole = whole @ step
        torch.testing.assert_close(stationary @ whole, stationary, rtol=0, atol=1e-14)
        torch.manual_seed(2)
        for state in (0, 6, 15):
            began = s[state][:, None].repeat(1, 100_000)
            ended = model.swept(began, C, range(4), (temperature,), 1)[0] @ place
            seen = torch.bincount(ended.long(), minlength=16) / 100_000
            assert float((seen - whole[state]).abs().sum()) / 2 < 0.01


def test_kernel_repeats_with_its_seed_for_any_number_of_threads():
    model = machine(5, 3).float()
    began, C = torch.rand(8, 77).round(), model.couplings().detach()
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        torch.manual_seed(5)
        found.append(anneal(began, C, model.b, torch.tensor([0, 4, 7]), (2.0, 1.0, 1.0), 2))
    torch.set_num_threads(1)
    assert torch.equal(*found)
    held = [1, 2, 3, 5, 6]
    torch.testing.assert_close(found[0][:, :, held], began[held].t().expand(2, -1, -1))


@pytest.mark.usefixtures("way")
def test_samples_and_sampled_completions_have_the_law_of_the_model():
    """100,000 annealed chains, seed 3: total variation over 16 states is about 0.005."""
    model = machine(4, 2, collect=20).requires_grad_(False)
    torch.manual_seed(3)
    seen = torch.bincount((model.sample(100_000) @ 2.0 ** torch.arange(4).double()).long(), minlength=16) / 100_000
    assert float((seen - law(model).view(4, 16).sum(0)).abs().sum()) / 2 < 0.01
    x, given = torch.tensor([[1.0, 0.0, 0.0, 1.0]]).double(), torch.tensor([True, True, False, False])
    settled = model.settled(x.expand(20_000, -1), torch.tensor([0, 1])).mean((0, 1))
    assert float((settled[:4] - model.complete(x, given)[0]).abs().max()) < 0.02


def test_a_fully_visible_machine_recovers_its_parameters():
    """From the exact distribution of another machine, by L-BFGS in float64."""
    teacher, student = machine(5, 0), machine(5, 0, std=0.01)
    v, p = every(5, LIKE), law(teacher)
    optimizer = torch.optim.LBFGS(student.parameters(), max_iter=200, tolerance_grad=1e-10, tolerance_change=1e-14)

    def closure() -> Tensor:
        optimizer.zero_grad()
        nll = student.log_partition() - p @ student.scores(v).squeeze(1)
        nll.backward()
        return nll

    optimizer.step(closure)
    for found, value in zip(student.parameters(), teacher.parameters(), strict=True):
        assert float((found - value).detach().abs().max()) < 1e-5


def test_noise_flips_clamped_units():
    """20,000 copies, seed 4: bound 5 standard errors of 0.5 / sqrt(20,000)."""
    model = machine(2, 0, exact=True, noise=(0.3, 0.1))
    torch.manual_seed(4)
    found = torch.autograd.grad(model.loss(torch.tensor([[1.0, 0.0]]).double().repeat(20_000, 1))["nll"], model.b)[0]
    free = law(model) @ every(2, LIKE)
    assert float((free - found - torch.tensor([0.7, 0.1])).abs().max()) < 0.018


@pytest.mark.usefixtures("way")
def test_estimated_log_partition_comes_near_the_sum():
    """50 chains of 2,000 sweeps, seed 6: within 5 standard errors, which are below 0.05 nats."""
    for model in (machine(5, 3), machine(8, 2, groups=2)):
        torch.manual_seed(6)
        value, error = model.estimated_log_partition(50, 2000)
        assert abs(value - float(model.requires_grad_(False).log_partition())) < 5 * error < 0.25
    with pytest.raises(ValueError, match="at least 2 runs"):
        model.estimated_log_partition(1)


def bits_of(model: BoltzmannMachine, count: int) -> Arrays:
    """Return exact draws of the visible units."""
    which = torch.multinomial(law(model), count, replacement=True)
    return Arrays(x=every(len(model.b), LIKE)[which][:, : model.visible].float())


@pytest.mark.parametrize("exact", [12, 0])
@pytest.mark.parametrize(("hidden", "groups"), [(0, 1), (2, 1)])
def test_recipe_comes_near_the_entropy_of_a_known_machine(hidden, groups, exact):
    """4,000 examples of 6 units, of which the 21 parameters learn: about 21 / 8,000 nats above the entropy, paired."""
    teacher = machine(6, 0)
    data = Data("bits", bits_of(teacher, 4000), bits_of(teacher, 1000), bits_of(teacher, 10_000))
    run = boltzmann_recipe(data, hidden=hidden, groups=groups, exact=exact, batch=100, epochs=20)
    assert run.system.exact == (exact > 0)
    fit(run)
    teacher.requires_grad_(False)
    truth = float(teacher.energy(data.test.fields["x"].double()).mean() + teacher.log_partition())
    assert -0.01 < likelihood(run)["nll"] - truth < 0.03


def test_figures_say_what_was_measured():
    """On the encoder's patterns no machine gets below log 4; beyond 20 units log Z is estimated, as said."""
    run = boltzmann_recipe(encoder(), lr=0.05, epochs=300)
    fit(run)
    assert math.log(4) < likelihood(run)["nll"] < math.log(4) + 0.15
    x = torch.rand(12, 24).round()
    data = Data("toy", Arrays(x=x), Arrays(x=x), Arrays(x=x))
    assert list(likelihood(boltzmann_recipe(data, epochs=1))) == ["nll", "log_partition", "log_partition_error"]
    assert list(likelihood(boltzmann_recipe(data, hidden=2, groups=24, epochs=1))) == ["nll"]
    assert list(likelihood(boltzmann_recipe(data, hidden=21, epochs=1))) == ["pseudo_nll"]
    with pytest.raises(ValueError, match="needs test data"):
        likelihood(boltzmann_recipe(Data("toy", Arrays(x=x)), epochs=1))


def test_the_encoder_gets_solved():
    """The recipe as it stands, seeds 40 and 41, which chose nothing."""
    data = encoder()
    assert trials(data, (40, 41))["solved"] == 1
    assert solved(boltzmann_encoder(data))["solved"] == 0  # before training


@pytest.mark.parametrize("arguments", [{"hidden": 0}, {"groups": 1}, {"hidden": 1}, {"groups": 8}])
def test_what_is_no_encoder_problem_is_refused(arguments):
    with pytest.raises(ValueError, match=r"no encoder problem: .* use the recipe boltzmann"):
        boltzmann_encoder(encoder(), **arguments)


def test_recipe_takes_images_and_refuses_what_does_not_fit():
    torch.manual_seed(0)
    x = torch.rand(12, 1, 5, 6)
    model = boltzmann_recipe(Data("toy", Arrays(x=x)), hidden=3, epochs=1).system
    for verb in (Encodes, Samples, Scores):
        assert isinstance(model, verb)
    assert model.sample(2).shape == (2, 1, 5, 6)
    given = torch.arange(30).view(1, 5, 6) < 5  # 25 unknown ones are too many to enumerate
    completed = model.complete(x, given)
    assert torch.equal(completed[:, given], x[:, given])
    assert all(torch.isfinite(value) for value in model.metrics(x=x).values())
    with pytest.raises(ValueError, match="cannot enumerate"):
        boltzmann_recipe(Data("toy", Arrays(x=x)), exact=30)
    with pytest.raises(ValueError, match="no machine"):
        boltzmann_recipe(Data("toy", Arrays(x=x)), groups=7)
    with pytest.raises(ValueError, match="binary units need values"):
        boltzmann_recipe(Data("toy", Arrays(x=x + 1)))
    with pytest.raises(ValueError, match="at least 2 patterns"):
        encoder(patterns=1)
