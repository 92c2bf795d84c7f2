"""The published sets of bAbI's twenty tasks (version 1.2), downloaded once; CC BY 3.0.

Weston, Bordes, Chopra, Rush, van Merriënboer, Joulin & Mikolov (2015), Towards AI-complete question answering. The
sha256 is the one that ParlAI has for its copy. `lamina.data.babi` makes such questions where there is no network.
"""

import fnmatch
from collections.abc import Sequence

from lamina.data.dataset import Data
from lamina.data.fetch import File, Https, fetch
from lamina.data.packages import members
from lamina.data.stories import Question, from_questions
from lamina.data.story_files import held_out, told
from lamina.data.story_records import Told

ARCHIVE = File(
    "babi/babi.tar.gz",
    "f7f0bee187efca0d81c3daac1b162cda4eb7f9505dee5ad6846eabbed3dbf92e",
    (
        Https("https://dl.fbaipublicfiles.com/parlai/babi/babi.tar.gz"),
        Https("https://parl.ai/downloads/babi/babi.tar.gz"),
    ),
)
PLACE = "*/tasks_1-20_v1-2/{}/qa{}_*_{}.txt"


def published(tasks: Sequence[int] = (1,), seed: int = 0, large: bool = False, memory: int = 50) -> Data:
    """Return the published questions of some tasks.

    Args:
        tasks: numbers, 1 to 20.
        seed: of the choice of the tenth of the training stories that choose.
        large: 10,000 questions of each task to learn from in place of 1,000.
        memory: statements that are kept of a story, the last ones.

    Raises:
        ValueError: there is no such task.
        FetchError: the files cannot be downloaded.
    """
    if not tasks or not set(tasks) <= set(range(1, 21)):
        raise ValueError(f"the bAbI tasks have the numbers 1 to 20, got {', '.join(map(str, tasks)) or 'none'}")
    folder = "en-10k" if large else "en"
    wanted = {PLACE.format(folder, task, part): (task, part) for task in tasks for part in ("train", "test")}
    stories: dict[tuple[int, str], Told] = {}
    with fetch(ARCHIVE).open("rb") as archive:
        for member in members(archive):
            for pattern, key in wanted.items():
                if fnmatch.fnmatch(f"/{member.name}", pattern):
                    stories[key] = told(member.name, member.stream.read().decode())
    parts: dict[str, list[Question]] = {"train": [], "valid": [], "test": []}
    for task in sorted(set(tasks)):
        train, valid = held_out(f"task {task}", stories[task, "train"], seed)
        for part, found in (("train", train), ("valid", valid), ("test", stories[task, "test"])):
            parts[part] += [one for story in found for one in story]
    name = f"babi-{folder}:{','.join(map(str, sorted(set(tasks))))}"
    hashes = {ARCHIVE.name: ARCHIVE.sha256} if ARCHIVE.sha256 else {}
    return from_questions(name, parts["train"], parts["valid"], parts["test"], memory, hashes)
