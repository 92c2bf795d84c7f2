"""The memory network against plain loops, what must not change its answers, its noise, and that it learns."""

import random

import numpy as np
import pytest
import torch

from lamina.core import Answers
from lamina.data.stories import Question, from_questions
from lamina.recipes.stories import best, memn2n
from lamina.systems.memory.memn2n import LinearStart, MemN2N
from lamina.train.evaluate import evaluate
from lamina.train.fit import fit


def network(**changes):
    torch.manual_seed(0)
    net = MemN2N(**{"vocabulary": 9, "memory": 6, "words": 4, "hidden": 5, "hops": 3} | changes).double()
    with torch.no_grad():
        net.words[1:].normal_()
        net.times.normal_()
    return net.eval()


STORY = torch.tensor([[[2, 3, 4, 0], [5, 3, 0, 0], [6, 7, 8, 2]], [[8, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]])
QUESTION = torch.tensor([[4, 2, 0], [6, 3, 5]])


def plainly(net, story, question, tying, encoding, linear=False, blank=True):
    """The equations of the paper, word by word, with the names that they have there."""
    words, times = net.words.detach().numpy(), net.times.detach().numpy()
    d, J, hops = net.hidden, 4, net.hops
    l = np.ones((d, 99))  # noqa: E741 - the paper's name
    if encoding == "position":
        for k in range(1, d + 1):
            for j in range(1, 99):
                l[k - 1, j - 1] = 1 + 4 * (k - (d + 1) / 2) * (j - (J + 1) / 2) / (d * J)
    tables = [words[:, i] for i in range(words.shape[1])]
    if tying == "adjacent":
        A, C, B, W = tables[:-1], tables[1:], tables[0], tables[-1]
        TA, TC = [times[:, k] for k in range(hops)], [times[:, k + 1] for k in range(hops)]
        H = np.eye(d)
    else:
        A, C, B, W = [tables[0]] * hops, [tables[1]] * hops, tables[2], tables[3]
        TA, TC = [times[:, 0]] * hops, [times[:, 1]] * hops
        H = net.H.detach().numpy()
    logits, attention = [], []
    for cells, asked in zip(story.tolist(), question.tolist(), strict=True):
        told = [statement for statement in cells if any(statement)]

        def vector(sentence, E):
            return sum(l[:, j] * E[word] for j, word in enumerate(sentence) if word)

        u, looks = vector(asked, B), []
        for k in range(hops):
            m = np.array([vector(s, A[k]) + TA[k][t] for t, s in enumerate(told)])
            c = np.array([vector(s, C[k]) + TC[k][t] for t, s in enumerate(told)])
            blanks = len(times) - len(told) if blank else 0
            p = m @ u if linear else np.exp(m @ u) / (np.exp(m @ u).sum() + blanks)
            u = H @ u + p @ c
            looks.append(np.pad(p, (0, story.shape[1] - len(told))))
        logits.append(W[1:] @ u)
        attention.append(looks)
    return np.array(logits), np.array(attention)


@pytest.mark.parametrize(("linear", "blank"), [(False, False), (False, True), (True, True)])
@pytest.mark.parametrize("hops", [1, 3])
@pytest.mark.parametrize("encoding", ["position", "bag"])
@pytest.mark.parametrize("tying", ["adjacent", "layerwise"])
def test_equals_the_paper_s_equations_in_plain_loops(tying, encoding, hops, linear, blank):
    net = network(tying=tying, encoding=encoding, hops=hops, blank=blank)
    found, attention = net.attend(STORY, QUESTION, net.ages(STORY[:, :, 0] != 0), linear)
    logits, looks = plainly(net, STORY, QUESTION, tying, encoding, linear, blank)
    np.testing.assert_allclose(found[:, 1:].detach(), logits, rtol=1e-10)
    np.testing.assert_allclose(attention.detach(), looks, rtol=1e-10, atol=1e-14)
    assert bool((found[:, 0] == -torch.inf).all())


@pytest.mark.parametrize(("linear", "blank"), [(False, False), (False, True), (True, True)])
@pytest.mark.parametrize("encoding", ["position", "bag"])
@pytest.mark.parametrize("tying", ["adjacent", "layerwise"])
def test_kernel_equals_autograd(tying, encoding, linear, blank):
    net = network(tying=tying, encoding=encoding, blank=blank)
    story, question, y = many(7)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(0.3)
    ages = net.ages(story[:, :, 0] != 0)
    slowly = torch.nn.functional.cross_entropy(net.attend(story, question, ages, linear)[0], y)
    expected = torch.autograd.grad(slowly, list(net.parameters()))
    quickly = net.learn(story, question, y, linear)
    found = torch.autograd.grad(2 * quickly, list(net.parameters()))
    torch.testing.assert_close(quickly, slowly, rtol=1e-12, atol=0)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, 2 * other, rtol=1e-10, atol=1e-13)


def test_kernel_in_two_threads(threads):
    net = network()
    story, question, y = many(40)
    found = []
    for count in (1, 2):
        threads(count)
        found.append(torch.autograd.grad(net.loss(story, question, y)["nll"], list(net.parameters())))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


def test_kernel_reads_nothing_beyond_its_tables():
    net = network()
    story, question, y = many(3)
    assert not net.learn(story, question, y).isnan()
    for field, number in ((story, 9), (question, -1), (y, 9), (y, 0)):
        kept = field[0].clone()
        field[0] = number
        assert net.learn(story, question, y).isnan()
        field[0] = kept


def many(count):
    """Random questions on stories of 0 to 6 statements of 1 to 4 words."""
    generator = torch.Generator().manual_seed(0)
    story = torch.randint(1, 9, (count, 6, 4), generator=generator)
    story *= torch.arange(4) < torch.randint(1, 5, (count, 6, 1), generator=generator)
    story *= (torch.arange(6) < torch.arange(count)[:, None] % 7)[:, :, None]
    question = torch.randint(1, 9, (count, 3), generator=generator)
    return story, question, torch.randint(1, 9, (count,), generator=generator)


@pytest.fixture
def threads():
    """Set the number of threads for a test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_position_encoding_is_the_closed_form():
    net = network()
    for j in range(1, 5):
        sentence = torch.zeros(1, 4, dtype=torch.int64)
        sentence[0, j - 1] = 7
        k = torch.arange(1, 6)
        l = 1 + 4 * (k - 3) * (j - 2.5) / (5 * 4)  # noqa: E741 - the paper's name
        torch.testing.assert_close(net.bag(sentence, net.words)[0], l * net.words[7])


def test_adjacent_weights_are_shared():
    net = network()
    assert [net.reads[k][0] for k in (1, 2)] == [net.reads[k][1] for k in (0, 1)]  # A is the C of the hop before
    assert (net.asks, net.tells) == (net.reads[0][0], net.reads[-1][1])  # B is the first A, W the last C
    assert {name for name, _ in net.named_parameters()} == {"words", "times"}
    assert {name for name, _ in network(tying="layerwise").named_parameters()} == {"words", "times", "H"}


@pytest.mark.parametrize("tying", ["adjacent", "layerwise"])
def test_order_in_memory_does_not_matter_if_times_go_along(tying):
    net = network(tying=tying)
    ages = torch.tensor([[0, 1, 2], [3, 2, 5]])
    logits, attention = net.attend(STORY, QUESTION, ages)
    turn = torch.tensor([2, 0, 1])
    turned, looks = net.attend(STORY[:, turn], QUESTION, ages[:, turn])
    torch.testing.assert_close(turned, logits)
    torch.testing.assert_close(looks, attention[:, :, turn])


def test_one_statement_has_all_attention():
    net = network(hops=1, blank=False)
    p, attention = net.answer(STORY[1:], QUESTION[1:])
    assert attention.tolist() == [[[1.0, 0.0, 0.0]]]
    u = net.bag(QUESTION[1:], net.words)[0, 0] + net.bag(STORY[1, :1], net.words)[0, 1] + net.times[0, 1]
    torch.testing.assert_close(p[0, 1:], (net.words[1:, 1] @ u).softmax(0))


def test_padding_changes_nothing():
    net = network()
    wide = torch.zeros(2, 6, 7, dtype=torch.int64)
    wide[:, :3, :4] = STORY
    asked = torch.zeros(2, 6, dtype=torch.int64)
    asked[:, :3] = QUESTION
    y = torch.tensor([3, 4])
    plain = torch.autograd.grad(net.loss(STORY, QUESTION, y)["nll"], list(net.parameters()))
    padded = torch.autograd.grad(net.loss(wide, asked, y)["nll"], list(net.parameters()))
    for one, other in zip(plain, padded, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(net.answer(STORY, QUESTION)[0], net.answer(wide, asked)[0])
    assert bool((plain[0][0] == 0).all())  # the vector of no word stays zero


def test_attention_sums_to_one_and_nothing_is_no_answer():
    p, attention = network(blank=False).answer(STORY, QUESTION)
    torch.testing.assert_close(attention.sum(2), torch.ones(2, 3, dtype=torch.float64))
    assert bool((network().answer(STORY, QUESTION)[1].sum(2) < 1).any())  # the rest is on places without a statement
    torch.testing.assert_close(p.sum(1), torch.ones(2, dtype=torch.float64))
    assert p[:, 0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("blank", [False, True])
def test_an_empty_story_is_answered_from_the_question(blank):
    net = network(blank=blank)
    p, attention = net.answer(torch.zeros_like(STORY), QUESTION)
    assert bool((attention == 0).all())
    u = net.bag(QUESTION, net.words[:, :1])[:, 0]
    torch.testing.assert_close(p[:, 1:], (u @ net.words[1:, 3].T).softmax(1))


def test_of_a_long_story_the_last_statements_are_looked_at():
    net = network(memory=2)
    p, attention = net.answer(STORY, QUESTION)
    assert attention.shape == (2, 3, 2)
    torch.testing.assert_close(p, net.answer(STORY[:, :2], QUESTION)[0])


@pytest.mark.parametrize("by_kernel", [True, False])
def test_noise_lets_time_run_ahead(by_kernel, monkeypatch):
    monkeypatch.setattr("lamina.systems.memory.memn2n.compiled", lambda weight: by_kernel)
    net = network(memory=20, noise=0.1).train()
    there = torch.zeros(20_000, 12, dtype=torch.bool)
    there[:, :10] = True
    torch.manual_seed(1)
    ages = net.ages(there)[:, :10]
    place = torch.arange(10)
    assert bool((ages.diff(dim=1) >= 1).all())
    ahead = (ages - place).double()
    assert set(ahead.unique().tolist()) == {0.0, 1.0}  # a tenth of 10 statements is one blank
    expected = (place + 1) / 11 / 2  # one blank in half of the stories, at any of 11 places
    deviation = (expected * (1 - expected) / 20_000).sqrt()
    assert bool(((ahead.mean(0) - expected).abs() < 4.5 * deviation).all())  # by chance in 1 of 15,000 runs
    assert torch.equal(net.eval().ages(there)[0], torch.arange(12))


def test_linear_start_differs_by_the_softmax_alone():
    net = network()
    start = LinearStart(net)
    assert next(start.parameters()).data_ptr() == net.words.data_ptr()
    logits, _ = plainly(net, STORY, QUESTION, "adjacent", "position", linear=True)
    y = torch.tensor([3, 4])
    nll = torch.nn.functional.cross_entropy(torch.from_numpy(logits), y - 1)
    torch.testing.assert_close(start.loss(STORY, QUESTION, y)["nll"], nll)


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="0 hops"):
        network(hops=0)
    with pytest.raises(ValueError, match="at least 0"):
        network(noise=-1.0)


def world(count, seed):
    """Questions of where somebody is, who went from place to place."""
    rng, found = random.Random(seed), []
    while len(found) < count:
        told, where = [], {}
        for i in range(10):
            who, place = rng.choice(["Mary", "John", "Daniel"]), rng.choice(["hall", "garden", "kitchen", "office"])
            where[who] = place
            told.append(f"{who} {rng.choice(['went', 'moved'])} to the {place}.")
            if i % 2:
                asked = rng.choice(sorted(where))
                found.append(Question(tuple(told), f"Where is {asked}?", where[asked]))
    return found[:count]


def test_learns_where_somebody_is(tmp_path):
    data = from_questions("world", world(400, 0), world(100, 1), world(300, 2))
    run = memn2n(data, restarts=2, linear=8, epochs=16, lr=0.01, halving=10)
    fit(run, tmp_path / "run")
    assert isinstance(run.system, Answers)
    assert evaluate(run.system, run.test)["error"] < 0.1  # 0.02 when written; guesses fail in 0.7
    stages = sorted(path.name for path in (tmp_path / "run").glob("stage-*"))
    assert stages == ["stage-1", "stage-2", "stage-3", "stage-4"]  # linear start and more, for two networks


def test_the_best_network_goes_on():
    data = from_questions("world", world(50, 0), world(50, 1))
    nets = [MemN2N(len(data.classes), 10, 5) for _ in range(3)]
    errors = [evaluate(net, memn2n(data).valid)["error"] for net in nets]
    assert nets.index(best(nets, data.valid)) == errors.index(min(errors))


def test_refuses_what_has_no_questions():
    from lamina.data.plane import moons

    with pytest.raises(ValueError, match="questions on stories"):
        memn2n(moons())
    with pytest.raises(ValueError, match="got 0"):
        memn2n(from_questions("world", world(50, 0)), restarts=0)
