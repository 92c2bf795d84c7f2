"""Questions on the user's own stories, through the command line."""

import random

import pytest

from lamina.cli import main


def told_world(count):
    """Stories in the format of bAbI: who went where, and a question."""
    rng, lines = random.Random(0), []
    for _ in range(count):
        where = {}
        for number in range(1, 4):
            who, place = rng.choice(["Mary", "John"]), rng.choice(["kitchen", "garden"])
            where[who] = (place, number)
            lines.append(f"{number} {who} went to the {place}.")
        who = rng.choice(sorted(where))
        lines.append(f"4 Where is {who}? \t{where[who][0]}\t{where[who][1]}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stories")
    (folder / "stories.txt").write_text(told_world(200))
    words = ["--restarts", "1", "--linear", "10", "--epochs", "60", "--hops", "2"]
    machine = ["--quiet", "--threads", "1", "--out", str(folder / "run")]
    assert main(["train", "memn2n", "--data", str(folder / "stories.txt"), *words, *machine]) == 0
    return folder


STORY = "Mary went to the kitchen. John went to the garden."


def test_answers_and_shows_what_from(trained, told):
    first, *lines = told("predict", trained / "run", "--story", STORY, "--question", "Where is Mary?").splitlines()
    word, p = first.split()
    assert word == "kitchen"
    assert 0.5 < float(p) <= 1
    assert "1  Mary went to the kitchen." in "\n".join(lines)
    assert [len(line.split("  ")[0].split()) for line in lines] == [2] * len(lines)  # weights of two hops
    both = told("predict", trained / "run", "--story", STORY, "--question", "where is john", "--top", "2")
    assert both.splitlines()[0].split()[::2] == ["garden", "kitchen"]


def test_a_story_may_be_a_file(trained, told, tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text(STORY.replace(". ", ".\n"))
    plain = told("predict", trained / "run", "--story", STORY, "--question", "Where is John?")
    assert told("predict", trained / "run", "--story", path, "--question", "Where is John?") == plain
    path.write_text("1 Mary went to the kitchen.\n2 Where is Mary?\tkitchen\t1\n3 John went to the garden.\n")
    assert told("predict", trained / "run", "--story", path, "--question", "Where is John?") == plain


def test_unknown_words_and_old_statements_are_told(trained, capsys):
    words = ["--story", STORY + " Bilbo went to the garden. Mary slept.", "--question", "Where is Bilbo?"]
    assert main(["predict", str(trained / "run"), *words]) == 0
    err = capsys.readouterr().err
    assert "not known from training, and read as one unknown word: bilbo, slept" in err
    assert "the last 3 of 4 statements" in err


def test_words_never_seen_are_answers_of_a_network_that_reads_them(tmp_path, capsys):
    """`memnn` with unseen words, trained to tell where somebody is, names a room that no story of the training had."""
    out = str(tmp_path / "run")
    assert main(["train", "memnn", "--data", "world:actor:1", "--unseen", "0.5", "--epochs", "3", "--out", out]) == 0
    capsys.readouterr()
    assert main(["predict", out, "--story", "Bilbo went to the cave.", "--question", "Where is Bilbo?"]) == 0
    told, err = capsys.readouterr()
    assert told.startswith("cave ")
    assert "told by the words beside them: bilbo, cave" in err


def test_evaluates_on_other_stories(trained, told, tmp_path):
    (tmp_path / "other.txt").write_text(told_world(50).replace("garden", "attic"))
    found = told("evaluate", trained / "run", "--data", tmp_path / "other.txt")
    assert "error" in found
    assert "5 examples" in found


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--story", STORY], "give it --story and --question"),
        (["--question", "Where is Mary?"], "give it --story and --question"),
        (["picture.png"], "give it --story and --question"),
        (["--story", " ", "--question", "Where is Mary?"], "--story has no statement"),
        (["--story", STORY, "--question", "?"], "--question has no word"),
        (["--storry", STORY], "did you mean '--story'?"),
        ([], "--story and --question"),
    ],
)
def test_bad_questions_end_in_one_line(trained, capsys, words, line):
    assert main(["predict", str(trained / "run"), *words]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert line in told[0]


def test_bad_data_ends_in_one_line(trained, capsys, tmp_path):
    (tmp_path / "bad.txt").write_text("1 Mary went home.\n3 Where is Mary?\thome\t1\n")
    assert main(["train", "memn2n", "--data", str(tmp_path / "bad.txt"), "--out", str(tmp_path / "run")]) == 2
    assert "line 2: it has the number 3" in capsys.readouterr().err
    assert main(["train", "mlp", "--data", str(trained / "stories.txt"), "--out", str(tmp_path / "run")]) == 2
    assert "where pictures or rows are needed" in capsys.readouterr().err
    assert main(["evaluate", str(trained / "run"), "--data", "moons"]) == 2
    assert "'story'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
