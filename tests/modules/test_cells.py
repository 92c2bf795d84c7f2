"""Recurrent cells against torch's layers, against each other, and against sequences run alone."""

import math

import pytest
import torch
from torch import nn

from lamina.modules.cells import Cell, Unfold
from lamina.modules.deep_cells import Bidirectional, DeepInput, DeepTransition, Stacked
from lamina.modules.recurrent_init import radius, recurrent_matrices, start
from lamina.modules.slow_cells import Clockwork, Delayed, Leaky, time_constants
from lamina.modules.torch_cells import GRU, LSTM, RNN

INPUTS, HIDDEN = 3, 6
CELLS = {
    "rnn": lambda: RNN(INPUTS, HIDDEN),
    "relu": lambda: RNN(INPUTS, HIDDEN, "relu"),
    "lstm": lambda: LSTM(INPUTS, HIDDEN),
    "gru": lambda: GRU(INPUTS, HIDDEN),
    "leaky": lambda: Leaky(RNN(INPUTS, HIDDEN), time_constants(HIDDEN, 8.0)),
    "leaky lstm": lambda: Leaky(LSTM(INPUTS, HIDDEN), time_constants(HIDDEN, 8.0)),
    "delayed": lambda: Delayed(INPUTS, HIDDEN, (1, 2, 4)),
    "clockwork": lambda: Clockwork(INPUTS, HIDDEN, (1, 2, 4)),
    "deep input": lambda: DeepInput(nn.Sequential(nn.Linear(INPUTS, 5), nn.Tanh()), INPUTS, GRU(5, HIDDEN)),
    "deep transition": lambda: DeepTransition(INPUTS, HIDDEN, 3),
    "shortcut": lambda: DeepTransition(INPUTS, HIDDEN, 2, shortcut=True),
    "stacked": lambda: Stacked([LSTM(INPUTS, 4), Leaky(RNN(4, HIDDEN), time_constants(HIDDEN, 8.0))]),
    "skips": lambda: Stacked(
        [GRU(INPUTS, 4), Clockwork(4 + INPUTS, HIDDEN, (1, 2)), RNN(HIDDEN + INPUTS, 2)], skip=True
    ),
}
every = pytest.mark.parametrize("name", CELLS)


def sequences(time=9, batch=4, seed=0):
    return torch.randn(time, batch, INPUTS, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(name, seed=0) -> Cell:
    torch.manual_seed(seed)
    return CELLS[name]().double()


def step_by_step(cell, x):
    state, outputs = cell.initial(x.shape[1]), []
    for prepared in cell.prepare(x):
        state = cell(prepared, state)
        outputs.append(state[0])
    return torch.stack(outputs), state


@every
def test_a_whole_sequence_is_what_single_steps_give(name):
    cell, x = made(name), sequences()
    outputs, end = Unfold(cell)(x)
    alone, last = step_by_step(cell, x)
    torch.testing.assert_close(outputs, alone, rtol=0, atol=1e-12)
    assert outputs.shape == (9, 4, cell.width)
    for part, other in zip(end, last, strict=True):
        torch.testing.assert_close(part, other, rtol=0, atol=1e-12)
    torch.testing.assert_close(outputs[-1], end[0], rtol=0, atol=1e-12)
    grads = [torch.autograd.grad(out.square().sum(), cell.parameters()) for out in (outputs, alone)]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


@every
def test_a_sequence_goes_on_from_a_state(name):
    unfold, x = Unfold(made(name)), sequences()
    outputs, end = unfold(x)
    first, middle = unfold(x[:4])
    second, last = unfold(x[4:], middle)
    torch.testing.assert_close(torch.cat([first, second]), outputs, rtol=0, atol=1e-12)
    for part, other in zip(end, last, strict=True):
        torch.testing.assert_close(part, other, rtol=0, atol=1e-12)


@every
@pytest.mark.parametrize("both", [False, True])
def test_padding_changes_no_output_and_no_gradient(name, both):
    """Each sequence by itself is the oracle; what stands in the padding is not even a number."""
    unfold = Bidirectional(made(name), made(name, 1)) if both else Unfold(made(name))
    lengths = torch.tensor([5, 9, 1, 5])
    x = sequences()
    for i, length in enumerate(lengths):
        x[length:, i] = math.nan
    outputs, end = unfold(x, lengths=lengths)
    loss = outputs.square().sum() + end[0].pow(3).sum()
    alone = [unfold(x[:length, i : i + 1]) for i, length in enumerate(lengths)]
    for i, (output, last) in enumerate(alone):
        torch.testing.assert_close(outputs[: lengths[i], i], output[:, 0], rtol=0, atol=1e-12)
        assert not outputs[lengths[i] :, i].any()
        for part, other in zip(end, last, strict=True):
            torch.testing.assert_close(part[i], other[0], rtol=0, atol=1e-12)
    expected = sum(output.square().sum() + last[0].pow(3).sum() for output, last in alone)
    found = torch.autograd.grad(loss, unfold.parameters())
    for one, other in zip(found, torch.autograd.grad(expected, unfold.parameters()), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


def test_lengths_are_checked():
    unfold = Unfold(made("rnn"))
    for wrong in ([10, 3, 3, 3], [-1, 3, 3, 3]):
        with pytest.raises(ValueError, match="9 steps have lengths of 0 to 9"):
            unfold(sequences(), lengths=torch.tensor(wrong))
    with pytest.raises(ValueError, match="at least one step"):
        unfold(sequences()[:0])
    _, end = unfold(sequences(), lengths=torch.tensor([0, 1, 2, 3]))
    assert not end[0][0].any()  # no step at all


@pytest.mark.parametrize(("ours", "theirs"), [(RNN, nn.RNN), (LSTM, nn.LSTM), (GRU, nn.GRU)])
def test_steps_are_those_of_a_layer_of_torch_with_the_same_weights(ours, theirs):
    torch.manual_seed(0)
    layer = theirs(INPUTS, HIDDEN)
    cell = ours(INPUTS, HIDDEN)
    cell.layer.load_state_dict(layer.state_dict())
    x = sequences().float()
    expected, end = layer(x)
    found, last = step_by_step(cell, x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    for part, other in zip(last, end if isinstance(end, tuple) else (end,), strict=True):
        torch.testing.assert_close(part, other[0], rtol=0, atol=1e-6)


def test_stacked_lstms_are_those_of_torch():
    torch.manual_seed(0)
    layer = nn.LSTM(INPUTS, HIDDEN, 2)
    stacked = Stacked([LSTM(INPUTS, HIDDEN), LSTM(HIDDEN, HIDDEN)])
    for i, cell in enumerate(stacked.each()):
        cell.layer.load_state_dict({k[:-1] + "0": v for k, v in layer.state_dict().items() if k.endswith(str(i))})
    x = sequences().float()
    torch.testing.assert_close(Unfold(stacked)(x)[0], layer(x)[0], rtol=0, atol=1e-6)


def test_both_directions_are_those_of_torch_on_ragged_sequences():
    torch.manual_seed(0)
    layer = nn.GRU(INPUTS, HIDDEN, bidirectional=True)
    both = Bidirectional(GRU(INPUTS, HIDDEN), GRU(INPUTS, HIDDEN))
    weights = layer.state_dict()
    both.forwards.cell.layer.load_state_dict({k: v for k, v in weights.items() if not k.endswith("reverse")})
    turned = {k.removesuffix("_reverse"): v for k, v in weights.items() if k.endswith("reverse")}
    both.backwards.cell.layer.load_state_dict(turned)
    x, lengths = sequences().float(), torch.tensor([9, 2, 5, 1])
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
    expected, last = layer(packed)
    found, end = both(x, lengths=lengths)
    torch.testing.assert_close(found, nn.utils.rnn.pad_packed_sequence(expected)[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(end[0], torch.cat([last[0], last[1]], 1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["leaky", "delayed", "clockwork"])
def test_one_step_of_everything_is_the_plain_network_bit_for_bit(kind):
    torch.manual_seed(0)
    plain = RNN(INPUTS, HIDDEN)
    slow = {
        "leaky": lambda: Leaky(plain, torch.ones(HIDDEN)),
        "delayed": lambda: Delayed(INPUTS, HIDDEN, (1,)),
        "clockwork": lambda: Clockwork(INPUTS, HIDDEN, (1,)),
    }[kind]()
    if kind != "leaky":
        given = plain.layer.state_dict()
        bias = given["bias_ih_l0"] + given["bias_hh_l0"]
        slow.load_state_dict(
            slow.state_dict() | {"weight_ih": given["weight_ih_l0"], "weight_hh": given["weight_hh_l0"], "bias": bias}
        )
    x = sequences(30).float()
    assert torch.equal(step_by_step(slow, x)[0], step_by_step(plain, x)[0])


def test_leaky_units_decay_with_their_time_constants():
    times = torch.tensor([1.0, 2.0, 5.0])
    cell = Leaky(RNN(1, 3), times)
    with torch.no_grad():
        for weight in cell.parameters():
            weight.zero_()
    outputs, _ = Unfold(cell)(torch.zeros(6, 2, 1), (torch.ones(2, 3),))
    expected = (1 - 1 / times) ** torch.arange(1, 7)[:, None]
    torch.testing.assert_close(outputs[:, 0], expected)
    assert time_constants(3, 100.0).tolist() == pytest.approx([1, 10, 100])
    with pytest.raises(ValueError, match="time constants"):
        Leaky(RNN(1, 3), torch.tensor([0.5, 1, 1]))


def test_a_delayed_group_hears_of_an_input_after_its_delay():
    cell = made("delayed")
    x = sequences()[:, :1].requires_grad_()
    state, seen = cell.initial(1), []
    for prepared in cell.prepare(x):
        state = cell(prepared, state)
        seen.append(state[0])
    one, two, four = (part[0] for part in torch.stack(seen)[5].tensor_split(3, 1))
    for group, delay in ((one, 1), (two, 2), (four, 4)):
        (reach,) = torch.autograd.grad(group.sum(), x, retain_graph=True)
        touched = reach.abs().sum((1, 2)) > 0
        assert touched[5]
        assert not touched[5 - delay + 1 : 5].any()  # the last values it has seen are `delay` steps old
        assert touched[5 - delay]


def test_clockwork_groups_change_at_their_periods_and_see_slower_ones_only():
    cell = made("clockwork")
    outputs, (_, done) = Unfold(cell)(sequences(16))
    assert done.unique().tolist() == [16]
    for period, group in zip((1, 2, 4), outputs.tensor_split(3, 2), strict=True):
        moved = (group[1:] != group[:-1]).flatten(1).any(1)
        assert moved.tolist() == [step % period == 0 for step in range(1, 16)]
    h = torch.zeros(1, HIDDEN, dtype=torch.float64, requires_grad=True)
    new = cell(torch.zeros(1, HIDDEN, dtype=torch.float64), (h, torch.zeros(1, 1, dtype=torch.int64)))[0]
    jacobian = torch.stack([torch.autograd.grad(unit, h, retain_graph=True)[0][0] for unit in new[0]])
    fast, slow = torch.arange(HIDDEN)[:2], torch.arange(HIDDEN)[4:]
    assert not jacobian[slow][:, fast].any()
    assert jacobian[fast][:, slow].all()


def test_a_transition_of_one_layer_is_the_plain_network():
    plain, deep = made("rnn"), DeepTransition(INPUTS, HIDDEN, 1).double()
    given = plain.layer.state_dict()
    bias = given["bias_ih_l0"] + given["bias_hh_l0"]
    weights = {"enter.weight": given["weight_ih_l0"], "enter.bias": bias, "weight_hh": given["weight_hh_l0"]}
    deep.load_state_dict(weights)
    torch.testing.assert_close(Unfold(deep)(sequences())[0], Unfold(plain)(sequences())[0], rtol=0, atol=1e-12)


def test_first_weights():
    cell = GRU(INPUTS, HIDDEN)
    start(cell, "orthogonal", 1.5)
    matrices = list(recurrent_matrices(cell))
    assert len(matrices) == 3
    for matrix in matrices:
        torch.testing.assert_close(matrix.t() @ matrix, 2.25 * torch.eye(HIDDEN))
    start(cell, "radius", 1.1)
    assert [float(radius(matrix)) for matrix in recurrent_matrices(cell)] == pytest.approx([1.1] * 3)
    unit = RNN(INPUTS, HIDDEN, "relu")
    start(unit, "identity")
    h = torch.rand(1, HIDDEN)
    outputs, _ = Unfold(unit)(torch.zeros(50, 1, INPUTS), (h,))
    assert torch.equal(outputs[-1], h)  # rectified units at the identity keep what they have
    with pytest.raises(ValueError, match="more than 0"):
        start(cell, "radius", 0.0)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="takes 4 inputs above what gives 6"):
        Stacked([RNN(INPUTS, HIDDEN), RNN(4, HIDDEN)])
    with pytest.raises(ValueError, match="two directions"):
        Bidirectional(RNN(2, 3), RNN(3, 3))
    with pytest.raises(ValueError, match="delays are"):
        Delayed(INPUTS, HIDDEN, (0, 1))
    with pytest.raises(ValueError, match="shortcut"):
        DeepTransition(INPUTS, HIDDEN, 1, shortcut=True)
    with pytest.raises(ValueError, match="at least 1 input"):
        RNN(0, 3)
