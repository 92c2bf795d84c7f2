"""Patterns: strings against recognizers of their languages, sources against the text, the score against a plain one."""

import itertools
import re

import numpy as np
import pytest
import torch

from lamina.data.patterns import CHOOSE, TASKS, TEST, UNTOLD, Curriculum, Rows, patterns, strings
from lamina.data.standard import load
from lamina.data.text import Windows

COUNTS = {"anbn": (1, 1), "anbncn": (1, 1, 1), "anbncndn": (1, 1, 1, 1), "anb2n": (1, 2)}
every = pytest.mark.parametrize("task", TASKS)


def cut(data, part):
    """Return each string of a part of a data set, its n, and which of its symbols are sure."""
    fields = getattr(data, part).fields
    begins = [*fields["n"].nonzero().flatten().tolist(), len(fields["n"])]
    for begin, end in itertools.pairwise(begins):
        text = "".join(data.classes[token] for token in fields["tokens"][begin:end].tolist())
        yield text, int(fields["n"][begin]), fields["sure"][begin:end].tolist()


def recognized(task, text, n):
    """Return whether a string is in the language with this n, and where its sure symbols begin."""
    if task in COUNTS:
        return text == "".join(s * n * k for s, k in zip("abcd", COUNTS[task], strict=False)), n + 1
    if task == "anbmcnm":
        a, b, c = (text.count(s) for s in "abc")
        return text == "a" * a + "b" * b + "c" * c and a >= 1 and b >= 1 and a + b == c == n, n + 1
    if task == "memory":
        first, _, second = text.partition("a")
        return first == second[::-1] and len(first) == n and set(first) <= set("bcd"), n + 1
    parts = re.fullmatch(r"(0|1[01]*)\+(0|1[01]*)=([01]+)\.", text)
    one, two, total = parts.groups()
    digits = len(one) * (one != "0") + len(two) * (two != "0")
    return int(one, 2) + int(two, 2) == int(total[::-1], 2) and digits == n, len(one) + len(two) + 2


@every
def test_strings_are_of_the_language(task):
    data = patterns(task, count=300, held=2, repeats=2)
    found = {part: list(cut(data, part)) for part in ("train", "valid", "test")}
    assert [n for _, n, _ in found["test"]] == [n for n in TEST for _ in range(2)]
    assert {n for _, n, _ in found["valid"]} == set(CHOOSE)
    assert {n for _, n, _ in found["train"]} == set(range(2, TASKS[task].below))
    assert TASKS[task].below <= max(CHOOSE) - 10
    for strings_of in found.values():
        for i, (text, n, sure) in enumerate(strings_of):
            right, begin = recognized(task, text, n)
            assert right, text
            assert sure[1:] == [at >= begin for at in range(1, len(text))]
            assert sure[0] == (TASKS[task].next and i > 0)


@every
def test_what_is_sure_is_determined_by_the_string_so_far(task):
    """No two strings of 400 have the same beginning, and then a different sure symbol."""
    data, seen = patterns(task, count=400), {}
    for text, _, sure in cut(data, "train"):
        for at in range(1, len(text)):
            if sure[at]:
                assert seen.setdefault(text[:at], text[at]) == text[at]


def test_seeds_and_names():
    one, same, other = (patterns("memory", seed=seed, count=20, repeats=1) for seed in (0, 0, 1))
    for part in ("train", "valid", "test"):
        tokens = [getattr(data, part).fields["tokens"].tolist() for data in (one, same, other)]
        assert tokens[0] == tokens[1]
        assert (tokens[0] == tokens[2]) == (part == "test")
    assert load("patterns").name == "patterns:anbn"
    assert load("patterns:anb2n").classes[2:] == ("a", "b")
    assert len(Windows(one.train, 2, 5)) > 0  # any language model reads it
    with pytest.raises(ValueError, match="did you mean 'anbncn'"):
        load("patterns:anbnc")
    with pytest.raises(ValueError, match="at least 1"):
        patterns(count=0)


@pytest.mark.parametrize("episodes", [1, 3])
@pytest.mark.parametrize("context", [0, 7])
def test_curriculum_lengthens_and_windows_follow_each_other(context, episodes):
    data = patterns("anbn", count=200)
    source = Curriculum(data.train, rows=3, window=10, windows=20, context=context, first=2, episodes=episodes)
    long = 20 if episodes == 1 else 7
    begins = range(0, 20, long)  # of episodes
    for k, longest in ((0, 4), (5, 9), (50, 14)):
        batches = list(source.epoch(k))
        assert len(batches) == len(source) == 20
        again = {i + 1 for i in begins if context}  # the second window begins where the first does
        assert [bool(batch["fresh"].all()) for batch in batches] == [i in begins or i in again for i in range(20)]
        for i, batch in enumerate(batches):
            known = 0 if i in begins else context
            assert batch["targets"].shape == (3, 10)
            assert batch["tokens"].shape == (3, 10 + known)
            assert torch.equal(batch["tokens"][:, known + 1 :], batch["targets"][:, :-1])
            if i in begins:
                assert (batch["tokens"][:, 0] == 0).all()
            elif i in again:
                first = torch.cat([batch["tokens"][:, :1], batches[i - 1]["targets"]], 1)
                assert torch.equal(torch.cat([batch["tokens"], batch["targets"][:, -1:]], 1)[:, :11], first)
            else:
                assert torch.equal(batch["tokens"][:, :context], batches[i - 1]["tokens"][:, 10:])
        for i in begins:
            text = torch.cat([batch["targets"] for batch in batches[i + bool(context) : i + long]], 1)
            for row in text.tolist():
                read = "".join(data.classes[token] for token in row)
                inner = read[read.index("ba") + 1 :]
                sizes = [len(a) for a, b in re.findall(r"(a+)(b+)(?=a)", inner) if len(a) == len(b)]
                assert max(sizes) <= longest
                assert re.sub(r"(a+)(b+)", lambda m: "" if len(m[1]) == len(m[2]) else "!", read).count("!") <= 2
    assert torch.equal(next(source.epoch(1, 4))["tokens"], list(source.epoch(1))[4]["tokens"])
    assert not torch.equal(next(source.epoch(1))["tokens"], next(source.epoch(2))["tokens"])


def test_curriculum_learns_from_the_first_string_of_an_empty_memory():
    source = Curriculum(patterns("anbn", count=200).train, rows=2, window=10, windows=8, context=7, episodes=2)
    for i, batch in enumerate(source.epoch(3)):
        if i % 4 == 0:
            assert batch["fresh"].all()
            assert batch["tokens"].shape == batch["targets"].shape  # nothing is read that is not learned from


@pytest.mark.parametrize("sizes", [(0, 10, 20, 1), (1, 0, 20, 1), (1, 10, 0, 1), (1, 10, 20, 0), (1, 10, 3, 4)])
def test_curriculum_refuses_sizes(sizes):
    rows, window, windows, episodes = sizes
    with pytest.raises(ValueError, match="at least 1 row"):
        Curriculum(patterns(count=20).train, rows, window, windows, episodes=episodes)


def scored(text, sure, begins, predicted):
    """Return the share of strings that are told right: symbol by symbol, as the authors' program counts."""
    right, counted, good, within = 0, 0, True, False
    for at in range(len(text)):
        hit = predicted[at] == text[at]
        if begins[at]:
            if within:
                counted += 1
                right += good and (hit or not sure[at])
            good, within = True, True
        elif sure[at]:
            good = good and hit
    return right / counted


@every
def test_score_is_that_of_a_plain_count(task):
    """Predictions with 3 % of errors, on strings of three lengths in a mixed order."""
    rng = np.random.default_rng(0)
    rows = Rows(strings(TASKS[task], rng.permutation(np.repeat([2, 5, 9], 40)), rng), window=16)
    assert rows.n.tolist() == [2, 5, 9]
    batches = list(rows.epoch(0))
    assert len(batches) == len(rows)
    told = torch.cat([batch["targets"] for batch in batches], 1)
    assert torch.equal(told == UNTOLD, ~rows.sure)
    assert torch.equal(torch.cat([batch["tokens"] for batch in batches], 1)[:, 1:], rows.targets[:, :-1])
    wrong = torch.rand(rows.targets.shape, generator=torch.Generator().manual_seed(1)) < 0.03
    predicted = torch.where(wrong, 1, rows.targets)
    lengths = [int(row.nonzero().max()) + 1 for row in rows.targets]
    expected = [
        scored(*(array[i, :end].tolist() for array in (rows.targets, rows.sure, rows.begin, predicted)))
        for i, end in enumerate(lengths)
    ]
    assert rows.right(predicted).tolist() == pytest.approx(expected)
    assert 0 < min(expected) < 1
    assert rows.right(rows.targets).tolist() == [1.0] * 3
