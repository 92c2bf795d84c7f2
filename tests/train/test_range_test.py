"""The range test follows closed forms, suggests rates that train, and leaves no trace."""

import math
from functools import partial

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from toys import run_of, weights

from lamina.core import Objective, Run, System
from lamina.data.batches import Batches
from lamina.data.examples import Arrays
from lamina.optim.schedules import constant
from lamina.train.evaluate import evaluate
from lamina.train.fit import fit
from lamina.train.range_test import lr_range

SGD = partial(torch.optim.SGD, lr=1.0)
CURVATURE = torch.tensor([1.0, 5.0, 40.0], dtype=torch.float64)


class Bowl(System):
    """f(w) = Σ λ w² / 2, where gradient descent multiplies w by 1 - η λ and diverges for η > 2 / λ."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(3, dtype=torch.float64))
        self.scale = 1.0

    def loss(self, x):
        return {"bowl": self.scale * (CURVATURE * self.w**2).sum() / 2}


class Bowls(System):
    """Two players, each in a bowl of its own."""

    def __init__(self):
        super().__init__()
        self.left, self.right = Bowl(), Bowl()

    def objectives(self):
        return (
            Objective("left", lambda x: {"left": self.left.loss(x)["bowl"]}, self.left),
            Objective("right", lambda x: {"right": self.right.loss(x)["bowl"]}, self.right),
        )


def bowl_run(system, **changes):
    settings = {"train": Batches(Arrays(x=torch.zeros(7, 1)), 1), "optimizer": SGD, "epochs": 1}
    return Run(system, **settings | changes)


def expected(rates):
    w, losses = torch.ones(3, dtype=torch.float64), []
    for rate in rates:
        losses.append(float((CURVATURE * w**2).sum() / 2))
        w = w * (1 - rate * CURVATURE)
    return losses


def test_losses_follow_the_closed_form():
    found = lr_range(bowl_run(Bowl()), low=1e-6, high=10.0, updates=200)
    assert found.losses == pytest.approx(expected(found.rates), rel=1e-12)
    ratios = [b / a for a, b in zip(found.rates, found.rates[1:], strict=False)]
    assert found.rates[0] == 1e-6
    assert ratios == pytest.approx([(10 / 1e-6) ** (1 / 199)] * len(ratios), rel=1e-12)
    limit = 2 / float(CURVATURE.max())
    assert limit / 50 < found.suggestion < limit
    assert len(found.losses) < 200  # it stopped once the loss had grown
    assert found.rates[-1] < 10 * limit


def test_every_objective_gets_the_rate_whatever_its_schedule():
    run = bowl_run(Bowls(), schedules={"right.lr": constant(0.5)})
    found = lr_range(run, updates=50)
    assert found.losses == pytest.approx([2 * loss for loss in expected(found.rates)], rel=1e-12)


def test_other_schedules_stay_at_their_first_values():
    found = lr_range(bowl_run(Bowl(), schedules={"system.scale": lambda progress: 1 + 5 * progress}), updates=50)
    assert found.losses == pytest.approx(expected(found.rates), rel=1e-12)


def test_leaves_weights_random_state_modes_and_settings():
    run = run_of(schedules={"system.temperature": lambda progress: 2 - progress}, average=0.9)
    run.system.net[2].eval()
    before, modes = weights(run), [module.training for module in run.system.modules()]
    state = torch.get_rng_state()
    first = lr_range(run, updates=60)
    assert torch.equal(weights(run), before)
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in run.system.modules()] == modes
    assert run.system.temperature == 1.0
    assert all(parameter.grad is None for parameter in run.system.parameters())
    assert lr_range(run, updates=60) == first


class Cliff(System):
    """A loss that is infinite once w has moved by one."""

    def __init__(self, start):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(start))

    def loss(self, x):
        return {"cliff": torch.log(1 - self.w)}


def test_ends_where_the_loss_is_not_finite():
    found = lr_range(bowl_run(Cliff(0.0)))
    assert 10 < len(found.losses) < 200
    assert all(map(math.isfinite, [*found.losses, found.suggestion]))
    assert found.suggestion < found.rates[-1]


def test_bad_requests_are_refused():
    with pytest.raises(ValueError, match="diverges from the start, after 0 updates; begin below 1e-06"):
        lr_range(bowl_run(Cliff(2.0)))
    with pytest.raises(ValueError, match=r"rates must rise from above zero, got 1 to 0.1"):
        lr_range(bowl_run(Bowl()), low=1.0, high=0.1)
    with pytest.raises(ValueError, match="at least 10 updates, got 3"):
        lr_range(bowl_run(Bowl()), updates=3)


class Digits(System):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 50), nn.ReLU(), nn.Linear(50, 10))

    def loss(self, x, y):
        return {"nll": F.cross_entropy(self.net(x), y)}

    def metrics(self, x, y):
        return {"error": (self.net(x).argmax(1) != y).float().mean()}


@pytest.mark.parametrize("optimizer", [partial(torch.optim.SGD, momentum=0.9), torch.optim.Adam])
def test_suggestion_trains_digits(optimizer):
    """Seed 0, 1297 training and 500 test images, 5 epochs: ten times the rate, or a tenth, is not clearly better."""
    x, y = load_digits(return_X_y=True)
    train, test = Arrays(x=x[:1297] / 16, y=y[:1297]), Arrays(x=x[1297:] / 16, y=y[1297:])

    def run_at(lr):
        torch.manual_seed(0)
        return Run(Digits(), Batches(train, 20), lambda parameters: optimizer(parameters, lr=lr), 5)

    def error(lr):
        run = run_at(lr)
        fit(run)
        return evaluate(run.system, Batches(test, 500))["error"]

    rate = lr_range(run_at(1.0)).suggestion
    found = error(rate)
    assert found < 0.1
    assert found < min(error(rate / 10), error(rate * 10)) + 0.02
