"""Batches cover the data once an epoch, depend on the epoch's number alone, and resume anywhere."""

import pytest
import torch

from lamina.data.batches import Batches, Beside
from lamina.data.dataset import Data, split
from lamina.data.examples import Arrays, Joined, Mapped, Subset, in_memory, subset, whole


def numbers(count):
    return Arrays(i=torch.arange(count))


def drawn(source, k, start=0):
    return [batch["i"].tolist() for batch in source.epoch(k, start)]


@pytest.mark.parametrize("count", [1, 7, 12, 13])
@pytest.mark.parametrize("size", [1, 4, 20])
@pytest.mark.parametrize("tail", [True, False])
@pytest.mark.parametrize("lengths", [False, True])
def test_every_example_once(count, size, tail, lengths):
    longs = torch.arange(count) % 5 if lengths else None
    source = Batches(numbers(count), size, tail=tail, lengths=longs)
    batches = drawn(source, 3)
    assert len(batches) == len(source)
    seen = [i for batch in batches for i in batch]
    assert len(set(seen)) == len(seen) == (count if tail else count // size * size)
    assert all(len(batch) == size for batch in batches[:-1])


def test_epochs_are_pure_and_differ():
    source, again = Batches(numbers(100), 8), Batches(numbers(100), 8)
    second = drawn(source, 1)
    list(source.epoch(5))
    assert drawn(source, 1) == drawn(again, 1) == second
    assert drawn(source, 0) != second
    assert drawn(Batches(numbers(100), 8, seed=1), 1) != second


@pytest.mark.parametrize("start", [0, 1, 5, 13])
def test_starts_anywhere(start):
    plain = Batches(numbers(100), 8)
    assert drawn(plain, 2, start) == drawn(plain, 2)[start:]
    other = Batches(Arrays(j=torch.arange(21)), 4)
    both = Beside(plain, other)
    pairs = [(b["i"].tolist(), b["j"].tolist()) for b in both.epoch(2)]
    assert [(b["i"].tolist(), b["j"].tolist()) for b in both.epoch(2, start)] == pairs[start:]


def test_the_other_source_goes_round():
    both = Beside(Batches(numbers(12), 2), Batches(Arrays(j=torch.arange(4)), 1, shuffle=False))
    seen = [int(b["j"]) for k in range(2) for b in both.epoch(k)]
    assert seen == [0, 1, 2, 3] * 3


def test_fields_of_both_sources_are_refused():
    both = Beside(Batches(numbers(4), 2), Batches(numbers(4), 2))
    with pytest.raises(ValueError, match="both sources have the fields"):
        next(both.epoch(0))


def test_lengths_make_similar_batches():
    lengths = torch.randint(1, 50, (200,), generator=torch.Generator().manual_seed(0))
    spread = [float(lengths[b["i"]].float().std()) for b in Batches(numbers(200), 10, lengths=lengths).epoch(0)]
    assert max(spread) < 3


def test_split_is_a_partition_and_repeats():
    rest, held = split(numbers(50), 0.2, seed=1)
    assert sorted(whole(rest)["i"].tolist() + whole(held)["i"].tolist()) == list(range(50))
    assert torch.equal(whole(held)["i"], whole(split(numbers(50), 10, seed=1)[1])["i"])
    with pytest.raises(ValueError, match="cannot hold out"):
        split(numbers(5), 5)


def test_lazy_views_agree_with_copies():
    doubled = Mapped(numbers(10), lambda batch: {"i": batch["i"] * 2})
    chosen = torch.tensor([7, 2, 2])
    assert isinstance(subset(doubled, chosen), Subset)
    assert whole(subset(doubled, chosen))["i"].tolist() == [14, 4, 4]
    assert whole(subset(numbers(10), chosen))["i"].tolist() == [7, 2, 2]


def test_outline_rebuilds_a_blank():
    data = Data("toy", Arrays(x=torch.rand(5, 1, 4, 4), y=torch.arange(5)), classes=("a", "b"))
    blank = Data.blank(data.outline())
    assert blank.outline() == data.outline()
    assert blank.shape == (1, 4, 4)


@pytest.mark.parametrize("fields", [{}, {"x": torch.zeros(3), "y": torch.zeros(4)}])
def test_impossible_arrays_are_refused(fields):
    with pytest.raises(ValueError, match=r"at least one field|differ in length"):
        Arrays(**fields)


def test_impossible_batches_are_refused():
    with pytest.raises(ValueError, match="at least 1 example"):
        Batches(numbers(3), 0)
    with pytest.raises(ValueError, match="2 lengths for 3 examples"):
        Batches(numbers(3), 1, lengths=torch.zeros(2))
    with pytest.raises(ValueError, match="no batch"):
        Beside(Batches(numbers(3), 1), Batches(numbers(3), 5, tail=False))


def test_joined_sets_are_fetched_in_the_order_asked_for():
    first, last = Arrays(x=torch.arange(5.0)), Arrays(x=torch.arange(10.0, 13.0))
    both = Joined(first, last)
    assert len(both) == 8
    asked = torch.tensor([6, 0, 7, 4, 5, 0])
    assert both.fetch(asked)["x"].tolist() == [11, 0, 12, 4, 10, 0]
    assert both.fetch(asked[:0])["x"].shape == (0,)
    assert in_memory(both)
