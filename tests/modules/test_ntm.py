"""The machine as a cell: its equations written out, the compiled step, its beginning."""

import pytest
import torch

from lamina.modules import addressing
from lamina.modules.cells import Unfold
from lamina.modules.ntm import NTM


def small(**changed):
    torch.manual_seed(0)
    return NTM(**({"inputs": 3, "hidden": 5, "slots": 6, "size": 4, "reads": 2, "writes": 1} | changed))


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("controller", ["lstm", "feedforward"])
def test_unfolded_by_the_equations(controller, learned):
    """Outputs and gradients of five steps, in float64, against the cell written out by torch's own layers."""
    cell = small(controller=controller, learned=learned).double()
    x, slope = torch.randn(2, 5, 3, 3, dtype=torch.float64)[0], torch.randn(5, 3, 13, dtype=torch.float64)
    found, end = Unfold(cell)(x)
    output, *c, weights, memory = cell.initial(3)
    outputs = []
    for row in x:
        if controller == "lstm":
            i, f, o, g = cell.control(torch.cat([row, output], 1)).chunk(4, 1)
            c = [f.sigmoid() * c[0] + i.sigmoid() * g.tanh()]
            h = o.sigmoid() * c[0].tanh()
        else:
            h = cell.control(torch.cat([row, output[:, 5:]], 1)).tanh()
        seen, weights, memory = addressing.plain(cell.head(h), weights, memory, 2)
        output = torch.cat([h, seen.flatten(1)], 1)
        outputs.append(output)
    torch.testing.assert_close(found, torch.stack(outputs))
    torch.testing.assert_close(end, (output, *c, weights, memory))
    parameters = list(cell.parameters())
    mine = torch.autograd.grad((found * slope).sum(), parameters, retain_graph=True)
    theirs = torch.autograd.grad((torch.stack(outputs) * slope).sum(), parameters)
    torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("steps", [1, 6])
@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("controller", ["lstm", "feedforward"])
def test_sequence_in_one_operation_is_its_steps(controller, learned, steps):
    """Outputs, last state and gradients in float32 against the plain steps in float64; also that of x, and without."""
    cell = small(controller=controller, learned=learned)
    exact = small(controller=controller, learned=learned).double()
    x = torch.randn(steps, 3, 3, requires_grad=True)
    wide = x.detach().double().requires_grad_()
    found, expected = Unfold(cell)(x), Unfold(exact)(wide)
    slopes = [torch.randn(part.shape, dtype=torch.float64) for part in (expected[0], *expected[1])]

    def total(outputs, state):
        parts = zip((outputs, *state), slopes, strict=True)
        return sum((part * slope.to(part)).sum() for part, slope in parts)

    mine = torch.autograd.grad(total(*found), [x, *cell.parameters()])
    theirs = torch.autograd.grad(total(*expected), [wide, *exact.parameters()])
    for a, b in zip((found[0], *found[1], *mine), (expected[0], *expected[1], *theirs), strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        again = Unfold(cell)(x)
    assert torch.equal(again[0], found[0])
    assert all(torch.equal(a, b) for a, b in zip(again[1], found[1], strict=True))


def test_step_by_step_is_the_sequence():
    cell, x = small(), torch.randn(5, 3, 3)
    expected, end = Unfold(cell)(x)
    state = cell.initial(3)
    for row, output in zip(x, expected, strict=True):
        state = cell(row, state)
        torch.testing.assert_close(state[0], output)
    for a, b in zip(state, end, strict=True):
        torch.testing.assert_close(a, b)


def test_in_another_number_format():
    with torch.autocast("cpu", torch.bfloat16):
        outputs, _ = Unfold(small())(torch.randn(5, 3, 3))
    outputs.float().sum().backward()


@pytest.mark.parametrize("learned", [False, True])
def test_begins_on_the_simplex(learned):
    *_, weights, memory = small(learned=learned).initial(2)
    torch.testing.assert_close(weights.sum(2), torch.ones(2, 3))
    assert memory.shape == (2, 4, 6)


@pytest.mark.parametrize("wrong", [{"slots": 0}, {"writes": 0}, {"reach": 3}, {"reach": -1}, {"hidden": 0}])
def test_refuses_sizes(wrong):
    with pytest.raises(ValueError, match=r"at least 1|cannot move"):
        small(**wrong)
