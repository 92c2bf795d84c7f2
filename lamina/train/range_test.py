"""Learning-rate range test: train for a moment while the rate grows from tiny to huge, and look at the loss.

The rate of update i of n is η_i = low · (high / low)^(i / (n - 1)). The loss is smoothed by an exponential mean,
s_i = 0.9 s_(i-1) + 0.1 l_i, divided by 1 - 0.9^(i+1) as it starts from zero. Where s is lowest the rate is about the
largest that still trains; a tenth of it is suggested.

Smith (2017), Cyclical learning rates for training neural networks, section 3.3.
Differs from the paper: the rate grows geometrically instead of linearly, so that no guess of its size is needed.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lamina.core import Run
from lamina.optim.schedules import constant
from lamina.train.evaluate import seeded
from lamina.train.trainer import NotFinite, Trainer, Update, sum_of

MEMORY = 0.9  # of the exponential mean
MARGIN = 10.0  # between the rate of the lowest loss and the one suggested
FEWEST = 10  # updates that a suggestion needs


@dataclass(frozen=True)
class Range:
    """Learning rates, the loss before the update with each, and the rate to try first."""

    rates: list[float]
    losses: list[float]
    suggestion: float


def lr_range(run: Run, low: float = 1e-6, high: float = 10.0, updates: int = 200) -> Range:
    """Return the loss of a copy of the run's system at rates from `low` to `high`.

    All objectives get the same rate; other schedules stay at their first values. The test ends early where the loss
    diverges. The system and the random state are left as they were found.

    Args:
        run: what to test; nothing in it changes.
        low: first rate.
        high: last rate.
        updates: how many rates to test.

    Raises:
        ValueError: no range, or the loss diverges before a rate can be suggested.
    """
    if not 0 < low < high:
        raise ValueError(f"rates must rise from above zero, got {low:g} to {high:g}")
    if updates < FEWEST:
        raise ValueError(f"a range test needs at least {FEWEST} updates, got {updates}")
    rates = [low * (high / low) ** (i / (updates - 1)) for i in range(updates)]
    losses = tried(run, rates)
    if len(losses) < FEWEST:
        raise ValueError(f"the loss diverges from the start, after {len(losses)} updates; begin below {low:g}")
    means = smoothed(losses)
    lowest = means.index(min(means))
    return Range(rates[: len(losses)], losses, rates[lowest] / MARGIN)


def tried(run: Run, rates: Sequence[float]) -> list[float]:
    """Return the loss before each update, until it diverges."""
    total = math.ceil(len(run.train) / run.accumulate)
    epochs = math.ceil(len(rates) / total)
    schedules = {name: constant(s(0.0)) for name, s in run.schedules.items() if name.rpartition(".")[2] != "lr"}
    schedules["lr"] = lambda progress: rates[round(progress * total * epochs)]
    losses = list[float]()
    with seeded(run.device, run.seed):
        system = copy.deepcopy(run.system)
        trial = replace(run, system=system, epochs=epochs, schedules=schedules, valid=None, average=None)
        try:
            for event in Trainer(trial):
                if isinstance(event, Update):
                    losses.append(float(sum_of(event.terms)))
                    if len(losses) == len(rates) or diverged(losses, len(rates)):
                        break
        except NotFinite:
            pass
    return losses


def diverged(losses: Sequence[float], updates: int) -> bool:
    """Return whether the mean loss has risen far above its lowest, as measured by the size of the first losses."""
    if not math.isfinite(losses[-1]):
        return True
    first = max(FEWEST, updates // 10)
    means = smoothed(losses)
    return len(losses) > first and means[-1] - min(means) > 3 * max(abs(loss) for loss in losses[:first])


def smoothed(losses: Sequence[float]) -> list[float]:
    """Return the exponential mean of the losses up to each.

    >>> smoothed([3.0, 3.0])
    [3.0, 3.0]
    """
    mean, means = 0.0, []
    for i, loss in enumerate(losses):
        mean += (1 - MEMORY) * (loss - mean)
        means.append(mean / (1 - MEMORY ** (i + 1)))
    return means
