"""The sparse memory in one operation by its steps in torch; dense reads; rolling back bit for bit."""

import pytest
import torch

from lamina.modules.addressing import similarity
from lamina.modules.cells import Unfold
from lamina.modules.sam import SAM, nearest


class Plain(SAM):
    """The steps in torch's operations, with the whole memory for each."""

    def compiled(self):
        return False


def pair(dtype=torch.float64, **changed):
    sizes = {"inputs": 3, "hidden": 5, "slots": 9, "size": 4, "heads": 2, "nearest": 3} | changed
    torch.manual_seed(0)
    cell, plain = SAM(**sizes).to(dtype), Plain(**sizes).double()
    with torch.no_grad():
        cell.head.weight.mul_(4)  # so that gates and strengths vary
    plain.load_state_dict(cell.state_dict())
    return cell, plain


def gradients(cell, x, state, slopes):
    outputs, end = Unfold(cell)(x, state)
    parts = zip((outputs, *end[:4]), slopes, strict=True)
    total = sum((part * slope.to(part)).sum() for part, slope in parts)
    found = (outputs, *(part.clone() for part in end[:5]))  # before the memory is rolled back
    return found, torch.autograd.grad(total, [x, *cell.parameters()])


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("steps", [1, 25])
@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("near", [1, 3, 9])
def test_sequence_in_one_operation_is_its_steps(near, heads, steps, full):
    """Outputs, last state with memory and places, and gradients, in float64: 9 slots are overwritten many times."""
    cell, plain = pair(nearest=near, heads=heads)
    x, rows = torch.randn(steps, 3, 3, dtype=torch.float64, requires_grad=True), torch.randn(3, 9, 4)
    states = [c.holding(rows) if full else c.initial(3) for c in (cell, plain)]
    slopes = [torch.randn(part.shape) for part in (torch.empty(steps, 3, cell.width), *states[0][:4])]
    mine, theirs = (gradients(c, x, state, slopes) for c, state in zip((cell, plain), states, strict=True))
    for a, b in zip(mine[0] + mine[1], theirs[0] + theirs[1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("tables", [0, 24])
def test_in_single_precision_with_and_without_an_index(tables):
    """24 tables of one direction find all slots within 90 degrees of a key with probability above 1 - 2^-24."""
    cell, plain = pair(torch.float32, slots=40, tables=tables, bits=1, nearest=2)
    x, rows = torch.randn(12, 3, 3, dtype=torch.float64, requires_grad=True), torch.randn(3, 40, 4)
    states = cell.holding(rows), plain.holding(rows)
    slopes = [torch.randn(part.shape) for part in (torch.empty(12, 3, cell.width), *states[0][:4])]
    mine, theirs = (gradients(c, x, state, slopes) for c, state in zip((cell, plain), states, strict=True))
    for a, b in zip(mine[0] + mine[1], theirs[0] + theirs[1], strict=True):
        torch.testing.assert_close(a.double(), b.double(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tables", [0, 4])
def test_backward_rolls_all_back_bit_for_bit(tables):
    """40 steps overwrite 16 slots several times; the same steps from there give the same numbers again."""
    cell, _ = pair(torch.float32, slots=16, tables=tables, bits=2)
    state, x = cell.holding(torch.randn(3, 16, 4)), torch.randn(40, 3, 3)
    names = ("memory", "places", "inverse", "order", "first", "chains", "clock", "steps")
    before = dict(zip(names, (part.clone() for part in state[3:]), strict=True))
    gone = []
    for _ in range(2):
        outputs, end = Unfold(cell)(x, state)
        assert not any(torch.equal(end[3][i], before["memory"][i]) for i in range(3))
        gone.append(outputs.detach())
        outputs.sum().backward()
        after = dict(zip(names, state[3:], strict=True))
        for name in ("memory", "inverse", "order", "clock"):
            assert torch.equal(after[name], before[name]), name
        assert torch.equal(after["chains"][..., 2], before["chains"][..., 2])  # the bucket of each slot
    assert torch.equal(*gone)


def test_a_sequence_keeps_less_than_one_memory():
    """50 steps with 4,096 slots of 4 numbers, where a copy for each would take 50 memories."""
    cell, _ = pair(torch.float32, slots=4096, heads=1)
    outputs, end = Unfold(cell)(torch.randn(50, 1, 3))
    kept = sum(part.untyped_storage().nbytes() for part in outputs.grad_fn.traces)
    assert kept < end[3].untyped_storage().nbytes()


def test_all_slots_are_the_dense_read():
    cell, _ = pair(nearest=9, heads=1)
    rows = torch.randn(3, 9, 4).double()
    outputs, end = Unfold(cell)(torch.randn(1, 3, 3).double(), cell.holding(rows))
    raw, memory = cell.head(outputs[0, :, :5]), end[3]
    weights = (
        torch.nn.functional.softplus(raw[:, -1:]) * similarity(memory.mT, raw[:, None, :4].tanh())[:, 0]
    ).softmax(1)
    torch.testing.assert_close(outputs[0, :, 5:], (weights[:, None] @ memory).squeeze(1))
    torch.testing.assert_close(end[2][:, 0], weights.gather(1, end[4][:, 0]))


@pytest.mark.parametrize("kind", [SAM, Plain])
def test_a_write_by_hand(kind):
    """With α = 1 a value goes whole to the slot used least recently, or to what was read last, as γ says."""
    cell = kind(1, hidden=1, slots=3, size=2, nearest=1).double()
    torch.nn.init.zeros_(cell.head.weight)
    bias = cell.head.bias.data
    rows, value = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]]).double(), torch.tensor([0.6, -0.6]).double()
    bias[:] = torch.tensor([0.0, 9.0, *value.atanh(), 40.0, -40.0, 1.0])  # key (0, 1)
    with torch.no_grad():
        state = Unfold(cell)(torch.zeros(1, 1, 1).double(), cell.holding(rows))[1]
        torch.testing.assert_close(state[3][0], torch.stack([value, *rows[0, 1:]]))
        assert state[4].item() == 1
        bias[5] = 40.0  # to slot 1; what was used least recently is erased
        state = Unfold(cell)(torch.zeros(1, 1, 1).double(), state)[1]
    torch.testing.assert_close(state[3][0], torch.stack([value, rows[0, 1] + value, torch.zeros(2).double()]))


def test_nothing_is_read_from_an_empty_memory():
    found, weights, places = nearest(torch.zeros(2, 5, 3), torch.randn(2, 1, 3), torch.ones(2, 1), 2)
    assert not found.any()
    assert not weights.any()
    assert (places == -1).all()


def test_step_by_step_and_ragged_are_the_sequence():
    """Gradients too: each step, and each piece, rolls its own writes back."""
    cell, plain = pair()
    x, lengths = torch.randn(8, 4, 3).double(), torch.tensor([8, 3, 0, 5])
    outputs, end = Unfold(cell)(x)
    (outputs.square().sum() + end[3].square().sum()).backward()
    expected = [p.grad for p in cell.parameters()]
    state, single = cell.initial(4), []
    for row in x:
        state = cell(row, state)
        single.append(state[0])
    torch.testing.assert_close(torch.stack(single), outputs)
    total = torch.stack(single).square().sum() + state[3].square().sum()
    torch.testing.assert_close(list(torch.autograd.grad(total, list(cell.parameters()))), expected)
    found = []
    for one in (cell, plain):
        outputs, end = Unfold(one)(x, lengths=lengths)
        total = outputs.square().sum() + (end[3].mT * torch.arange(9)).square().sum()
        found.append((outputs, end[3].clone(), torch.autograd.grad(total, list(one.parameters()))))
    torch.testing.assert_close(*found)


def test_rows_of_a_batch_in_threads_and_without_autograd():
    cell, _ = pair(torch.float32)
    x, found, threads = torch.randn(6, 40, 3), [], torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            outputs, _ = Unfold(cell)(x)
            found.append((outputs.detach(), torch.autograd.grad(outputs.square().sum(), list(cell.parameters()))))
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(*found)
    with torch.inference_mode():
        assert torch.equal(Unfold(cell)(x)[0], found[1][0])


def test_goes_on_where_gradients_are_not_wanted_as_in_one_go():
    cell, _ = pair()
    x = torch.randn(9, 3, 3).double()
    with torch.no_grad():
        whole, _ = Unfold(cell)(x)
        first, state = Unfold(cell)(x[:4])
        second, _ = Unfold(cell)(x[4:], state)
    assert torch.equal(torch.cat([first, second]), whole)


def test_a_memory_is_taken_again_after_it_was_rolled_back():
    cell, _ = pair()
    x, begun = torch.randn(4, 3, 3).double(), cell.initial(3)
    Unfold(cell)(x, begun)[0].sum().backward()
    again = cell.initial(3)
    assert again[3].data_ptr() == begun[3].data_ptr()
    assert not again[3].any()
    assert cell.initial(3)[3].data_ptr() != begun[3].data_ptr()
    with pytest.raises(ValueError, match="changed since"):
        Unfold(cell)(x, begun)


def test_a_memory_in_use_is_not_handed_out():
    cell, _ = pair()
    x, begun = torch.randn(4, 3, 3).double(), cell.initial(3)
    Unfold(cell)(x, begun)[0].sum().backward()
    with torch.no_grad():
        Unfold(cell)(x, begun)
    assert not cell.initial(3)[3].any()


def test_says_where_a_state_is_used_twice():
    cell, _ = pair()
    x = torch.randn(4, 3, 3).double()
    first, state = Unfold(cell)(x)
    Unfold(cell)(x, state)
    with pytest.raises(RuntimeError, match="not as the sequence left it"):
        first.sum().backward()
    with pytest.raises(ValueError, match="changed since"):
        Unfold(cell)(x, state)


def test_in_another_number_format():
    cell, _ = pair(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        outputs, _ = Unfold(cell)(torch.randn(5, 3, 3))
    outputs.sum().backward()
    assert outputs.dtype == torch.float32


@pytest.mark.parametrize("wrong", [{"slots": 0}, {"heads": 0}, {"nearest": 10}, {"heads": 10}, {"tables": -1}])
def test_refuses_sizes(wrong):
    with pytest.raises(ValueError, match=r"no memory|need that many"):
        SAM(**({"inputs": 3, "slots": 9} | wrong))
