"""Texts as words: any text of `lamina.data.text` anew, with words in place of characters for symbols.

Symbols are words (with their apostrophes), numbers, and single marks of punctuation; white space only stands between
them. `END` stands at the end of each paragraph, which is where a blank line follows, or, in a text that has none, each
line's end: so a model meets it often, and knows how texts begin. The vocabulary is `END`, `UNKNOWN`, and those that
come at least `least` times in the training part, the most frequent first. All others become `UNKNOWN`, in training
too, so that a model learns where to expect what it does not know (as in the Penn Treebank of Mikolov et al. 2010).
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamina.data.dataset import Data
from lamina.data.examples import Arrays
from lamina.data.text import END, UNKNOWN
from lamina.data.words import decoded

LEAST = 5  # of the packaged English 13,600 symbols are left, and 3 to 4 % of held-out text is unknown
LETTER = rf"[^\W\d_]|{UNKNOWN}"  # a letter that training lacks is part of its word
SYMBOL = re.compile(rf"(?:{LETTER})+(?:'(?:{LETTER})+)*|\d+(?:[.,]\d+)*|\S")
BLANK = re.compile(r"\n\s*\n")
CLOSING = frozenset(".,;:!?)]}%…”’»")  # no space before
OPENING = frozenset("([{$#“‘«")  # no space after
JOINING = frozenset("-/_")  # no space on either side
QUOTE = '"'  # opens and closes in turn


def byword(text: Data, least: int = LEAST, lower: bool = True) -> Data:
    """Return a text with words for symbols, under the name by which `load` gives it again.

    Args:
        text: a text of characters.
        least: how often a word comes in the training part; rarer ones become `UNKNOWN`.
        lower: make all letters small.

    Raises:
        ValueError: the data is no text of characters, or `least` leaves no word.
    """
    if "tokens" not in text.outline()["fields"] or not text.classes or are_words(text.classes):
        raise ValueError(f"byword needs a text of characters: byword:novel.txt or byword:english; {text.name} is none")
    blank = BLANK if BLANK.search(decoded(text.train, text.classes)) else re.compile("\n")
    parts = {}
    for name in ("train", "valid", "test"):
        if (examples := getattr(text, name)) is not None:
            content = blank.sub(END, decoded(examples, text.classes))
            parts[name] = symbols_of(content.lower() if lower else content)
    often = Counter(parts["train"])
    kept = [word for word, count in often.most_common() if count >= least and UNKNOWN not in word and word != END]
    if least < 1 or not kept:
        raise ValueError(
            f"{text.name} has no word that comes {least} times; least is 1 or more, and small for a small text"
        )
    vocabulary = (END, UNKNOWN, *kept)
    place = {word: number for number, word in enumerate(vocabulary)}
    made = {name: Arrays(tokens=numbered(words, place)) for name, words in parts.items()}
    settings = [f"least={least}"] * (least != LEAST) + ["case"] * (not lower)
    name = ":".join(["byword", *settings, text.name])
    return Data(name, made["train"], made.get("valid"), made.get("test"), vocabulary, text.hashes)


def settings(spec: str) -> tuple[str, int, bool]:
    """Return the text that a spec names, and the `least` and `lower` that it asks for.

    >>> settings("least=2:case:novel.txt"), settings("english:bible")
    (('novel.txt', 2, False), ('english:bible', 5, True))
    """
    least, lower = LEAST, True
    while found := re.match(r"(least=(\d+)|case):", spec):
        least, lower = (int(found[2]), lower) if found[2] else (least, False)
        spec = spec[found.end() :]
    return spec, least, lower


def symbols_of(text: str) -> list[str]:
    """Return the symbols of a text.

    >>> symbols_of("Don't pay 1,000 - please.")
    ["Don't", 'pay', '1,000', '-', 'please', '.']
    """
    return SYMBOL.findall(text)


def numbered(words: Iterable[str], place: dict[str, int]) -> Tensor:
    """Return the numbers of symbols."""
    unknown = place[UNKNOWN]
    numbers: NDArray[np.int64] = np.fromiter((place.get(word, unknown) for word in words), np.int64)
    return torch.from_numpy(numbers)


def are_words(vocabulary: Sequence[str]) -> bool:
    """Return whether a text's symbols are words, not characters."""
    return any(len(symbol) > 1 for symbol in vocabulary)


def read(text: str, vocabulary: Sequence[str]) -> Tensor:
    """Return the numbers of a text's symbols, characters or words, by a vocabulary; small letters serve for large."""
    place = {symbol: number for number, symbol in enumerate(vocabulary)}
    if not are_words(vocabulary):
        return numbered(text, place)
    return numbered((word if word in place else word.lower() for word in symbols_of(text)), place)


def written(numbers: Iterable[int], vocabulary: Sequence[str]) -> str:
    """Return symbols as one reads them, up to `END`: characters side by side, words with spaces where they belong."""
    symbols = list(itertools.takewhile(lambda symbol: symbol != END, (vocabulary[number] for number in numbers)))
    return joined(symbols) if are_words(vocabulary) else "".join(symbols)


def joined(symbols: Iterable[str]) -> str:
    """Return words and marks as running text, a paragraph a line.

    >>> joined(["he", "(", "it", "is", "said", ")", "wrote", ":", '"', "well", "-", "known", '"', ".", "so"])
    'he (it is said) wrote: "well-known". so'
    """
    text, space, quoted = "", False, False
    for symbol in symbols:
        closes = symbol in CLOSING or symbol in JOINING or symbol == END or (symbol == QUOTE and quoted)
        text += symbol if closes or not space else f" {symbol}"
        space = not (symbol in OPENING or symbol in JOINING or symbol == END or (symbol == QUOTE and not quoted))
        quoted = (quoted != (symbol == QUOTE)) and symbol != END
    return text.replace(END, "\n")
