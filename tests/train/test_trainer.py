"""The trainer does what a bare loop does, and goes on exactly after a stop."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from toys import SGD, examples, run_of, weights

from lamina.core import Objective, Run, System
from lamina.data.batches import Batches
from lamina.data.examples import Arrays
from lamina.optim.schedules import late, linear_to_zero
from lamina.train.evaluate import evaluate
from lamina.train.trainer import Epoch, NotFinite, Trainer, Update


def train(run):
    for _ in Trainer(run):
        pass
    return weights(run)


def test_equals_a_bare_loop():
    run = run_of()
    bare = run_of()
    torch.manual_seed(bare.seed)
    optimizer = SGD(bare.system.parameters())
    bare.system.train()
    for k in range(3):
        for batch in bare.train.epoch(k):
            optimizer.zero_grad()
            bare.system.loss(**batch)["nll"].backward()
            optimizer.step()
    assert torch.equal(train(run), weights(bare))


@pytest.mark.parametrize(
    "changes", [{}, {"average": 0.9}, {"accumulate": 3}, {"clip": 0.1}, {"schedules": {"lr": linear_to_zero(0.1)}}]
)
@pytest.mark.parametrize("stop", [1, 7, 9, 11])
def test_goes_on_exactly(changes, stop):
    whole = Trainer(run_of(**changes))
    events = list(whole)
    first, seen = Trainer(run_of(**changes)), []
    for event in first:
        seen.append(event)
        if len(seen) == stop:
            state = first.state_dict()
            break
    again = Trainer(run_of(seed=5, **changes))  # other weights: all must come from the state
    again.load_state_dict(state)
    seen += list(again)
    assert [e.valid for e in seen if isinstance(e, Epoch)] == [e.valid for e in events if isinstance(e, Epoch)]
    assert [e.step for e in seen if isinstance(e, Update)] == list(range(1, whole.step + 1))
    assert torch.equal(weights(whole.run), weights(again.run))


def test_accumulated_gradient_is_that_of_the_whole_batch():
    class Plain(System):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(4))

        def loss(self, x):
            return {"square": ((x @ self.weight - 1) ** 2).mean()}

    data = Arrays(x=torch.randn(48, 4, generator=torch.Generator().manual_seed(1)))
    small = Run(Plain(), Batches(data, 8, shuffle=False), SGD, 5, accumulate=6)
    large = Run(Plain(), Batches(data, 48, shuffle=False), SGD, 5)
    assert torch.allclose(train(small), train(large), atol=1e-6)


def test_lbfgs_needs_nothing_special():
    class Quadratic(System):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3))

        def loss(self, x):
            return {"distance": ((self.weight - x) ** 2).sum(1).mean()}

    data = Arrays(x=torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]))
    run = Run(Quadratic(), Batches(data, 2), partial(torch.optim.LBFGS, lr=1.0), 3)
    train(run)
    assert torch.allclose(run.system.weight, torch.full((3,), 2.0), atol=1e-5)


def test_players_train_their_own_parameters():
    class Game(System):
        """Minimizes over `a` and maximizes over `b` the same saddle."""

        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)

        def value(self, x):
            return (self.a(x) * self.b(x)).mean()

        def objectives(self):
            return (
                Objective("low", lambda x: {"low": self.value(x)}, self.a),
                Objective("high", lambda x: {"high": -self.value(x)}, self.b, every=2),
            )

    torch.manual_seed(0)
    system = Game()
    a, b = system.a.weight.item(), system.b.weight.item()
    run = Run(
        system,
        Batches(Arrays(x=torch.ones(1, 1)), 1),
        partial(torch.optim.SGD, lr=0.1),
        2,
        schedules={"high.lr": late(0.2, 0.5, 0.1)},
    )
    train(run)
    first = a - 0.1 * b
    second_b = b + 0.1 * first
    assert system.a.weight.item() == pytest.approx(first - 0.1 * second_b)
    assert system.b.weight.item() == pytest.approx(second_b)


def test_schedules_reach_optimizer_and_system():
    run = run_of(schedules={"lr": linear_to_zero(0.3), "system.temperature": lambda p: 1 + p})
    trainer, seen = Trainer(run), []
    for event in trainer:
        if isinstance(event, Update):
            seen.append((trainer.players[0].optimizer.param_groups[0]["lr"], run.system.temperature))
    assert seen[0] == (0.3, 1.0)
    assert seen[10] == pytest.approx((0.3 * (1 - 10 / 21), 1 + 10 / 21))


@pytest.mark.parametrize("name", ["lrr", "system.temprature", "loss.momentu"])
def test_unknown_schedule_names_the_nearest(name):
    with pytest.raises(ValueError, match="did you mean"):
        Trainer(run_of(schedules={name: linear_to_zero(1.0)}))


def test_average_is_the_exponential_mean():
    run = run_of(average=0.8, epochs=1, valid=None)
    trainer, mean = Trainer(run), None
    for event in trainer:
        if isinstance(event, Update):
            now = run.system.net[0].weight.detach().clone()
            mean = now if mean is None else 0.8 * mean + 0.2 * now
    assert torch.allclose(trainer.model.net[0].weight, mean, atol=1e-6)


def test_not_finite_names_term_and_update():
    run = run_of(schedules={"system.temperature": lambda p: 1.0 if p < 0.3 else 0.0})
    with pytest.raises(NotFinite, match=r"update 8, objective 'loss': term 'nll' is (nan|inf)"):
        train(run)


def test_not_finite_gradient_names_the_tensor():
    class Root(System):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([1.0, 0.0]))

        def loss(self, x):
            return {"root": self.weight.abs().sqrt().sum() * x.mean()}  # slope infinity times zero at zero

    with pytest.raises(NotFinite, match="weight 'weight' is not finite since update 1"):
        train(Run(Root(), Batches(Arrays(x=torch.ones(2, 1)), 1), SGD, 2))
    with pytest.raises(NotFinite, match=r"update 1, .*gradient of 'weight'"):
        train(Run(Root(), Batches(Arrays(x=torch.ones(2, 1)), 1), SGD, 2, clip=1.0))


def test_parameters_that_fused_optimizers_would_miss_are_refused():
    """The fused SGD of torch 2.13 takes a parameter's memory for one piece, which that of a slice is not."""
    run = run_of()
    run.system.net[0].weight = nn.Parameter(torch.randn(8, 6)[:, :4])
    with pytest.raises(ValueError, match=r"parameter 'net\.0\.weight' is a part of a larger tensor"):
        Trainer(run)
    run.system.net[0].weight = nn.Parameter(torch.randn(4, 8).t())  # no gaps
    Trainer(run)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_low_precision_learns(precision):
    run = run_of(precision=precision, epochs=30)
    before = evaluate(run.system, Batches(examples(), 50))["error"]
    train(run)
    assert torch.isfinite(weights(run)).all()
    assert evaluate(run.system, Batches(examples(), 50))["error"] < before


def test_evaluate_leaves_no_trace():
    run = run_of()
    run.system.train()
    run.system.net[1].eval()
    state = torch.get_rng_state()
    first = evaluate(run.system, run.valid)
    assert torch.equal(state, torch.get_rng_state())
    assert run.system.training
    assert not run.system.net[1].training
    assert evaluate(run.system, run.valid) == first
    assert math.isfinite(first["noise"])


def test_missing_field_is_named():
    run = run_of(train=Batches(Arrays(x=torch.zeros(4, 4)), 2))
    with pytest.raises(ValueError, match="needs a field 'y'"):
        train(run)


@pytest.mark.parametrize("changes", [{"epochs": 0}, {"accumulate": 0}, {"train": Batches(examples(), 80, tail=False)}])
def test_impossible_runs_are_refused(changes):
    with pytest.raises(ValueError, match=r"at least 1|no batch"):
        run_of(**changes)
