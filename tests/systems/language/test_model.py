"""The language model against written-out cells in numpy, full backpropagation through time, and known distributions."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lamina.core import Samples, Scores
from lamina.data.byword import byword
from lamina.data.dataset import Data
from lamina.data.examples import Arrays, whole
from lamina.data.text import Windows, from_texts
from lamina.losses import large_softmax
from lamina.recipes.language import (
    bits_beside_yardsticks,
    by_frequency,
    char_lm,
    perplexity_beside_counts,
    word_lm,
)
from lamina.systems.language.kneser_ney import KneserNey
from lamina.systems.language.model import LanguageModel
from lamina.train.evaluate import evaluate
from lamina.train.fit import fit
from lamina.train.trainer import Epoch, Trainer, Update

CELLS = ("lstm", "gru", "rnn")
TEXT = "the cat sat on the mat; the dog sat on the log. " * 25


def model(cell="lstm", seed=0, **changes):
    """Return a float64 model with biases that are not zero."""
    torch.manual_seed(seed)
    settings = {"vocabulary": 7, "hidden": 5, "layers": 2, "embedding": 4, "cell": cell, "rows": 3}
    return LanguageModel(**settings | changes).double()


def batch(rows=3, time=11, seed=0, fresh=True):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(7, (rows, time + 1), generator=generator)
    return {"tokens": tokens[:, :-1], "targets": tokens[:, 1:], "fresh": torch.full((rows,), fresh)}


def cut(fields, at):
    """Return the windows before and after a place, the second of which goes on from the first."""
    first, second = ({name: fields[name][:, part] for name in ("tokens", "targets")} for part in at)
    return first | {"fresh": fields["fresh"]}, second | {"fresh": torch.zeros_like(fields["fresh"])}


def gradient(system, *windows):
    """Return the gradient of the mean of the windows' losses, one after the other."""
    system.zero_grad()
    for fields in windows:
        (system.loss(**fields)["nll"] / len(windows)).backward()
    return {name: parameter.grad.clone() for name, parameter in system.named_parameters()}


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def step(cell, x, h, c, w, u, b, d):
    """Return the next h and c of one layer, by the equations of the module."""
    from_x, from_h = x @ w.T + b, h @ u.T + d
    if cell == "rnn":
        return np.tanh(from_x + from_h), c
    if cell == "lstm":
        i, f, g, o = np.split(from_x + from_h, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c
    (xr, xz, xn), (hr, hz, hn) = np.split(from_x, 3, axis=1), np.split(from_h, 3, axis=1)
    r, z = sigmoid(xr + hr), sigmoid(xz + hz)
    return (1 - z) * np.tanh(xn + r * hn) + z * h, c


def written_out(system, cell, tokens):
    """Return the logits, symbol by symbol and layer by layer."""
    weights = {name: value.detach().numpy() for name, value in system.named_parameters()}
    rows, layers, logits = len(tokens), system.cells.num_layers, []
    h = [np.zeros((rows, system.cells.hidden_size)) for _ in range(layers)]
    c = [np.zeros_like(h[0]) for _ in range(layers)]
    for t in range(tokens.shape[1]):
        x = weights["embed.weight"][tokens[:, t].numpy()]
        for k in range(layers):
            of_layer = [weights[f"cells.{name}_l{k}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            x, c[k] = step(cell, x, h[k], c[k], *of_layer)
            h[k] = x
        logits.append(x @ weights["head.weight"].T + weights["head.bias"])
    return np.stack(logits, 1)


@pytest.mark.parametrize("cell", CELLS)
def test_logits_and_loss_equal_written_out_cells(cell):
    system, fields = model(cell), batch()
    logits, _ = system.following(fields["tokens"], system.nothing(3))
    expected = written_out(system, cell, fields["tokens"])
    np.testing.assert_allclose(logits.detach().numpy(), expected, rtol=0, atol=1e-12)
    p = np.exp(expected) / np.exp(expected).sum(2, keepdims=True)
    nll = -np.log(np.take_along_axis(p, fields["targets"].numpy()[..., None], 2)).mean()
    assert float(system.loss(**fields)["nll"].detach()) == pytest.approx(nll, rel=1e-12)
    figures = system.metrics(**fields)
    assert list(figures) == ["bits", "nll"]
    assert float(figures["bits"].detach()) == pytest.approx(nll / math.log(2), rel=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_state_goes_on_from_window_to_window(cell):
    system, fields = model(cell), batch()
    whole, end = system.following(fields["tokens"], system.nothing(3))
    first, state = system.following(fields["tokens"][:, :4], system.nothing(3))
    second, last = system.following(fields["tokens"][:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=0, atol=1e-14)
    torch.testing.assert_close(last, end, rtol=0, atol=1e-14)
    parts = cut(fields, (slice(0, 4), slice(4, 11)))
    nll = [float(system.loss(**part)["nll"].detach()) for part in parts]
    assert (4 * nll[0] + 7 * nll[1]) / 11 == pytest.approx(float(system.loss(**fields)["nll"].detach()), rel=1e-13)
    torch.testing.assert_close(system.state, end, rtol=0, atol=1e-14)


@pytest.mark.parametrize("cell", CELLS)
def test_gradient_is_that_of_the_whole_text_if_the_window_covers_it(cell):
    """Full backpropagation by autograd through a loop over single symbols, with nothing detached."""
    system, fields = model(cell), batch()
    truncated = gradient(system, fields)
    system.zero_grad()
    state, total = system.nothing(3), torch.zeros((), dtype=torch.float64)
    for t in range(11):
        logits, state = system.following(fields["tokens"][:, t : t + 1], state)
        total = total + F.cross_entropy(logits[:, 0], fields["targets"][:, t], reduction="sum")
    (total / 33).backward()
    for name, parameter in system.named_parameters():
        assert parameter.grad.abs().max() > 0, name
        torch.testing.assert_close(truncated[name], parameter.grad, rtol=0, atol=1e-10, msg=name)


@pytest.mark.parametrize("cell", CELLS)
def test_gradient_is_truncated_between_windows(cell):
    """Two windows: the second's gradient is that of full backpropagation with the state between them held constant."""
    system, fields = model(cell), batch(time=10)
    parts = cut(fields, (slice(0, 5), slice(5, 10)))
    full, truncated = gradient(system, fields), gradient(system, *parts)
    inner = [name for name in full if name.startswith(("cells", "embed"))]
    assert all((full[name] - truncated[name]).abs().max() > 1e-6 for name in inner)
    torch.testing.assert_close(full["head.bias"], truncated["head.bias"], rtol=0, atol=1e-12)
    _, state = system.following(parts[0]["tokens"], system.nothing(3))
    second = gradient(system, parts[0], parts[1])  # the state is now that after both windows; lay the middle one in
    system.zero_grad()
    loss = system.loss(**parts[0])["nll"] / 2
    logits, _ = system.following(parts[1]["tokens"], state.detach())
    (loss + F.cross_entropy(logits.flatten(0, 1), parts[1]["targets"].flatten()) / 2).backward()
    for name, parameter in system.named_parameters():
        torch.testing.assert_close(second[name], parameter.grad, rtol=0, atol=1e-12, msg=name)


def test_only_fresh_rows_begin_anew():
    system, fields = model(), batch()
    system.loss(**fields)
    before = system.state.clone()
    again = fields | {"fresh": torch.tensor([False, True, False])}
    logits, _ = system.following(fields["tokens"], before)
    anew, _ = system.following(fields["tokens"], system.nothing(3))
    expected = torch.stack([logits[0], anew[1], logits[2]])
    found = system.loss(**again)["nll"]
    torch.testing.assert_close(found, F.cross_entropy(expected.flatten(0, 1), fields["targets"].flatten()))
    with torch.no_grad():
        system.state.fill_(torch.nan)  # whatever it held before
    assert system.loss(**fields)["nll"].isfinite()


def test_fewer_rows_leave_the_state_of_the_others():
    system = model()
    system.loss(**batch())
    before = system.state.clone()
    system.loss(**batch(rows=2, seed=1, fresh=False))
    assert torch.equal(system.state[:, :, 2], before[:, :, 2])
    assert not torch.equal(system.state[:, :, :2], before[:, :, :2])
    with pytest.raises(ValueError, match="batch of 4 rows for a model that keeps the state of 3"):
        system.loss(**batch(rows=4))


def test_a_uniform_model_needs_log2_of_the_vocabulary():
    system = model(vocabulary=13)
    with torch.no_grad():
        system.head.weight.zero_()
        system.head.bias.zero_()
    assert float(system.metrics(**batch())["bits"].detach()) == pytest.approx(math.log2(13), rel=1e-12)
    score = system.score(torch.randint(13, (4, 9)))
    torch.testing.assert_close(score, torch.full((4,), -9 * math.log(13), dtype=torch.float64))


def test_scores_add_up_to_one():
    """All 4³ texts of 3 of 4 symbols: their probabilities sum to 1."""
    system = model(vocabulary=4)
    texts = torch.cartesian_prod(*[torch.arange(4)] * 3)
    assert float(system.score(texts).exp().sum()) == pytest.approx(1.0, rel=1e-12)
    assert isinstance(system, Scores)


def test_evaluation_of_a_text_is_its_score():
    """One row, windows of 7 symbols: bits per symbol are the whole text's log-probability; no window begins anew."""
    system, text = model(), Arrays(tokens=torch.randint(7, (70,), generator=torch.Generator().manual_seed(1)))
    bits = evaluate(system, Windows(text, rows=1, window=7))["bits"]
    assert bits == pytest.approx(-float(system.score(text.fields["tokens"][None])) / 70 / math.log(2), rel=1e-6)


def test_evaluation_leaves_the_state_of_training():
    system, text = model(dropout=0.5), Arrays(tokens=torch.randint(7, (200,)))
    system.loss(**batch())
    state = {name: value.clone() for name, value in system.state_dict().items()}
    first = evaluate(system, Windows(text, 5, 8))  # more rows than the training state has
    assert evaluate(system, Windows(text, 5, 8)) == first
    assert system.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in system.state_dict().items())


def test_evaluation_from_the_middle_is_refused():
    with pytest.raises(ValueError, match="from its beginning"):
        model().metrics(**batch(fresh=False))
    system = model()
    system.metrics(**batch(rows=2))
    with pytest.raises(ValueError, match="from its beginning"):
        system.metrics(**batch(rows=3, fresh=False))


def test_tied_weights_are_one_matrix():
    system, free = model(hidden=4, tied=True), model(hidden=4)
    free.load_state_dict(system.state_dict() | {"head.weight": system.embed.weight.detach()})
    assert sum(p.numel() for p in system.parameters()) == sum(p.numel() for p in free.parameters()) - 7 * 4
    fields = batch()
    assert torch.equal(system.following(fields["tokens"], system.nothing(3))[0],
                       free.following(fields["tokens"], free.nothing(3))[0])  # fmt: skip
    tied, apart = gradient(system, fields), gradient(free, fields)
    torch.testing.assert_close(tied["embed.weight"], apart["embed.weight"] + apart["head.weight"])
    with pytest.raises(ValueError, match="an embedding of the size of a layer, got 4 and 5"):
        model(tied=True)


@pytest.mark.parametrize("cell", CELLS)
def test_a_large_vocabulary_has_the_same_loss_and_gradient(cell, monkeypatch):
    system, fields = model(cell), batch()
    expected = gradient(system, fields)
    monkeypatch.setattr(large_softmax, "LARGE", 1)
    monkeypatch.setattr(large_softmax, "CHUNK", 5 * 7)
    for name, slope in gradient(system, fields).items():
        torch.testing.assert_close(slope, expected[name], rtol=0, atol=1e-12)


# Scheduled sampling


def test_a_whole_share_of_truth_is_teacher_forcing_bit_for_bit():
    forced, scheduled = small(), small(truth=0.4)
    scheduled.schedules = {name: lambda progress: 1.0 for name in scheduled.schedules} | {"lr": forced.schedules["lr"]}
    first, second = Trainer(forced), Trainer(scheduled)
    for trainer in (first, second):
        list(trainer)
    assert torch.equal(weights(first), weights(second))


def test_what_is_read_is_true_at_its_share_and_else_the_model_s_own():
    """4,000 rows, seed 0: the share of truth within 4 standard errors; without truth, the law of the model's texts."""
    system, count = model(vocabulary=3, seed=4, rows=4000), 4000
    with torch.no_grad():
        for parameter in system.parameters():
            parameter.mul_(3)
    torch.manual_seed(0)
    tokens = torch.tensor([[0, 1, 2]]).expand(count, -1)
    system.truth = 0.0
    own = system.mixed(tokens, system.nothing(count))
    assert (own[:, 0] == 0).all()  # the first of a window is true
    logits = torch.from_numpy(written_out(system, "lstm", torch.tensor([[0, 0], [0, 1], [0, 2]])))
    p = (logits[0, 0].softmax(0)[:, None] * logits[:, 1].softmax(1)).flatten()
    found = (3 * own[:, 1] + own[:, 2]).bincount(minlength=9).double() / count
    assert ((found - p).abs() < 4 * (p * (1 - p) / count).sqrt()).all()
    system.truth = 0.7
    share = (system.mixed(tokens, system.nothing(count))[:, 1] == 1).double().mean()
    expected = 0.7 + 0.3 * p[3:6].sum()
    assert abs(share - expected) < 4 * (expected * (1 - expected) / count) ** 0.5


def test_the_loss_is_that_of_what_is_read_and_the_gradient_goes_through_no_draw():
    system, fields = model(), batch()
    system.truth = 0.5
    torch.manual_seed(3)
    found = gradient(system, fields)
    torch.manual_seed(3)
    mixed = system.mixed(fields["tokens"], system.nothing(3))
    assert not torch.equal(mixed, fields["tokens"])
    system.truth = 1.0
    expected = gradient(system, fields | {"tokens": mixed})
    for name, slope in found.items():
        assert torch.equal(slope, expected[name]), name


def test_the_share_of_truth_falls_as_it_is_told():
    for decay in ("linear", "exponential", "inverse-sigmoid"):
        share = small(truth=0.25, decay=decay).schedules["system.truth"]
        assert share(0.0) == pytest.approx(1.0, abs=2e-3)
        assert share(1.0) == pytest.approx(0.25)
        assert all(share(k / 10) > share((k + 1) / 10) for k in range(10))
    assert list(small().schedules) == ["lr"]
    with pytest.raises(ValueError, match="truth is a share"):
        small(truth=0.0)


# Samples


def test_coldest_sample_is_the_most_probable_symbol_at_each_step():
    system, prompt = model(), torch.tensor([3, 1, 4])
    drawn = system.sample(2, 12, 0.0, prompt)
    assert isinstance(system, Samples)
    assert drawn.shape == (2, 15)
    text = [0, *prompt.tolist()]
    for _ in range(12):
        text.append(int(written_out(system, "lstm", torch.tensor([text]))[0, -1].argmax()))
    assert drawn.tolist() == [text[1:]] * 2
    torch.manual_seed(0)
    for temperature in (1e-4, 1e-300):  # the limit is reached from above
        assert torch.equal(system.sample(2, 12, temperature, prompt), drawn)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_samples_are_drawn_from_the_model(temperature):
    """20,000 texts of 2 of 3 symbols, seed 0: frequencies of all 9 within 4 standard errors of their probabilities."""
    torch.manual_seed(0)
    system, count = model(vocabulary=3, seed=4), 20_000
    with torch.no_grad():
        for parameter in system.parameters():
            parameter.mul_(3)  # so that the second symbol depends on the first
    drawn = system.sample(count, 2, temperature)
    found = (3 * drawn[:, 0] + drawn[:, 1]).bincount(minlength=9).double() / count
    logits = torch.from_numpy(written_out(system, "lstm", torch.tensor([[0, 0], [0, 1], [0, 2]]))) / temperature
    first, second = logits[0, 0].softmax(0), logits[:, 1].softmax(1)
    p = (first[:, None] * second).flatten()
    assert (second.max(0).values - second.min(0).values).max() > 0.02
    assert ((found - p).abs() < 4 * (p * (1 - p) / count).sqrt()).all()


def test_samples_repeat_with_the_seed_and_leave_no_trace():
    system = model()
    system.loss(**batch())
    state = system.state.clone()
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(system.sample(4, 30))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert found[0].shape == (4, 30)
    assert torch.equal(system.state, state)
    assert system.sample(2, 0, prompt=torch.tensor([5])).tolist() == [[5], [5]]
    assert system.sample(2, 3, prompt=torch.tensor([], dtype=torch.int64)).shape == (2, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda system: system.sample(1, -1), "cannot be negative"),
        (lambda system: system.sample(1, 5, -0.5), "cannot be negative"),
        (lambda system: system.sample(1, 5, math.nan), "cannot be negative"),
        (lambda system: system.sample(1, 5, 1.0, torch.tensor([7])), "numbered 0 to 6"),
        (lambda system: system.score(torch.tensor([[0, -1]])), "numbered 0 to 6"),
        (lambda system: model(hidden=0), "hidden must be at least 1, got 0"),
        (lambda system: model(rows=0), "rows must be at least 1"),
        (lambda system: model(dropout=1.0), "dropout is a share"),
        (lambda system: model("ltsm"), "unknown cell 'ltsm'; known: lstm, gru, rnn"),
    ],
)
def test_bad_arguments_are_one_line(call, message):
    with pytest.raises(ValueError, match=message):
        call(model())


# Training


def data(text=TEXT) -> Data:
    return from_texts("cats", text, text[:200], text[:300])


def small(made=None, **changes):
    settings = {"hidden": 16, "embedding": 8, "window": 20, "batch": 6, "epochs": 2, "lr": 0.01}
    return char_lm(data() if made is None else made, **settings | changes)


def weights(trainer):
    return torch.cat([value.flatten() for value in trainer.system.state_dict().values()])


@pytest.mark.parametrize("cell", CELLS)
def test_a_periodic_text_is_learned_to_almost_no_bits(cell):
    """Period 5, 3,000 symbols: below 0.02 bits per symbol, of 1.92 without memory; and the sample goes on with it."""
    text = "abcab" * 600
    run = small(from_texts("period", text, text[:500], text[:500]), cell=cell, lr=0.03, epochs=8)
    fit(run)
    assert evaluate(run.system, run.test)["bits"] < 0.02
    prompt = torch.tensor([2, 3, 4, 2, 3, 2, 3])  # abcabab: which of the two ab it is in
    assert run.system.sample(1, 10, 0.0, prompt)[0, 7:].tolist() == [4, 2, 3, 2, 3, 4, 2, 3, 2, 3]


@pytest.mark.parametrize("changes", [{}, {"cell": "gru", "dropout": 0.3, "layers": 2}, {"average": 0.9}])
@pytest.mark.parametrize("stop", [3, 10, 12])
def test_a_run_resumes_exactly_within_an_epoch(changes, stop):
    of_run = {"average": changes["average"]} if "average" in changes else {}
    of_recipe = {name: value for name, value in changes.items() if name not in of_run}

    def made(seed=0):
        run = small(seed=seed, **of_recipe)
        run.average = of_run.get("average")
        return run

    whole = Trainer(made())
    events = list(whole)
    part, seen = Trainer(made()), []
    for event in part:
        seen.append(event)
        if len(seen) == stop:
            state = part.state_dict()
            break
    rest = Trainer(made(seed=5))
    rest.load_state_dict(state)
    seen += list(rest)
    assert len(seen) == len(events)
    assert [e.valid for e in seen if isinstance(e, Epoch)] == [e.valid for e in events if isinstance(e, Epoch)]
    assert torch.equal(weights(whole), weights(rest))


def test_validation_between_updates_changes_nothing():
    run, other = small(), small()
    other.valid = None
    first, second = Trainer(run), Trainer(other)
    for trainer in (first, second):
        for event in trainer:
            if isinstance(event, Update) and trainer is first and event.step in (2, 4):
                trainer.validate()
    assert torch.equal(weights(first), weights(second))


def test_a_saved_run_is_rebuilt_from_its_outline(tmp_path):
    from lamina.recipes.saved import load

    run = small(layers=2)
    result = fit(run, tmp_path / "run")
    again = load(tmp_path / "run")
    assert not again.training
    assert evaluate(again, run.test) == evaluate(run.system, run.test)
    assert result.best["bits"] < math.log2(len(data().classes))
    torch.manual_seed(0)
    assert again.sample(3).shape == (3, 200)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_any_precision_learns(precision):
    run = small(epochs=6, layers=2, lr=0.03)
    run.precision = precision
    before = evaluate(run.system, run.test, precision=precision)["bits"]
    fit(run)
    assert evaluate(run.system, run.test, precision=precision)["bits"] < before / 2
    assert run.system.state.dtype == torch.float32


def test_recipe_lays_out_text_and_schedule():
    run = small()
    assert isinstance(run.system, LanguageModel)
    assert run.system.embed.num_embeddings == len(data().classes)
    first = next(run.train.epoch(0))
    assert {name: tuple(value.shape) for name, value in first.items()} == {
        "tokens": (6, 20),
        "targets": (6, 20),
        "fresh": (6,),
    }
    lr = run.schedules["lr"]
    assert lr(0.1) == pytest.approx(0.01)
    assert lr(1.0) < 1e-5
    short = char_lm(data("x" * 3), batch=64, window=100, hidden=4, epochs=1)  # a text shorter than a window
    assert len(short.train) == 1
    assert fit(short).epochs == 1


def test_pictures_are_refused():
    with pytest.raises(ValueError, match="needs a text"):
        char_lm(Data("digits", Arrays(x=torch.rand(4, 3), y=torch.zeros(4)), classes=("0", "1")))


def test_training_needs_no_validation_text():
    made = data()
    run = small(Data("cats", made.train, None, None, made.classes))
    assert run.valid is None
    assert run.test is None
    assert fit(run).complete


def test_yardsticks_are_what_they_say():
    train, test = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, 1])
    expected = -(math.log2(4 / 7) + 2 * math.log2(2 / 7)) / 3  # counts 4, 2 and 1 with the one more
    assert by_frequency(train, test, 3) == pytest.approx(expected)
    symbols = torch.randint(2, 10, (4000,), generator=torch.Generator().manual_seed(0))  # 3 bits each, and no less
    data = Data("toy", Arrays(tokens=symbols), None, Arrays(tokens=symbols[:2000]), tuple("abcdefghij"))
    run = char_lm(data, hidden=4, embedding=3, batch=2, window=5)
    figures = bits_beside_yardsticks(run)
    assert list(figures) == ["bits", "nll", "bits_by_frequency", "bits_bzip2", "bits_xz"]
    assert 2.99 < figures["bits_by_frequency"] < 3.05
    assert 2.99 < figures["bits_bzip2"] < 4.5
    assert 2.99 < figures["bits_xz"] < 4.5


def test_perplexity_stands_beside_that_of_counts():
    train, test = "a b c a b d. " * 60, "a b c x. a d. " * 20
    data = byword(from_texts("toy", train, test, test), least=1)
    run = word_lm(data, hidden=6, batch=3, window=7, epochs=1)
    figures = perplexity_beside_counts(run)
    assert list(figures) == ["perplexity", "perplexity_kneser_ney", "unknown", "bits", "nll"]
    assert figures["perplexity"] == pytest.approx(math.exp(evaluate(run.system, run.test)["nll"]))
    text = whole(data.test)["tokens"].numpy()
    told = text[: len(text) // 7 * 7]  # what is left at the end fills no window
    counts = KneserNey(whole(data.train)["tokens"].numpy(), len(data.classes), 5)
    assert figures["perplexity_kneser_ney"] == pytest.approx(counts.perplexity(told))
    assert figures["unknown"] == pytest.approx((told == 1).mean())
    assert 0.1 < figures["unknown"] < 0.2
    with pytest.raises(ValueError, match="perplexity needs a test text"):
        perplexity_beside_counts(word_lm(Data("toy", data.train, None, None, data.classes), hidden=6))


def test_words_begin_near_zero_and_weights_are_tied_if_asked_for():
    data = byword(from_texts("toy", "a b c a b d. " * 60, "a b", "a c"), least=1)
    run = word_lm(data, hidden=6)
    assert run.system.embed.weight.abs().max() <= 0.1
    assert run.system.output() is run.system.embed.weight
    share = whole(data.train)["tokens"].bincount() + 1
    torch.testing.assert_close(run.system.head.bias.softmax(0), share / share.sum())
    free = word_lm(data, hidden=6, tied=False, embedding=4).system
    assert free.output().shape == (len(data.classes), 6)
    with pytest.raises(ValueError, match="word_lm needs a text of tokens"):
        word_lm(Data("digits", Arrays(x=torch.rand(4, 3), y=torch.zeros(4)), classes=("0", "1")))
