"""MemNN against plain loops: its losses, its search, words that it never saw, the order of supporting facts."""

import math

import pytest
import torch

from lamina.data.stories import Question, from_questions
from lamina.data.world import world
from lamina.modules.bags import WordTable, bags_of
from lamina.recipes.answers import memnn
from lamina.systems.memory.memnn import MemNN, ordered
from lamina.train.evaluate import evaluate
from lamina.train.trainer import Trainer

VOCABULARY, MEMORY, PLACES = 9, 5, 4
EMPTY = None  # the empty statement


def net(seed=0, **arguments):
    torch.manual_seed(seed)
    made = MemNN(VOCABULARY, **({"hidden": 4} | arguments))
    for weight in made.parameters():
        weight.data = torch.randn_like(weight)
    return made


def batch(count=12, seed=1, symbols=VOCABULARY, support=2):
    """Return random stories of 3 to 5 statements, with the newest first, and up to `support` supporting facts."""
    rng = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, MEMORY + 1, (count,), generator=rng)
    told = torch.arange(MEMORY) < lengths[:, None]
    words = torch.randint(1, PLACES + 1, (count, MEMORY, 1), generator=rng)
    story = torch.randint(2, symbols, (count, MEMORY, PLACES), generator=rng)
    story = story * (torch.arange(PLACES) < words) * told[..., None]
    question = torch.randint(2, symbols, (count, 3), generator=rng)
    y = torch.randint(2, symbols, (count,), generator=rng)
    first = torch.rand(count, MEMORY, generator=rng).masked_fill(~told, 2).argsort(1)
    some = torch.arange(MEMORY) < torch.randint(1, support + 1, (count, 1), generator=rng)
    return story, question, y, torch.zeros(count, MEMORY, dtype=torch.bool).scatter(1, first, some)


def sentence(words):
    return [] if words is EMPTY else [int(word) for word in words if word > 1]


def feature(features, words, keep=None):
    """Return U Φ of a sentence, one word after the other; only of words that are to be kept."""
    found = torch.zeros(features.words.own.shape[1])
    for place, word in enumerate(words, 1):
        if keep is None or word in keep:
            found = found + features.words.own[word]
            if features.places is not None:
                found = found + (2 * place - len(words) - 1) / len(words) * features.places.own[word]
    return found


def vector(scores, x):
    """Return U Φ_x(x)."""
    found = sum(feature(features, part) for features, part in zip(scores.x, x, strict=False))
    shared = [feature(features, part, x[0]) for features, part in zip(scores.shared, x[1:], strict=False)]
    return found + sum(shared, torch.zeros(len(found)))


def other(scores, x, y):
    """Return U Φ_y(y) of a statement."""
    match = [feature(features, y, part) for features, part in zip(scores.match, x, strict=False)]
    return feature(scores.y, y) + sum(match, torch.zeros(scores.y.words.own.shape[1]))


def response(scores, x, word):
    """Return s_R of a word; its places are those in x."""
    found = scores.y.words.own[word]
    for features, part in zip(scores.match, x, strict=False):
        if word in part:
            found = found + features.words.own[word]
            if features.places is not None:
                at = [(2 * k - len(part) - 1) / len(part) for k, one in enumerate(part, 1) if one == word]
                found = found + sum(at) * features.places.own[word]
    return vector(scores, x) @ found


def plain(system, x, y, age, y_age, other_age, rest):
    """Return s_Ot(x, y, y') of statements with these ages; the empty one has none, and nothing is older than it."""
    q = vector(system.O, x)
    found = q @ (candidate(system, x, y) - candidate(system, x, rest))
    if system.ages is not None:
        older = [age is not None and of is not None and age > of for of in (y_age, other_age)]
        newer = 0 if None in (y_age, other_age) else (other_age > y_age) - (other_age < y_age)
        found = found + q @ (system.ages[0] * (older[0] - older[1]) + system.ages[1] * newer)
    return found


def candidate(system, x, y):
    return system.nothing if y is EMPTY else other(system.O, x, sentence(y))


def options(story, look):
    """Return the statements of a story by age, and after the first look the empty one."""
    told = [(age, words) for age, words in enumerate(story) if words.any()]
    return told + [(None, EMPTY)] * (look > 0)


def asked(story, question, found):
    """Return x as sentences, and the age of its last part."""
    x = [sentence(question), *(sentence(EMPTY if age is None else story[age]) for age in found)]
    return x, found[-1] if found else None


forms = pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"time": False},
        {"matching": False},
        {"looks": 1},
        {"looks": 3},
        {"order": True},
        {"looks": 1, "time": False, "matching": False},
    ],
    ids=str,
)


@forms
@torch.no_grad()
def test_losses_are_equations_6_to_8_by_plain_loops(arguments):
    system = net(margin=2.0, **arguments)
    story, question, y, support = batch()
    places = ordered(bags_of(story, question, VOCABULARY), support, system.looks)
    output = answered = 0.0
    for i in range(len(y)):
        found = []
        for look in range(system.looks):
            x, age = asked(story[i], question[i], found)
            true = None if places[i, look] == MEMORY else int(places[i, look])
            words = EMPTY if true is None else story[i, true]
            for other_age, rest in options(story[i], look):
                if other_age != true:
                    output += max(0.0, 2.0 - float(plain(system, x, words, age, true, other_age, rest)))
            found.append(true)
        x, _ = asked(story[i], question[i], found)
        score = [float(response(system.R, x, word)) for word in range(VOCABULARY)]
        answered += sum(max(0.0, 2.0 - score[y[i]] + score[w]) for w in range(2, VOCABULARY) if w != y[i])
    terms = system.loss(story, question, y, support)
    assert float(terms["output"]) == pytest.approx(output / len(y), rel=1e-4)
    assert float(terms["response"]) == pytest.approx(answered / len(y), rel=1e-4)


@forms
@torch.no_grad()
def test_looks_and_answer_are_those_of_a_search_by_plain_loops(arguments):
    system = net(seed=3, **arguments).eval()
    story, question, _, _ = batch(40, seed=4)
    bags = [[sorted(words) for words in told if any(words)] for told in story.tolist()]
    story = story[[all(told.count(bag) == 1 for bag in told) for told in bags]]  # equal ones cannot be told apart
    question = question[: len(story)]
    assert len(story) > 20
    p, looks = system.answer(story, question)
    for i in range(len(story)):
        found = []
        for look in range(system.looks):
            x, age = asked(story[i], question[i], found)
            order = options(story[i], look)
            order = [*order[: len(order) - (look > 0)][::-1], *order[len(order) - (look > 0) :]]  # from the oldest on
            best = order[0]
            for option in order[1:]:
                if plain(system, x, option[1], age, option[0], best[0], best[1]) > 0:
                    best = option
            if system.ages is None:  # (2) and (3)
                scores = {of: float(vector(system.O, x) @ candidate(system, x, words)) for of, words in order}
                assert scores[best[0]] == pytest.approx(max(scores.values()), abs=1e-5)
            found.append(best[0])
            marks = [0.0] * MEMORY
            if best[0] is not None:
                marks[best[0]] = 1.0
            assert looks[i, look].tolist() == marks
        x, _ = asked(story[i], question[i], found)
        score = torch.stack([response(system.R, x, word) for word in range(2, VOCABULARY)])
        torch.testing.assert_close(p[i, 2:], (system.temperature.exp() * score).softmax(0), rtol=1e-4, atol=1e-6)
    assert not p[:, :2].any()


@torch.no_grad()
def test_time_is_antisymmetric_and_prefers_the_newer_of_equal_statements():
    system = net()
    story, question, _, _ = batch()
    for i in range(len(story)):
        for last in (None, 1):
            x, age = asked(story[i], question[i], [] if last is None else [last])
            for a, first in options(story[i], len(x) - 1):
                for b, second in options(story[i], len(x) - 1):
                    forth = plain(system, x, first, age, a, b, second)
                    assert float(forth) == pytest.approx(-float(plain(system, x, second, age, b, a, first)), abs=1e-5)
    same = torch.full((1, 3, 1), 4)
    asks = torch.tensor([[5]])
    system.ages.data[1] = system.O.x[0].words.own[5].detach()  # so that q · ages[1] > 0
    assert system.answer(same, asks)[1][0, 0].tolist() == [1, 0, 0]
    system.ages.data[1] *= -1
    assert system.answer(same, asks)[1][0, 0].tolist() == [0, 0, 1]


def test_what_is_drawn_has_the_mean_of_all():
    """Seed 0: 4,000 draws; within 5 standard errors of the mean over all others."""
    torch.manual_seed(0)
    system = net(negatives=1, margin=2.0)
    gaps, others = torch.randn(1, 6), torch.tensor([[True, True, False, True, False, True]])
    short = (2 - gaps).relu()[others]
    drawn = system.over(gaps.expand(4000, -1), others.expand(4000, -1))
    assert abs(float(drawn.mean() - short.mean())) < 5 * float(drawn.std()) / math.sqrt(4000)
    system.negatives = 0
    assert float(system.over(gaps, others)) == pytest.approx(float(short.sum()))
    assert float(system.over(gaps, others & False)) == 0


def test_an_unseen_word_is_the_mean_of_its_neighbors():
    torch.manual_seed(0)
    table = WordTable(VOCABULARY, 3, context=True)
    story = torch.tensor([[[2, 10, 3], [10, 11, 2], [4, 10, 0]]])  # 10 and 11 are unseen
    strange = (torch.arange(12) >= VOCABULARY)[None]
    found = table(bags_of(story, torch.tensor([[10]]), 12, strange, VOCABULARY))
    left = (table.left[2] + table.left[0] + table.left[4]) / 3
    right = (table.right[3] + table.right[0]) / 2  # 11 does not count
    torch.testing.assert_close(found[0, 10], left + right)
    torch.testing.assert_close(found[0, 11], table.right[2])
    torch.testing.assert_close(found[0, 2], table.own[2])


def test_unseen_words_are_scored_by_their_context_alone():
    system = net(unseen=0.5).eval()
    story, question, _, _ = batch(30, seed=5, symbols=VOCABULARY + 3)
    p, looks = system.answer(story, question)
    assert p.shape[1] == VOCABULARY + 3
    swapped = torch.arange(VOCABULARY + 3)
    swapped[[VOCABULARY, VOCABULARY + 2]] = swapped[[VOCABULARY + 2, VOCABULARY]]
    q, same = system.answer(swapped[story], swapped[question])  # under other numbers
    torch.testing.assert_close(q, p[:, swapped])
    torch.testing.assert_close(same, looks)


def test_a_word_that_is_taken_for_unseen_has_no_vector_of_its_own():
    system = net(unseen=1.0, order=True)
    story, question, y, support = batch(30, seed=6)
    torch.manual_seed(2)
    share = torch.randint(2, (len(story), 1)).bool()[:, 0]  # the half whose words are all taken for unseen
    only = [part[share] for part in (story, question, y, support)]
    assert 0 < len(only[0]) < len(story)
    torch.manual_seed(2)
    terms = system.loss(story, question, y, support)
    assert all(torch.isfinite(term) for term in terms.values())
    strange = torch.ones(1, VOCABULARY, dtype=torch.bool).expand(len(only[0]), -1)
    bags = bags_of(only[0], only[1], VOCABULARY, strange, VOCABULARY, order=True)
    found = system.responses(bags, ordered(bags, only[3], 2))
    for name, weight in system.R.named_parameters():
        if name.endswith("own"):
            weight.data += 1
    torch.testing.assert_close(system.responses(bags, ordered(bags, only[3], 2)), found)


def test_without_features_of_unseen_words_an_unknown_word_is_none():
    system = net().eval()
    story, question, _, _ = batch()
    more = torch.cat([story, torch.ones_like(story[..., :1])], 2) * (story[..., :1] > 0)
    torch.testing.assert_close(system.answer(more, question), system.answer(story, question))


def order_of(statements, question, *support):
    data = from_questions("toy", [Question(tuple(statements), question, "x", support)], memory=9)
    found = data.train.fetch(torch.arange(1))
    bags = bags_of(found["story"], found["question"], len(data.classes))
    places = ordered(bags, found["support"], len(support) + 1)[0].tolist()
    assert places.pop() == found["story"].shape[1]
    return [len(statements) - 1 - place for place in places]


def test_supporting_facts_are_in_the_order_in_which_one_leads_to_the_next():
    told = ["Mary went to the office.", "Mary took the milk.", "John went to the park.", "Mary went to the garden."]
    assert order_of(told, "Where is the milk?", 3, 1) == [1, 3]
    assert order_of(told, "Where was Mary before the garden?", 0, 3) == [3, 0]
    told = ["Mice are afraid of wolves.", "Cats are afraid of mice.", "Gertrude is a mouse.", "Emily is a cat."]
    assert order_of(told, "What is Gertrude afraid of?", 0, 2) == [2, 0]
    told = ["Lily is a swan.", "Brian is a frog.", "Lily is white.", "Greg is a swan.", "Brian is gray."]
    assert order_of(told, "What color is Greg?", 0, 2, 3) == [3, 0, 2]


def test_it_learns_a_small_world():
    """Seed 0, 300 validation questions: chance is 0.8, and without looking at time it would stay above 0.2."""
    run = memnn(world("actor:1", count=1000), hidden=20, epochs=4, unseen=0.0)
    for _ in Trainer(run):
        pass
    assert evaluate(run.system, run.valid)["error"] < 0.05


@pytest.mark.parametrize("wrong", [{"hidden": 0}, {"looks": 0}, {"negatives": -1}, {"unseen": 1.5}])
def test_what_cannot_be(wrong):
    with pytest.raises(ValueError, match=r"at least 1|0\.\.1"):
        MemNN(VOCABULARY, **wrong)


def test_support_is_needed():
    data = from_questions("plain", [Question(("a b",), "c", "d"), Question(("e f",), "c", "d")])
    with pytest.raises(ValueError, match="plain does not say which statements"):
        memnn(data)
