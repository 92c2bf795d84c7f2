"""Compiled coin flips: frequencies of their probabilities, no trace of a flip in another, and torch's edges."""

import math

import pytest
import torch

from lamina.systems.energy.units import flip

COUNT = 200_000


@pytest.mark.parametrize("p", [0.001, 0.3, 0.5, 0.97])
def test_ones_come_as_often_as_their_probability_says(p):
    torch.manual_seed(0)
    ones = flip(torch.full((COUNT,), p)).double().sum().item()
    assert abs(ones - COUNT * p) < 5 * math.sqrt(COUNT * p * (1 - p))


def test_probabilities_belong_to_their_places_in_any_layout():
    torch.manual_seed(0)
    p = torch.rand(7, 5)
    for given in (p, p.t(), p.expand(3, 7, 5), p[:, 1:], p[::2]):
        counts = sum(flip(given) for _ in range(4000))
        spread = (given * (1 - given) / 4000).sqrt()
        assert counts.is_contiguous()
        assert ((counts / 4000 - given).abs() <= 5 * spread + 1e-7).all()


def test_a_flip_tells_nothing_of_another():
    torch.manual_seed(0)
    fair = torch.full((COUNT,), 0.5)
    first, second = 2 * flip(fair) - 1, 2 * flip(fair) - 1
    halves = first[: COUNT // 2], first[COUNT // 2 :]
    pairs = [(first, second), halves, *((first[:-lag], first[lag:]) for lag in (1, 2, 3, 64, 784))]
    for a, b in pairs:
        assert abs((a * b).mean().item()) < 5 / math.sqrt(len(a))


def test_bytes_of_flips_are_spread_evenly():
    torch.manual_seed(0)
    bits = flip(torch.full((8 * COUNT,), 0.5)).view(COUNT, 8)
    seen = torch.bincount((bits @ 2.0 ** torch.arange(8)).long(), minlength=256).double()
    surprise = ((seen - COUNT / 256).square() / (COUNT / 256)).sum().item()  # chi-squared of 255 degrees
    assert abs(surprise - 255) < 5 * math.sqrt(2 * 255)


def test_seed_repeats_flips_and_certain_ones_are_certain():
    p = torch.tensor([0.0, 1.0, -1.0, 2.0, math.nan, 0.5, 0.5])
    torch.manual_seed(1)
    first = [flip(p) for _ in range(5)]
    torch.manual_seed(1)
    assert all(torch.equal(a, flip(p)) for a in first)
    assert all(flips[:5].tolist() == [0, 1, 0, 1, 0] for flips in first)


def test_writes_where_it_is_told_and_passes_no_gradient():
    p, out = torch.rand(3, 4, requires_grad=True), torch.full((3, 4), -1.0)
    assert flip(p, out=out) is out
    assert set(out.unique().tolist()) <= {0.0, 1.0}
    assert not flip(p).requires_grad


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_are_torch_s(dtype):
    assert flip(torch.ones(5, dtype=dtype)).tolist() == [1] * 5


def test_empty():
    assert flip(torch.empty(0, 3)).shape == (0, 3)
