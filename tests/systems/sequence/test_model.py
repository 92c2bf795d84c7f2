"""The sequence model: padding, answers at each step, the propagation term against its definition."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lamina.data.dataset import Data
from lamina.data.examples import Arrays
from lamina.modules.cells import Unfold
from lamina.modules.deep_cells import Bidirectional
from lamina.modules.slow_cells import Clockwork
from lamina.modules.torch_cells import GRU, LSTM, RNN
from lamina.recipes.sequences import sequence
from lamina.systems.sequence.model import SILENT, RaggedModel, SequenceModel, as_sequences
from lamina.systems.sequence.propagation import propagation
from lamina.train.evaluate import evaluate
from lamina.train.fit import fit

INPUTS, HIDDEN, CLASSES = 3, 5, 4


def model(unfold=None, **options):
    torch.manual_seed(0)
    unfold = unfold or Unfold(RNN(INPUTS, HIDDEN))
    return RaggedModel(nn.Identity(), unfold, nn.Linear(unfold.width, CLASSES), **options).double()


def batch(each_step=False, numbers=False, time=7, lengths=(4, 7, 1)):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(len(lengths), time, INPUTS, generator=generator, dtype=torch.float64)
    shape = (len(lengths), time) if each_step else (len(lengths),)
    y = torch.randint(CLASSES, shape, generator=generator)
    if numbers:
        y = torch.randn(*shape, CLASSES, generator=generator, dtype=torch.float64)
    return x, y, torch.tensor(lengths)


def unfolds():
    return {
        "plain": Unfold(RNN(INPUTS, HIDDEN)),
        "both": Bidirectional(GRU(INPUTS, HIDDEN), LSTM(INPUTS, HIDDEN)),
        "clockwork": Unfold(Clockwork(INPUTS, HIDDEN, (1, 2))),
    }


@pytest.mark.parametrize("name", ["plain", "both", "clockwork"])
@pytest.mark.parametrize("each_step", [False, True])
@pytest.mark.parametrize("numbers", [False, True])
def test_padding_changes_no_loss_no_gradient_and_no_answer(name, each_step, numbers):
    """The oracle takes each sequence alone, without padding; then the padding is filled with what is no number."""
    options = {"activity": 0.1, "propagation": 0.1 if name == "plain" else 0.0}
    system = model(unfolds()[name], each_step=each_step, numbers=numbers, **options)
    x, y, lengths = batch(each_step, numbers)
    steps = lengths.tolist()
    ones = [
        (x[i : i + 1, :n], y[i : i + 1, :n] if each_step else y[i : i + 1], lengths[i : i + 1])
        for i, n in enumerate(steps)
    ]
    share = {
        "nll": lengths.double() / lengths.sum() if each_step else torch.full((3,), 1 / 3, dtype=torch.float64),
        "activity": lengths.double() / lengths.sum(),
    }
    share |= {"squared": share["nll"], "propagation": torch.full((3,), 1 / 3, dtype=torch.float64)}
    alone = [system.loss(*one) for one in ones]
    expected = {term: sum(share[term][i] * terms[term] for i, terms in enumerate(alone)) for term in alone[0]}
    slopes = torch.autograd.grad(sum(expected.values()), system.parameters())
    told = [system.predict(one, length)[0] for one, _, length in ones]
    for i, n in enumerate(steps):
        x[i, n:] = math.nan
        if each_step:
            y[i, n:] = math.nan if numbers else 3
    found = system.loss(x, y, lengths)
    assert found.keys() == expected.keys()
    for term, value in expected.items():
        torch.testing.assert_close(found[term], value, rtol=1e-10, atol=1e-12)
    for one, other in zip(torch.autograd.grad(sum(found.values()), system.parameters()), slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    answers = system.predict(x, lengths)
    for i, n in enumerate(steps):
        torch.testing.assert_close(answers[i, :n] if each_step else answers[i], told[i])
    wrong = [float(system.metrics(*one)["error"]) for one in ones]
    assert float(system.metrics(x, y, lengths)["error"]) == pytest.approx(sum(wrong) / 3)


def test_answers_at_the_end_and_at_each_step():
    x, y, _ = batch(each_step=True)
    full = torch.full((3,), 7)
    system = model(each_step=True)
    answers = system.predict(x)
    torch.testing.assert_close(answers.sum(2), torch.ones(3, 7, dtype=torch.float64))
    torch.testing.assert_close(system.loss(x, y, full)["nll"], F.nll_loss(answers.log().flatten(0, 1), y.flatten()))
    y[:, :5] = SILENT
    quiet = F.nll_loss(answers[:, 5:].log().flatten(0, 1), y[:, 5:].flatten())
    torch.testing.assert_close(system.loss(x, y, full)["nll"], quiet)
    best = answers.argmax(2)
    assert float(system.metrics(x, best, full)["error"]) == 0
    best[1, 3] = (best[1, 3] + 1) % CLASSES  # one wrong step makes a wrong sequence
    assert float(system.metrics(x, best, full)["error"]) == pytest.approx(1 / 3)
    system = model()
    assert system.encode(x).shape == (3, HIDDEN)
    torch.testing.assert_close(system.predict(x), system.head(system.encode(x)).softmax(1))


@pytest.mark.parametrize("each_step", [False, True])
@pytest.mark.parametrize("numbers", [False, True])
def test_sequences_of_one_length_need_no_lengths(each_step, numbers):
    options = {"each_step": each_step, "numbers": numbers, "activity": 0.1, "propagation": 0.1}
    system = model(**options)
    plain = SequenceModel(system.inputs, system.unfold, system.head, **options)
    x, y, _ = batch(each_step, numbers)
    full = torch.full((3,), 7)
    for one, other in ((plain.loss(x, y), system.loss(x, y, full)), (plain.metrics(x, y), system.metrics(x, y, full))):
        assert one.keys() == other.keys()
        for name, value in one.items():
            torch.testing.assert_close(value, other[name])


def test_a_number_is_right_if_it_is_near():
    x, _, _ = batch()
    full = torch.full((3,), 7)
    system = model(numbers=True)
    y = system.predict(x)
    y[0] += 0.039
    y[1, 2] -= 0.041
    assert float(system.metrics(x, y, full)["error"]) == pytest.approx(1 / 3)


def definition(cell, head, x, y):
    """Return Ω of one sequence by autograd through all steps, and what its immediate gradient holds fixed."""
    across, squash = cell.layer.weight_hh_l0, cell.squash
    prepared, h = cell.prepare(x[:, None]), cell.initial(1)[0]
    inner, states = [], []
    for step in prepared:
        inner.append(step + h @ across.t())
        h = squash(inner[-1])
        states.append(h)
    error = F.cross_entropy(head(h), y[None])
    deltas = torch.autograd.grad(error, inner)
    omega, parts = 0.0, []
    for t in range(len(x) - 1):
        jacobian = torch.autograd.functional.jacobian(lambda a: squash(a) @ across.t() + prepared[0, 0], inner[t][0])
        slope = torch.autograd.functional.jacobian(squash, inner[t][0])
        size = deltas[t + 1].norm()
        if size == 0:  # all rectified units are off
            continue
        omega += ((deltas[t + 1][0] @ jacobian).norm() / size - 1) ** 2
        parts.append((deltas[t + 1][0], slope, size))
    return omega, parts


@pytest.mark.parametrize("squash", ["tanh", "relu"])
def test_propagation_is_the_papers_and_so_is_its_gradient(squash):
    torch.manual_seed(0)
    cell = RNN(INPUTS, HIDDEN, squash)
    system = model(Unfold(cell), propagation=1.0)
    x, y, _ = batch()
    term = system.loss(x, y, torch.full((3,), 7))["propagation"]
    alone = [definition(cell, system.head, *one) for one in zip(x, y, strict=True)]
    torch.testing.assert_close(term, sum(omega for omega, _ in alone) / 3, rtol=1e-10, atol=1e-12)
    found = torch.autograd.grad(term, list(system.parameters()), allow_unused=True, materialize_grads=True)
    across = cell.layer.weight_hh_l0.detach()

    def omega(weights):
        parts = [part for _, parts in alone for part in parts]
        return sum(((delta @ weights @ slope).norm() / size - 1) ** 2 for delta, slope, size in parts) / 3

    for name, slope in zip(dict(system.named_parameters()), found, strict=True):
        if not name.endswith("weight_hh_l0"):
            assert not slope.any()  # the immediate gradient reaches U alone
            continue
        for i in range(HIDDEN):
            for j in range(HIDDEN):
                change = torch.zeros_like(across)
                change[i, j] = 1e-6
                assert float(slope[i, j]) == pytest.approx(
                    float(omega(across + change) - omega(across - change)) / 2e-6, rel=1e-5, abs=1e-8
                )


def test_propagation_is_zero_where_errors_keep_their_size():
    rotation = torch.linalg.qr(torch.randn(HIDDEN, HIDDEN, dtype=torch.float64)).Q
    slopes, direct = torch.ones(2, 20, 3, HIDDEN, dtype=torch.float64)
    direct[:-1] = 0
    assert float(propagation(rotation, slopes, direct)) == pytest.approx(0, abs=1e-20)
    assert float(propagation(0.5 * rotation, slopes, direct)) == pytest.approx(19 * 0.25)
    assert float(propagation(rotation, slopes, 0 * direct)) == 0  # no error, nothing to keep


def test_the_propagation_term_needs_a_plain_cell():
    with pytest.raises(ValueError, match="plain cell"):
        model(Unfold(GRU(INPUTS, HIDDEN)), propagation=1.0)
    with pytest.raises(ValueError, match="negative"):
        model(activity=-1.0)


def test_examples_as_sequences():
    row, picture = torch.rand(2, 5), torch.rand(2, 3, 4, 6)
    assert torch.equal(as_sequences(row)[:, :, 0], row.t())
    read = as_sequences(picture)
    assert read.shape == (4, 2, 18)
    assert torch.equal(read[1, 0], picture[0, :, 1].flatten())


def ragged(count, seed):
    """Sequences of 3 to 20 bits; the class is whether the first was 1, and each step's whether any was."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, 21, (count,), generator=generator)
    x = torch.randint(2, (count, 20, 1), generator=generator).float()
    x[torch.arange(20) >= lengths[:, None]] = math.nan
    return {"x": x, "y": x[:, 0, 0].long(), "lengths": lengths}


def test_ragged_sequences_are_learned_and_batches_have_little_padding():
    parts = [Arrays(**ragged(count, seed)) for seed, count in enumerate((1000, 200, 200))]
    run = sequence(Data("bits", *parts, ("0", "1")), hidden=16, batch=20, lr=0.01, epochs=10)
    shown = list(run.train.epoch(0))
    steps = sum(x.shape[0] * x.shape[1] for x in (batch["x"] for batch in shown))
    assert steps < 1.05 * float(sum(batch["lengths"].sum() for batch in shown))
    fit(run)
    given = parts[2].fetch(torch.arange(200))
    right = run.system.predict(given["x"], given["lengths"]).argmax(1) == given["y"]
    assert float(right.float().mean()) > 0.99


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "leaky", "delayed", "clockwork", "deep"])
def test_every_cell_runs_with_every_option(cell):
    parts = [Arrays(**ragged(count, seed)) for seed, count in enumerate((40, 20))]
    data = Data("bits", parts[0], parts[1], classes=("0", "1"))
    options = {"cell": cell, "hidden": 6, "batch": 10, "epochs": 1}
    for more in ({}, {"both": True, "activity": 0.1}, {"layers": 2, "skip": True, "enter": (5,), "leave": (4,)}):
        run = sequence(data, **options, **more)
        fit(run)
        assert run.system.predict(parts[1].fetch(torch.arange(3))["x"][:, :3]).shape == (3, 2)


def test_numbers_at_each_step_are_learned():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(300, 8, 1, generator=generator)
    data = Data("sums", Arrays(x=x, y=x.cumsum(1)), Arrays(x=x[:50], y=x[:50].cumsum(1)))
    run = sequence(data, hidden=16, batch=10, lr=0.01, epochs=10)
    first = evaluate(run.system, run.valid)["squared"]
    fit(run)
    last = evaluate(run.system, run.valid)["squared"]
    assert last < 0.01 * first
