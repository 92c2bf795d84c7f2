"""The repeated layer and the LSTM cell against nn.LSTMCell, and the compiled cell against torch's operations."""

import pytest
import torch

from lamina.modules.recurrent import LSTM, lstm, repeated

BATCH = 3


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("own", [False, True])
def test_repeated_layer_and_cell_by_torch(own):
    """Values and gradients of four steps against nn.LSTMCell, in float64; with a bias for each row against a sum."""
    hidden, inputs, steps = 4, 3, 4
    torch.manual_seed(0)
    cell = torch.nn.LSTMCell(inputs, hidden).double()
    order = torch.arange(4 * hidden).view(4, hidden)[[0, 1, 3, 2]].flatten()  # torch has i, f, g, o
    weight = torch.cat([cell.weight_ih, cell.weight_hh], 1).detach()[order].requires_grad_()
    bias = (cell.bias_ih + cell.bias_hh).detach()[order]
    bias = (bias.expand(BATCH, -1).clone() if own else bias).requires_grad_()
    x = random(steps, BATCH, inputs)
    begin = random(2, BATCH, hidden, seed=1).requires_grad_()
    h, c = begin
    layer = repeated(weight, bias)
    for row in x:
        h, c = lstm(layer(torch.cat([row, h], 1)), c)
    target = random(BATCH, hidden, seed=2)
    found = torch.autograd.grad((h * target + c.square()).sum(), (weight, bias, begin))
    theirs = begin.detach().clone().requires_grad_()
    state = tuple(theirs)
    for row in x:
        state = cell(row, state)
    torch.testing.assert_close((h, c), state, rtol=0, atol=1e-12)
    total = (state[0] * target + state[1].square()).sum()
    w_x, w_h, b, start = torch.autograd.grad(total, (cell.weight_ih, cell.weight_hh, cell.bias_ih, theirs))
    torch.testing.assert_close(found[0], torch.cat([w_x, w_h], 1)[order], rtol=0, atol=1e-12)
    torch.testing.assert_close(found[1].sum(0) if own else found[1], b[order], rtol=0, atol=1e-12)
    torch.testing.assert_close(found[2], start, rtol=0, atol=1e-12)


def test_repeated_layer_is_plain_where_it_must_be():
    weight, bias, x = (random(*shape, seed=seed) for seed, shape in enumerate(((5, 3), (5,), (4, 3))))
    expected = torch.nn.functional.linear(x, weight, bias)
    torch.testing.assert_close(repeated(weight, bias)(x), expected)
    with torch.no_grad():
        torch.testing.assert_close(repeated(weight.requires_grad_(), bias)(x), expected)
    with torch.autocast("cpu", torch.bfloat16):
        half = repeated(weight.float(), bias.float())(x.float())
    assert half.dtype == torch.bfloat16
    total = repeated(weight.requires_grad_(), bias)(x).sum()
    first = torch.autograd.grad(total, weight, retain_graph=True)
    assert torch.equal(first[0], torch.autograd.grad(total, weight)[0])  # a graph that is kept gives it again


@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_compiled_cell_by_torch(scale):
    """float32 against float64, values and gradients to 1e-5, saturated gates too; rows that are one row in memory."""
    a, c = scale * random(BATCH, 4 * 19), scale * random(1, 19, seed=1)
    weights = random(2, BATCH, 19, seed=2)
    results = []
    for kind in (torch.float32, torch.float64):
        inputs = a.to(kind).requires_grad_(), c.to(kind).requires_grad_()
        outputs = lstm(inputs[0], inputs[1].expand(BATCH, -1))
        total = sum((out * weight.to(kind)).sum() for out, weight in zip(outputs, weights, strict=True))
        results.append([value.double() for value in (*outputs, *torch.autograd.grad(total, inputs))])
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)


def test_gradient_of_the_cell_by_finite_differences():
    inputs = random(BATCH, 8).requires_grad_(), random(BATCH, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(LSTM.apply, inputs)
