"""Tapes by recognizers that share no code with what makes them; the best predictor by the integral over its tables."""

import numpy as np
import pytest
import torch

from lamina.data.examples import Arrays, whole
from lamina.data.standard import load
from lamina.data.tapes import TASKS, Tapes, bayes, groups, tapes


def copied(x, size):
    (length,) = size
    assert x[length].tolist() == 8 * [0] + [1]
    return x[:length, :8], length + 1


def repeated(x, size):
    length, times = size
    assert x[length, :9].tolist() == 8 * [0] + [1]
    assert round(float(x[length, 9]) * 8.25**0.5 + 5.5, 3) == times
    answer = [[*row.tolist(), 0] for _ in range(times) for row in x[:length, :8]]
    return torch.tensor([*answer, 8 * [0] + [1]]), length + 1


def recalled(x, size):
    marks = [t for t in range(len(x)) if x[t, 6]]
    first, last = (t for t in range(len(x)) if x[t, 7])
    items = [x[t + 1 : t + 4, :6] for t in marks]
    assert (len(items), last - first) == (size[0], 4)
    places = [i for i, item in enumerate(items) if torch.equal(item, x[first + 1 : last, :6])]
    return items[places[0] + 1], last + 1


def following(x, size):
    assert len(x) == size[0] - 1
    return None, 4


def sorted_by_priority(x, size):
    assert x[size[0]].tolist() == 9 * [0] + [1]
    rows = sorted(x[: size[0]].tolist(), key=lambda row: -row[8])
    return torch.tensor([row[:8] for row in rows[: size[0] * 4 // 5]]), size[0] + 1


READ = {"copy": copied, "repeat": repeated, "recall": recalled, "ngrams": following, "sort": sorted_by_priority}


@pytest.fixture(scope="module", params=TASKS)
def made(request):
    return request.param, tapes(request.param, count=60, held=20, test=30)


def test_answers(made):
    task, data = made
    for part in (data.train, data.test):
        fields = whole(part)
        for x, y, told, steps, size in zip(*(fields[n] for n in ("tape", "y", "told", "steps", "size")), strict=True):
            answer, begin = READ[task](x[:steps], size.tolist())
            assert told.nonzero().squeeze(1).tolist() == list(range(begin, steps))
            assert not x[steps:].any()
            assert not y[~told].any()
            if answer is None:  # the next bit
                assert torch.equal(y[begin : steps - 1, 0], x[begin + 1 : steps, 0] > 0)
            else:
                assert torch.equal(y[begin:steps].float(), answer.float())
                assert not x[begin:].any()


def test_sizes(made):
    task, data = made
    assert set(groups(data.train)) | set(groups(data.valid)) <= set(TASKS[task].sizes)
    apart = {size: len(rows) for size, rows in groups(data.test).items() if size not in TASKS[task].sizes}
    assert apart == dict.fromkeys(TASKS[task].longer, 3)


def test_seeds(made):
    task, data = made
    again, other = (tapes(task, seed, count=60, held=20, test=30) for seed in (0, 1))
    for part, same in (("train", False), ("valid", False), ("test", True)):
        first, second, third = (whole(getattr(some, part))["tape"] for some in (data, again, other))
        assert torch.equal(first, second)
        assert (first.shape == third.shape and torch.equal(first, third)) is same


def test_copies_are_fair_bits():
    """16,800 bits or so: a standard error of 0.004; the seed is fixed."""
    fields = whole(tapes("copy", count=200, held=1, test=1).train)
    assert abs(float(fields["y"][fields["told"]].float().mean()) - 0.5) < 0.016


def test_batches_cover_the_tapes_and_are_cut_to_the_longest():
    examples = tapes("copy", count=50, held=1, test=1).train
    source = Tapes(examples, 8)
    batches = list(source.epoch(3))
    assert len(batches) == len(source) == 7
    for batch in batches:
        assert batch["tape"].shape[1] == batch["told"].shape[1] == batch["steps"].max()
    assert sum(int(batch["told"].sum()) for batch in batches) == int(whole(examples)["told"].sum())
    rest = list(source.epoch(3, 5))
    assert all(torch.equal(a["tape"], b["tape"]) for a, b in zip(batches[5:], rest, strict=True))


def test_best_predictor_by_the_integral_over_tables():
    """∏ p of a context's bits is B(N₁ + ½, N₀ + ½) / B(½, ½), in whatever order they come."""
    examples = tapes("ngrams", count=1, held=1, test=20).test
    part = Arrays(**examples.fetch(groups(examples)[200,]))
    found, fields = bayes(part), whole(part)

    def beta(a, b):
        a, b = torch.tensor(a).double(), torch.tensor(b).double()
        return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)

    for row in range(len(part)):
        bits = [*fields["tape"][row, :199, 0].int().tolist(), int(fields["y"][row, 198, 0])]
        counts = {}
        for t in range(5, 200):
            counts.setdefault(tuple(bits[t - 5 : t]), [0.5, 0.5])[bits[t]] += 1
        nats = -sum(beta(*both) - beta(0.5, 0.5) for both in counts.values())
        np.testing.assert_allclose(float(found[row]), float(nats) / np.log(2), rtol=1e-9)


def test_best_predictor_needs_more_than_the_tables_entropy():
    """One bit of a known table has ∫ H(p) Beta(p; ½, ½) dp = (ψ(2) − ψ(3/2)) / ln 2 = 0.557 bits; of none, 1 bit.

    200 tapes of seed 0; the mean has a standard error of about 1 bit.
    """
    examples = tapes("ngrams", count=200, held=1, test=1).train
    known = torch.digamma(torch.tensor([2.0, 1.5])).diff().neg() / np.log(2)
    assert 195 * float(known) + 3 < float(bayes(examples).mean()) < 195 - 3


def test_by_name():
    assert load("tape:copy").name == "tape:copy"
    with pytest.raises(ValueError, match="did you mean 'recall'"):
        load("tape:recal")
    with pytest.raises(ValueError, match="at least 1"):
        tapes("copy", count=0)
