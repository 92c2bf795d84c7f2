"""Benchmarks: statistics, turns, records and tables; that rivals do the same work. Nothing is timed here."""

import doctest
import importlib
import json
import operator
from functools import partial

import numpy as np
import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import gemm, inputs, language, lenet, machines, memn2n, profile, results, trainer, turns
from benchmarks.results import Result, Row, Target
from lamina.data.batches import Batches
from lamina.data.examples import Arrays
from lamina.data.text import Windows
from lamina.modules.lenet import lenet5
from lamina.train.trainer import Trainer, Update


@pytest.mark.parametrize("module", [turns, results])
def test_doctests(module):
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("name", command.NAMES)
def test_every_benchmark_tells_what_it_measures(name):
    module = importlib.import_module(f"benchmarks.{name}")
    assert callable(module.measure)
    assert len(module.__doc__.splitlines()) > 2


class Pipe:
    """Sends turns until there are no more, and keeps what comes back."""

    def __init__(self, turns):
        self.turns, self.got = turns, []

    def recv(self):
        self.turns -= 1
        return self.turns >= 0

    def send(self, message):
        self.got.append(message)


def test_turn_reports_mean_cost_of_an_update(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(turns.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(turns.time, "process_time", lambda: 10.0)
    pipe = Pipe(2)
    turn = turns.Turn(pipe, seconds=3)
    turn.wait()
    for _ in range(3):  # the clock goes on by one at each look: looks 1, 2, 3 and the last at 4
        turn()
    ((kind, (cpu, wall, _, _)),) = pipe.got
    assert (kind, cpu, wall) == ("cost", 0.0, 4 / 3)


def test_ratios_are_taken_round_by_round():
    slow, quick = turns.Costs([2.0, 40.0, 9.0], [1.0]), turns.Costs([1.0, 10.0, 3.0], [1.0])
    row = results.timed({"slow": slow, "quick": quick}, "quick", updates=2)[0]
    assert row.values["ratio"] == 3.0
    assert row.values["CPU s"] == 18.0


def test_variants_take_turns_and_failures_are_told():
    variants = {
        "product": partial(gemm.product, gemm.by_numpy),
        "fails": operator.methodcaller("nothing"),
        "ends": operator.methodcaller("__class__", None, 1.0),
        "missing": partial(gemm.product, partial(importlib.import_module, "no_such_library")),
    }
    costs = turns.compare(variants, rounds=1, seconds=0.01, starts=2)
    assert len(costs["product"].cpu) == len(costs["product"].wall) == 2
    assert costs["product"].notes == {"flops": 2 * gemm.SIDE**3}
    assert 0.01 < costs["product"].peak < 1
    assert costs["fails"].trouble.startswith("AttributeError")
    assert "end" in costs["ends"].trouble
    assert costs["missing"].trouble.startswith("skipped, not installed")
    rows = results.timed(costs, "product")
    assert [bool(row.note) for row in rows] == [False, True, True, True]


def test_alone_returns_and_raises():
    assert turns.alone(abs, -3) == 3
    with pytest.raises(ValueError, match="invalid literal"):
        turns.alone(int, "x")


def test_operations_of_an_lstm_and_of_products_in_place_are_counted():
    def updates():
        lstm, x, c = torch.nn.LSTM(3, 5), torch.randn(7, 2, 3), torch.zeros(4, 6)
        while True:
            lstm(x)[0].sum().backward()
            c.addmm_(torch.ones(4, 5), torch.ones(5, 6))
            yield

    assert profile.operations(updates()) == 3 * 2 * (7 * 2) * 20 * (3 + 5) + 2 * 4 * 5 * 6
    shares = profile.shares(updates())
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["products"] > 0
    assert profile.part_of("LearnBackward") == "kernels"
    assert profile.part_of("AddmmBackward0") == "other"


@pytest.mark.parametrize("size", trainer.SIZES)
def test_loops_do_the_same_arithmetic(size, monkeypatch):
    whole = trainer.parts

    def few(size):
        network, batches, sgd = whole(size)
        rows = {name: field[: 5 * batches.size] for name, field in batches.examples.fields.items()}
        return network, Batches(Arrays(**rows), batches.size), sgd

    monkeypatch.setattr(trainer, "parts", few)
    calls = []
    networks = [loop(size, lambda: calls.append(1), epochs=2) for loop in trainer.LOOPS.values()]
    assert len(calls) == 10 * len(networks)
    for network in networks[1:]:
        for mine, its in zip(network.parameters(), networks[0].parameters(), strict=True):
            assert torch.equal(mine, its)


def test_word_models_do_the_same_arithmetic():
    """Without dropout, over two epochs of a vocabulary that lamina takes in chunks."""
    sizes = language.SIZES | {"vocabulary": 1200, "hidden": 8, "embedding": 8, "dropout": 0.0}
    source = Windows(Arrays(tokens=torch.randint(1200, (60,))), 3, 5)
    run = language.run_of(sizes, source, False, epochs=2)
    net = language.network(**sizes)
    net.load_state_dict({k: v for k, v in run.system.state_dict().items() if k != "state"})
    theirs = torch.stack(list(language.plain(net, source, 2)))
    ours = torch.stack([event.terms["nll"] for event in Trainer(run) if isinstance(event, Update)])
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
    assert theirs[4:].mean() < theirs[:4].mean()


def test_usual_lenet_is_lamina_s():
    torch.manual_seed(0)
    usual, ours, x = inputs.usual(), lenet5((1, 28, 28), 10), torch.randn(4, 1, 28, 28)
    for mine, its in zip(ours.parameters(), usual.parameters(), strict=True):
        mine.data.copy_(its.data)
    torch.testing.assert_close(ours(x), usual(x))


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """A cache that holds 300 images of noise."""
    rng, folder = np.random.default_rng(0), tmp_path / "mnist"
    folder.mkdir()
    x, y = rng.integers(0, 256, (300, 28, 28), np.uint8), rng.integers(0, 10, 300, np.uint8)
    (folder / "train-images-idx3-ubyte").write_bytes(bytes(16) + x.tobytes())
    (folder / "train-labels-idx1-ubyte").write_bytes(bytes(8) + y.tobytes())
    monkeypatch.setenv("LAMINA_DATA", str(tmp_path))
    return x, y


def test_images_are_the_same_in_every_form(cached):
    x, y = cached
    some, labels = inputs.images(200)
    assert np.array_equal(some, x[:200])
    assert np.array_equal(labels, y[:200])
    scaled, _ = inputs.standardized(200)
    np.testing.assert_allclose(scaled * inputs.DEVIATION + inputs.MEAN, some[:, None] / 255, atol=1e-6)
    one, label = inputs.Loaded(200)[7]
    np.testing.assert_allclose(one, scaled[7], atol=1e-6)
    assert label == y[7]


def test_bits_follow_the_gray_values(cached):
    drawn, x = inputs.bits(300), cached[0].reshape(300, 784)
    assert set(np.unique(drawn)) == {0.0, 1.0}
    assert np.array_equal(drawn, inputs.bits(300))
    assert abs(drawn.mean() - x.mean() / 255) < 0.005  # 235,200 bits: a standard error of 0.001
    assert drawn[x == 0].max() == 0


def test_indexed_batches_cover_the_data():
    y = np.arange(640)
    batches = list(lenet.Indexed(type("Set", (), {"X": np.zeros((640, 1)), "y": y})))
    assert len(batches) == 10
    assert sorted(torch.cat([labels for _, labels in batches]).tolist()) == y.tolist()


WAYS = {
    "sklearn": partial(machines.sklearn, "float32"),
    "lamina": partial(machines.lamina, True, False),
    "ebm": partial(machines.ebmkit, 200),
    "rbms": machines.rbms,
}


@pytest.mark.filterwarnings("ignore:.*jit.script.*:DeprecationWarning")  # of rbms
@pytest.mark.parametrize("name", WAYS)
def test_machines_make_every_update_and_learn(name):
    pytest.importorskip(name)
    rng, calls = np.random.default_rng(0), []
    means = rng.choice([0.1, 0.9], 784)
    x = (rng.random((200, 784)) < means).astype(np.float32)
    W, a, b = WAYS[name](x, 20, 20, 10, lambda: calls.append(1))
    assert len(calls) == 100
    assert (W.shape, a.shape, b.shape) == ((784, 20), (784,), (20,))
    field = a + 0.5 * W.sum(1)  # of pixels, with half of the hidden units on
    assert np.corrcoef(field, means)[0, 1] > 0.8


@pytest.mark.parametrize("way", ["numpy, as the port", "torch", "lamina"])
def test_memory_networks_make_the_same_updates(way):
    expected = memn2n.by_numpy(1, lambda: None, updates=30, noise=0.0)
    calls = []
    found = memn2n.WAYS[way](1, lambda: calls.append(1), updates=30, noise=0.0)
    assert len(calls) == 30
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)


RESULT = Result(
    [Row("ours", {"CPU s": 2.0, "ratio": 0.5}), Row("theirs", {"CPU s": 4.0}), Row("gone", note="skipped")],
    [Target("ours", "ratio", "<=", 0.6), Target("ours", "CPU s", ">=", 3), Target("gone", "ratio", "<=", 1)],
    {"batch": 64},
)
AROUND = {"versions": {"python": "3"}, "commit": "abc", "machine": "one", "started": "2026-01-02T03:04:05Z"}


def test_record_judges_targets():
    found = json.loads(json.dumps(results.record("toy", "What.\n\nMore.", RESULT, AROUND)))
    assert [target["met"] for target in found["targets"]] == [True, False, None]
    assert found["commit"] == "abc"
    assert found["rivals"] == results.installed(results.RIVALS)


def test_table_shows_rows_notes_and_verdicts(tmp_path):
    found = results.record("toy", "What.\n\nMore.", RESULT, AROUND)
    lines = results.table(found).splitlines()
    assert lines[0].split() == ["|", "|", "CPU", "s", "|", "ratio", "|"]
    assert len({len(line) for line in lines[:5]}) == 1
    assert "- gone: skipped" in lines
    assert [line.rsplit(", ")[-1] for line in lines[-3:]] == ["PASS", "short", "not measured"]
    (tmp_path / "toy.json").write_text(json.dumps(found))
    page = results.page(tmp_path)
    assert "## toy\n\nWhat.\n\nMore." in page
    assert "2026-01-02, commit abc" in page


def test_command_keeps_a_record_and_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(importlib.import_module("benchmarks.imports"), "measure", lambda quick: RESULT)
    assert command.main(["imports", "--quick", "--records", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "imports.json").read_text())
    assert found["quick"]
    assert "PASS" in capsys.readouterr().out
    assert "## imports" in (tmp_path / "README.md").read_text()


def test_command_refuses_an_unknown_name(capsys):
    assert command.parse([]).names == []
    with pytest.raises(SystemExit, match="2"):
        command.parse(["nothing"])
    assert "no benchmark 'nothing'; choose from imports" in capsys.readouterr().err
