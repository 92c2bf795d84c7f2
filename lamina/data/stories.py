"""Stories, questions about them, and answers, as numbered words.

A story is its statements so far. The fields of an example are

    story     int64 (memory, words)   its last statements, the MOST RECENT FIRST: story[0] is what was told last before
                                      the question; statements and sentences are padded with zeros at their ends
    question  int64 (words,)          padded with zeros at its end
    y         int64                   the answer's number
    support   bool (memory,)          which statements the answer follows from; all false where this is not known

`memory` is the longest story of any part, but at most what is asked for; `words` is the longest sentence of any part.
The classes are the vocabulary: `NOTHING`, `UNKNOWN`, and the words and answers of the training part in the order of
Unicode. Sentences are split into words (`tokens`), in lower case, without punctuation. An answer is one symbol, also if
it has several words. What is not in the vocabulary becomes `UNKNOWN`, in a held-out sentence as in a held-out answer,
which counts as wrong then, as no training answer is `UNKNOWN`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lamina.core import select
from lamina.data.dataset import Data
from lamina.data.examples import Arrays, Examples, Mapped
from lamina.data.text import UNKNOWN

NOTHING = "\N{EMPTY SET}"  # symbol 0: no word
WORD = re.compile(r"\w+(?:['’.:-]\w+)*")  # joined by what stands between letters: o'clock, 3.5, well-known


@dataclass(frozen=True)
class Question:
    """A question about a story, and its answer.

    Args:
        story: statements so far, oldest first.
        question: a sentence.
        answer: one word, or several joined by commas, which count as one answer.
        support: places in `story`, from 0, of the statements that the answer follows from.
    """

    story: tuple[str, ...]
    question: str
    answer: str
    support: tuple[int, ...] = ()


def from_questions(
    name: str,
    train: Sequence[Question],
    valid: Sequence[Question] | None = None,
    test: Sequence[Question] | None = None,
    memory: int = 50,
    hashes: Mapping[str, str] | None = None,
) -> Data:
    """Return a data set of questions, with the vocabulary of the training part.

    Args:
        name: what reports call it.
        train: questions to learn from.
        valid: questions to choose with.
        test: questions to report on.
        memory: statements that are kept of a story, the last ones.
        hashes: sha256 of the files that they came from.

    Raises:
        ValueError: no question in a part, a question without words or without an answer, or a memory below one.
    """
    given = {"train": train, "valid": valid, "test": test}
    parts = {part: found for part, found in given.items() if found is not None}
    if memory < 1:
        raise ValueError(f"a memory needs room for at least 1 statement, got {memory}")
    for part, found in parts.items():
        if not found:
            raise ValueError(f"{name} has no {part} question")
        for number, one in enumerate(found, 1):
            if not tokens(one.question) or not answer(one.answer):
                raise ValueError(
                    f"{name}: {part} question {number} lacks {'an answer' if tokens(one.question) else 'words'}"
                )
    every = [one for found in parts.values() for one in found]
    room = min(memory, max(1, *(len(one.story) for one in every)))
    words = max(len(tokens(sentence)) for sentence in sentences_of(every))
    classes = vocabulary(train)
    made = {part: numbered(found, classes, room, words) for part, found in parts.items()}
    return Data(name, made["train"], made.get("valid"), made.get("test"), classes, dict(hashes or {}))


def tokens(sentence: str) -> list[str]:
    """Return the words of a sentence in lower case."""
    return WORD.findall(sentence.lower())


def answer(text: str) -> str:
    """Return an answer in its normal form: lower case, no blanks around commas, no punctuation at its end."""
    return re.sub(r"\s*,\s*", ",", " ".join(text.lower().split())).rstrip(".!?;:, ")


def sentences_of(questions: Iterable[Question]) -> set[str]:
    """Return the different sentences of questions and their stories."""
    return {sentence for one in questions for sentence in (*one.story, one.question)}


def vocabulary(questions: Sequence[Question]) -> tuple[str, ...]:
    """Return the symbols of questions, their stories and answers."""
    known = {word for sentence in sentences_of(questions) for word in tokens(sentence)}
    known |= {answer(one.answer) for one in questions}
    return (NOTHING, UNKNOWN, *sorted(known - {NOTHING, UNKNOWN}))


def numbered(questions: Sequence[Question], symbols: Sequence[str], memory: int, words: int = 1) -> Examples:
    """Return questions in numbers of the symbols; each different sentence is kept once.

    Args:
        questions: at least one.
        symbols: the vocabulary.
        memory: statements that are kept of a story.
        words: places for words in a sentence; more if one is longer.
    """
    place = {symbol: number for number, symbol in enumerate(symbols)}
    unknown = place[UNKNOWN]
    different = ["", *sorted(sentences_of(questions) - {""})]
    codes = [[place.get(word, unknown) for word in tokens(sentence)] for sentence in different]
    table = np.zeros((len(codes), max(words, *map(len, codes))), np.int64)
    for row, code in zip(table, codes, strict=True):
        row[: len(code)] = code
    number = {sentence: k for k, sentence in enumerate(different)}
    story = np.zeros((len(questions), memory), np.int64)
    support = np.zeros((len(questions), memory), bool)
    for row, marks, one in zip(story, support, questions, strict=True):
        recent = [number[sentence] for sentence in one.story[::-1][:memory]]
        row[: len(recent)] = recent
        ages = [len(one.story) - 1 - place for place in one.support]
        marks[[age for age in ages if age < memory]] = True
    held = Arrays(
        story=story,
        question=[number[one.question] for one in questions],
        y=[place.get(answer(one.answer), unknown) for one in questions],
        support=support,
    )
    sentences = torch.from_numpy(table)
    return Mapped(held, lambda batch: batch | {name: sentences[batch[name]] for name in ("story", "question")})


def recoded(examples: Examples, have: Sequence[str], want: Sequence[str]) -> Examples:
    """Return questions whose symbols are numbered by `want` in place of `have`; what `want` lacks becomes `UNKNOWN`."""
    if tuple(have) == tuple(want):
        return examples
    place = {symbol: number for number, symbol in enumerate(want)}
    table = torch.tensor([place.get(symbol, place[UNKNOWN]) for symbol in have])
    names = ("story", "question", "y")
    return Mapped(examples, lambda batch: batch | {name: table[value] for name, value in select(batch, names).items()})
