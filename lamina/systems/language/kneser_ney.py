"""Interpolated Kneser-Ney model: the probability of a symbol given the n − 1 before it, from counts alone.

With a context c of k − 1 symbols, and c' the same without its first:

    p_k(w | c) = (max(a_k(c w) − D_k(a_k(c w)), 0) + m_k(c) p_{k-1}(w | c')) / Σ_v a_k(c v)          p_0(w) = 1 / V
    m_k(c)     = D_k(1) N_1(c ·) + D_k(2) N_2(c ·) + D_k(3) N_3+(c ·)
    a_n(c w)   = how often c w comes;   below n:  a_k(c w) = how many different symbols come before c w
    D_k(1) = 1 − 2Y n_2/n_1,  D_k(2) = 2 − 3Y n_3/n_2,  D_k(3 and more) = 3 − 4Y n_4/n_3,  Y = n_1 / (n_1 + 2 n_2)

N_i(c ·) is how many symbols follow c with a_k = i, n_i how many k-grams have a_k = i. A context that training has not
seen leaves p to the shorter one.

Kneser & Ney (1995), Improved backing-off for m-gram language modeling; modified and interpolated as in Chen & Goodman
(1999), An empirical study of smoothing techniques for language modeling, section 3.

Differs from the paper: the text is one stream, with symbol 0 before its first; p_0 gives each symbol of the vocabulary
the same, so that no probability is zero. The discounts of counts too few to tell are those of `FEW`.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64
from numpy.typing import NDArray

Symbols = Int64[np.ndarray, " symbols"]
FEW = (0.5, 1.0, 1.5)  # as the fallback of Heafield's lmplz has them
BEGIN = 0  # the symbol before a text's first


@dataclass
class Order:
    """The k-grams of one length, each numbered by its place in `keys`.

    Args:
        keys: number of the context times V plus the last symbol, in ascending order.
        gain: a − D(a) of each.
        total: Σ_v a(c v) of each context, numbered as the (k − 1)-grams; zero where nothing followed.
        mass: m(c) of each context.
        discounts: D(1), D(2) and D(3 and more).
    """

    keys: Int64[np.ndarray, " grams"]
    gain: Float[np.ndarray, " grams"]
    total: Float[np.ndarray, " contexts"]
    mass: Float[np.ndarray, " contexts"]
    discounts: tuple[float, float, float]

    def mixed(
        self,
        shorter: Float[np.ndarray, " symbols"],
        contexts: Int64[np.ndarray, " contexts_or_one"],
        gain: Float[np.ndarray, " symbols"],
    ) -> Float[np.ndarray, " symbols"]:
        """Return p_k from p_{k-1}, the numbers of the contexts (−1: not seen) and the gains of the k-grams."""
        total, mass = (np.where(contexts < 0, 0.0, table[contexts]) for table in (self.total, self.mass))
        longer: NDArray[np.float64] = np.divide(gain + mass * shorter, total, out=shorter.copy(), where=total > 0)
        return longer


class KneserNey:
    """An n-gram model with modified Kneser-Ney smoothing.

    Args:
        tokens: the text to count in.
        vocabulary: V, number of symbols.
        order: n, the longest n-gram; 1 looks at no context.

    Raises:
        ValueError: no text, a symbol outside the vocabulary, or an order below one.
    """

    def __init__(self, tokens: Symbols, vocabulary: int, order: int = 5) -> None:
        if order < 1 or not len(tokens):
            raise ValueError(f"an n-gram model needs a text and an order of 1 or more, got {len(tokens)} and {order}")
        self.vocabulary, self.order = vocabulary, order
        padded, keys, ends = self.padded(tokens), [], []
        grams = np.zeros(len(padded) + 1, np.int64)  # numbers of the k-grams that end at each place, from k − 1 on
        for k in range(1, order + 1):
            found, places = np.unique(grams[:-1] * vocabulary + padded[k - 1 :], return_inverse=True)
            shorter, counts = np.zeros(len(found), np.int64), np.bincount(places[order - k :], minlength=len(found))
            shorter[places] = grams[1:]  # the same without its first symbol
            keys.append(found)
            ends.append(shorter[counts > 0])  # of those that end in the text, not before it
            grams = places
        contexts = [1, *map(len, keys)]
        self.orders = []
        for k in range(1, order + 1):
            often = np.bincount(ends[k], minlength=len(keys[k - 1])) if k < order else counts
            self.orders.append(smoothed(keys[k - 1], often, keys[k - 1] // vocabulary, contexts[k - 1]))

    def log_prob(self, tokens: Symbols) -> Float[np.ndarray, " symbols"]:
        """Return log p of each symbol in nats, given those before it in the text.

        Raises:
            ValueError: a symbol outside the vocabulary.
        """
        padded, p = self.padded(tokens), np.full(len(tokens), 1 / self.vocabulary)
        grams = np.zeros(len(padded) + 1, np.int64)
        for k, order in enumerate(self.orders, 1):
            contexts = grams[:-1]
            grams = place(order.keys, contexts * self.vocabulary + padded[k - 1 :])
            text = slice(self.order - k, None)
            p = order.mixed(p, contexts[text], np.where(grams[text] < 0, 0.0, order.gain[grams[text]]))
        found: NDArray[np.float64] = np.log(p)
        return found

    def following(self, context: Symbols) -> Float[np.ndarray, " {self.vocabulary}"]:
        """Return p of each symbol after a context; what lies further back than the order reaches does not matter."""
        padded, p = self.padded(context), np.full(self.vocabulary, 1 / self.vocabulary)
        for k, order in enumerate(self.orders):  # k symbols of context
            gram, gain = self.number(padded[len(padded) - k :]), np.zeros(self.vocabulary)
            if gram >= 0:
                begin, end = np.searchsorted(order.keys, [gram * self.vocabulary, (gram + 1) * self.vocabulary])
                gain[order.keys[begin:end] - gram * self.vocabulary] = order.gain[begin:end]
            p = order.mixed(p, np.full(1, gram), gain)
        return p

    def perplexity(self, tokens: Symbols) -> float:
        """Return exp of the mean of −log p over a text."""
        return math.exp(-float(self.log_prob(tokens).mean()))

    def number(self, gram: Symbols) -> int:
        """Return the number of a gram among those of its length; −1 if training has not seen it."""
        found = np.zeros(1, np.int64)
        for symbol, order in zip(gram, self.orders, strict=False):
            found = place(order.keys, found * self.vocabulary + symbol)
        return int(found[0])

    def padded(self, tokens: Symbols) -> Int64[np.ndarray, " places"]:
        """Return a text with what comes before it, if the vocabulary has all of its symbols."""
        if len(tokens) and not (tokens.min() >= 0 and tokens.max() < self.vocabulary):
            raise ValueError(f"symbols are numbered 0 to {self.vocabulary - 1}, got another")
        return np.concatenate([np.full(self.order - 1, BEGIN), tokens])


def smoothed(
    keys: Int64[np.ndarray, " grams"],
    counts: Int64[np.ndarray, " grams"],
    context: Int64[np.ndarray, " grams"],
    contexts: int,
) -> Order:
    """Return the k-grams of one length with a = `counts` and their contexts' numbers, of which there are `contexts`."""
    discounts = discounts_of(counts)
    discount = np.array([0.0, *discounts])[counts.clip(max=3)]
    total, mass = (np.bincount(context, weights, contexts) for weights in (counts, discount))
    return Order(keys, counts - discount, total, mass, discounts)


def discounts_of(counts: Int64[np.ndarray, " grams"]) -> tuple[float, float, float]:
    """Return D(1), D(2) and D(3 and more); those of `FEW` where the counts of counts give none between 0 and a."""
    n = np.bincount(counts.clip(max=5), minlength=6)[1:5].tolist()
    found = []
    for i, few in enumerate(FEW):
        known = n[0] and n[i] and n[i + 1]
        discount = i + 1 - (i + 2) * n[0] / (n[0] + 2 * n[1]) * n[i + 1] / n[i] if known else few
        found.append(discount if 0 < discount < i + 1 else few)
    return found[0], found[1], found[2]


def place(keys: Int64[np.ndarray, " grams"], wanted: Int64[np.ndarray, " wanted"]) -> Int64[np.ndarray, " wanted"]:
    """Return where in ascending keys each wanted one is; −1 where it is not."""
    places = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where(keys[places] == wanted, places, -1)
