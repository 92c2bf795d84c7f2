"""Questions on stories out of files: in the format of bAbI, or objects in .jsonl (`lamina.data.story_records`).

A .txt of Weston et al. (2015) has numbered lines, from 1 on in each story. A line with tabs is a question, its answer,
and the numbers of the lines that it follows from; the others are statements:

    1 Mary went to the kitchen.
    2 John took the apple.
    3 Where is Mary?	kitchen	1

A file `*_train` has its `*_valid` and `*_test` read beside it, a folder all its files. What has no such parts gets a
tenth of its stories held out to report on, and a tenth to choose with.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import torch

from lamina.data.dataset import Data
from lamina.data.folders import PARTS, fingerprint
from lamina.data.images import say
from lamina.data.stories import Question, from_questions
from lamina.data.story_records import Told, checked, read_json, some
from lamina.data.text import decoded, lines

HELD = 0.1  # share of the stories that is held out to report on, and again to choose with
FEW = 10  # stories below which single questions are held out
SUFFIXES = (".txt", ".jsonl")
LINE = re.compile(r"\s*(\d+)\s+(.*)")


def holds_stories(path: Path) -> bool:
    """Return whether a file's first line, or that of one in a folder, is that of stories with questions."""
    if path.is_dir():
        return bool(story_files(path))
    with path.open("rb") as file:
        head = file.read(1 << 16).decode("utf-8-sig", "replace")
    first = next((line for _, line in lines(head)), "")
    if path.suffix.lower() == ".jsonl":
        return bool(re.match(r'\s*\{.*"(question|story)"\s*:', first))
    return bool(re.match(r"1\s+\S", first)) and "\t" in head


def story_files(folder: Path) -> list[Path]:
    """Return the files of a folder that hold stories, in order."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    return [path for path in files if holds_stories(path)]


def read_stories(path: Path, seed: int = 0, memory: int = 50) -> Data:
    """Return the questions in a file or in a folder of files.

    Args:
        path: .txt, .jsonl or a folder of them.
        seed: of the choice of validation stories.
        memory: statements that are kept of a story, the last ones.

    Raises:
        ValueError: a line is not as it should be, or there are too few questions; one line says which.
    """
    files = story_files(path) if path.is_dir() else beside(path)
    parts: dict[str, Told] = {}
    for file in files:
        read = read_json if file.suffix.lower() == ".jsonl" else read_babi
        part = part_of(file) if len(files) > 1 else "train"
        parts.setdefault(part, []).extend(read(file))
    if "train" not in parts:
        raise ValueError(f"{path} has no training questions, only {' and '.join(parts)}")
    for part, part_seed in (("test", 0), ("valid", seed)):
        if part not in parts:
            parts["train"], parts[part] = held_out(str(path), parts["train"], part_seed)
    made = {part: [one for story in stories for one in story] for part, stories in parts.items()}
    return from_questions(str(path), made["train"], made["valid"], made["test"], memory, fingerprint(path, files))


def part_of(file: Path) -> str:
    """Return the part that the last word of a file's name tells: qa1_train is for training, as is what tells none."""
    return PARTS.get(re.split(r"[_.\- ]", file.stem.lower())[-1], "train")


def beside(path: Path) -> list[Path]:
    """Return a file and, if its name ends in train, the ones for other parts beside it."""
    stem = path.stem[: -len("train")]
    if not path.stem.lower().endswith(("_train", "-train", ".train")):
        return [path]
    found = [path.with_name(f"{stem}{part}{path.suffix}") for part in PARTS if part != "train"]
    found = [file for file in found if file.is_file()]
    if found:
        say(f"{path.name}: {', '.join(file.name for file in found)} beside it is read as well")
    return [path, *found]


def held_out(name: str, stories: Told, seed: int) -> tuple[Told, Told]:
    """Return (the rest, a tenth of the stories drawn at random); of few stories, a tenth of the questions.

    Raises:
        ValueError: nothing would be left.
    """
    units = stories if len(stories) >= FEW else [[one] for story in stories for one in story]
    if len(units) < 2:
        raise ValueError(f"{name} has too few questions to hold some out: it takes 3 or more")
    order = torch.randperm(len(units), generator=torch.Generator().manual_seed(seed)).tolist()
    held = set(order[: max(1, round(HELD * len(units)))])
    return [unit for k, unit in enumerate(units) if k not in held], [units[k] for k in sorted(held)]


def read_babi(path: Path) -> Told:
    """Return the questions of each story in a file of numbered lines; ValueError as `told` says."""
    return told(str(path), decoded(path))


def told(name: str, text: str) -> Told:
    """Return the questions of each story in a text of numbered lines.

    Raises:
        ValueError: a line without a number, or out of order; a question without an answer; a support that is none.
    """
    stories: Told = []
    statements: list[str] = []
    places: dict[int, int] = {}  # number of the line -> place of its statement
    last = 0
    for number, line in lines(text):
        where = f"{name}, line {number}"
        found = LINE.fullmatch(line.rstrip(" \r"))
        if not found:
            raise ValueError(
                f"{where}: it has no number and sentence, as '1 Mary went home.' has: {line.strip()!r:.40}"
            )
        own, words = int(found[1]), found[2]
        if own not in (1, last + 1):
            raise ValueError(f"{where}: it has the number {own}, where {last + 1} goes on or 1 begins a story")
        if own == 1:
            statements, places = [], {}
            stories.append([])
        last = own
        if "\t" in words:
            stories[-1].append(asked(where, words, statements, places))
        else:
            places[own] = len(statements)
            statements.append(words)
    return some(name, stories)


def asked(where: str, line: str, statements: Sequence[str], places: dict[int, int]) -> Question:
    """Return the question of a line with tabs."""
    question, answer, *rest = (field.strip() for field in line.split("\t"))
    support = []
    for word in " ".join(rest).split():
        if not word.isdecimal() or int(word) not in places:
            raise ValueError(f"{where}: the support {word!r:.20} is no line of a statement before the question")
        support.append(places[int(word)])
    return checked(where, Question(tuple(statements), question, answer, tuple(support)))
