"""The contracts that everything else is written against.

A `System` is a network together with what it minimizes. A `Source` gives batches of named fields. A `Run` is everything
that one training run depends on; `lamina.train.Trainer` turns it into a stream of events. Nothing here knows how a
system is trained.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.optim import Optimizer

Batch = dict[str, Tensor]
"""Named fields; the first axis of every field runs over examples."""

Terms = dict[str, Tensor]
"""Named scalars. Those of a loss are summed and the sum is minimized."""

Schedule = Callable[[float], float]
"""Value of a number as a function of the run's progress, 0 at the first update and 1 after the last."""

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class Objective:
    """Some loss terms, and the module whose parameters they train.

    Args:
        name: what schedules and messages call it.
        loss: names the batch fields it needs and returns the terms whose sum is minimized.
        trains: only this module's parameters get a gradient.
        every: take a step on every so many-th update.
    """

    name: str
    loss: Callable[..., Terms]
    trains: nn.Module
    every: int = 1


class System(nn.Module):
    """A network together with what it minimizes. The parameter names of `loss` are the batch fields it needs."""

    def loss(self, *args: Any, **fields: Any) -> Terms:
        """Return the terms to minimize, each a mean over the batch."""
        raise NotImplementedError

    def metrics(self, *args: Any, **fields: Any) -> Terms:
        """Return what to report on held-out data, each a mean over the batch; the first is the one to minimize."""
        return self.loss(*args, **fields)

    def energy(self, x: Tensor, *given: Any, **options: Any) -> Tensor:
        """Return minus the score of raw examples, (examples,): low where data are. The arguments are those of `score`.

        Raises:
            TypeError: the system does not score.
        """
        if not isinstance(self, Scores):
            raise TypeError(f"{type(self).__name__} does not score examples, so they have no energy")
        return -self.score(x, *given, **options)

    def objectives(self) -> tuple[Objective, ...]:
        """Return the players of the game; all but GAN-like systems have one."""
        return (Objective("loss", self.loss, self),)


@runtime_checkable
class Source(Protocol):
    """Batches of data. Epoch `k` depends on `k` alone, so that a run resumes exactly, also within an epoch."""

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""

    def epoch(self, k: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of epoch `k`, beginning with batch `start`."""


@runtime_checkable
class Predicts(Protocol):
    """Systems that answer a question about each example."""

    def predict(self, x: Tensor) -> Tensor:
        """Return class probabilities (examples, classes) for raw input."""


@runtime_checkable
class Encodes(Protocol):
    """Systems that turn each example into a vector of features."""

    def encode(self, x: Tensor) -> Tensor:
        """Return features (examples, features)."""


@runtime_checkable
class Samples(Protocol):
    """Systems that make up new examples."""

    def sample(self, count: int) -> Tensor:
        """Return `count` new examples in the form of the training data."""


@runtime_checkable
class Completes(Protocol):
    """Systems that go on with a text as is most probable."""

    def complete(self, prompt: Tensor, length: int, width: int, without: tuple[int, ...] = ()) -> Tensor:
        """Return at most `width` texts that begin with a prompt and go on by `length` symbols other than those in
        `without`, the best first.
        """


@runtime_checkable
class Scores(Protocol):
    """Systems that say how well each example agrees with them; `System.energy` is minus that."""

    def score(self, x: Tensor) -> Tensor:
        """Return minus an energy of raw examples, up to a constant, (examples,): the higher, the likelier.

        Each system says whether it is a log-likelihood in nats, one up to log Z, a bound on one, or none.
        """


@runtime_checkable
class Answers(Protocol):
    """Systems that answer questions about stories, with fields as `lamina.data.stories` has them."""

    @property
    def new_words(self) -> bool:
        """Whether symbols above those of the vocabulary are read, and answered, as words never seen before."""

    def answer(self, story: Tensor, question: Tensor) -> tuple[Tensor, Tensor]:
        """Return the probability of each symbol as the answer (examples, vocabulary), and how much each look at the
        story attends to each of its last statements, the most recent first (examples, looks, statements).
        """


@dataclass
class Run:
    """Everything that one training run depends on. A recipe is a function that returns one.

    Args:
        system: the network and what it minimizes.
        train: training batches.
        optimizer: makes the optimizer of one objective from its parameters.
        epochs: passes over `train`.
        valid: held-out batches, evaluated after every epoch.
        test: batches for the final figure; training never looks at them.
        schedules: numbers that vary in time: a field of the optimizers ("lr"), of one objective's optimizer
            ("generator.lr") or of the system ("system.temperature"), each a function of progress in 0..1.
        clip: largest gradient norm of an objective.
        accumulate: batches whose gradients are averaged into one update.
        average: decay per update of an exponential moving average of the weights, which is what is evaluated and saved.
        keep: the weights of the epoch with the best first metric on `valid`, or of the last epoch; where labels are the
            scarce thing, or the metric does not tell better from worse, choosing by it would mislead.
        patience: epochs without a better first metric before stopping.
        patience_examples: the same counted in training examples.
        precision: number format of the forward pass; fp16 scales the loss.
        compile: compile the losses with `torch.compile`.
        device: where to train: "cpu", "cuda", "mps".
        seed: of every random number drawn while training.
        origin: the recipe call that made this run, as plain data, so that a checkpoint can rebuild the system.
        before: makes the runs to train first, one after the other, such as the pre-training of layers that this run's
            system holds. What stands between them and after the last is done when the run before it has ended.
    """

    system: System
    train: Source
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    epochs: int
    valid: Source | None = None
    test: Source | None = None
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    clip: float | None = None
    accumulate: int = 1
    average: float | None = None
    keep: Literal["best", "last"] = "best"
    patience: int | None = None
    patience_examples: int | None = None
    precision: Precision = "fp32"
    compile: bool = False
    device: str = "cpu"
    seed: int = 0
    origin: dict[str, Any] = field(default_factory=dict)
    before: Callable[[], Iterable["Run"]] | None = None

    def __post_init__(self) -> None:
        """Raise ValueError where no training could follow."""
        for name in ("epochs", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.keep == "last" and (self.patience is not None or self.patience_examples is not None):
            raise ValueError("patience needs the best epoch, but this run keeps the last")
        if len(self.train) < 1:
            raise ValueError("the training source has no batch: fewer examples than one batch holds")


def fields(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the batch fields that a loss or metrics function asks for."""
    return tuple(inspect.signature(function).parameters)


def metric_fields(system: System) -> tuple[str, ...]:
    """Return the names of the batch fields that a system's metrics ask for."""
    own = type(system).metrics is not System.metrics
    return fields(system.metrics if own else system.loss)


def select(batch: Batch, names: Iterable[str]) -> Batch:
    """Return the named fields of a batch.

    Raises:
        ValueError: the batch lacks one.
    """
    try:
        return {name: batch[name] for name in names}
    except KeyError as missing:
        raise ValueError(f"the system needs a field {missing}, the data has {sorted(batch)}") from None
