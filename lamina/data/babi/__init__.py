"""The twenty kinds of questions of bAbI, generated: stories of a simulated world and what follows from them.

Weston, Bordes, Chopra, Rush, van Merriënboer, Joulin & Mikolov (2015), Towards AI-complete question answering: a set
of prerequisite toy tasks. Kinds of sentences, words and answers follow the published sets (version 1.2), which have
1,000 questions to learn from and 1,000 to report on for each task.

Differs from the published sets: the supporting facts are the fewest that the answer follows from, where the published
ones name all statements that bear on it (tasks 7, 8 and 17). No story of the test part is one of the training part.
"""

from collections.abc import Callable, Sequence
from random import Random

from lamina.data.babi.facts import (
    how_many,
    is_somebody_there,
    what_is_carried,
    where_is_somebody,
    where_is_thing,
    where_was_thing,
    who_gave_what,
)
from lamina.data.babi.kinds import does_it_fit, what_color, what_is_feared, why
from lamina.data.babi.maps import how_to_go, is_it_beside, what_is_next
from lamina.data.babi.people import (
    is_either,
    is_no_longer,
    where_are_they,
    where_is_pair,
    where_is_pronoun,
    where_was_somebody,
)
from lamina.data.babi.world import Story
from lamina.data.dataset import Data
from lamina.data.stories import Question, from_questions

TASKS: dict[int, Callable[[Random], Story]] = {
    1: where_is_somebody,
    2: where_is_thing,
    3: where_was_thing,
    4: what_is_next,
    5: who_gave_what,
    6: is_somebody_there,
    7: how_many,
    8: what_is_carried,
    9: is_no_longer,
    10: is_either,
    11: where_is_pronoun,
    12: where_is_pair,
    13: where_are_they,
    14: where_was_somebody,
    15: what_is_feared,
    16: what_color,
    17: is_it_beside,
    18: does_it_fit,
    19: how_to_go,
    20: why,
}
HELD = 0.1  # share of the training stories that choose


def babi(tasks: Sequence[int] = (1,), seed: int = 0, count: int = 1000, memory: int = 50) -> Data:
    """Questions of the bAbI tasks: babi:3 is task 3, babi:1,2,3 are three, babi:all are all twenty.

    Args:
        tasks: numbers, 1 to 20.
        seed: of the training stories; those of the test part are always the same.
        count: questions of each task to learn from, a tenth of them to choose with, and as many to report on.
        memory: statements that are kept of a story, the last ones.

    Raises:
        ValueError: there is no such task, or too few questions.
    """
    if not tasks or not set(tasks) <= TASKS.keys():
        raise ValueError(
            f"the bAbI tasks have the numbers 1 to {len(TASKS)}, got {', '.join(map(str, tasks)) or 'none'}"
        )
    if count < 10:
        raise ValueError(f"it takes 10 questions of a task, to hold a tenth out, got {count}")
    parts: dict[str, list[Question]] = {"train": [], "valid": [], "test": []}
    for task in sorted(set(tasks)):
        test = stories(task, count, Random(f"test {task}"))
        known = {written([story]) for story in test}
        rng = Random(f"{seed} {task}")
        made = {"test": test, "valid": stories(task, round(HELD * count), rng, known)}
        made["train"] = stories(task, count - round(HELD * count), rng, known | {written([s]) for s in made["valid"]})
        for part, found in made.items():
            parts[part] += [question for story in found for question in story]
    name = "all" if len(set(tasks)) == len(TASKS) else ",".join(map(str, sorted(set(tasks))))
    return from_questions(f"babi:{name}", parts["train"], parts["valid"], parts["test"], memory)


def numbers(text: str) -> tuple[int, ...]:
    """Return the tasks of a name: "all", or numbers with commas between them.

    Raises:
        ValueError: it is something else.
    """
    if text == "all":
        return tuple(TASKS)
    parts = text.split(",")
    if not all(part.isdigit() and int(part) in TASKS for part in parts):
        raise ValueError(f"babi:{text} is no task: give babi:all, or numbers from 1 to {len(TASKS)}, as babi:1,2")
    return tuple(int(part) for part in parts)


def stories(task: int, count: int, rng: Random, known: set[str] | frozenset[str] = frozenset()) -> list[list[Question]]:
    """Return the questions of new stories, so many in all.

    Args:
        task: its number.
        count: questions.
        rng: what is drawn comes from it.
        known: stories, as they are written, that shall not come.
    """
    found: list[list[Question]] = []
    left = count
    while left:
        told = TASKS[task](rng).questions[:left]
        if written([told]) not in known:
            found.append(told)
            left -= len(told)
    return found


def written(stories: Sequence[Sequence[Question]]) -> str:
    """Return stories in the format of the bAbI files: numbered lines, and tabs around a question's answer."""
    lines = []
    for story in stories:
        places: list[int] = []  # the line of each statement
        number = 0
        for one in story:
            for statement in one.story[len(places) :]:
                number += 1
                places.append(number)
                lines.append(f"{number} {statement}")
            number += 1
            support = " ".join(str(places[k]) for k in one.support)
            lines.append(f"{number} {one.question}\t{one.answer}\t{support}")
    return "".join(f"{line}\n" for line in lines)
