"""Text as symbols and windows, against plain slices of strings."""

import itertools
import json

import pytest
import torch

from lamina.core import Source
from lamina.data.dataset import Data
from lamina.data.examples import Arrays, whole
from lamina.data.files import read
from lamina.data.standard import load
from lamina.data.text import CHUNK, END, LEAST, UNKNOWN, Text, Windows, from_texts, read_text, recoded

POEM = "Über allen Gipfeln ist Ruh, in allen Wipfeln spürest du kaum einen Hauch. 静けさや岩にしみ入る蝉の声 😀\n" * 4


def numbers(count):
    """Return a text whose symbol at a place is that place, counted from 1."""
    return Arrays(tokens=torch.arange(1, count + 1))


def text_of(part, symbols):
    return "".join(symbols[token] for token in whole(part)["tokens"].tolist())


def written(tmp_path, content, name="poem.txt"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# Windows


@pytest.mark.parametrize("count", [1, 2, 7, 24, 25, 59, 60, 61, 75, 100])
@pytest.mark.parametrize(("rows", "window"), [(1, 1), (1, 6), (4, 6), (64, 3), (5, 100)])
def test_every_symbol_is_told_once_but_for_less_than_a_window(count, rows, window):
    source = Windows(numbers(count), rows, window)
    batches = list(source.epoch(0))
    assert isinstance(source, Source)
    assert len(batches) == len(source)
    told = torch.cat([batch["targets"].flatten() for batch in batches])
    left = count - len(told)
    assert told.sort().values.tolist() == list(range(1, len(told) + 1))
    assert 0 <= left < min(window, count) or left == 0
    for batch in batches:
        assert torch.equal(batch["tokens"], batch["targets"] - 1)  # the symbol before; 0 is END
        assert len({tuple(value.shape) for value in (batch["tokens"], batch["targets"])}) == 1
        assert batch["tokens"].shape[1] == min(window, count)


@pytest.mark.parametrize(("count", "rows", "window"), [(100, 4, 6), (61, 5, 4), (9, 3, 3)])
def test_each_row_goes_on_where_it_ended(count, rows, window):
    batches = list(Windows(numbers(count), rows, window).epoch(0))
    assert batches[0]["fresh"].all()
    for before, after in itertools.pairwise(batches):
        kept = len(after["tokens"])
        assert kept <= len(before["tokens"])
        assert torch.equal(after["tokens"][:, 0], before["targets"][:kept, -1])
        assert not after["fresh"].any()
    assert all(len(batch["tokens"]) == rows for batch in batches[:-1])


def test_epochs_are_the_same_and_begin_anywhere():
    source = Windows(numbers(200), 4, 7)
    first, second = list(source.epoch(0)), list(source.epoch(3))
    for k in range(len(source)):
        rest = list(source.epoch(1, start=k))
        assert len(rest) == len(source) - k
        for batch, expected in zip(rest, first[k:], strict=True):
            assert all(torch.equal(batch[name], expected[name]) for name in expected)
    assert torch.equal(first[-1]["tokens"], second[-1]["tokens"])
    assert {name: value.dtype for name, value in first[0].items()} == {
        "tokens": torch.int64,
        "targets": torch.int64,
        "fresh": torch.bool,
    }


def test_windows_that_cannot_be():
    for rows, window in ((0, 5), (5, 0)):
        with pytest.raises(ValueError, match="at least 1 row and 1 symbol"):
            Windows(numbers(9), rows, window)
    with pytest.raises(ValueError, match="no symbol"):
        Windows(numbers(0), 2, 2)
    with pytest.raises(ValueError, match=r"needs a field 'tokens', the data has \['x'\]"):
        next(Windows(Arrays(x=torch.zeros(9, 2)), 2, 2).epoch(0))


# Symbols


def test_text_is_numbered_by_its_vocabulary(monkeypatch):
    monkeypatch.setattr("lamina.data.text.CHUNK", 7)
    symbols = (END, UNKNOWN, *sorted(set(POEM)))
    text = Text(POEM, symbols)
    assert len(text) == len(POEM)
    assert text.codes.dtype == torch.uint8
    assert text_of(text, symbols) == POEM
    many = (END, UNKNOWN, *map(chr, range(0x4E00, 0x4E00 + 300)))
    assert Text("丁", many).fetch(torch.tensor([0]))["tokens"].tolist() == [many.index("丁")]
    assert len(Text("", symbols)) == 0
    assert CHUNK > 7


def test_what_training_has_not_seen_is_unknown():
    data = from_texts("three", "abcabc", "abx", "cya" + END)
    assert data.classes == (END, UNKNOWN, "a", "b", "c")
    assert text_of(data.valid, data.classes) == "ab" + UNKNOWN
    assert text_of(data.test, data.classes) == f"c{UNKNOWN}a{END}"


def test_outline_makes_a_blank_text_that_a_recipe_can_use():
    data = from_texts("three", "abcabc", "abc", "abc")
    assert data.outline()["fields"] == {"tokens": ["int64"]}
    blank = Data.blank(json.loads(json.dumps(data.outline())))
    assert blank.classes == data.classes
    batch = next(Windows(blank.train, 64, 100).epoch(0))
    assert batch["tokens"].shape == (1, 1)


def test_recoded_text_says_the_same_in_other_numbers():
    have, want = (END, UNKNOWN, *"abcd"), (END, UNKNOWN, *"dcb")
    text = recoded(Text("abcd" + END + "?", have), have, want)
    assert len(text) == 6
    assert text_of(text, want) == f"{UNKNOWN}bcd{END}{UNKNOWN}"
    same = Text("ab", have)
    assert recoded(same, have, list(have)) is same
    with pytest.raises(ValueError, match="needs a field 'tokens'"):
        recoded(Arrays(x=torch.zeros(2, 2)), ("0", "1"), want).fetch(torch.tensor([0]))


# Files


def test_a_text_is_cut_by_position(tmp_path):
    path = written(tmp_path, POEM)
    data = load(str(path))
    parts = [text_of(part, data.classes) for part in (data.train, data.valid, data.test)]
    cut = [int(0.9 * len(POEM)), int(0.95 * len(POEM))]
    assert parts == [POEM[: cut[0]], POEM[cut[0] : cut[1]], POEM[cut[1] :]]
    assert data.name == str(path)
    assert len(next(iter(data.hashes.values()))) == 64
    assert data.classes == (END, UNKNOWN, *sorted(set(parts[0])))


def test_marks_and_line_ends_of_other_systems(tmp_path):
    path = written(tmp_path, b"\xef\xbb\xbf" + ("line\r\nnext\rlast\n" * 20).encode())
    data = read_text(path)
    assert "\r" not in data.classes
    assert "\ufeff" not in data.classes
    assert text_of(data.train, data.classes).startswith("line\nnext\nlast\nline")


def test_lines_of_json_are_texts_that_end(tmp_path):
    texts = [f"text {k}: tab\t, break\nand 静 \U0001f600" for k in range(9)]
    rows = [json.dumps({"id": k, "text": text}, ensure_ascii=k % 2 == 0) for k, text in enumerate(texts)]
    path = written(tmp_path, "\n\n".join(rows) + "\r\n", "texts.jsonl")
    data = read(path)
    joined = "".join(text_of(part, data.classes) for part in (data.train, data.valid, data.test))
    assert joined.replace(UNKNOWN, "8") == "".join(text + END for text in texts)  # "8" is first seen in the test part


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", "a.txt is empty"),
        ("a.txt", b"\xef\xbb\xbf", "a.txt is empty"),
        ("a.txt", "too short", f"holds 9 symbols; it takes {LEAST}"),
        ("a.txt", b"fine\nfine\nna\xefve", "is not UTF-8: byte 13, in line 3, is 0xef; save it as UTF-8"),
        ("a.txt", "utf-16".encode("utf-16"), "is not UTF-8: byte 1, in line 1, is 0xff"),
        ("a.jsonl", "", "a.jsonl is empty"),
        ("a.jsonl", '{"text": "a"}\n\n{"text": "b"', "a.jsonl, line 3: this is no JSON: "),
        (
            "a.jsonl",
            '{"text": "a"}\n{"body": 1, "title": 2}',
            "line 2: the field 'text' is missing; it has body, title",
        ),
        ("a.jsonl", "{}", "line 1: the field 'text' is missing; it has no field"),
        ("a.jsonl", '["text"]', "line 1: the field 'text' is missing; it is no object"),
        ("a.jsonl", '{"text": null}', "line 1: the field 'text' holds None, not a string"),
        ("a.jsonl", '{"text": "\\ud83d"}', r"line 1: the field 'text' holds half a character, '\\ud83d'"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_text(written(tmp_path, content, name))
    assert "\n" not in str(caught.value)
