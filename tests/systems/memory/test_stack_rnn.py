"""Stack-RNN: the kernel against autograd and finite differences, memories against Python lists, a net set by hand."""

import random
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lamina.core import Samples, Scores
from lamina.data.dataset import Data
from lamina.data.examples import Arrays
from lamina.data.patterns import TASKS, Curriculum, Rows, patterns, strings
from lamina.data.standard import load
from lamina.kernels import compiling
from lamina.kernels import stack as kernel
from lamina.kernels.vectors import LANES
from lamina.recipes.stacks import lengths_solved, right, stack_rnn
from lamina.systems.memory.restarts import Restarts
from lamina.systems.memory.stack_rnn import StackRNN
from lamina.systems.memory.unrolled import UnrolledStackRNN, moved
from lamina.train.evaluate import evaluate
from lamina.train.fit import fit

FORMS = [
    {},
    {"stay": True, "recurrent": True, "reach": 3},
    {"memory": "list", "recurrent": True},
    {"memory": "list", "reach": 1, "depth": 4},
]
forms = pytest.mark.parametrize("form", FORMS, ids=str)
EMPTY = kernel.EMPTY


def net(seed=0, scale=5.0, **changes):
    """Return a network in float64 whose actions are far from even."""
    torch.manual_seed(seed)
    settings = {"vocabulary": 5, "hidden": 6, "stacks": 3, "depth": 8, "rows": 2}
    system = StackRNN(**settings | changes).double()
    with torch.no_grad():
        for parameter in system.parameters():
            parameter.mul_(scale)
    return system


def batch(span=12, time=12, rows=2, seed=0, fresh=True):
    tokens = torch.randint(5, (rows, span + 1), generator=torch.Generator().manual_seed(seed))
    return tokens[:, :-1], tokens[:, span + 1 - time :], torch.full((rows,), fresh)


def learned(system, *windows, noise=0.7, learn=StackRNN.learn):
    """Return the loss of the last of several windows, its gradient, and the state after it."""
    system.state.zero_()
    system.zero_grad()
    generator = torch.Generator().manual_seed(3)
    for window in windows:
        size = (*window[0].shape, len(system.A))
        loss = learn(system, *window, noise * torch.randn(size, generator=generator, dtype=torch.float64))["nll"]
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in system.named_parameters()}, system.state.clone()


# The kernel


@forms
@pytest.mark.parametrize("clip", [1e9, 0.02])
@pytest.mark.parametrize("time", [12, 5])
@pytest.mark.parametrize(("every", "rounding"), [(0, 0.0), (1, 0.0), (3, 0.0), (3, 1.0)])
def test_kernel_has_loss_state_and_gradient_of_the_loop(form, clip, time, every, rounding):
    """Two windows, the second from where the first ended; with a context, cut errors, steps within. To 1e-11."""
    system = net(clip=clip, every=every, rate=0.5, rounding=rounding, **form)
    windows = batch(time=time), batch(time=time, seed=1, fresh=False)
    found = learned(system, *windows)
    expected = learned(system, *windows, learn=UnrolledStackRNN.learn)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)
    other = learned(net(clip=0.02 if clip == 1e9 else 1e9, every=every, rate=0.5, rounding=rounding, **form), *windows)[
        1
    ]
    assert not torch.allclose(other["U"], found[1]["U"], rtol=1e-3)


@forms
def test_loop_has_the_gradient_of_autograd(form):
    """The stored and linearized steps of the loop, of which the weights have not moved since, to 1e-12."""
    system, (tokens, targets, fresh) = net(clip=1e9, **form), batch(time=5)
    found = learned(system, (tokens, targets, fresh), noise=0, learn=UnrolledStackRNN.learn)[1]
    system.zero_grad()
    logits = UnrolledStackRNN.following(system.train(), tokens, system.nothing(2))[0][:, -5:]
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
    expected = {name: parameter.grad for name, parameter in system.named_parameters()}
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


@forms
def test_many_steps_are_kept_in_a_window(form):
    """300 symbols, after each of which a step is taken: what is stored is moved several times. To 1e-9."""
    system, window = net(scale=1.0, rows=1, every=1, rate=9.0, **form), batch(span=300, time=290, rows=1)
    found, expected = (learned(system, window, learn=by) for by in (StackRNN.learn, UnrolledStackRNN.learn))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


def test_a_window_of_steps_is_windows_of_one_step():
    """Without a context, steps within a window are those of an optimizer after windows as short, to 1e-12."""
    results = []
    for every, size in ((3, 12), (0, 3)):
        system, (tokens, targets, fresh) = net(every=every, rate=2.0 * size / 12), batch(span=12, time=12)
        sgd = torch.optim.SGD(system.parameters(), lr=system.rate)
        for begin in range(0, 12, size):
            part = slice(begin, begin + size)
            sgd.zero_grad()
            system.loss(tokens[:, part], targets[:, part], fresh & (begin == 0))["nll"].backward()
            sgd.step()
        results.append(dict(system.named_parameters()))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-13)


@forms
def test_gradient_is_that_of_finite_differences(form):
    """Central differences of 1e-5 at 8 weights of each kind, in float64, to 1e-7."""
    system, window, step = net(clip=1e9, **form), batch(span=9, time=6), 1e-5
    gradient, rng = learned(system, window)[1], random.Random(0)
    for name, parameter in system.named_parameters():
        flat = parameter.data.view(-1)
        for place in rng.sample(range(len(flat)), 8):
            middle, ends = float(flat[place]), []
            for sign in (1, -1):
                flat[place] = middle + sign * step
                ends.append(float(learned(system, window)[0]))
            flat[place] = middle
            assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(float(gradient[name].view(-1)[place]), abs=1e-7)


@forms
@pytest.mark.parametrize("rounded", [True, False])
def test_kernel_reads_as_the_loop_does(form, rounded):
    system = net(rounded=rounded, rows=40, **form).eval()
    tokens, begin = batch(span=30, rows=40)[0], system.nothing(40)
    looped, state = UnrolledStackRNN.following(system, tokens, begin)
    with torch.no_grad():
        found, end = system.following(tokens, begin)
        first, middle = system.following(tokens[:, :11], begin)
        second, last = system.following(tokens[:, 11:], middle)
    torch.testing.assert_close((found, end), (looped.detach(), state.detach()), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close((torch.cat([first, second], 1), last), (found, end), rtol=1e-12, atol=1e-13)
    system.rounded = not rounded
    assert not torch.allclose(system.following(tokens, begin)[0], found)


def test_a_context_gives_back_the_state_at_the_next_window():
    """The state that is kept is the one after as many symbols as have targets, which the next context begins with."""
    system, (tokens, targets, fresh) = net(rounded=False).eval(), batch(span=12, time=5)
    learned(system, (tokens, targets, fresh), noise=0)
    with torch.no_grad():
        expected = system.following(tokens[:, :5], system.nothing(2))[1]
    torch.testing.assert_close(system.state, expected, rtol=1e-12, atol=1e-13)


def test_float32_is_near(monkeypatch):
    system, window = net(hidden=40, stacks=10, depth=60), batch(span=50, time=25)
    expected = learned(system, window, noise=0)[1]
    system.float().zero_grad()
    system.loss(*window)["nll"].backward()
    found = {name: parameter.grad for name, parameter in system.named_parameters()}
    for name, gradient in found.items():
        assert (gradient - expected[name]).abs().max() < 1e-4 * expected[name].abs().max()


# Memories


def kernel_moved(cells, action, value, head):
    """Move one memory by the kernel, among as many as make a vector."""
    depth, lanes = len(cells), LANES
    form = kernel.form_of(2, 1, 0, 1, len(action), 1, depth, head)
    rows, decisions = np.full((depth + 2, lanes), EMPTY), np.zeros((len(action) + 1, lanes))
    rows[1:-1, 0], decisions[:-1, 0], decisions[-1, 0] = cells, action, value
    (kernel.move_stack if head < 0 else kernel.move_list)(form, rows.ravel(), decisions.ravel(), 0, depth)
    assert (rows[[0, -1]] == EMPTY).all()
    return rows[1:-1, 0]


@pytest.mark.parametrize("seed", range(5))
def test_with_sure_actions_a_stack_is_a_list(seed):
    """300 random actions, a push with 40 %: cells are a Python list that is pushed, popped and left, exactly."""
    rng, depth = random.Random(seed), 12
    cells, expected = np.full(depth, EMPTY), []
    for _ in range(300):
        choice, value = rng.choices((0, 1, 2), (4, 4, 2))[0], rng.random()
        action = np.eye(3)[choice]
        by_torch = moved(
            *(torch.tensor(a)[None, None] for a in (cells, action)), torch.tensor([[value]], dtype=torch.float64)
        )
        cells = kernel_moved(cells, action, value, -1)
        if choice == 0:
            expected.insert(0, value)
        elif choice == 1 and expected:
            expected.pop(0)
        expected = expected[:depth]  # what is pushed below is lost
        assert cells.tolist() == by_torch[0, 0].tolist() == expected + [EMPTY] * (depth - len(expected))


@pytest.mark.parametrize("seed", range(5))
def test_with_sure_actions_a_list_is_two_lists_around_a_head(seed):
    """60 random actions at a head with 80 cells on either side: inserting pushes what was there to the left."""
    rng, head = random.Random(seed), 80
    cells, before, at, behind = np.full(161, EMPTY), [EMPTY] * 200, EMPTY, [EMPTY] * 200
    for _ in range(60):
        choice, value = rng.randrange(3), rng.random()
        action = np.eye(3)[choice]
        by_torch = moved(
            *(torch.tensor(a)[None, None] for a in (cells, action)), torch.tensor([[value]], dtype=torch.float64), head
        )
        cells = kernel_moved(cells, action, value, head)
        if choice == 0:
            before.append(at)
            at = value
        elif choice == 1:
            behind.append(at)
            at = before.pop()
        else:
            before.append(at)
            at = behind.pop()
        expected = [*before[-80:], at, *behind[:-81:-1]]
        assert cells.tolist() == by_torch[0, 0].tolist() == expected


def counter(depth=200, sharp=60.0):
    """Return a network of one stack, set by hand, that pushes at each a, pops at each b, and sees the last one."""
    system = StackRNN(4, hidden=3, stacks=1, depth=depth).double().eval()
    end, a, b = 0, 2, 3
    with torch.no_grad():
        for parameter in system.parameters():
            parameter.zero_()
        system.U[[end, a, b]] = sharp * torch.tensor([[-1.0, 1, -3], [1, -1, -3], [-1, 1, 0]]).double()
        system.P[1, 2] = -sharp  # unit 2: b, and nothing below the top
        system.A[0, 0], system.A[1, 1], system.D[0, 0] = sharp, sharp, sharp
        system.V[a, 0], system.V[b, 1], system.V[a, 2], system.V[b, 2] = sharp, sharp, sharp, -2 * sharp
    return system


def test_a_net_set_by_hand_counts_up_to_its_depth():
    rows = Rows(strings(TASKS["anbn"], np.repeat([1, 2, 7, 60, 199, 200], 3), np.random.default_rng(0)), window=100)
    assert right(counter(), rows).tolist() == [1.0] * 6
    assert right(counter(depth=60), rows).tolist() == [1.0] * 4 + [0.0] * 2


def test_rounding_changes_nothing_where_actions_are_sure():
    system, tokens = counter(), torch.tensor([[0, 2, 2, 2, 3, 3, 3, 2, 2, 3, 3, 2]])
    found = []
    for rounded in (True, False):
        system.rounded = rounded
        with torch.no_grad():
            found.append(system.following(tokens, system.nothing(1)))
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-12)


def test_the_net_set_by_hand_writes_on():
    system = counter()
    drawn = system.sample(2, 4, 0.0, torch.tensor([2, 2, 2, 3]))
    assert drawn[:, :7].tolist() == [[2, 2, 2, 3, 3, 3, 2]] * 2
    assert isinstance(system, Samples)
    assert isinstance(system, Scores)


def test_scores_add_up_to_one():
    texts = torch.cartesian_prod(*[torch.arange(4)] * 3)
    assert float(net(vocabulary=4).eval().score(texts).exp().sum()) == pytest.approx(1.0, rel=1e-12)


# Training


@pytest.mark.parametrize("threads", [1, 2])
def test_restarts_learn_as_each_alone(threads):
    nets = [net(seed, rows=1, noise=0.0) for seed in range(3)]
    system, window = Restarts(nets), batch(rows=3, time=5)
    torch.set_num_threads(threads)
    try:
        loss = system.loss(*window)["nll"]
        loss.backward()
    finally:
        torch.set_num_threads(1)
    found = [one.U.grad.clone() for one in nets]
    alone = [learned(one, tuple(f[i : i + 1] for f in window), noise=0) for i, one in enumerate(nets)]
    assert float(loss.detach()) == pytest.approx(sum(float(one[0]) for one in alone) / 3, rel=1e-12)
    for one, expected in zip(found, alone, strict=True):
        torch.testing.assert_close(3 * one, expected[1]["U"], rtol=1e-12, atol=1e-15)
    together = Restarts(nets, apart=False)
    assert float(together.loss(*batch(rows=1))["nll"].detach()) == pytest.approx(
        sum(float(one.learn(*batch(rows=1), one.disturbance(batch(rows=1)[0]))["nll"].detach()) for one in nets) / 3
    )
    held = system.eval().metrics(*batch(rows=2))
    assert held["nll"] == min(one.metrics(*batch(rows=2))["nll"] for one in nets)
    with pytest.raises(ValueError, match="dealt out equally"):
        system.loss(*batch(rows=4))


def test_counting_is_learned_and_the_best_restart_goes_on():
    """aⁿbⁿ, seed 0, n below 5 in training: 2 restarts of 10 units and 2 stacks; most strings to n = 8 are right."""
    rng = np.random.default_rng(0)
    task = TASKS["anbn"]
    sizes = np.arange(60) % 3 + 2, np.arange(2, 7).repeat(3), np.arange(2, 9).repeat(3)
    data = Data("small", *(strings(task, n, rng) for n in sizes), ("", "", "a", "b"))
    sizes = {"hidden": 10, "stacks": 2, "depth": 30, "restarts": 2, "screening": 8, "epochs": 2, "windows": 250}
    paper = {"scale": 1.0, "rounding": 1.0, "balanced": False, "average": None, "lr": 0.1}
    run = stack_rnn(data, noise=1.0, window=25, **sizes, **paper)
    assert isinstance(run.train, Curriculum)
    fit(run)
    figures = lengths_solved(run)
    assert list(figures) == ["solved", "strings", "solved_longer", "solved_rounded", "solved_soft"]
    assert figures["solved"] == figures["solved_rounded"]
    assert figures["strings"] > 0.5


def test_text_is_learned_too(tmp_path):
    (tmp_path / "brackets.txt").write_text("(())()((()))(())" * 40)
    data = load(tmp_path / "brackets.txt")
    run = stack_rnn(data, hidden=8, stacks=2, stay=True, restarts=3, screening=2, batch=2, epochs=3, depth=20)
    before = evaluate(run.system, run.test)["bits"]
    fit(run)
    assert lengths_solved(run)["bits"] < before / 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: net(hidden=0), "hidden must be at least 1"),
        (lambda: net(every=-1), "every is a number"),
        (lambda: net(depth=2), "a stack of depth 2 is too small"),
        (lambda: net(memory="list", depth=4, reach=4), "a list of depth 4 is too small to be read 4"),
        (lambda: net().loss(*batch(rows=3)), "a batch of 3 rows"),
        (lambda: net(vocabulary=4).loss(*batch()), "not among those"),
        (lambda: net(vocabulary=4).eval().score(batch()[0]), "numbered 0 to 3"),
        (lambda: Restarts([]), "at least 1 network"),
        (lambda: stack_rnn(patterns(count=9, repeats=1), restarts=0), "restarts"),
        (lambda: stack_rnn(Data("rows", Arrays(x=torch.rand(4, 3)), classes=("0", "1"))), "stacks need a text"),
    ],
)
def test_bad_arguments_are_one_line(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_mistakes_come_before_nats():
    """The net set by hand makes none; a net at random tells few symbols, and the nats are those of any other model."""
    rows = Rows(strings(TASKS["anbn"], np.repeat([2, 5], 9), np.random.default_rng(0)), window=20)
    for system, (low, high) in ((counter(), (0.0, 1e-6)), (net(vocabulary=4), (0.05, 1.0))):
        plain = evaluate(system.eval(), rows)
        system.exact = True
        found = evaluate(system, rows)
        assert list(found) == ["wrong", "bits", "nll"]
        assert low <= found["wrong"] <= high
        assert {name: found[name] for name in plain} == plain


def test_the_user_is_told_of_a_long_compilation(monkeypatch, capsys):
    monkeypatch.setattr(compiling, "PATIENCE", 0.01)
    for signatures, told in (([], 1), (["compiled"], 0)):
        with compiling.announced(SimpleNamespace(signatures=signatures), "a kernel"):
            time.sleep(0.1)
        assert capsys.readouterr().err.count("compiling a kernel") == told


# The picture


def test_a_trace_is_what_the_net_does(tmp_path):
    pytest.importorskip("matplotlib")
    from lamina.analysis.stack_trace import plot_trace, trace

    system, tokens = counter(), torch.tensor([2, 2, 2, 3, 3, 3, 2])
    found = trace(system, tokens)
    assert found.actions[:, 0].argmax(1).tolist() == [0, 0, 0, 1, 1, 1, 0]
    assert (found.cells[:, 0] > 0).sum(1).tolist() == [1, 2, 3, 2, 1, 0, 1]
    with torch.no_grad():
        logits = system.following(tokens[None], system.nothing(1))[0][0]
    torch.testing.assert_close(found.p, logits.softmax(1), rtol=1e-12, atol=1e-12)
    for system_of in (system, net(memory="list")):
        plot_trace(system_of, tokens, "..abc", tmp_path / "trace.png")
        assert (tmp_path / "trace.png").stat().st_size > 1000
