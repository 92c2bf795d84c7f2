"""Numbers that vary in time: each function returns a value for every progress in 0..1 of a run.

They serve any field of an optimizer ("lr", "momentum", "weight_decay", "l1") and any number of a system
("system.temperature"); see `lamina.core.Run.schedules`.
"""

import math

from lamina.core import Schedule


def constant(value: float) -> Schedule:
    """Stay at `value`."""
    return lambda progress: value


def step(value: float, at: tuple[float, ...], factor: float = 0.1) -> Schedule:
    """Multiply by `factor` at each progress in `at`.

    >>> step(1.0, at=(0.5, 0.75))(0.8)
    0.010000000000000002
    """
    return lambda progress: value * factor ** sum(progress >= a for a in at)


def inverse(value: float, half: float) -> Schedule:
    """Decay as 1/t: `value / (1 + progress / half)`, so that progress `half` sees half of it (Robbins & Monro 1951)."""
    return lambda progress: value / (1 + progress / half)


def linear(start: float, stop: float, begin: float = 0.0, end: float = 1.0) -> Schedule:
    """Go from `start` to `stop` on a straight line between progress `begin` and `end`, and stay there.

    >>> linear(0.5, 0.7, end=0.5)(0.25)
    0.6
    """

    def value(progress: float) -> float:
        part = min(max((progress - begin) / (end - begin), 0.0), 1.0)
        return start + (stop - start) * part

    return value


def linear_to_zero(value: float, begin: float = 0.0) -> Schedule:
    """Stay at `value` until progress `begin`, then fall to zero on a straight line."""
    return linear(value, 0.0, begin)


def cosine(value: float, stop: float = 0.0, warmup: float = 0.0) -> Schedule:
    """Rise from zero during `warmup`, then fall to `stop` along half a cosine (Loshchilov & Hutter 2017, eq. 5)."""

    def at(progress: float) -> float:
        if progress < warmup:
            return value * progress / warmup
        part = (progress - warmup) / (1 - warmup)
        return stop + (value - stop) * (1 + math.cos(math.pi * part)) / 2

    return at


def one_cycle(peak: float, warmup: float = 0.3, start: float = 0.04, stop: float = 1e-4) -> Schedule:
    """Rise to `peak` during `warmup` and fall again, both along half a cosine (Smith & Topin 2018).

    Args:
        peak: the largest value.
        warmup: share of the run spent rising.
        start: first value, as a fraction of `peak`.
        stop: last value, as a fraction of `peak`.
    """
    rise, fall = cosine(peak * start, peak), cosine(peak, peak * stop)
    return lambda progress: rise(progress / warmup) if progress < warmup else fall((progress - warmup) / (1 - warmup))


def exponential(stop: float) -> Schedule:
    """Fall from 1 to `stop`, by the same factor in each stretch of the run.

    >>> exponential(0.25)(0.5)
    0.5
    """
    return lambda progress: stop**progress


def inverse_sigmoid(stop: float, slow: float = 1000.0) -> Schedule:
    """Fall from 1 - 1 / (1 + slow) to `stop` as slow / (slow + exp(c progress)); Bengio et al. (2015), section 2.4.

    >>> [round(inverse_sigmoid(0.25)(progress), 2) for progress in (0, 0.5, 0.8, 1)]
    [1.0, 0.95, 0.62, 0.25]
    """
    rate = math.log(slow) - math.log(stop / (1 - stop))
    return lambda progress: slow / (slow + math.exp(rate * progress))


def late(value: float, begin: float, before: float = 0.0) -> Schedule:
    """Be `before` until progress `begin`, and `value` from there on."""
    return lambda progress: value if progress >= begin else before
