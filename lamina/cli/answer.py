"""`lamina predict RUN --story ... --question ...`: an answer, and the statements that it comes from."""

import re
from collections.abc import Sequence
from pathlib import Path

from lamina.analysis.attention import looked
from lamina.core import Answers
from lamina.data.images import say
from lamina.data.stories import Question, tokens
from lamina.data.story_records import statements_of
from lamina.data.text import decoded

LEAST = 0.1  # weight from which a statement is shown
NUMBER = re.compile(r"\s*\d+\s+")


def reply(system: Answers, symbols: Sequence[str], story: str, question: str, top: int = 1) -> list[str]:
    """Return lines with the most probable answers, and the statements with the weight that each look gives them.

    Args:
        system: a trained system.
        symbols: its vocabulary.
        story: a text, or the path of one.
        question: about the story.
        top: answers to tell.

    Raises:
        ValueError: no statement, or no word in the question.
    """
    statements = statements_in(story)
    if not statements or not tokens(question):
        lacking = "--story has no statement" if not statements else "--question has no word"
        raise ValueError(f"{lacking}; say --story 'Mary went home.' --question 'Where is Mary?'")
    strange = {word for sentence in (*statements, question) for word in tokens(sentence)} - set(symbols)
    if strange:
        how = "told by the words beside them" if system.new_words else "read as one unknown word"
        say(f"not known from training, and {how}: {', '.join(sorted(strange))}")
    if system.new_words:
        symbols = (*symbols, *sorted(strange))
    p, weights = looked(system, symbols, Question(statements, question, ""))
    if len(weights) < len(statements):
        say(f"the last {len(weights)} of {len(statements)} statements are looked at, as in training")
    best = p.topk(min(top, len(symbols)))
    lines = ["  ".join(f"{symbols[k]} {likely:.4f}" for likely, k in zip(*(one.tolist() for one in best), strict=True))]
    first = len(statements) - len(weights)
    for number, row in enumerate(weights.tolist(), first + 1):
        if max(row) >= LEAST:
            lines.append(f"{' '.join(f'{weight:.2f}' for weight in row)}  {number}  {statements[number - 1]}")
    return lines


def statements_in(story: str) -> tuple[str, ...]:
    """Return the statements of a text, or of the file that it names; numbers of lines and questions are left out."""
    path = Path(story)
    if len(story) < 256 and path.is_file():
        lines = [line for line in decoded(path).splitlines() if "\t" not in line]
        if lines and re.match(r"1\s", lines[0]):
            lines = [NUMBER.sub("", line, count=1) for line in lines]
        story = "\n".join(lines)
    return statements_of(story)
