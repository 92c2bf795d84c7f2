"""Stories as numbers, and the readers of files: what they give, and what they say of bad lines."""

import json

import pytest
import torch

from lamina.data.dataset import Data
from lamina.data.examples import whole
from lamina.data.standard import load
from lamina.data.stories import NOTHING, UNKNOWN, Question, answer, from_questions, numbered, recoded, tokens

TRAIN = [
    Question(("Mary went home.", "John took the apple."), "Where is Mary?", "Home", (0,)),
    Question(("John slept.",), "What does John carry?", "apple, football"),
]
HELD = [Question(("Mary went to the zoo at once.", "Mary went home."), "Where is Bilbo?", "moon", (1,))]


def words(data, numbers):
    return [data.classes[k] for k in numbers.tolist() if k]


def test_a_story_is_numbered_from_its_end():
    data = from_questions("toy", TRAIN, HELD)
    batch = whole(data.train)
    assert [words(data, s) for s in batch["story"][0]] == [["john", "took", "the", "apple"], ["mary", "went", "home"]]
    assert [words(data, s) for s in batch["story"][1]] == [["john", "slept"], []]
    assert words(data, batch["question"][1]) == ["what", "does", "john", "carry"]
    assert words(data, batch["y"]) == ["home", "apple,football"]
    assert batch["support"].tolist() == [[False, True], [False, False]]
    assert data.classes[:2] == (NOTHING, UNKNOWN)
    assert list(data.classes[2:]) == sorted(data.classes[2:])


def test_what_training_has_not_seen_is_unknown():
    data = from_questions("toy", TRAIN, HELD)
    held = whole(data.valid)
    assert held["story"].shape == (1, 2, 7)  # the longest sentence of any part has 7 words
    assert words(data, held["story"][0, 1]) == ["mary", "went", UNKNOWN, "the", UNKNOWN, UNKNOWN, UNKNOWN]
    assert held["y"].tolist() == [1]
    assert held["support"].tolist() == [[True, False]]


def test_an_old_statement_is_forgotten():
    told = tuple(f"Mary saw thing{k}." for k in range(7))
    data = from_questions("toy", [Question(told, "What?", "it", (0, 6))], memory=3)
    batch = whole(data.train)
    assert [words(data, s)[-1] for s in batch["story"][0]] == ["thing6", "thing5", "thing4"]
    assert batch["support"].tolist() == [[True, False, False]]


def test_outline_is_enough_to_read_new_stories():
    data = from_questions("toy", TRAIN, HELD)
    again = Data.blank(json.loads(json.dumps(data.outline())))
    new = numbered(HELD, again.classes, 2)
    assert torch.equal(whole(new)["story"], whole(data.valid)["story"])
    other = from_questions("other", HELD, None)
    found = whole(recoded(other.train, other.classes, data.classes))
    for name, value in whole(data.valid).items():
        assert torch.equal(found[name], value), name


def test_words_and_answers():
    assert tokens("The well-known O'Brien paid 3.5 francs, twice!") == [
        "the",
        "well-known",
        "o'brien",
        "paid",
        "3.5",
        "francs",
        "twice",
    ]
    assert answer(" Milk ,  Football. ") == "milk,football"


def test_bad_questions_are_refused():
    with pytest.raises(ValueError, match="train question 1 lacks words"):
        from_questions("toy", [Question((), "?", "a")])
    with pytest.raises(ValueError, match="valid question 1 lacks an answer"):
        from_questions("toy", TRAIN, [Question((), "Who?", " .")])
    with pytest.raises(ValueError, match="no train question"):
        from_questions("toy", [])
    with pytest.raises(ValueError, match="at least 1 statement"):
        from_questions("toy", TRAIN, memory=0)


STORY = "1 Mary went home.\n2 John slept.\n3 Where is Mary?\thome\t1\n4 Mary left.\n5 Who slept? \tJohn\t2\n"


def test_a_file_in_the_format_of_babi(tmp_path):
    path = tmp_path / "stories.txt"
    path.write_text((STORY * 20).replace("\n", "\r\n"))  # as some editors write lines
    data = load(path)
    assert [len(part) for part in (data.train, data.valid, data.test)] == [32, 4, 4]  # 20 stories of 2 questions
    batch = whole(data.train)
    assert [words(data, s) for s in batch["story"][1]] == [
        ["mary", "left"],
        ["john", "slept"],
        ["mary", "went", "home"],
    ]
    assert words(data, batch["y"][:2]) == ["home", "john"]
    assert batch["support"][:2].tolist() == [[False, True, False], [False, True, False]]
    assert list(data.hashes) == ["stories.txt"]
    other = load(path, seed=1)
    assert torch.equal(whole(other.test)["story"], whole(data.test)["story"])


def test_parts_lie_beside_each_other_or_in_a_folder(tmp_path, capsys):
    for name, count in (("qa1_x_train", 5), ("qa1_x_test", 3), ("qa2_y_train", 4), ("qa2_y_test", 2)):
        (tmp_path / f"{name}.txt").write_text(STORY * count)
    data = load(tmp_path / "qa1_x_train.txt")
    assert "qa1_x_test.txt beside it" in capsys.readouterr().err
    assert len(data.test) == 6
    assert len(data.train) + len(data.valid) == 10
    both = load(tmp_path)
    assert len(both.test) == 10
    assert len(both.train) + len(both.valid) == 18


def test_objects_in_jsonl(tmp_path):
    path = tmp_path / "stories.jsonl"
    records = [
        {"story": "Mary went home. John slept!\nAll was well", "question": "Where is Mary?", "answer": "home"},
        {"story": ["It rained."], "question": "What fell?", "answer": ["rain", "snow"], "support": [0]},
    ]
    path.write_text("\n".join(json.dumps(record) for record in records * 15))
    data = load(path)
    found = [words(data, y[None]) for part in (data.train, data.valid, data.test) for y in whole(part)["y"]]
    assert found.count(["home"]) == found.count(["rain,snow"]) == 15
    row = whole(data.train)["y"].tolist().index(data.classes.index("home"))
    assert [words(data, s)[-1] for s in whole(data.train)["story"][row]] == ["well", "slept", "home"]


def test_other_texts_stay_texts(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("1 apples\n2 pears\n" * 20)
    assert "tokens" in load(path).outline()["fields"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1 Mary went.\n2 Who?\tMary\t1\n4 John slept.\n", "line 3: it has the number 4, where 3 goes on"),
        ("1 Mary went.\nJohn slept.\n2 Who?\tMary\t1\n", "line 2: it has no number"),
        ("1 Mary went.\n2 Who?\tMary\t3\n", "line 2: the support '3' is no line"),
        ("1 Mary went.\n2 Who?\tMary\tone\n", "line 2: the support 'one'"),
        ("1 Mary went.\n2 Who?\t\t1\n", "line 2: the question has no answer"),
        ("1 Mary went.\n2 Who?\t\n", "line 2: the question has no answer"),
        ("1 Mary went.\n2 Who?\tMary\t²\n", "line 2: the support '²'"),
        ("1 Mary went.\n2 ?\tMary\t1\n", "line 2: the question has no word"),
        ("1 Mary went.\n2 Who?\tMary\t1\n", "too few questions"),
    ],
)
def test_bad_lines_are_named(tmp_path, text, told):
    path = tmp_path / "stories.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=told):
        load(path)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"story": "a"', "line 2: this is no JSON"),
        ("[1]", "line 2: this is no object"),
        ('{"story": "a", "question": "b"}', "line 2: the field 'answer' is missing; it has story, question"),
        ('{"story": 3, "question": "b", "answer": "c"}', "line 2: the field 'story' holds 3"),
        ('{"story": "a", "question": ["b"], "answer": "c"}', "line 2: the field 'question' holds"),
        ('{"story": "a", "question": "b", "answer": ""}', "line 2: the question has no answer"),
        ('{"story": "a", "question": "b", "answer": "c", "support": [1]}', "line 2: 'support' holds"),
    ],
)
def test_bad_records_are_named(tmp_path, line, told):
    path = tmp_path / "stories.jsonl"
    path.write_text('{"story": "It rained.", "question": "What fell?", "answer": "rain"}\n' + line)
    with pytest.raises(ValueError, match=told):
        load(path)


def test_a_folder_of_test_files_alone_is_refused(tmp_path):
    for name in ("qa1_test.txt", "qa2_test.txt"):
        (tmp_path / name).write_text(STORY)
    with pytest.raises(ValueError, match="no training questions, only test"):
        load(tmp_path)


def test_the_published_files_are_read_from_their_archive(tmp_path, monkeypatch):
    import io
    import tarfile

    from lamina.data import babi_files

    (tmp_path / "babi").mkdir()
    with tarfile.open(tmp_path / "babi" / "babi.tar.gz", "w:gz") as archive:
        for folder, name, count in (
            ("en", "qa1_one-fact_train", 20),
            ("en", "qa1_one-fact_test", 4),
            ("en", "qa11_other_train", 9),
            ("en-10k", "qa1_one-fact_train", 30),
        ):
            content = (STORY * count).encode()
            info = tarfile.TarInfo(f"./tasks_1-20_v1-2/{folder}/{name}.txt")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    monkeypatch.setenv("LAMINA_DATA", str(tmp_path))
    monkeypatch.setattr(babi_files, "ARCHIVE", babi_files.File("babi/babi.tar.gz", None, ()))
    data = babi_files.published((1,))
    assert [len(part) for part in (data.train, data.valid, data.test)] == [36, 4, 8]
    assert data.name == "babi-en:1"
    with pytest.raises(ValueError, match="numbers 1 to 20, got 21"):
        babi_files.published((21,))
