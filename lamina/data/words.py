"""Counts of words in documents that are cut from the packaged English text, and the names of a table's columns.

A document is consecutive paragraphs of one part of the text, about `length` words together. The vocabulary is that of
the training part: its most frequent words, without the few that come in any text whatever it is about.
"""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lamina.core import select
from lamina.data.dataset import Data
from lamina.data.english import USUAL, english
from lamina.data.examples import Arrays, Examples, whole
from lamina.data.tables import read_table

WORD = re.compile("[a-z]{3,}")


def words(
    seed: int = 0, vocabulary: int = 2000, skip: int = 100, length: int = 150, sources: tuple[str, ...] = USUAL
) -> Data:
    """Return counts of words in documents of English prose; the classes of the data are its vocabulary.

    Args:
        seed: of the choice of validation pieces of the text.
        vocabulary: words that are counted.
        skip: most frequent words that are not.
        length: words in a document, at least, counted or not.
        sources: names of `lamina.data.english.SOURCES`.

    Raises:
        ValueError: the text has fewer different words.
        FetchError: the text cannot be downloaded.
    """
    text = english(sources, seed)
    parts = {name: documents(decoded(getattr(text, name), text.classes), length) for name in ("train", "valid", "test")}
    often = Counter(word for document in parts["train"] for word in document).most_common(skip + vocabulary)[skip:]
    if len(often) < vocabulary:
        raise ValueError(f"the text has only {len(often)} words beside the {skip} most frequent, not {vocabulary}")
    place = {word: k for k, (word, _) in enumerate(often)}
    made = {name: Arrays(x=counted(found, place)) for name, found in parts.items()}
    return Data("words", made["train"], made["valid"], made["test"], tuple(place), text.hashes)


def decoded(text: Examples, symbols: tuple[str, ...]) -> str:
    """Return a text whose symbols are numbered."""
    codes = select(whole(text), ("tokens",))["tokens"]
    letters = np.array([ord(symbol) for symbol in symbols], "<u4")
    return str(letters[codes.numpy()].tobytes(), "utf-32-le")


def documents(text: str, length: int) -> list[list[str]]:
    """Return the words of consecutive paragraphs, cut where there are `length` of them."""
    found: list[list[str]] = [[]]
    for paragraph in text.lower().splitlines():
        if len(found[-1]) >= length:
            found.append([])
        found[-1] += WORD.findall(paragraph)
    return found


def counted(found: list[list[str]], place: Mapping[str, int]) -> Float[Tensor, "documents vocabulary"]:
    """Return how often each word of a vocabulary comes in each document."""
    table = np.zeros((len(found), len(place)), np.float32)
    for row, document in zip(table, found, strict=True):
        for word, count in Counter(document).items():
            if word in place:
                row[place[word]] = count
    return torch.from_numpy(table)


def column_names(data: Data) -> tuple[str, ...]:
    """Return the names of the numbers in a row: the vocabulary, a table's head, or else 1, 2, ..."""
    (columns,) = data.shape
    if len(data.classes) == columns:
        return data.classes
    path = Path(data.name)
    if path.suffix.lower() in (".csv", ".tsv", ".parquet") and path.exists():
        table = read_table(path)
        return tuple(name for name in table.columns if name != table.label())
    return tuple(str(k + 1) for k in range(columns))
