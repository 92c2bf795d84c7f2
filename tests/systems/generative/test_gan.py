import math
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from lamina.core import Objective, fields, select
from lamina.data.dataset import Data
from lamina.data.examples import Arrays
from lamina.recipes import generated, generative
from lamina.recipes.generative import gan
from lamina.systems.generative.gan import GAN, GOALS, ConditionalGAN, energy_distance

P = torch.tensor([30, 20, 14, 10, 8, 6, 5, 4, 2, 1], dtype=torch.float64) / 100  # the data, on ten points
Q = torch.tensor([4, 6, 10, 20, 10, 1, 9, 20, 5, 15], dtype=torch.float64) / 100  # a generator's distribution


class Fixed(nn.Module):
    """A generator that gives the same examples whatever the noise, so that expectations over it are exact."""

    def __init__(self, examples: Tensor) -> None:
        super().__init__()
        self.examples = nn.Parameter(examples)

    def forward(self, noise: Tensor, code: Tensor | None = None) -> Tensor:
        return self.examples


class Table(nn.Module):
    """A discriminator of pairs (point, class): a logit for each."""

    def __init__(self, points: int, classes: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(points, classes, dtype=torch.float64))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        return ((x @ self.logits) * code).sum(1, keepdim=True)


def points(distribution: Tensor) -> Tensor:
    """Return 100 one-hot rows that hold each point as often as its probability says."""
    return torch.eye(10, dtype=torch.float64).repeat_interleave((distribution * 100).round().long(), 0)


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    middle = (p + q) / 2
    return ((p * (p / middle).log()).sum() + (q * (q / middle).log()).sum()) / 2


def minimize(loss: Callable[[], Tensor], module: nn.Module) -> None:
    optimizer = torch.optim.LBFGS(
        module.parameters(), max_iter=500, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        total = loss()
        total.backward()
        return total

    optimizer.step(closure)


def small() -> GAN:
    generator = nn.Sequential(nn.Linear(3, 7), nn.Tanh(), nn.Linear(7, 4))
    discriminator = nn.Sequential(nn.Linear(4, 11), nn.Tanh(), nn.Linear(11, 1))
    return GAN(generator, discriminator, noise=3).double()


def step(objective: Objective, batch: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> None:
    """Take the step that the trainer takes."""
    optimizer.zero_grad()
    total = sum(objective.loss(**select(batch, fields(objective.loss))).values())
    torch.autograd.backward(total, inputs=list(objective.trains.parameters()))
    optimizer.step()


def test_best_discriminator_is_the_ratio_of_densities():
    """Equation (2) and theorem 1, exactly: the batch and the generator hold both distributions in full."""
    system, x = GAN(Fixed(points(Q)), nn.Linear(10, 1, bias=False).double()), points(P)
    minimize(lambda: sum(system.discrimination(x).values()), system.discriminator)
    best = system.discriminator(torch.eye(10, dtype=torch.float64))[:, 0].sigmoid()
    torch.testing.assert_close(best.detach(), P / (P + Q), rtol=0, atol=1e-6)
    value = system.metrics(x)["value"].item()
    assert value == pytest.approx(-math.log(4) + 2 * jensen_shannon(P, Q).item(), abs=1e-12)


def test_best_conditional_discriminator_is_the_ratio_within_each_class():
    torch.manual_seed(0)
    y = torch.arange(100).remainder(3)[torch.randperm(100)]
    system, x = ConditionalGAN(Fixed(points(Q)), Table(10, 3), classes=3), points(P)
    minimize(lambda: sum(system.discrimination(x, y).values()), system.discriminator)
    for label in range(3):
        p, q = x[y == label].sum(0), points(Q)[y == label].sum(0)
        both = (p > 0) & (q > 0)  # elsewhere the logit goes to infinity
        found = system.discriminator.logits[:, label].sigmoid().detach()
        torch.testing.assert_close(found[both], (p / (p + q))[both], rtol=0, atol=1e-5)


@pytest.mark.parametrize("goal", ["minimax", "non-saturating"])
def test_generator_descends_the_known_divergence(goal):
    """Facing the best discriminator: the slope of 2 JSD, and of KL(q‖p) − 2 JSD (Arjovsky & Bottou 2017, 2.5)."""
    theta = Q.log().requires_grad_()
    best = (P.log() - Q.log()).detach()
    (slope,) = torch.autograd.grad((theta.softmax(0) * GOALS[goal](best)).sum(), theta)
    q = theta.softmax(0)
    twice = 2 * jensen_shannon(P, q)
    divergence = twice if goal == "minimax" else (q * (q / P).log()).sum() - twice
    torch.testing.assert_close(slope, torch.autograd.grad(divergence, theta)[0], rtol=0, atol=1e-14)


@pytest.mark.parametrize("goal", ["minimax", "non-saturating"])
def test_generator_reaches_the_data(goal):
    """Proposition 2: with the discriminator at its best after every step, q -> p and V -> −log 4."""
    theta = torch.zeros(10, dtype=torch.float64)
    for _ in range(3000):
        theta.requires_grad_()
        q = theta.softmax(0)
        best = (P.log() - q.log()).detach()
        (slope,) = torch.autograd.grad((q * GOALS[goal](best)).sum(), theta)
        theta = (theta - 2 * slope / q).detach()  # preconditioned by the probabilities, for speed
    torch.testing.assert_close(theta.softmax(0), P, rtol=0, atol=1e-9)


def test_players_find_a_distribution_by_sampling():
    """Both players by Adam, 1500 updates of 128 examples, seed 0: a mean of 3 and a deviation of 0.5, within 0.1.

    The players circle around their equilibrium, so the generator is averaged over the last 500 updates.
    """
    torch.manual_seed(0)
    generator = nn.Linear(1, 1)
    discriminator = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
    system = GAN(generator, discriminator, noise=1)
    optimizers = [torch.optim.Adam(o.trains.parameters(), lr=0.01, betas=(0.5, 0.99)) for o in system.objectives()]
    found = []
    for _ in range(1500):
        batch = {"x": 3 + 0.5 * math.sqrt(3) * (2 * torch.rand(128, 1) - 1)}
        for objective, optimizer in zip(system.objectives(), optimizers, strict=True):
            step(objective, batch, optimizer)
        found.append((generator.bias.item(), abs(generator.weight.item())))
    mean, deviation = torch.tensor(found[-500:]).mean(0).tolist()
    assert mean == pytest.approx(3, abs=0.1)
    assert deviation == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("turn", [0, 1])
def test_a_step_leaves_the_other_player_alone(turn):
    torch.manual_seed(0)
    system = small()
    objective, other = system.objectives()[turn], system.objectives()[1 - turn]
    before = [p.clone() for p in other.trains.parameters()]
    optimizer = torch.optim.SGD(objective.trains.parameters(), lr=0.1)
    step(objective, {"x": torch.rand(8, 4, dtype=torch.float64)}, optimizer)
    assert all(p.grad is None for p in other.trains.parameters())
    assert all(torch.equal(p, q) for p, q in zip(other.trains.parameters(), before, strict=True))
    assert all(p.grad is not None and p.grad.any() for p in objective.trains.parameters())


def test_no_gradient_is_computed_to_be_thrown_away():
    """A product of matrices whose result has the shape of a weight is that weight's gradient."""
    torch.manual_seed(0)
    system, x = small(), torch.rand(8, 4, dtype=torch.float64)
    shapes: list[tuple[int, ...]] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if function is torch.ops.aten.mm.default:
                shapes.append(tuple(sorted(result.shape)))
            return result

    for objective, other in (system.objectives(), system.objectives()[::-1]):
        shapes.clear()
        total = sum(objective.loss(x).values())
        with Watch():
            torch.autograd.backward(total, inputs=list(objective.trains.parameters()))
        weights = [tuple(sorted(p.shape)) for p in objective.trains.parameters() if p.ndim == 2]
        wasted = [tuple(sorted(p.shape)) for p in other.trains.parameters() if p.ndim == 2]
        assert set(weights) <= set(shapes)
        assert not set(wasted) & set(shapes)


@pytest.mark.parametrize("turn", [0, 1])
def test_gradients_agree_with_finite_differences(turn):
    torch.manual_seed(0)
    system, x = small(), torch.rand(5, 4, dtype=torch.float64)
    objective = system.objectives()[turn]
    parameters = tuple(objective.trains.parameters())

    def total(*_: Tensor) -> Tensor:
        torch.manual_seed(1)  # the same noise at every call
        return sum(objective.loss(x).values())

    assert torch.autograd.gradcheck(total, parameters)


def test_conditional_gradients_agree_with_finite_differences():
    torch.manual_seed(0)
    system = ConditionalGAN(
        generative.Joined(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 4)),
        generative.Joined(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 1)),
        classes=2,
        noise=3,
    ).double()
    batch = {"x": torch.rand(5, 4, dtype=torch.float64), "y": torch.tensor([0, 1, 1, 0, 1])}
    assert [fields(objective.loss) for objective in system.objectives()] == [("x", "y"), ("y",)]
    for objective in system.objectives():

        def total(*_: Tensor, objective: Objective = objective) -> Tensor:
            torch.manual_seed(1)
            return sum(objective.loss(**select(batch, fields(objective.loss))).values())

        assert torch.autograd.gradcheck(total, tuple(objective.trains.parameters()))


def test_energy_distance_agrees_with_its_definition():
    torch.manual_seed(0)
    a, b = torch.randn(7, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64) + 1

    def mean(s: Tensor, t: Tensor) -> float:
        distances = [math.dist(u, v) for u in s.tolist() for v in t.tolist() if u != v]
        return sum(distances) / len(distances)

    assert energy_distance(a, b).item() == pytest.approx(2 * mean(a, b) - mean(a, a) - mean(b, b), abs=1e-12)


def test_energy_distance_is_zero_on_average_for_one_distribution():
    """Seed 0, 400 pairs of 20 + 20 examples; the bound is 4 standard errors of the mean."""
    torch.manual_seed(0)
    found = torch.stack([energy_distance(torch.randn(20, 2), torch.randn(20, 2)) for _ in range(400)])
    assert abs(found.mean()) < 4 * found.std() / 20
    assert energy_distance(torch.zeros(1, 2), torch.ones(1, 2)).isfinite()


def test_samples_of_given_classes():
    torch.manual_seed(0)
    show = generative.Joined(nn.Linear(5, 2, bias=False))  # shows the code it is given
    with torch.no_grad():
        show.layers[0].weight.copy_(torch.eye(5)[3:])
    system = ConditionalGAN(show, generative.Joined(nn.Linear(4, 1)), classes=2, noise=3)
    assert system.sample_of(torch.tensor([1, 0, 1])).argmax(1).tolist() == [1, 0, 1]
    assert system.sample(4).argmax(1).tolist() == [0, 1, 0, 1]


def toy() -> Data:
    torch.manual_seed(0)
    parts = [Arrays(x=torch.rand(count, 1, 4, 4), y=torch.arange(count) % 3) for count in (200, 60, 50)]
    return Data("toy", *parts, classes=("a", "b", "c"))


SMALL = {"hidden": 16, "units": 8, "noise": 5, "batch": 20, "epochs": 2}


def test_recipe_begins_at_the_marginals_and_rebuilds_from_an_outline():
    data = toy()
    run = gan(data, **SMALL)
    bias = run.system.generator.layers[4].bias
    torch.testing.assert_close(bias.sigmoid(), data.train.fields["x"].mean(0).flatten())
    again = gan(Data.blank(data.outline()), **SMALL).system
    again.load_state_dict(run.system.state_dict())
    torch.manual_seed(3)
    first = run.system.sample(6)
    torch.manual_seed(3)
    assert torch.equal(first, again.sample(6))
    assert first.shape == (6, 1, 4, 4)


def test_recipe_refuses_data_that_do_not_fit():
    data = Data("toy", Arrays(x=torch.linspace(-1, 2, 40).reshape(10, 4)))
    with pytest.raises(ValueError, match="toy has no labels"):
        gan(data, conditional=True)
    with pytest.raises(ValueError, match=r"must lie in 0\.\.1, found -1\.\.2: rescale it"):
        gan(data)


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("sklearn", [False, True])
def test_measure(conditional, sklearn, monkeypatch):
    monkeypatch.setattr(generated, "SAMPLES", 100)
    monkeypatch.setattr(generated, "CENTROIDS", 10)
    if not sklearn:
        monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    run = gan(toy(), conditional=conditional, **SMALL)
    figures = gan.measure(run)
    assert gan.figure in figures
    assert all(math.isfinite(value) for value in figures.values())
    assert ("parzen_centroids" in figures) == sklearn
    assert ("nearest_error" in figures) == conditional
    assert figures.keys() >= {"classifier_accuracy", "classifier_p", "frechet", "frechet_training_examples"}
    assert figures == gan.measure(run)  # draws from the run's seed


def test_measure_of_a_single_test_example(monkeypatch):
    monkeypatch.setattr(generated, "SAMPLES", 100)
    data = toy()
    run = gan(Data("toy", data.train, data.valid, Arrays(**data.test.fetch(torch.tensor([0])))), **SMALL)
    assert "classifier_accuracy" not in gan.measure(run)


def test_measure_needs_test_examples():
    with pytest.raises(ValueError, match="give the data both splits"):
        gan.measure(gan(Data("toy", toy().train), **SMALL))
