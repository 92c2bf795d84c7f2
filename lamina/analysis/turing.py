"""The visual Turing test: an observer sees one image at a time, briefly, and says whether it is real or generated.

`turing_page` makes a self-contained page that shows real and generated images in random order, each for a time that the
observer chooses or that is drawn anew for each image, and keeps the answers until they are saved as a file.
`read_answers` reads such files, and `fooled` gives, for every exposure, the share of generated and of real images that
were taken for real, with its 95 % interval (Wilson 1927): with k of n, p = k/n and z = 1.96,

    (p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n)

Denton, Chintala, Szlam & Fergus (2015), Deep generative image models using a Laplacian pyramid of adversarial networks,
section 5.3: exposures of 50 ms to 2 s.
"""

import base64
import csv
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lamina.analysis.observer import SCRIPT
from lamina.analysis.page import Html, element, encoded, page
from lamina.analysis.pictures import pictures

EXPOSURES = (50, 75, 100, 150, 200, 300, 400, 500, 750, 1000, 2000)  # ms
KINDS = ("real", "generated")
Z = 1.959963984540054  # 97.5 % quantile of the normal distribution

CSS = """
#stage { display: grid; place-items: center; width: 18rem; height: 18rem; margin: 1.5rem 0; background: #808080;
  color: #fff; font-size: 2rem; } #stage img { width: 14rem; height: 14rem; object-fit: contain; border-radius: 0; }
button, select { font: inherit; padding: .4rem 1rem; margin: 0 .5rem .5rem 0; }
"""


@dataclass(frozen=True)
class Answer:
    """What an observer said of one image.

    Args:
        image: its number on the page.
        truth: "real" or "generated".
        answer: "real" or "generated".
        exposure: time for which the image was to be seen, in ms.
        reaction: from the image's appearance to the answer, in ms.
    """

    image: int
    truth: str
    answer: str
    exposure: float
    reaction: float


@dataclass(frozen=True)
class Share:
    """How many images were taken for real.

    Args:
        taken: number of them.
        count: of how many.
        low: lower end of the 95 % interval of the share.
        high: its upper end.
    """

    taken: int
    count: int
    low: float
    high: float


def turing_page(
    real: Float[Tensor, "real channels height width"],
    generated: Float[Tensor, "generated ..."],
    title: str,
    seed: int = 0,
) -> str:
    """Return the page of a test with images of values in 0..1.

    All images go the same way into the page. They lie there in an order drawn from the seed, and are shown in one drawn
    anew for each observer; the truth is hidden under a random mask, which stops a glance, not a search.

    Raises:
        ValueError: the two kinds of images differ in shape.
    """
    if real.shape[1:] != generated.shape[1:]:
        raise ValueError(f"real and generated images differ in shape: {[*real.shape[1:]]} and {[*generated.shape[1:]]}")
    draw = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(real) + len(generated), generator=draw)
    shown = torch.cat([real.cpu(), generated.cpu()])[order]
    mask = torch.randint(2, order.shape, generator=draw)
    facts = {
        "name": title,
        "images": [base64.b64encode(encoded(image, "PNG")).decode() for image in pictures(shown)],
        "mask": mask.tolist(),
        "marks": ((order >= len(real)).long() ^ mask).tolist(),
        "exposures": EXPOSURES,
    }
    told = json.dumps(facts).replace("<", "\\u003c")  # no name may end the script
    options = [element("option", "drawn for each image", value="0")]
    options += [element("option", f"{time} ms", value=str(time)) for time in EXPOSURES]
    return page(
        title,
        Html(f"<style>{CSS}</style>"),
        element("h1", "Real or generated?"),
        element(
            "p", f"{title}. Each image is seen briefly. Say whether it is real or was made by a network: press R or G."
        ),
        element("p", "Time that an image is seen: ", element("select", *options, id="exposure")),
        element("div", "", id="stage", aria_live="off"),
        element("p", *(element("button", name, id=name, disabled="") for name in KINDS)),
        element("p", element("button", "begin (space)", id="begin"), element("span", "", id="told", role="status")),
        element("p", *(element("button", f"save answers as .{form}", id=form) for form in ("json", "csv"))),
        element("p", element("button", "forget the answers", id="forget"), class_="note"),
        Html(f'<script id="facts" type="application/json">{told}</script>'),
        Html(f"<script>{SCRIPT}</script>"),
    )


def read_answers(path: Path) -> list[Answer]:
    """Return the answers of a file that a page has saved, .json or .csv.

    Raises:
        ValueError: the file holds no answers, or one that does not fit; the message names it.
    """
    try:
        rows = read_rows(path)
    except (ValueError, csv.Error, KeyError, TypeError) as error:
        mend = "give a .json or .csv file that the test page saved"
        raise ValueError(f"{path} is no file of answers: {mend}") from error
    if not rows:
        raise ValueError(f"{path} holds no answer: take the test first, then save its answers")
    return [answer_of(row, f"{path}, answer {i + 1}") for i, row in enumerate(rows)]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file of answers; raise ValueError, KeyError or TypeError if it is something else."""
    text = path.read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(text.splitlines())) if path.suffix.lower() == ".csv" else json.loads(text)["answers"]
    names = {field.name for field in fields(Answer)}
    if not isinstance(rows, list) or not all(isinstance(row, dict) and names <= row.keys() for row in rows):
        raise ValueError("rows lack a field")
    return rows


def answer_of(row: dict[str, Any], where: str) -> Answer:
    """Return a row as an answer.

    Raises:
        ValueError: a field does not fit.
    """
    try:
        image, exposure, reaction = int(row["image"]), float(row["exposure"]), float(row["reaction"])
    except (ValueError, TypeError):
        raise ValueError(f"{where}: image, exposure and reaction must be numbers") from None
    if row["truth"] not in KINDS or row["answer"] not in KINDS:
        raise ValueError(f"{where}: truth and answer must be 'real' or 'generated'")
    if not (math.isfinite(reaction) and 0 < exposure < math.inf):
        raise ValueError(f"{where}: exposure must be a time above 0 ms, got {exposure:g}")
    return Answer(image, row["truth"], row["answer"], exposure, reaction)


def fooled(answers: Iterable[Answer]) -> dict[float, dict[str, Share]]:
    """Return by exposure, then by truth, the share of images taken for real."""
    found: dict[float, dict[str, list[bool]]] = {}
    for answer in answers:
        kinds = found.setdefault(answer.exposure, {kind: [] for kind in KINDS})
        kinds[answer.truth].append(answer.answer == "real")
    return {time: {kind: share(taken) for kind, taken in found[time].items()} for time in sorted(found)}


def share(taken: Sequence[bool]) -> Share:
    """Return how many of some images were taken for real, with the interval; that of no image is 0..1."""
    low, high = wilson(sum(taken), len(taken))
    return Share(sum(taken), len(taken), low, high)


def wilson(taken: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share.

    >>> [round(end, 3) for end in wilson(4, 10)]
    [0.168, 0.687]
    """
    if not count:
        return 0.0, 1.0
    p, extra = taken / count, Z**2 / count
    middle, half = p + extra / 2, Z * math.sqrt(p * (1 - p) / count + extra / (4 * count))
    return max(0.0, (middle - half) / (1 + extra)), min(1.0, (middle + half) / (1 + extra))
