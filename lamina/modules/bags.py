"""Sentences as bags of words, and vectors of words of which an unseen one has those of its neighbors.

    Φ(s)_w = how often the word w is in the sentence s;   with places, also Σ (2j − J − 1) / J over its places j of J
    E_w = own_w for a known word,   E_w = mean over its left neighbors l of left_l + mean over its right ones of right_r

The neighbors of a word are those in the statements of the same story. Neighbors that are unseen themselves are left
out; symbol 0 stands for the end of a sentence, also before its first word.

Weston, Chopra & Bordes (2015), Memory networks, section 3.5.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

SCALE = 0.1  # standard deviation of the first vectors


class Sentences(NamedTuple):
    """Φ of sentences.

    Args:
        counts: how often each word is in a sentence.
        places: the sum of its places, −1 at the beginning and 1 at the end; None if the order does not count.
    """

    counts: Float[Tensor, "*batch words"]
    places: Float[Tensor, "*batch words"] | None

    def only(self, words: Bool[Tensor, "*others words"]) -> "Sentences":
        """Return Φ without the other words."""
        return self.each(lambda values: values * words)

    def each(self, function: Callable[[Tensor], Tensor]) -> "Sentences":
        """Return what a function makes of both."""
        return Sentences(function(self.counts), None if self.places is None else function(self.places))


class Bags(NamedTuple):
    """Stories and questions as bags of words, and the neighbors of words.

    Args:
        story: Φ of each statement.
        question: Φ of the question.
        told: where there is a statement.
        strange: which words are taken for unseen.
        left: share of each known symbol among the left neighbors of each word.
        right: the same of the right ones.
    """

    story: Sentences
    question: Sentences
    told: Bool[Tensor, "batch memory"]
    strange: Bool[Tensor, "batch words"] | None = None
    left: Float[Tensor, "batch words vocabulary"] | None = None
    right: Float[Tensor, "batch words vocabulary"] | None = None


class WordTable(nn.Module):
    """A vector for each word, also for unseen ones if they have neighbors.

    Args:
        vocabulary: known symbols.
        hidden: numbers of a vector.
        context: whether unseen words have vectors, by their neighbors.
    """

    def __init__(self, vocabulary: int, hidden: int, context: bool) -> None:
        super().__init__()
        self.own = nn.Parameter(SCALE * torch.randn(vocabulary, hidden))
        self.left = nn.Parameter(SCALE * torch.randn(vocabulary, hidden)) if context else None
        self.right = nn.Parameter(SCALE * torch.randn(vocabulary, hidden)) if context else None

    def forward(self, bags: Bags) -> Float[Tensor, "*batch words hidden"]:
        """Return the vectors, of each story if some of its words are unseen."""
        more = bags.question.counts.shape[1] - len(self.own)
        own = F.pad(self.own, (0, 0, 0, more)) if more else self.own
        if self.left is None or self.right is None or bags.strange is None:
            return own
        assert bags.left is not None
        assert bags.right is not None
        return torch.where(bags.strange[..., None], bags.left @ self.left + bags.right @ self.right, own)


class Features(nn.Module):
    """U Φ(s): a vector for each word, and one for its place if the order of words counts.

    Args:
        vocabulary: known symbols.
        hidden: numbers of a vector.
        order: whether the order counts.
        context: whether unseen words have vectors.
    """

    def __init__(self, vocabulary: int, hidden: int, order: bool, context: bool) -> None:
        super().__init__()
        self.words = WordTable(vocabulary, hidden, context)
        self.places = WordTable(vocabulary, hidden, context) if order else None

    def forward(self, bags: Bags, sentences: Sentences) -> Float[Tensor, "batch sentences hidden"]:
        """Return U Φ of each sentence."""
        found: Tensor = sentences.counts @ self.words(bags)
        if self.places is not None and sentences.places is not None:
            found = found + sentences.places @ self.places(bags)
        return found

    def each(self, bags: Bags, sentence: Sentences) -> Float[Tensor, "batch words hidden"]:
        """Return the part of each word in U Φ of one sentence, once for each word."""
        found: Tensor = (sentence.counts > 0)[..., None] * self.words(bags)
        if self.places is not None and sentence.places is not None:
            found = found + sentence.places[..., None] * self.places(bags)
        return found


def bags_of(
    story: Int64[Tensor, "batch memory places"],
    question: Int64[Tensor, "batch asked"],
    words: int,
    strange: Bool[Tensor, "batch words"] | None = None,
    vocabulary: int = 0,
    order: bool = False,
) -> Bags:
    """Return bags of words; with unseen ones also the neighbors of words.

    Args:
        story: symbols of statements, padded with zeros at their ends.
        question: those of a sentence.
        words: symbols that there may be.
        strange: which words are taken for unseen; if it is not given, symbol 1, an unknown word, is left out.
        vocabulary: known symbols.
        order: whether the order of words counts.
    """
    least = 1 if strange is not None else 2
    bags = Bags(counted(story, words, least, order), counted(question, words, least, order), (story != 0).any(2))
    if strange is None:
        return bags
    around = F.pad(story, (1, 1))  # symbol 0 before and after each sentence
    left, right = (shares(story, side, strange, vocabulary) for side in (around[:, :, :-2], around[:, :, 2:]))
    return bags._replace(strange=strange, left=left, right=right)


def counted(sentences: Int64[Tensor, "*batch places"], words: int, least: int = 1, order: bool = False) -> Sentences:
    """Return Φ of sentences; symbols below `least` are no words."""
    there = (sentences >= least).float()
    none = torch.zeros(*sentences.shape[:-1], words, device=sentences.device)
    counts = none.scatter_add(-1, sentences, there)
    if not order:
        return Sentences(counts, None)
    length = there.sum(-1, keepdim=True).clamp(min=1)
    places = (2 * there.cumsum(-1) - length - 1) / length * there
    return Sentences(counts, none.scatter_add(-1, sentences, places))


def shares(
    story: Int64[Tensor, "batch memory places"],
    neighbors: Int64[Tensor, "batch memory places"],
    strange: Bool[Tensor, "batch words"],
    vocabulary: int,
) -> Float[Tensor, "batch words vocabulary"]:
    """Return the share of each known symbol among the neighbors of each word."""
    batch, words = strange.shape
    pairs = torch.zeros(batch, words * words, device=story.device)
    seen = ((story > 0) & ~strange.gather(1, neighbors.flatten(1)).view_as(neighbors)).float()
    pairs.scatter_add_(1, (story * words + neighbors).flatten(1), seen.flatten(1))
    known = pairs.view(batch, words, words)[..., :vocabulary]
    return known / known.sum(2, keepdim=True).clamp(min=1)
