"""Energy models: their likelihood by independent sums, what each estimator reaches, sampling, and the recipe."""

import copy
import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from lamina.analysis.energy_plane import plot_energies
from lamina.core import Samples, Scores
from lamina.data.dataset import Data
from lamina.data.examples import Arrays
from lamina.data.plane import mixture, mixture_log_density
from lamina.recipes import strategies
from lamina.recipes.comparison import FLIPS, code_of, compare, scored
from lamina.recipes.comparison import strategies as all_strategies
from lamina.recipes.energy import gaussian
from lamina.recipes.strategies import energy_model, likelihood, log_partition
from lamina.recipes.variational import tanh_layers
from lamina.sampling.enumerate import states
from lamina.systems.energy.model import BINARY, REAL, EnergyModel
from lamina.systems.energy.units import Bernoulli, Gaussian
from lamina.train.fit import fit


def patterns():
    """Return the 14 bars and stripes of 3x3 pixels."""
    rows = next(states(3))
    return torch.cat([rows[:, None].expand(-1, 3, -1), rows[..., None].expand(-1, -1, 3)]).unique(dim=0)


def bars(noise=0.1):
    """Return bars and stripes of which each pixel is flipped with some probability."""
    generator, clean = torch.Generator().manual_seed(0), patterns()

    def draw(count):
        chosen = clean[torch.randint(14, (count,), generator=generator)]
        flipped = torch.rand(chosen.shape, generator=generator) < noise
        return Arrays(x=(chosen - flipped.double()).abs()[:, None].float())

    return Data("bars", draw(1400), draw(500), draw(2000))


def bars_nll(x, noise=0.1):
    """Return minus the log-likelihood of the truth."""
    wrong = (x.double() - patterns()).abs().flatten(2).sum(2)
    log_p = wrong * math.log(noise) + (9 - wrong) * math.log(1 - noise)
    return math.log(14) - float(log_p.logsumexp(1).mean())


def linear(units):
    """Return a model without a network's freedom: f is zero."""
    model = EnergyModel(units, nn.Linear(math.prod(units.shape), 1, bias=False), "noise-contrastive")
    nn.init.zeros_(model.network.weight)
    return model


def test_a_model_without_a_network_is_its_family_of_units():
    torch.manual_seed(0)
    x = 3 * torch.randn(50, 2) + 1
    model, a = linear(gaussian(x)), torch.tensor([0.5, -1.0])
    model.a.data.copy_(a)
    log_Z, frame = log_partition(model)
    assert abs(log_Z - math.log(2 * math.pi) - float(a.square().sum()) / 2) < 1e-5
    assert frame < 1e-6
    normal = torch.distributions.Normal(model.visible.shift + a * model.visible.scale, model.visible.scale)
    torch.testing.assert_close(model.log_prob(x, log_Z), normal.log_prob(x).sum(1), rtol=0, atol=1e-4)
    base = torch.distributions.Normal(0.0, 1.0).log_prob(x).sum(1)  # the noise has a where it was at first
    torch.testing.assert_close(model.noise_density(x), base, rtol=0, atol=1e-5)
    bits = linear(Bernoulli((1, 3, 1)))
    bits.a.data.copy_(torch.tensor([0.3, -2.0, 1.0]))
    assert abs(log_partition(bits)[0] - float(nn.functional.softplus(bits.a).sum().detach())) < 1e-6
    assert log_partition(linear(Bernoulli((20,)))) is None
    assert log_partition(linear(Gaussian(torch.zeros(3), torch.ones(3)))) is None


SHORT = {
    "score-matching": {"hidden": (48, 48), "epochs": 10},
    "sliced": {"hidden": (48, 48), "epochs": 10},
    "denoising": {"hidden": (64, 64), "epochs": 15, "deviation": 0.2, "lr": 0.02},
    "noise-contrastive": {"hidden": (48, 48), "epochs": 15, "lr": 0.02},
    "maximum-likelihood": {"hidden": (32, 32), "epochs": 6, "lr": 0.02},
    "contrastive-divergence": {"hidden": (32, 32), "epochs": 8, "k": 5, "size": 0.03, "lr": 0.02},
}


def test_maximum_likelihood_is_minus_the_log_likelihood():
    """Of bits by enumeration to rounding; of two real numbers within 0.002, 20 draws of 4,096 points (seed 0)."""
    torch.manual_seed(0)
    x = (torch.rand(50, 5) < 0.3).float()
    network = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1))
    bits = EnergyModel(Bernoulli((5,)), network, "maximum-likelihood")
    expected = -bits.log_prob(x, log_partition(bits)[0]).mean()
    torch.testing.assert_close(bits.loss(x)["objective"].detach(), expected, rtol=0, atol=1e-5)
    x = torch.randn(50, 2)
    network = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
    real = EnergyModel(Gaussian(torch.zeros(2), torch.ones(2)), network, "maximum-likelihood")
    found = torch.stack([real.loss(x)["objective"].detach() for _ in range(20)]).mean()
    assert abs(float(found) + float(real.log_prob(x, log_partition(real)[0]).mean())) < 2e-3
    with pytest.raises(ValueError, match="for 16 bits or 2 real values at most, an example has 3"):
        energy_model(Data("toy", Arrays(x=torch.rand(4, 3))), estimator="maximum-likelihood")


@pytest.mark.parametrize("estimator", REAL)
def test_each_estimator_comes_near_the_entropy_of_the_mixture(estimator):
    """2,000 examples, seed 0: past half of the way from the best single Gaussian to the truth, and not beyond."""
    data = dataclasses.replace(mixture(count=2000), test=mixture().valid)
    run = energy_model(data, estimator=estimator, batch=40, average=0.95, **SHORT[estimator])
    fit(run)
    figures = likelihood(run)
    x, train = data.test.fields["x"].double(), data.train.fields["x"].double()
    single = torch.distributions.MultivariateNormal(train.mean(0), train.t().cov())
    assert abs(figures["entropy"] + float(mixture_log_density(x).mean())) < 1e-4
    middle = (figures["entropy"] - float(single.log_prob(x).mean())) / 2
    assert figures["entropy"] - 0.02 < figures["nll"] < middle
    assert figures["frame"] < 1e-3
    if estimator == "noise-contrastive":
        assert abs(figures["learned_log_partition"] - figures["log_partition"]) < 0.1


@pytest.mark.parametrize("estimator", BINARY)
def test_each_binary_estimator_learns_noisy_bars_and_stripes(estimator):
    """Seed 0: within 0.15 nats of the truth, 5.13, where independent pixels, which are even, reach 9 log 2 = 6.24."""
    data = bars()
    settings = {"epochs": 12 if estimator == "noise-contrastive" else 6, "lr": 0.03, "average": 0.95, "k": 1}
    run = energy_model(data, estimator=estimator, visible="bernoulli", hidden=(32,), batch=28, **settings)
    fit(run)
    truth, figures = bars_nll(data.test.fields["x"]), likelihood(run)
    assert truth - 0.02 < figures["nll"] < truth + 0.15
    if estimator == "noise-contrastive":
        assert abs(figures["learned_log_partition"] - figures["log_partition"]) < 0.3


def test_samples_have_the_moments_of_the_model():
    """4,000 chains, 800 steps, seed 1: bounds of 5 standard errors of at most 2 / sqrt(4,000) = 0.032; for bits of
    20,000 chains 0.5 / sqrt(20,000) = 0.0035."""
    torch.manual_seed(1)
    model = EnergyModel(
        Gaussian(torch.tensor([1.0, -2.0]), torch.tensor([2.0, 0.5])),
        nn.Sequential(*tanh_layers((2, 8)), nn.Tanh(), nn.Linear(8, 1)),
        "denoising",
        size=0.2,
    )
    nn.init.normal_(model.network[-1].weight, std=1.0)
    axis = torch.linspace(-8, 8, 401)
    grid = model.visible.restored(torch.cartesian_prod(axis, axis))
    p = model.score(grid).softmax(0)
    samples = model.sample(4000, steps=800)
    assert float((samples.mean(0) - p @ grid).abs().max()) < 0.16
    spread = (p @ (grid - p @ grid).square()).sqrt()
    assert float((samples.std(0) / spread - 1).abs().max()) < 0.08
    bits = EnergyModel(Bernoulli((4,)), nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 1)), "ratio-matching")
    every = next(states(4)).float()
    expected = bits.score(every).softmax(0) @ every
    assert float((bits.sample(20_000, steps=100).mean(0) - expected).abs().max()) < 0.0175


def test_chains_persist_and_random_flips_are_drawn():
    torch.manual_seed(2)
    x = torch.rand(20, 1, 3, 3)
    data = Data("toy", Arrays(x=x), Arrays(x=x), Arrays(x=x))
    for visible in ("gaussian", "bernoulli"):
        run = energy_model(data, estimator="contrastive-divergence", visible=visible, chains=7, k=2, hidden=(5,))
        before = run.system.chains.clone()
        run.system.loss(x)
        assert before.shape == run.system.chains.shape == (7, 9)
        assert not torch.equal(before, run.system.chains)
        assert run.system.sample(4, steps=3).shape == (4, 1, 3, 3)
    unadjusted = energy_model(data, estimator="contrastive-divergence", adjust=False, hidden=(5,)).system
    assert unadjusted.negatives(torch.zeros(3, 9)).shape == (3, 9)
    model = energy_model(data, estimator="ratio-matching", visible="bernoulli", flips=4, hidden=(5,)).system
    assert len(set(model.bits().tolist())) == 4


def test_recipe_builds_from_an_outline_and_measures():
    torch.manual_seed(3)
    x = torch.rand(40, 3, 4, 4)  # colored, 48 features: the held-out score-matching loss is sliced
    data = Data("toy", Arrays(x=x), test=Arrays(x=x))
    run = energy_model(data, hidden=(6,), batch=20, epochs=1)
    model = run.system
    assert isinstance(model, Samples)
    assert isinstance(model, Scores)
    assert model.sample(3, steps=2).shape == (3, 3, 4, 4)
    rebuilt = energy_model(Data.blank(data.outline()), hidden=(6,)).system
    rebuilt.load_state_dict(copy.deepcopy(model.state_dict()))
    assert torch.equal(rebuilt.score(x), model.score(x))
    assert set(likelihood(run)) == {"score_matching"}


def test_refuses_what_does_not_fit():
    data = Data("toy", Arrays(x=torch.rand(4, 3)))
    with pytest.raises(ValueError, match=r"denoising is not for binary values; choose one of .*ratio-matching"):
        energy_model(data, visible="bernoulli")
    with pytest.raises(ValueError, match=r"ratio-matching is not for real values; choose one of .*denoising"):
        energy_model(data, estimator="ratio-matching")
    with pytest.raises(ValueError, match=r"flips within 0..3"):
        energy_model(data, estimator="ratio-matching", visible="bernoulli", flips=4)
    with pytest.raises(ValueError, match="deviation and size above 0"):
        energy_model(data, deviation=0.0)
    with pytest.raises(ValueError, match="test data"):
        likelihood(energy_model(data))
    with pytest.raises(ValueError, match="validation and test"):
        compare(data)
    with pytest.raises(ValueError, match="two numbers each; toy has 3"):
        compare(dataclasses.replace(data, valid=data.train, test=data.train))
    with pytest.raises(ValueError, match="at least one score"):
        plot_energies({}, torch.rand(4, 2), Path("none.png"))


def test_comparison_of_estimators_and_its_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(strategies, "POINTS", 101)
    whole = mixture(count=1000, held=300)
    data = dataclasses.replace(whole, test=whole.valid)
    scores, nll = compare(data, ("denoising", "ratio-matching", "saturating auto-encoder"), epochs=1)
    models = ["PCA", "k-means", "square ICA", "mixture of Gaussians"]
    assert list(scores) == [*models, "ratio-matching", "denoising", "saturating auto-encoder"]
    assert set(nll) == {"square ICA", "mixture of Gaussians", "ratio-matching", "denoising", "truth"}
    assert nll["truth"] < nll["mixture of Gaussians"] + 0.02 < nll["truth"] + 0.1
    x = data.test.fields["x"]
    assert all(score(x).shape == (300,) for score in scores.values())
    plot_energies(scores, x, tmp_path / "energies.png", {"PCA": "principal components"})
    assert (tmp_path / "energies.png").stat().st_size > 10_000


def test_every_strategy_of_the_tutorial_gives_a_score():
    """At toy size: all are there, on points of the plane, and the code's model is a density of the points."""
    data = mixture(count=200, held=50)
    runs, x = all_strategies(data, epochs=1), data.valid.fields["x"]
    assert len(runs) == 19
    for name, tried in runs.items():
        for run in tried:
            assert scored(run, code_of(data) if name in FLIPS else None)(x).shape == (50,), name
    code, run = code_of(data), runs["ratio-matching"][0]
    middles = torch.cartesian_prod(
        *((torch.arange(64) + 0.5) / 64 * (high - low) + low for low, high in zip(code.low, code.high, strict=True))
    )
    total = scored(run, code)(middles).logsumexp(0) + code.log_volume
    assert abs(float(total) - log_partition(run.system)[0]) < 1e-3
