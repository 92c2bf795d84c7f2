"""The problems of long memory: answers computed again by hand, purity, uniformity."""

import pytest
import torch

from lamina.data.examples import whole
from lamina.data.problems import BLANK, CALL, PROBLEMS, uniform
from lamina.data.standard import load

SMALL = (200, 20, 30)


def drawn(name, steps, seed=0):
    return PROBLEMS[name](seed, steps, SMALL)


@pytest.mark.parametrize("steps", [2, 51])
def test_adding(steps):
    batch = whole(drawn("adding", steps).train)
    x, y = batch["x"], batch["y"]
    assert x.shape == (200, steps, 2)
    for values, marks, answer in zip(x[..., 0], x[..., 1], y, strict=True):
        places = marks.nonzero().flatten().tolist()
        assert len(places) == 2
        assert places[0] < steps // 2 <= places[1]
        assert float(answer) == pytest.approx(sum(float(values[place]) for place in places) / 2)


def test_marks_reach_every_place():
    x = whole(PROBLEMS["adding"](0, 10, (2000, 1, 1)).train)["x"]
    count = x[..., 1].sum(0)  # each place of a half is marked 400 times of 2000; 4 standard deviations are 72
    assert ((count - 400).abs() < 72).all()


@pytest.mark.parametrize(("name", "places"), [("temporal_order", 2), ("temporal_order_3", 3)])
@pytest.mark.parametrize("steps", [10, 100])
def test_temporal_order(name, places, steps):
    data = drawn(name, steps)
    batch = whole(data.train)
    assert data.labels() == 2**places
    for x, y in zip(batch["x"], batch["y"], strict=True):
        assert (x.sum(1) == 1).all()
        symbols = ["XYabcd"[place] for place in x.argmax(1).tolist()]
        order = [(place, symbol) for place, symbol in enumerate(symbols) if symbol in "XY"]
        assert "".join(symbol for _, symbol in order) == data.classes[y]
        if places == 2:
            assert 0.1 * steps <= order[0][0] <= 0.2 * steps
            assert 0.5 * steps <= order[1][0] <= 0.6 * steps


def test_copying():
    batch = whole(drawn("copying", 7).train)
    x, y = batch["x"].argmax(2), batch["y"]
    assert x.shape == y.shape == (200, 27)
    assert torch.equal(x[:, :10], y[:, -10:])
    assert (x[:, :10] < 8).all()
    assert (y[:, :-10] == BLANK).all()
    assert (x[:, 16] == CALL).all()  # answers begin at the step after it
    rest = torch.cat([x[:, 10:16], x[:, 17:]], 1)
    assert (rest == BLANK).all()


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_sequence_depends_on_the_seed_and_its_number_alone(name):
    data = drawn(name, 20)
    indices = torch.tensor([3, 199, 3])
    some, again = data.train.fetch(indices), drawn(name, 20).train.fetch(indices)
    everything, other = whole(data.train), whole(drawn(name, 20, seed=1).train)
    for field, value in some.items():
        assert torch.equal(value, again[field])
        assert torch.equal(value, everything[field][indices])
        assert not torch.equal(everything[field], other[field])
    found = torch.cat([whole(part)["x"] for part in (data.train, data.valid, data.test)])
    assert len(found.unique(dim=0)) == sum(SMALL)  # no sequence is in two sets


def test_draws_are_uniform_and_independent():
    u = torch.from_numpy(uniform(5, torch.arange(4000).numpy(), 50))
    cells = torch.histc(u, 100, 0, 1)  # 2,000 each; χ² of 99 degrees of freedom is below 149 but once in 1,000
    assert float(((cells - 2000) ** 2 / 2000).sum()) < 149
    for one, other in ((u[1:], u[:-1]), (u[:, 1:], u[:, :-1])):
        both = torch.stack([one.flatten(), other.flatten()])
        assert abs(float(torch.corrcoef(both)[0, 1])) < 4 / both.shape[1] ** 0.5


def test_known_by_name():
    data = load("copying:30", seed=2)
    assert data.name == "copying:30"
    assert data.shape == (50, 10)
    assert load("adding").shape == (100, 2)
    with pytest.raises(ValueError, match="at least 10 steps"):
        load("temporal_order:3")
    with pytest.raises(ValueError, match="adding:long"):
        load("adding:long")
