"""Beam search against exhaustive and greedy search, and scores against teacher forcing."""

import itertools

import pytest
import torch

from lamina.decoding.beam import beam_search
from lamina.systems.language.model import LanguageModel, of_rows

V, LENGTH = 4, 4


def model(seed=0, vocabulary=V):
    torch.manual_seed(seed)
    system = LanguageModel(vocabulary, hidden=6, layers=2, embedding=5, rows=2).double()
    with torch.no_grad():
        for parameter in system.parameters():
            parameter.mul_(4)  # far from uniform
    return system


def search(system, width, length=LENGTH, end=None, given=(0, 2)):
    return beam_search(system.following, system.nothing(1), torch.tensor(given), length, width, end, of_rows)


def teacher_forced(system, texts, given=(0, 2), end=None):
    """Return log p of each continuation by one pass over the whole; what follows the first `end` is not told."""
    begun = torch.tensor(given).expand(len(texts), -1)
    tokens = torch.cat([begun, texts], 1)
    logits, _ = system.following(tokens[:, :-1], system.nothing(len(texts)))
    gains = logits.log_softmax(2)[:, len(given) - 1 :].gather(2, texts[:, :, None])[:, :, 0]
    if end is not None:
        after = ((texts == end).cumsum(1) - (texts == end).int()) > 0
        gains = gains.masked_fill(after, 0.0)
    return gains.sum(1)


def exhaustive(system, length=LENGTH, end=None):
    """Return every continuation, filled up once it has ended, and its log-probability, the best first."""
    found = {}
    for symbols in itertools.product(range(V), repeat=length):
        cut = symbols.index(end) if end in symbols else length
        found[(*symbols[:cut], *[end] * (length - cut))] = None
    texts = torch.tensor(list(found))
    scores = teacher_forced(system, texts, end=end)
    order = scores.argsort(descending=True)
    return texts[order], scores[order]


@pytest.mark.parametrize("end", [None, 0])
@pytest.mark.parametrize("seed", range(3))
def test_wide_search_is_exhaustive(seed, end):
    """All 4⁴ continuations, or with an end the 121 that differ."""
    system = model(seed)
    texts, scores = search(system, V**LENGTH, end=end)
    expected, best = exhaustive(system, end=end)
    assert len(texts) == (V**LENGTH if end is None else 1 + 3 + 9 + 27 + 81)
    torch.testing.assert_close(scores, best, rtol=0, atol=1e-12)
    assert torch.equal(texts, expected)
    assert float(scores.exp().sum().detach()) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(3))
def test_narrowest_search_is_greedy(seed):
    system = model(seed)
    (text,), _ = search(system, 1, length=9)
    expected = system.sample(1, 9, 0.0, torch.tensor([2]))[0, 1:]
    assert torch.equal(text, expected)


@pytest.mark.parametrize("width", [2, 3, 7])
@pytest.mark.parametrize("end", [None, 0])
def test_scores_are_those_of_teacher_forcing(width, end):
    system = model(1)
    texts, scores = search(system, width, length=7, end=end)
    assert texts.shape == (width, 7)
    assert len({tuple(text) for text in texts.tolist()}) == width
    assert torch.equal(scores, scores.sort(descending=True).values)
    torch.testing.assert_close(scores, teacher_forced(system, texts, end=end), rtol=0, atol=1e-12)


def test_a_wider_search_finds_what_a_greedy_one_misses():
    """A table of next symbols in which the likelier first step leads to the less likely text."""
    p = torch.tensor([[0.0, 0.6, 0.4], [0.34, 0.33, 0.33], [0.0, 0.95, 0.05]])

    def step(tokens, state):
        return p[tokens].log(), state

    found = [beam_search(step, torch.zeros(1, 1), torch.tensor([0]), 2, width) for width in (1, 2)]
    assert found[0][0].tolist() == [[1, 0]]
    assert found[1][0][0].tolist() == [2, 1]
    assert float(found[1][1][0].exp()) == pytest.approx(0.4 * 0.95)


def test_symbols_of_probability_zero_are_never_kept():
    logits = torch.tensor([0.0, -torch.inf, -torch.inf])

    def step(tokens, state):
        return logits.expand(*tokens.shape, 3), state

    texts, scores = beam_search(step, torch.zeros(1, 1), torch.tensor([0]), 3, 5)
    assert texts.tolist() == [[0, 0, 0]]
    assert scores.tolist() == [0.0]


def test_an_early_end_fills_the_rest():
    logits = torch.tensor([[9.0, 0.0], [0.0, 0.0]])

    def step(tokens, state):
        return logits[tokens], state

    texts, _ = beam_search(step, torch.zeros(1, 1), torch.tensor([0]), 4, 1, end=0)
    assert texts.tolist() == [[0, 0, 0, 0]]


def test_completions_of_a_language_model():
    system = model(2)
    texts = system.complete(torch.tensor([2]), 5, 3)
    found, _ = search(system, 3, length=5, end=0)
    assert torch.equal(texts, torch.cat([torch.full((3, 1), 2), found], 1))
    other = system.complete(torch.tensor([2]), 5, 3, without=(1, 3))
    assert other[:, 1:].unique().tolist() == [0, 2]
    assert system.complete(torch.tensor([], dtype=torch.int64), 2, 3).shape == (3, 2)
    with pytest.raises(ValueError, match="numbered 0 to 3"):
        system.complete(torch.tensor([9]))
    for length, width in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="needs a length, a width and a beginning"):
            system.complete(torch.tensor([2]), length, width)
