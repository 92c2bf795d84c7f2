"""Questions on stories out of .jsonl, one an object: `story`, `question`, `answer`, and perhaps `support`.

A story is a list of statements, or a text, whose statements end with a full stop or with the line. An answer is a
string, or a list of strings, which count as one answer. The support is places in the story, from 0 on.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lamina.data.stories import Question, tokens
from lamina.data.text import decoded, lines

END = re.compile(r"(?<=[.!?])\s+|\s*\n\s*")  # where one statement of a text ends

Told = list[list[Question]]
"""The questions of each story."""


def read_json(path: Path) -> Told:
    """Return the questions of each story in a .jsonl.

    Raises:
        ValueError: a line is no object with `story`, `question` and `answer`.
    """
    stories: dict[tuple[str, ...], list[Question]] = {}
    for number, line in lines(decoded(path)):
        one = parsed(f"{path}, line {number}", line)
        stories.setdefault(one.story, []).append(one)
    return some(str(path), list(stories.values()))


def parsed(where: str, line: str) -> Question:
    """Return the question of a line of .jsonl."""
    try:
        record = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{where}: this is no JSON: {error}") from None
    if not isinstance(record, dict):
        raise ValueError(f"{where}: this is no object with story, question and answer")
    story, question = (field(where, record, name, kind) for name, kind in (("story", texts), ("question", text)))
    answer = field(where, record, "answer", texts)
    statements = statements_of(story) if isinstance(story, str) else tuple(story)
    support = record.get("support", [])
    if not isinstance(support, list) or not all(type(k) is int and 0 <= k < len(statements) for k in support):
        raise ValueError(
            f"{where}: 'support' holds {support!r:.40}, not places in the story, from 0 to {len(statements) - 1}"
        )
    return checked(
        where, Question(statements, question, answer if isinstance(answer, str) else ",".join(answer), tuple(support))
    )


def field(where: str, record: dict[str, Any], name: str, fits: Callable[[Any], bool]) -> Any:
    """Return a field of a record; ValueError if it is missing or does not fit."""
    if name not in record:
        raise ValueError(f"{where}: the field '{name}' is missing; it has {', '.join(record) or 'no field'}")
    if not fits(record[name]):
        kind = "a string" if fits is text else "a string or a list of strings"
        raise ValueError(f"{where}: the field '{name}' holds {record[name]!r:.40}, not {kind}")
    return record[name]


def text(value: Any) -> bool:
    """Return whether a value is a string."""
    return isinstance(value, str)


def texts(value: Any) -> bool:
    """Return whether a value is a string or a list of strings."""
    return text(value) or (isinstance(value, list) and all(text(one) for one in value))


def statements_of(story: str) -> tuple[str, ...]:
    """Return the statements of a text: they end with a full stop, or with the line."""
    return tuple(part for part in END.split(story.strip()) if tokens(part))


def checked(where: str, one: Question) -> Question:
    """Return a question that can be used.

    Raises:
        ValueError: it has no word, or no answer.
    """
    if not tokens(one.question):
        raise ValueError(f"{where}: the question has no word")
    if not tokens(one.answer):
        raise ValueError(f"{where}: the question has no answer")
    return one


def some(name: str, stories: Told) -> Told:
    """Return the stories with questions; ValueError if there is none."""
    if not (kept := [story for story in stories if story]):
        raise ValueError(f"{name} has no question")
    return kept
