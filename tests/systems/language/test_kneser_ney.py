"""Kneser-Ney against counts by hand, closed forms, and the definition written out with dictionaries."""

import itertools
import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from lamina.systems.language.kneser_ney import FEW, KneserNey, discounts_of


def text(count, vocabulary, seed=0):
    """Return a text with structure: a symbol follows from the one before it or from two, or is drawn from a law."""
    rng = np.random.default_rng(seed)
    drawn = (rng.random(count) ** 2 * vocabulary).astype(np.int64)
    for t in range(2, count):
        if (chance := rng.random()) < 0.6:
            drawn[t] = (3 * drawn[t - 1] + (drawn[t - 2] if chance < 0.3 else 0)) % vocabulary
    return drawn


def written_out(tokens, vocabulary, order, context, word):
    """Return p(word | context) by the equations of the module, from sets and dictionaries of tuples."""
    padded = [0] * (order - 1) + tokens.tolist()
    grams = {k: [tuple(padded[j - k + 1 : j + 1]) for j in range(order - 1, len(padded))] for k in range(1, order + 1)}
    a = {order: Counter(grams[order])}
    for k in range(1, order):
        a[k] = Counter(gram[1:] for gram in set(grams[k + 1]))
    followers = {k: defaultdict(dict) for k in a}
    for k, counts in a.items():
        for gram, count in counts.items():
            followers[k][gram[:-1]][gram[-1]] = count

    def discount(k, count):
        n = Counter(a[k].values())
        if count == 0:
            return 0.0
        i = min(count, 3)
        if not (n[1] and n[i] and n[i + 1]):
            return FEW[i - 1]
        d = i - (i + 1) * n[1] / (n[1] + 2 * n[2]) * n[i + 1] / n[i]
        return d if 0 < d < i else FEW[i - 1]

    context = tuple(([0] * (order - 1) + list(context))[len(context) :])
    p = 1 / vocabulary
    for k in range(1, order + 1):
        here = followers[k][context[len(context) - k + 1 :]]
        if here:
            mass = sum(discount(k, count) for count in here.values())
            count = here.get(word, 0)
            p = (count - discount(k, count) + mass * p) / sum(here.values())
    return p


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_equals_the_definition_with_dictionaries(order):
    vocabulary, tokens = 9, text(300, 9)
    model = KneserNey(tokens, vocabulary + 2, order)  # two symbols that never come
    rng = np.random.default_rng(1)
    for length in (0, 1, 2, 7):
        for _ in range(5):
            context = rng.integers(vocabulary + 2, size=length)
            found = model.following(context)
            expected = [written_out(tokens, vocabulary + 2, order, context, w) for w in range(vocabulary + 2)]
            np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_probabilities_sum_to_one_after_any_context(order):
    model = KneserNey(text(500, 20), 25, order)
    rng = np.random.default_rng(2)
    contexts = [text(500, 20)[t : t + 4] for t in range(0, 400, 40)]  # seen
    contexts += [
        rng.integers(25, size=size) for size in (0, 1, 2, 3, 6) for _ in range(10)
    ]  # seen in part or not at all
    for context in contexts:
        p = model.following(context)
        assert p.sum() == pytest.approx(1, abs=1e-12)
        assert p.min() > 0


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_log_prob_of_a_text_is_what_follows_each_of_its_beginnings(order):
    model, held = KneserNey(text(400, 12), 14, order), text(40, 14, seed=3)
    found = model.log_prob(held)
    expected = [math.log(model.following(held[:t])[held[t]]) for t in range(len(held))]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert model.perplexity(held) == pytest.approx(math.exp(-np.mean(expected)))
    assert len(model.log_prob(held[:0])) == 0


def test_a_small_example_by_hand():
    """a b a b a c, V = 4 (0 begins): bigrams 0a 1, ab 2, ba 2, ac 1, so n1 = 2, n2 = 2 and no bigram comes 3 times.

    Y = 2/6, D(1) = 1 − 2/3 · 2/2 = 1/3, D(2) = 1 (of `FEW`, as n3 = 0). Continuations: a after 0 and b: 2; b: 1; c: 1:
    n1 = 2, n2 = 1, Y = 1/2, D(1) = 1 − 1 · 1/2 = 1/2, D(2) = 1, mass 2, of 4.
    """
    a, b, c = 1, 2, 3
    model = KneserNey(np.array([a, b, a, b, a, c]), 4, 2)
    assert model.orders[1].discounts == pytest.approx((1 / 3, 1.0, 1.5))
    assert model.orders[0].discounts == pytest.approx((1 / 2, 1.0, 1.5))
    unigram = np.array([2 / 16, (1 + 2 / 4) / 4, (1 / 2 + 2 / 4) / 4, (1 / 2 + 2 / 4) / 4])
    np.testing.assert_allclose(model.following(np.array([c])), unigram)  # nothing ever followed c
    after = (np.array([0, 0, 1, 2 / 3]) + (1 + 1 / 3) * unigram) / 3
    np.testing.assert_allclose(model.following(np.array([b, a])), after)
    np.testing.assert_allclose(model.following(np.array([b])), (np.array([0, 1, 0, 0]) + unigram) / 2)


def test_bigrams_have_the_closed_form():
    """p(w | v) = (c(vw) − D)/c(v) + D N(v ·)/c(v) · p(w), with one discount where all counts are one: `FEW`'s."""
    tokens = np.array([1, 2, 3, 1, 3, 2, 1])  # bigrams 01 12 23 31 13 32 21, each once
    model = KneserNey(tokens, 5, 2)
    d = FEW[0]
    continuation = np.array([0, 3, 2, 2, 0])  # 1 comes after 0, 3 and 2; 2 after 1 and 3; 3 after 2 and 1
    unigram_d = np.array([0.0, *model.orders[0].discounts])
    unigram = (continuation - unigram_d[continuation] + unigram_d[continuation].sum() / 5) / continuation.sum()
    for v in (1, 2, 3):
        counts = np.zeros(5)
        for first, second in itertools.pairwise(tokens):
            counts[second] += first == v
        expected = (np.maximum(counts - d, 0) + d * (counts > 0).sum() * unigram) / counts.sum()
        np.testing.assert_allclose(model.following(np.array([v])), expected)


def test_more_context_helps_and_all_beat_counting_one_more_of_each():
    """20,000 symbols, three in ten of which follow from one before and as many from two; 2,000 others to be told."""
    train, held = text(20_000, 40), text(2_000, 40, seed=9)
    counts = np.bincount(train, minlength=40) + 1
    add_one = math.exp(-np.log(counts / counts.sum())[held].mean())
    found = [KneserNey(train, 40, order).perplexity(held) for order in (1, 2, 3)]
    assert found[0] < 1.001 * add_one
    assert found[1] < 0.8 * found[0]
    assert found[2] < 0.8 * found[1]


def test_discounts_lie_between_zero_and_their_count():
    assert discounts_of(np.repeat([1, 2, 3, 4], [80, 30, 16, 10])) == pytest.approx(
        (1 - 2 * 80 / 140 * 30 / 80, 2 - 3 * 80 / 140 * 16 / 30, 3 - 4 * 80 / 140 * 10 / 16)
    )
    assert discounts_of(np.array([7, 7])) == FEW  # too few to tell
    assert discounts_of(np.repeat([1, 2, 3, 4], [10, 1, 500, 1])) == (
        pytest.approx(1 - 2 * 10 / 12 * 1 / 10),
        FEW[1],  # the formula gives less than nothing
        pytest.approx(3 - 4 * 10 / 12 * 1 / 500),
    )


def test_a_periodic_text_still_gives_everything_a_chance():
    model = KneserNey(np.tile([1, 2, 3], 50), 5, 4)
    p = model.following(np.array([1, 2]))
    assert p.argmax() == 3
    assert p.min() > 0


def test_bad_arguments_are_one_line():
    with pytest.raises(ValueError, match="a text and an order of 1 or more, got 0 and 2"):
        KneserNey(np.array([], np.int64), 5, 2)
    with pytest.raises(ValueError, match="numbered 0 to 4, got another"):
        KneserNey(np.array([1, 5]), 5, 2)
    with pytest.raises(ValueError, match="numbered 0 to 4, got another"):
        KneserNey(np.array([1, 2]), 5, 2).log_prob(np.array([-1]))
