"""Strings of algorithmic patterns, one after the other without a mark between them, and how many are told right.

The languages of Joulin & Mikolov (2015), Inferring algorithmic patterns with stack-augmented recurrent nets, section 5:

    anbn  aⁿbⁿ      anbncn  aⁿbⁿcⁿ      anbncndn  aⁿbⁿcⁿdⁿ      anb2n  aⁿb²ⁿ      anbmcnm  aⁱbʲcⁿ, n = i + j
    memory  n symbols, a mark, and the symbols backward       addition  1+11=001.  with n digits; the sum begins with 1s

A symbol is sure if what was before it determines it. So is, in the first five, the first symbol of the next string. A
string is told right if each of its sure symbols, and that first one, is the most probable one.

A data set is a text (see `lamina.data.text`) with two more fields: `sure`, and `n`, which is that of the string at its
first symbol and 0 at the others. Training strings have an n below 15 or 20. Validation strings, which choose among
networks, have n of 2 to 30, twice as long as in training. Test strings have n of 2 to 59, 200 each, as in the authors'
code; above 30 none was seen before.
"""

import difflib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from lamina.core import Batch
from lamina.data.dataset import Data
from lamina.data.examples import Arrays, Examples, whole
from lamina.data.text import END, UNKNOWN

CHOOSE = range(2, 31)  # n of the validation strings
TEST = range(2, 60)  # n of the test strings
UNTOLD = -100  # a target that does not count; torch's cross-entropy leaves it out

Draw = Callable[[int, np.random.Generator], tuple[str, int]]
"""n and random numbers -> a string, and where its sure symbols begin."""


@dataclass(frozen=True)
class Task:
    """A language.

    Args:
        symbols: that it is written in.
        below: training strings have an n from 2 to less than this.
        draw: makes a string.
        next: whether the first symbol of the next string is sure.
    """

    symbols: str
    below: int
    draw: Draw
    next: bool = True


def blocks(symbols: str, *times: int) -> Draw:
    """Return what makes strings of n times this many of each symbol; all from the second block's second on is sure."""
    return lambda n, rng: ("".join(s * n * k for s, k in zip(symbols, times, strict=True)), n * times[0] + 1)


def added(n: int, rng: np.random.Generator) -> tuple[str, int]:
    """Return aⁱbʲcⁿ with n = i + j."""
    j = int(rng.integers(1, n))
    return "a" * (n - j) + "b" * j + "c" * n, n + 1


def backward(n: int, rng: np.random.Generator) -> tuple[str, int]:
    """Return n symbols out of b, c and d, the mark a, and the symbols backward."""
    drawn = "".join(rng.choice(list("bcd"), n))
    return f"{drawn}a{drawn[::-1]}", n + 1


def addition(n: int, rng: np.random.Generator) -> tuple[str, int]:
    """Return a sum of two binary numbers with n digits in all, which is written from its ones on."""
    first = int(rng.integers(0, n + 1))
    numbers = [
        "1" + "".join(map(str, rng.integers(0, 2, digits - 1))) if digits else "0" for digits in (first, n - first)
    ]
    told = f"{numbers[0]}+{numbers[1]}="
    return told + f"{sum(int(number, 2) for number in numbers):b}"[::-1] + ".", len(told)


TASKS = {
    "anbn": Task("ab", 15, blocks("ab", 1, 1)),
    "anbncn": Task("abc", 15, blocks("abc", 1, 1, 1)),
    "anbncndn": Task("abcd", 15, blocks("abcd", 1, 1, 1, 1)),
    "anb2n": Task("ab", 20, blocks("ab", 1, 2)),
    "anbmcnm": Task("abc", 20, added),
    "memory": Task("abcd", 15, backward, next=False),
    "addition": Task("01+=.", 15, addition, next=False),
}


def patterns(task: str = "anbn", seed: int = 0, count: int = 2000, held: int = 20, repeats: int = 200) -> Data:
    """Strings of an algorithmic pattern, such as patterns:anbn.

    Args:
        task: a name of `TASKS`.
        seed: of training and validation strings.
        count: training strings.
        held: validation strings of each n.
        repeats: test strings of each n.

    Raises:
        ValueError: there is no such task, or a number is below one.
    """
    if task not in TASKS:
        near = difflib.get_close_matches(task, TASKS, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(TASKS)}"
        raise ValueError(f"unknown pattern '{task}'; {hint}")
    if min(count, held, repeats) < 1:
        raise ValueError(f"there must be at least 1 string, got {count}, {held} and {repeats}")
    made, rng, other = TASKS[task], np.random.default_rng((0, seed)), np.random.default_rng((1, 0))
    train = strings(made, rng.integers(2, made.below, count), rng)
    valid, test = strings(made, np.repeat(CHOOSE, held), rng), strings(made, np.repeat(TEST, repeats), other)
    return Data(f"patterns:{task}", train, valid, test, (END, UNKNOWN, *made.symbols))


def strings(task: Task, sizes: np.ndarray, rng: np.random.Generator) -> Arrays:
    """Return strings of the given n, one after the other, as the fields `tokens`, `sure` and `n`."""
    drawn = [task.draw(n, rng) for n in sizes.tolist()]
    lengths = np.array([len(text) for text, _ in drawn])
    begins = np.concatenate([[0], lengths.cumsum()[:-1]])
    known = np.repeat([begin for _, begin in drawn], lengths)
    sure = np.arange(lengths.sum()) - np.repeat(begins, lengths) >= known
    sure[begins[1:]] = task.next
    n = np.zeros(len(sure), np.int64)
    n[begins] = sizes
    code = np.zeros(128, np.int64)
    code[[ord(symbol) for symbol in task.symbols]] = np.arange(2, 2 + len(task.symbols))  # after END and UNKNOWN
    return Arrays(tokens=code[np.frombuffer("".join(text for text, _ in drawn).encode(), np.uint8)], sure=sure, n=n)


def begun(n: Int64[Tensor, " symbols"]) -> Int64[Tensor, " symbols"]:
    """Return the n of a text whose first symbol begins a string in any case."""
    return torch.cat([n[:1].clamp(min=1), n[1:]])


class Curriculum:
    """Windows of training strings that get longer from epoch to epoch: those with n < k + 3, from epoch k = 0 on.

    Each row of a batch reads strings of its own, drawn anew in every epoch; an epoch has some episodes, which begin
    with an empty memory. A batch has `tokens`, `targets` and `fresh`, as those of `lamina.data.text.Windows`; with a
    context the tokens begin so many symbols before those that the targets follow.

    Args:
        text: strings with the fields of this module.
        rows: rows of a batch.
        window: symbols that each goes on by.
        windows: batches of an epoch.
        context: tokens that a window shares with the one before.
        first: number of the first epoch, where another run went on before.
        seed: of the strings.
        balanced: draw short strings more often, so that strings of each length have as many symbols.
        episodes: of an epoch.

    Raises:
        ValueError: a size below one.
    """

    def __init__(
        self,
        text: Examples,
        rows: int,
        window: int,
        windows: int,
        context: int = 0,
        first: int = 0,
        seed: int = 0,
        balanced: bool = False,
        episodes: int = 1,
    ) -> None:
        if min(rows, window, episodes, context + 1) < 1 or windows < episodes:
            raise ValueError(
                "there must be at least 1 row, symbol, window and episode, and a window in each episode: "
                f"got {rows}, {window}, {windows} and {episodes}"
            )
        fields = whole(text)
        self.tokens, n = fields["tokens"], begun(fields["n"])
        self.begins = n.nonzero().squeeze(1)
        self.sizes = n[self.begins]
        self.lengths = torch.cat([self.begins, torch.tensor([len(n)])]).diff()
        self.rows, self.window, self.windows, self.context = rows, window, windows, context
        self.first, self.seed, self.balanced, self.episodes = first, seed, balanced, episodes

    def __len__(self) -> int:
        return self.windows

    def epoch(self, k: int, start: int = 0) -> Iterator[Batch]:
        mixed = int(np.random.SeedSequence((self.seed, self.first + k)).generate_state(1)[0])
        rng = torch.Generator().manual_seed(mixed)
        shortest = int(self.sizes.min())
        allowed = (self.sizes < max(self.first + k + 3, shortest + 1)).nonzero().squeeze(1)
        long = math.ceil(self.windows / self.episodes)  # windows of an episode
        need = self.context + long * self.window
        texts = [torch.stack([self.row(allowed, need, rng) for _ in range(self.rows)]) for _ in range(self.episodes)]
        for i in range(start, self.windows):
            yield self.batch(texts[i // long], i % long)

    def batch(self, text: Int64[Tensor, "rows symbols"], place: int) -> Batch:
        """Return a batch of an episode.

        The first has no context, or its symbols would not be learned from; if others have, the second reads it again.
        """
        context = self.context if place else 0
        begin = (place - (context > 0)) * self.window
        middle, end = begin + context, begin + context + self.window
        before = F.pad(text[:, :-1], (1, 0))
        fresh = torch.full((self.rows,), begin == 0)
        return {"tokens": before[:, begin:end], "targets": text[:, middle:end], "fresh": fresh}

    def row(self, allowed: Int64[Tensor, " strings"], need: int, rng: torch.Generator) -> Int64[Tensor, " {need}"]:
        """Return so many symbols of strings that are drawn with replacement."""
        most = need // int(self.lengths[allowed].min()) + 1
        if self.balanced:
            drawn = allowed[torch.multinomial(1 / self.lengths[allowed], most, replacement=True, generator=rng)]
        else:
            drawn = allowed[torch.randint(len(allowed), (most,), generator=rng)]
        lengths = self.lengths[drawn]
        shift = self.begins[drawn] - (lengths.cumsum(0) - lengths)
        return self.tokens[(torch.arange(int(lengths.sum())) + shift.repeat_interleave(lengths))[:need]]


class Rows:
    """Held-out strings in rows, one for each n, whose windows are read side by side; only the sure symbols count.

    A batch has `tokens`, `targets`, which are `UNTOLD` where a symbol is not sure, and `fresh`.
    """

    def __init__(self, text: Examples, window: int = 500) -> None:
        fields, self.window = whole(text), window
        n = begun(fields["n"])
        begin = n > 0
        of = begin.long().cumsum(0) - 1  # the string of a symbol
        self.n, row = torch.unique(n[begin], return_inverse=True)
        place = row[of]
        order = place.argsort(stable=True)
        count = place.bincount()
        column = torch.arange(len(of)) - (count.cumsum(0) - count).repeat_interleave(count)

        def laid(values: Tensor, blank: int) -> Tensor:
            sheet = values.new_full((len(self.n), int(count.max())), blank)
            sheet[place[order], column] = values[order]
            return sheet

        self.targets, self.begin = laid(fields["tokens"], 0), laid(begin.long(), 0).bool()
        self.sure = laid(fields["sure"].long(), 0).bool()
        self.sure[:, 0] = False  # it ends no string of this row

    def __len__(self) -> int:
        return 1 + (self.targets.shape[1] - 1) // self.window

    def epoch(self, k: int, start: int = 0) -> Iterator[Batch]:
        before = F.pad(self.targets[:, :-1], (1, 0))
        told = self.targets.masked_fill(~self.sure, UNTOLD)
        for i in range(start, len(self)):
            part = slice(i * self.window, (i + 1) * self.window)
            fresh = torch.full((len(self.n),), i == 0)
            yield {"tokens": before[:, part], "targets": told[:, part], "fresh": fresh}

    def right(self, predicted: Int64[Tensor, "rows time"]) -> Float[Tensor, " rows"]:
        """Return, for each n, the share of strings that are told right, but for the last, whose next one is missing."""
        wrong = self.sure & (predicted != self.targets)
        of = self.begin.long().cumsum(1) - self.begin.long()  # a string's first symbol counts for the string before
        bad = torch.zeros(len(self.n), int(of.max()) + 1, dtype=torch.int64).scatter_add_(1, of, wrong.long())
        ends = self.begin.sum(1, keepdim=True) - 1
        counted = (torch.arange(bad.shape[1]) >= 1) & (torch.arange(bad.shape[1]) <= ends)
        return ((bad == 0) & counted).sum(1) / ends.squeeze(1).clamp(min=1)
