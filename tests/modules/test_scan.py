"""Whole sequences with backward passes of their own against autograd through single steps."""

import pytest
import torch
from torch import nn

from lamina.modules.scan import scan, scans
from lamina.modules.scan_delayed import scan_delayed
from lamina.modules.scan_gru import scan_gru

TIME, BATCH, HIDDEN = 6, 3, 4


def drawn(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)


def leaky_loop(prepared, begin, across, rates, squash):
    h, outputs = begin, []
    for t, step in enumerate(prepared):
        rate = rates[t] if rates.ndim == 3 else rates
        h = (1 - rate) * h + rate * squash(step + h @ across.t())
        outputs.append(h)
    return torch.stack(outputs)


def gru_loop(prepared, begin, across, bias):
    h, outputs = begin, []
    for step in prepared:
        within = h @ across.t() + bias
        r, z = (step + within)[:, : 2 * HIDDEN].sigmoid().chunk(2, 1)
        n = (step[:, 2 * HIDDEN :] + r * within[:, 2 * HIDDEN :]).tanh()
        h = (1 - z) * n + z * h
        outputs.append(h)
    return torch.stack(outputs)


def same(found, expected, inputs):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    weights = drawn(*found.shape, seed=9).detach()
    ours = torch.autograd.grad((found * weights).sum(), inputs, retain_graph=True)
    theirs = torch.autograd.grad((expected * weights).sum(), inputs, retain_graph=True)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    for one, other in zip(*(torch.autograd.grad(out[-1].sum(), inputs) for out in (found, expected)), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("tanh", [True, False])
@pytest.mark.parametrize("kind", ["plain", "leaky", "clocks"])
@pytest.mark.parametrize("time", [1, TIME])
def test_units_are_those_of_a_loop(kind, tanh, time):
    prepared, begin, across = (
        drawn(time, BATCH, HIDDEN, seed=0),
        drawn(BATCH, HIDDEN, seed=1),
        drawn(HIDDEN, HIDDEN, seed=2),
    )
    rates = {
        "plain": torch.ones(HIDDEN, dtype=torch.float64),
        "leaky": torch.rand(HIDDEN, generator=torch.Generator().manual_seed(3), dtype=torch.float64),
        "clocks": (torch.arange(time * BATCH * HIDDEN).view(time, BATCH, HIDDEN) % 3 == 0).double(),
    }[kind]
    found = scan(prepared * 1, begin, across, None if kind == "plain" else rates, tanh)
    expected = leaky_loop(prepared, begin, across, rates, torch.tanh if tanh else torch.relu)
    same(found, expected, (prepared, begin, across))


@pytest.mark.parametrize("time", [1, TIME])
def test_gated_units_are_those_of_a_loop(time):
    prepared, begin = drawn(time, BATCH, 3 * HIDDEN, seed=0), drawn(BATCH, HIDDEN, seed=1)
    across, bias = drawn(3 * HIDDEN, HIDDEN, seed=2), drawn(3 * HIDDEN, seed=3)
    found = scan_gru(prepared * 1, begin, across, bias)
    same(found, gru_loop(prepared, begin, across, bias), (prepared, begin, across, bias))


@pytest.mark.parametrize("delays", [(1,), (1, 3), (5, 2, 1)])
@pytest.mark.parametrize("time", [1, 2, TIME])
def test_delayed_units_are_those_of_a_loop(time, delays):
    prepared, across = drawn(time, BATCH, HIDDEN, seed=0), drawn(HIDDEN, HIDDEN, seed=2)
    begin = drawn(max(delays), BATCH, HIDDEN, seed=1)
    past = list(begin)
    for step in prepared:
        seen = [past[-d] @ part.t() for d, part in zip(delays, across.tensor_split(len(delays)), strict=True)]
        past.append((step + torch.cat(seen, 1)).tanh())
    found = scan_delayed(prepared * 1, begin, across, delays)
    same(found, torch.stack(past[max(delays) :]), (prepared, begin, across))


def test_gradients_by_finite_differences():
    inputs = (drawn(3, 2, 2, seed=0), drawn(2, 2, seed=1), drawn(2, 2, seed=2))
    assert torch.autograd.gradcheck(lambda p, h, u: scan(p * 1, h, u, torch.tensor([0.3, 1.0]).double()), inputs)
    gates = (drawn(3, 2, 6, seed=0), drawn(2, 2, seed=1), drawn(6, 2, seed=2), drawn(6, seed=3))
    assert torch.autograd.gradcheck(lambda p, h, u, c: scan_gru(p * 1, h, u, c), gates)


@pytest.mark.parametrize("layer", [nn.RNN, nn.GRU])
def test_the_setting_of_products_is_left_as_found(layer):
    torch.set_float32_matmul_precision("medium")
    try:
        prepared = torch.randn(3, 2, 4 if layer is nn.RNN else 12, requires_grad=True) * 1
        weights = layer(1, 4)
        if layer is nn.RNN:
            out = scan(prepared, torch.zeros(2, 4), weights.weight_hh_l0)
        else:
            out = scan_gru(prepared, torch.zeros(2, 4), weights.weight_hh_l0, weights.bias_hh_l0)
        out.sum().backward()
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_where_it_runs():
    x = torch.zeros(1)
    assert scans(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert not scans(x)
    assert not scans(x.to("meta"))
