"""Problems that need a memory of many steps, at any length T.

    adding          x_t = (a number in 0..1, a mark); two steps are marked, one in each half; y = mean of their numbers
    temporal_order  x_t is one of X, Y, a, b, c, d; X or Y stands at two places (or three), y says in what order
    copying         ten symbols of eight, T − 1 blanks, a call, ten blanks; y = T + 10 blanks, then the ten symbols

A guess without memory is off by a variance of 1/24, by 3/4 (7/8) of the answers, or by 7/8 of the symbols. Each
sequence is a function of the seed and its number, so that a set of any size takes no memory.

Hochreiter & Schmidhuber (1997), Long short-term memory, experiments 4 and 6; places of X and Y as shares of T after
Martens & Sutskever (2011), Learning recurrent neural networks with Hessian-free optimization; copying after Arjovsky et
al. (2016), Unitary evolution recurrent neural networks, section 5.1.

Differs from the papers: all sequences of a set have one length; there are no symbols for begin and end.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from lamina.core import Batch
from lamina.data.dataset import Data
from lamina.data.examples import Arrays, Mapped

SIZES = (50_000, 2_000, 10_000)  # sequences to learn from, to choose with, to report on
PLACES = ((0.1, 0.2), (0.5, 0.6))  # where X and Y stand, as shares of T
PLACES_3 = ((0.1, 0.2), (0.3, 0.4), (0.6, 0.7))
DATA, BLANK, CALL, COPIED = 8, 8, 9, 10  # symbols, and the symbols of a sequence, of the copying problem

Numbers = NDArray[np.floating]


def adding(seed: int = 0, steps: int = 100, sizes: tuple[int, int, int] = SIZES) -> Data:
    """Sequences of 100 numbers, two of which are marked: what is their mean? adding:400 has 400.

    Args:
        seed: of the sequences.
        steps: T.
        sizes: sequences to learn from, to choose with, to report on.
    """

    def make(u: Numbers) -> Batch:
        values = torch.from_numpy(u[:, :steps]).float()
        half = steps // 2
        places = torch.from_numpy(np.stack([u[:, steps] * half, half + u[:, steps + 1] * (steps - half)], 1)).long()
        marks = torch.zeros_like(values).scatter_(1, places, 1.0)
        return {"x": torch.stack([values, marks], 2), "y": values.gather(1, places).mean(1, keepdim=True)}

    return problem("adding", seed, steps, 2, make, steps + 2, sizes)


def temporal_order(
    seed: int = 0,
    steps: int = 100,
    sizes: tuple[int, int, int] = SIZES,
    places: tuple[tuple[float, float], ...] = PLACES,
) -> Data:
    """Sequences of 100 symbols with X or Y at two places: which came first, which second? temporal_order:400 has 400.

    Args:
        seed: of the sequences.
        steps: T.
        sizes: sequences to learn from, to choose with, to report on.
        places: where X or Y stands, as shares of T.
    """

    def make(u: Numbers) -> Batch:
        symbols = torch.from_numpy(2 + u[:, :steps] * 4).long()
        where, which = u[:, steps : steps + len(places)], torch.from_numpy(u[:, steps + len(places) :] * 2).long()
        low, high = (np.array(ends) * steps for ends in zip(*places, strict=True))
        symbols.scatter_(1, torch.from_numpy(low + where * (high - low)).long(), which)
        return {"x": F.one_hot(symbols, 6).float(), "y": (which << torch.arange(len(places)).flip(0)).sum(1)}

    names = [""]
    for _ in places:
        names = [name + symbol for name in names for symbol in "XY"]
    name = "temporal_order" if len(places) == 2 else f"temporal_order_{len(places)}"
    return problem(name, seed, steps, 10, make, steps + 2 * len(places), sizes, tuple(names))


def temporal_order_3(seed: int = 0, steps: int = 100, sizes: tuple[int, int, int] = SIZES) -> Data:
    """Sequences of 100 symbols with X or Y at three places: in what order? temporal_order_3:400 has 400.

    Args:
        seed: of the sequences.
        steps: T.
        sizes: sequences to learn from, to choose with, to report on.
    """
    return temporal_order(seed, steps, sizes, PLACES_3)


def copying(seed: int = 0, steps: int = 100, sizes: tuple[int, int, int] = SIZES) -> Data:
    """Ten symbols to say again after 100 steps. copying:400 has 400.

    Args:
        seed: of the sequences.
        steps: T, between the last symbol and the first answer.
        sizes: sequences to learn from, to choose with, to report on.
    """

    def make(u: Numbers) -> Batch:
        symbols = torch.from_numpy(u * DATA).long()
        shown = F.pad(symbols, (0, steps + COPIED), value=BLANK)
        shown[:, COPIED + steps - 1] = CALL
        return {"x": F.one_hot(shown, CALL + 1).float(), "y": F.pad(symbols, (steps + COPIED, 0), value=BLANK)}

    return problem("copying", seed, steps, 1, make, COPIED, sizes, (*map(str, range(DATA)), "blank"))


def problem(
    name: str,
    seed: int,
    steps: int,
    least: int,
    make: Callable[[Numbers], Batch],
    draws: int,
    sizes: tuple[int, int, int],
    classes: tuple[str, ...] = (),
) -> Data:
    """Return the sets of a problem, whose sequences `make` makes of `draws` uniform random numbers each.

    Raises:
        ValueError: fewer than `least` steps.
    """
    if steps < least:
        raise ValueError(f"{name} needs at least {least} steps, got {steps}")

    def fetch(batch: Batch) -> Batch:
        return make(uniform(seed, batch["number"].numpy(), draws))

    ends = np.cumsum((0, *sizes)).tolist()
    train, valid, test = (Mapped(Arrays(number=torch.arange(low, high)), fetch) for low, high in pairwise(ends))
    return Data(f"{name}:{steps}", train, valid, test, classes)


def uniform(seed: int, numbers: NDArray[np.int64], draws: int) -> Numbers:
    """Return random numbers in 0..1, (numbers, draws), each a function of seed, number and place alone.

    The bits are those of SplitMix64 (Steele et al. 2014, Fast splittable pseudorandom number generators).
    """
    start = mixed(numbers.astype(np.uint64) + mixed(np.full(1, seed + 1, np.uint64)))
    return (mixed(start[:, None] + STEP * np.arange(1, draws + 1, dtype=np.uint64)) >> np.uint64(11)) * 2.0**-53


STEP = np.uint64(0x9E3779B97F4A7C15)


def mixed(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return well mixed bits."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    return z ^ (z >> np.uint64(31))


PROBLEMS: dict[str, Callable[..., Data]] = {
    "adding": adding,
    "temporal_order": temporal_order,
    "temporal_order_3": temporal_order_3,
    "copying": copying,
}
"""The problems by name."""
