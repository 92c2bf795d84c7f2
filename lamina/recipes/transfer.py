"""Self-taught learning: features found without labels on some classes, and a linear classifier on others with few.

    features f = e(x), e trained without labels on the source;   p(y | x) ∝ exp(wᵧᵀ (f − μ) / σ + bᵧ)

μ is the mean of each feature and σ one scale for all, on the target's training examples, which takes no label. The
classifier is scikit-learn's logistic regression, with the strength of its penalty that errs least on validation
examples. The same is done with the target's own numbers, f = x.

Raina, Battle, Lee, Packer & Ng (2007), Self-taught learning, section 3.

Differs from the paper: any system that encodes, where the paper has sparse codes and a support vector machine.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from lamina.core import Batch
from lamina.data.dataset import Data
from lamina.data.examples import Arrays, Examples, whole
from lamina.data.images import fit_to
from lamina.recipes.records import line, summary
from lamina.recipes.semisupervised import balanced

STRENGTHS = (0.003, 0.03, 0.3, 3.0)  # C of the logistic regression

Encode = Callable[[Tensor], Tensor]


def halves(data: Data) -> tuple[Data, Data]:
    """Return the examples of the first half of the classes, and those of the others, with classes from 0.

    Raises:
        ValueError: fewer than four classes.
    """
    count = data.labels()
    if count < 4:
        raise ValueError(f"{data.name} has {count} classes: two sets of two need four")
    return of_classes(data, range(count // 2)), of_classes(data, range(count // 2, count))


def of_classes(data: Data, kept: range) -> Data:
    """Return the examples of neighboring classes, the first of which becomes class 0."""

    def of(examples: Examples | None) -> Examples | None:
        if examples is None:
            return None
        batch = whole(examples)
        chosen = (batch["y"] >= kept.start) & (batch["y"] < kept.stop)
        return Arrays(**{name: value[chosen] for name, value in batch.items()} | {"y": batch["y"][chosen] - kept.start})

    train = of(data.train)
    assert train is not None
    return replace(
        data, train=train, valid=of(data.valid), test=of(data.test), classes=data.classes[kept.start : kept.stop]
    )


def of_shape(data: Data, shape: Sequence[int]) -> Data:
    """Return the examples in a shape: pictures are resized, and turned to gray or color.

    Raises:
        ValueError: they cannot take it, as rows of more or fewer numbers.
    """

    def of(examples: Examples | None) -> Examples | None:
        return None if examples is None else Arrays(**whole(fit_to(examples, shape)))

    if data.shape == tuple(shape):
        return data
    train = of(data.train)
    assert train is not None
    return replace(data, train=train, valid=of(data.valid), test=of(data.test), unlabelled=of(data.unlabelled))


def check(data: Data, counts: Sequence[int]) -> None:
    """Raise ValueError where the data lacks validation or test examples, or a number of labels does not fit."""
    if data.valid is None or data.test is None:
        raise ValueError(f"{data.name} needs validation and test examples: give the data both splits")
    if not data.labels() <= min(counts) <= max(counts) <= len(data.train):
        raise ValueError(f"numbers of labels must lie in {data.labels()}..{len(data.train)}, got {list(counts)}")


def linear_errors(encode: Encode, data: Data, counts: Sequence[int], seeds: Sequence[int]) -> dict[int, list[float]]:
    """Return, for each number of labels, a linear classifier's test error for the examples that each seed draws.

    Raises:
        ValueError: the data lacks validation or test examples, or a number of labels does not fit.
    """
    check(data, counts)
    parts = [whole(part) for part in (data.train, data.valid, data.test) if part is not None]
    train, valid, test = (encode(part["x"]) for part in parts)
    mean, scale = train.mean(0), train.std()
    f = [(features - mean) / scale for features in (train, valid, test)]
    found: dict[int, list[float]] = {count: [] for count in counts}
    for count in counts:
        for seed in seeds:
            asked = balanced(parts[0]["y"], count, seed)
            found[count].append(fitted_error(f[0][asked], parts[0]["y"][asked], (f[1], parts[1]), (f[2], parts[2])))
    return found


def fitted_error(
    f: Float[Tensor, "labels features"], y: Tensor, valid: tuple[Tensor, Batch], test: tuple[Tensor, Batch]
) -> float:
    """Return the test error of the logistic regression that errs least on validation examples."""
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise ValueError("the linear classifier comes with scikit-learn: pip install 'lamina[sklearn]'") from None
    models = [LogisticRegression(C=strength, max_iter=2000).fit(f.numpy(), y.numpy()) for strength in STRENGTHS]
    best = max(models, key=lambda model: model.score(valid[0].numpy(), valid[1]["y"].numpy()))
    return 1 - float(best.score(test[0].numpy(), test[1]["y"].numpy()))


def raw(x: Float[Tensor, "examples *shape"]) -> Float[Tensor, "examples numbers"]:
    """Return the examples' own numbers."""
    return x.flatten(1)


def markdown(errors: dict[str, dict[int, list[float]]]) -> str:
    """Return a table of test errors, mean and deviation: a row a kind of features, a column a number of labels."""
    counts = list(next(iter(errors.values())))
    lines = [line("features", *(f"{count} labels" for count in counts)), line(*["---"] * (len(counts) + 1))]
    for name, found in errors.items():
        lines.append(line(name, *(summary(found[count], "fraction") for count in counts)))
    return "".join(lines)
