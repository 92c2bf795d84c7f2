"""Texts as words, against plain splits of strings and counts by hand."""

import doctest
import json
from collections import Counter

import pytest
import torch

from lamina.data import byword as module
from lamina.data.byword import LEAST, byword, joined, read, symbols_of, written
from lamina.data.dataset import Data
from lamina.data.english import SOURCES, USUAL
from lamina.data.examples import Arrays, whole
from lamina.data.fetch import cache
from lamina.data.standard import load
from lamina.data.text import END, UNKNOWN, Windows, from_texts, recoded

LINE = 'The cat (a black one) saw "the well-known dog". It didn\'t run, at 1,000.5 paces!\n'


def numbers(part):
    return whole(part)["tokens"].tolist()


def text_of(part, data):
    return [data.classes[token] for token in numbers(part)]


def test_doctests():
    assert doctest.testmod(module).failed == 0


def test_words_numbers_and_marks_are_symbols():
    assert symbols_of("a  b\tc\n\nd") == ["a", "b", "c", "d"]
    assert symbols_of("can't 'tis x2 3.14. rock'n'roll über 静けさ_a") == (
        ["can't", "'", "tis", "x", "2", "3.14", ".", "rock'n'roll", "über", "静けさ", "_", "a"]
    )
    assert symbols_of(f"one{END}na{UNKNOWN}ve") == ["one", END, f"na{UNKNOWN}ve"]


def test_nothing_but_space_is_lost():
    assert "".join(symbols_of(LINE)) == "".join(LINE.split())
    assert joined([*symbols_of(LINE), END]) == LINE  # as it is printed, it is what it was


def test_paragraphs_end():
    """At each line's end, or, where blank lines part them, only there."""
    lines = byword(from_texts("lines", "a b.\nc d.\n" * 5, "c\n", "a"), least=1)
    assert text_of(lines.train, lines)[:8] == ["a", "b", ".", END, "c", "d", ".", END]
    assert lines.classes[:2] == (END, UNKNOWN)
    assert len(set(lines.classes)) == len(lines.classes)
    wrapped = byword(from_texts("wrapped", "a b\nc.\n\n \nd\ne.\n\n" * 5, "c\na\n\nd", "a"), least=1)
    assert text_of(wrapped.train, wrapped)[:8] == ["a", "b", "c", ".", END, "d", "e", "."]
    assert text_of(wrapped.valid, wrapped) == ["c", "a", END, "d"]


def test_rare_words_are_unknown_everywhere():
    text = "the cat and the dog and the bird. " * 3 + "the fish sang."
    data = byword(from_texts("pets", text, "the fish and the cow", "a cat"), least=3)
    count = Counter(symbols_of(text))
    assert data.classes == (END, UNKNOWN, "the", "and", ".", "cat", "dog", "bird")
    assert all(count[word] >= 3 for word in data.classes[2:])
    assert text_of(data.train, data)[-4:] == ["the", UNKNOWN, UNKNOWN, "."]
    assert text_of(data.valid, data) == ["the", UNKNOWN, "and", "the", UNKNOWN]
    assert text_of(data.test, data) == [UNKNOWN, "cat"]
    assert data.name == "byword:least=3:pets"


def test_case_is_kept_if_asked_for():
    raw = from_texts("two", "The end. the End. " * 5, "The", "the")
    assert byword(raw).classes[2:] == ("the", "end", ".")
    assert set(byword(raw, lower=False).classes[2:]) == {"The", "the", "end", "End", "."}
    assert byword(raw, lower=False).name == "byword:case:two"


def test_several_texts_end_and_held_out_letters_stay_in_their_words():
    data = byword(from_texts("many", f"one two{END}one two{END}" * 3, f"one ñandú two{END}", ""), least=1)
    assert data.classes == (END, UNKNOWN, "one", "two")
    assert text_of(data.train, data)[:4] == ["one", "two", END, "one"]
    assert text_of(data.valid, data) == ["one", UNKNOWN, "two", END]


def test_a_spec_gives_the_same_text_again(tmp_path):
    path = tmp_path / "novel.txt"
    path.write_text(LINE * 20)
    for spec in (f"byword:{path}", f"byword:least=2:{path}", f"byword:least=2:case:{path}"):
        data = load(spec)
        assert data.name == spec
        assert numbers(load(data.name).test) == numbers(data.test)
        assert len(next(iter(data.hashes.values()))) == 64
    assert load(f"byword:least={LEAST}:{path}").name == f"byword:{path}"
    data = load(f"byword:{path}")
    assert joined(text_of(data.train, data)).startswith(LINE.lower())


def test_what_is_no_text_is_refused(tmp_path):
    for data in (Data("rows", Arrays(x=torch.rand(4, 3))), byword(from_texts("t", "a bc " * 9, "", ""), 1)):
        with pytest.raises(ValueError, match=f"needs a text of characters: .*{data.name} is none"):
            byword(data)
    for least in (0, 100):
        with pytest.raises(ValueError, match=f"no word that comes {least} times"):
            byword(from_texts("t", "a bc " * 9, "", ""), least)
    with pytest.raises(ValueError, match="no data set or file"):
        load("byword:nowhere.txt")


def test_prompts_and_samples_by_either_vocabulary():
    words = (END, UNKNOWN, "the", "cat", "sat", ",", '"', "I")
    assert read('The cat, "I', words).tolist() == [2, 3, 5, 6, 7]
    assert read("a dog", words).tolist() == [1, 1]
    assert read("", words).tolist() == []
    assert written([2, 3, 5, 6, 2, 6, 4, 0, 4], words) == 'the cat, "the" sat'
    letters = (END, UNKNOWN, "a", "b")
    assert read("abc", letters).tolist() == [2, 3, 1]
    assert written([2, 3, 1, 0, 2], letters) == f"ab{UNKNOWN}"


def test_it_serves_as_any_text_does():
    data = byword(from_texts("cats", LINE * 20, LINE * 3, LINE * 3), least=1)
    batch = next(Windows(data.train, 4, 7).epoch(0))
    assert batch["targets"].shape == (4, 7)
    blank = Data.blank(json.loads(json.dumps(data.outline())))
    assert blank.classes == data.classes
    other = (END, UNKNOWN, "dog", "the")
    found = numbers(recoded(data.test, data.classes, other))
    assert [other[t] for t in found[:10]] == ["the", *[UNKNOWN] * 7, UNKNOWN, "the"]


def test_the_packaged_english_has_the_sizes_that_the_docs_tell():
    if not all((cache() / SOURCES[name].file().name).exists() for name in USUAL):
        pytest.skip("the packages are not in the cache; lamina data english brings them")
    data = load("byword:english")
    assert len(data.classes) == 13_640
    for part, size, unknown in ((data.train, 1_841_246, 2.5), (data.valid, 99_999, 4.1), (data.test, 94_956, 3.4)):
        tokens = whole(part)["tokens"]
        assert len(tokens) == size
        assert round(100 * float((tokens == 1).double().mean()), 1) == unknown
