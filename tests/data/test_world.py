"""The simulated world: a reader of the sentences, which shares no code with it, comes to the same answers."""

from collections import Counter
from random import Random

import pytest
import torch
from babi_reasoner import solve

from lamina.data.standard import load
from lamina.data.world import KINDS, simulated, world

kinds = pytest.mark.parametrize("kind", KINDS)


@kinds
@pytest.mark.parametrize("difficulty", [1, 5])
def test_a_reader_of_the_sentences_comes_to_the_same_answer_also_from_the_support_alone(kind, difficulty):
    found = simulated(kind, difficulty, 400, Random(0))
    assert len(found) == 400
    for one in found:
        assert solve(one.story, one.question) == one.answer, one
        support = sorted(one.support)
        assert len(support) in (1, 2)
        assert solve([one.story[k] for k in support], one.question) == one.answer, one
        for left in support:
            assert solve([one.story[k] for k in support if k != left], one.question) != one.answer, one


@kinds
def test_what_is_asked_for_was_mentioned_of_late(kind):
    for difficulty in (1, 2, 5):
        for one in simulated(kind, difficulty, 200, Random(difficulty)):
            words = one.question.rstrip("?").removesuffix(" now").split()
            name = words[3] if words[2] == "the" else words[2]
            assert any(name in line.rstrip(".").split() for line in one.story[-difficulty:]), one


def test_all_kinds_of_statements_and_questions_come_and_no_answer_prevails():
    found = simulated("give", 5, 600, Random(0))
    text = " ".join(line for one in found for line in one.story)
    for words in ("went to", "took", "from the table", "on the table", "gave", "left", "there"):
        assert words in text
    assert "gave" not in " ".join(line for one in simulated("object", 5, 300, Random(0)) for line in one.story)
    asked = [one.question for one in found]
    assert any(question.startswith("Where was") for question in asked)
    assert any(question.startswith("Where is the") for question in asked)
    assert {question.endswith(" now?") for question in asked} == {True, False}
    assert max(Counter(one.answer for one in found).values()) < 200


def test_a_seed_gives_its_stories_and_the_test_part_stays():
    first, again, other = ([told(data, part) for part in ("train", "test")] for data in map(made, (0, 0, 1)))
    assert first == again
    assert first[0] != other[0]
    assert first[1] == other[1]


def made(seed):
    return world("object:5", seed, 400)


def told(data, part):
    """Return the questions of a part as words."""
    examples = getattr(data, part)
    batch = examples.fetch(torch.arange(len(examples)))
    rows = torch.cat([batch["story"].flatten(1), batch["question"], batch["y"][:, None]], 1).tolist()
    return [[data.classes[k] for k in row if k] for row in rows]


def test_names_have_no_article():
    places = ("London", "attic")
    lines = {
        line for one in simulated("object", 1, 200, Random(0), rooms=places) for line in (*one.story, one.question)
    }
    assert any("to London." in line for line in lines)
    assert any("to the attic." in line for line in lines)
    assert not any("the London" in line for line in lines)


def test_names_of_the_command_line():
    assert load("world:actor:1").name == "world:actor:1"
    assert len(load("world").train) == 2700
    for name in ("world:actor", "world:actor:0", "world:nobody:1"):
        with pytest.raises(ValueError, match="world:NAME:DIFFICULTY"):
            load(name)
    with pytest.raises(ValueError, match="10 questions"):
        world(count=5)
