"""What a classifier gets wrong: its confusion matrix, and the examples it is most wrongly sure of."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lamina.analysis.page import Html, element, numbers, picture, section, shown, table
from lamina.analysis.pictures import as_images, grid, pictures
from lamina.core import Predicts, System
from lamina.data.dataset import Data
from lamina.data.examples import Examples
from lamina.train.evaluate import evaluating

MISTAKES = 24
CLASSES = 20  # a larger confusion matrix is a picture


@dataclass(frozen=True)
class Predictions:
    """True classes of some examples, and the probabilities that a system gives to each class."""

    y: Int64[Tensor, " examples"]
    probabilities: Float[Tensor, "examples classes"]

    @property
    def predicted(self) -> Int64[Tensor, " examples"]:
        """The most probable class of each example."""
        return self.probabilities.argmax(1)

    def confusion(self) -> Int64[Tensor, "classes classes"]:
        """Return how many examples of each class (rows) were taken for each class (columns)."""
        classes = max(self.probabilities.shape[1], int(self.y.max()) + 1)
        pairs = self.y * classes + self.predicted
        return torch.bincount(pairs, minlength=classes**2).reshape(classes, classes)

    def worst(self, count: int) -> Int64[Tensor, " worst"]:
        """Return the indices of at most `count` wrong examples, the highest probability of a wrong class first."""
        wrong = (self.predicted != self.y).nonzero().squeeze(1)
        sure = self.probabilities[wrong].amax(1)
        return wrong[sure.argsort(descending=True, stable=True)[:count]]


def predictions(system: System, examples: Examples, device: str, most: int = 10_000) -> Predictions | None:
    """Return what a system says of the first `most` examples; None if it predicts no classes or they have no labels."""
    first = examples.fetch(torch.zeros(1, dtype=torch.int64))
    if not isinstance(system, Predicts) or "x" not in first or "y" not in first or first["y"].ndim != 1:
        return None
    labels, found = [], []
    with evaluating(system):
        for indices in torch.split(torch.arange(min(most, len(examples))), 500):
            batch = examples.fetch(indices)
            found.append(system.predict(batch["x"].to(device)).float().cpu())
            labels.append(batch["y"])
    return Predictions(torch.cat(labels), torch.cat(found)) if found[0].ndim == 2 else None


def confusion(found: Predictions, data: Data, split: str) -> Html:
    """Return the confusion matrix, and what is wrong in each class."""
    counts = found.confusion()
    names = [named(data, k) for k in range(len(counts))]
    total, wrong = int(counts.sum()), int(counts.sum() - counts.diag().sum())
    line = f"{wrong} of {total} {split} examples are wrong ({shown(wrong / total, 'fraction')})."
    shares = counts / counts.sum(1, keepdim=True).clamp_min(1)
    if len(counts) <= CLASSES:
        drawn = matrix(counts, names)
    else:
        image = grid(shares[None, None], scale=max(1, 480 // len(counts)))
        told = "True classes from top to bottom, predicted ones from left to right; the brighter, the more"
        drawn = element("figure", element("figcaption", told), picture(image, f"Confusion of {len(counts)} classes"))
    rows = sorted((float(shares[k, k]), k) for k in range(len(counts)) if counts[k].any())
    each = []
    for right, k in rows[:CLASSES]:
        others = counts[k].clone()
        others[k] = 0
        taken = f"{names[int(others.argmax())]} ({int(others.max())})" if others.any() else "\u2013"
        each.append((names[k], int(counts[k].sum()), int(others.sum()), shown(1 - right, "fraction"), taken))
    head = ("class", "examples", "wrong", "error", "most often taken for")
    caption = "Errors in each class" + (f", the worst {CLASSES}" if len(rows) > CLASSES else "")
    return section("Confusion", element("p", line), element("div", drawn, table(head, each, caption), class_="beside"))


def matrix(counts: Tensor, names: list[str]) -> Html:
    """Return a confusion matrix as a table, in which the right answers and the frequent mistakes stand out."""
    others = counts - counts.diag().diag()
    most = max(1, int(others.max()))
    rows = [element("tr", element("td"), *(element("th", name, scope="col") for name in names))]
    for i, name in enumerate(names):
        cells = [element("th", name, scope="row")]
        for j, count in enumerate(counts[i].tolist()):
            share = count / max(1, int(counts[i].sum())) * 0.55 if i == j else count / most * 0.7
            style = f"--share: {100 * share:.0f}%"
            cells.append(element("td", count or "", class_="right" if i == j else "wrong", style=style))
        rows.append(element("tr", *cells))
    caption = element("caption", "True classes in rows, predicted ones in columns")
    return element("div", element("table", caption, *rows, class_="matrix"), class_="scroll")


def mistakes(found: Predictions, held: Examples, data: Data, split: str) -> Html:
    """Return the examples that the system is most wrongly sure of."""
    worst = found.worst(MISTAKES)
    if not len(worst):
        return section("Worst mistakes", element("p", f"No {split} example is wrong."))
    x = held.fetch(worst)["x"]
    answers = [(named(data, int(found.y[i])), named(data, int(found.predicted[i]))) for i in worst]
    sure = [shown(float(found.probabilities[i].max()), "fraction") for i in worst]
    told = element("p", f"Wrong {split} examples with the highest probability of a wrong class.", class_="note")
    images = as_images(x, data.shape)
    if images is None:
        rows = [(int(i), *pair, p, numbers(row)) for i, pair, p, row in zip(worst, answers, sure, x, strict=True)]
        return section("Worst mistakes", told, table(("example", "true", "predicted", "probability", "x"), rows, ""))
    shots = [
        element(
            "figure",
            picture(image, f"{split} picture of {true}, taken for {said} with probability {p}"),
            element("figcaption", f"{true} \u2192 {said}", Html("<br>"), p),
        )
        for image, (true, said), p in zip(pictures(images), answers, sure, strict=True)
    ]
    return section("Worst mistakes", told, element("div", *shots, class_="pictures"))


def named(data: Data, k: int) -> str:
    """Return the name of a class, or its number if it has none."""
    return data.classes[k] if k < len(data.classes) else str(k)
