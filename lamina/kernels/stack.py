"""A recurrent network with stacks or lists, symbol by symbol, compiled for the CPU: forward, and evaluation.

The equations are those of `lamina.systems.memory.stack_rnn`; `lamina.systems.memory.unrolled` has them in torch's
operations and is the oracle. Going back is in `lamina.kernels.stack_learning`.

Layout: all arrays are flat. Units and stacks are filled up with zeros to whole vectors, `wide` and `lanes` numbers. A
row of cells has one cell of every stack, so that all stacks move at once; there are depth + 2 rows, and the first and
the last stay empty. A symbol's decisions are a row of all stacks for each action, and one of the values to write. A
weight matrix has a row of units for each symbol (U, V), unit (R), cell that is read, from the lowest place on (P), and
decision (A and D together). Python's lock is released: several networks learn in as many threads.
"""

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lamina.kernels.vectors import LANES, fused, load, plus, repeated, spread, store, times, total

EMPTY = -1.0  # what a cell holds that nothing was written to (Joulin & Mikolov 2015, section 3.2)
FAST: dict[str, Any] = {"cache": True, "nogil": True, "fastmath": True, "error_model": "numpy"}


class Form(NamedTuple):
    """Sizes of a network, and where each of its matrices begins in the array of weights.

    `first` is the row of cells that is read first, `head` that of a list's head, or -1, and a symbol's decisions, with
    the weights that are not rounded, are `many` numbers. Actions are (push, pop[,
    stay]) on a stack and (insert, left, right) on a list.
    """

    vocabulary: int
    hidden: int
    wide: int
    recurrent: int
    stacks: int
    lanes: int
    choices: int
    reach: int
    depth: int
    head: int
    first: int
    many: int
    R: int
    P: int
    O: int  # noqa: E741
    V: int
    size: int


def form_of(
    vocabulary: int, hidden: int, recurrent: int, stacks: int, choices: int, reach: int, depth: int, head: int
) -> Form:
    """Return the form of a network; `recurrent` is the number of rows of R, and `head` the cell of a head, or -1."""
    wide, lanes = (-(-size // LANES) * LANES for size in (hidden, stacks))
    R = vocabulary * wide
    P = R + recurrent * wide
    O = P + reach * lanes * wide  # noqa: E741
    V = O + (choices + 1) * lanes * wide
    many = (2 * choices + 1) * lanes
    row, first = (-1, 1) if head < 0 else (head + 1, head + 2 - reach)
    size = V + vocabulary * wide
    return Form(
        vocabulary, hidden, wide, recurrent, stacks, lanes, choices, reach, depth, row, first, many, R, P, O, V, size
    )


@njit(**FAST)
def combine(out, o, wide, W, w, row, x, at, stride, rows, groups=1, skip=0, jump=0):
    """Add Σ_j x_j W_j to the row of `wide` numbers at `o`.

    The rows of W lie `row` apart from `w` on, and the numbers of x `stride` apart from `at` on. Of both there are some
    `groups`, which begin `skip` and `jump` apart.
    """
    for i in range(0, wide, LANES):
        a = load(out, o + i)
        b = spread(out.dtype.type(0))
        c, d = b, b
        for group in range(groups):
            k, p = w + group * skip + i, at + group * jump
            for _ in range(rows // 4):
                a = fused(repeated(x, p), load(W, k), a)
                b = fused(repeated(x, p + stride), load(W, k + row), b)
                c = fused(repeated(x, p + 2 * stride), load(W, k + 2 * row), c)
                d = fused(repeated(x, p + 3 * stride), load(W, k + 3 * row), d)
                k, p = k + 4 * row, p + 4 * stride
            for _ in range(rows % 4):
                a = fused(repeated(x, p), load(W, k), a)
                k, p = k + row, p + stride
        store(plus(plus(a, b), plus(c, d)), out, o + i)


@njit(**FAST)
def dot(W, w, x, at, wide):
    """Return the scalar product of two rows."""
    a = times(load(W, w), load(x, at))
    for i in range(LANES, wide, LANES):
        a = fused(load(W, w + i), load(x, at + i), a)
    return total(a)


@njit(**FAST)
def sigmoid(x):
    """Return the logistic function."""
    return 1 / (1 + math.exp(-x))


@njit(**FAST)
def decide(form, out, at, rounded):
    """Turn the wishes for each action, in place, into weights that sum to one; rounded, the strongest has it all.

    The weights that are not rounded stand behind the values.
    """
    end = at + form.choices * form.lanes
    soft = end + form.lanes - at
    for s in range(form.stacks):
        peak = out[at + s]
        for a in range(at + s + form.lanes, end, form.lanes):
            peak = max(peak, out[a])
        whole, found = 0 * peak, False
        for a in range(at + s, end, form.lanes):
            best = out[a] == peak and not found
            found = found or best
            out[a + soft] = 1 if best else math.exp(out[a] - peak)
            whole += out[a + soft]
            out[a] = best
        for a in range(at + s, end, form.lanes):
            out[a + soft] /= whole
            if not rounded:
                out[a] = out[a + soft]
        out[end + s] = sigmoid(out[end + s])


@njit(**FAST)
def move_stack(form, cells, out, at, filled):
    """Push and pop, in place; rows below `filled` stay empty."""
    lanes = form.lanes
    for g in range(0, lanes, LANES):
        push, pop = load(out, at + g), load(out, at + lanes + g)
        stay = load(out, at + 2 * lanes + g) if form.choices == 3 else spread(out.dtype.type(0))
        above, here = load(out, at + form.choices * lanes + g), load(cells, lanes + g)
        for i in range(lanes + g, (filled + 1) * lanes, lanes):
            below = load(cells, i + lanes)
            store(fused(push, above, fused(pop, below, times(stay, here))), cells, i)
            above, here = here, below


@njit(**FAST)
def move_list(form, cells, out, at, filled):
    """Insert at the head, or go left or right, in place; what is further than `filled` from the head stays empty."""
    lanes, head = form.lanes, form.head
    begin, end = max(1, head - filled), min(form.depth, head + filled)
    for g in range(0, lanes, LANES):
        insert, left, right = load(out, at + g), load(out, at + lanes + g), load(out, at + 2 * lanes + g)
        shift, value = plus(insert, right), load(out, at + 3 * lanes + g)
        above, here = load(cells, (begin - 1) * lanes + g), load(cells, begin * lanes + g)
        for row in range(begin, end + 1):
            below = load(cells, (row + 1) * lanes + g)
            if row < head:
                new = fused(left, above, times(shift, below))
            else:
                new = fused(insert, value if row == head else here, fused(left, above, times(right, below)))
            store(new, cells, row * lanes + g)
            above, here = here, below


@njit(**FAST)
def step(form, W, token, noise, n, rounded, h, before, after, out, at, cells, filled):
    """Fill units at `after` and decisions at `at` after a symbol, given the units `before`; move the cells."""
    wide, lanes = form.wide, form.lanes
    for i in range(0, wide, LANES):
        store(load(W, token * wide + i), h, after + i)
    if form.recurrent:
        combine(h, after, wide, W, form.R, wide, h, before, 1, form.hidden)
    top = form.first * lanes
    combine(h, after, wide, W, form.P, wide, cells, top, 1, form.stacks, form.reach, lanes * wide, lanes)
    for i in range(after, after + form.hidden):
        h[i] = sigmoid(h[i])
    for a in range(0, (form.choices + 1) * lanes, lanes):
        for s in range(a, a + form.stacks):
            out[at + s] = dot(W, form.O + s * wide, h, after, wide)
    if len(noise):
        for s in range(form.stacks):
            for a in range(form.choices):
                out[at + a * lanes + s] += noise[n + s * form.choices + a]
    decide(form, out, at, rounded)
    if form.head < 0:
        move_stack(form, cells, out, at, filled)
    else:
        move_list(form, cells, out, at, filled)


@njit(**FAST)
def copied(of, begin, to, place, count):
    """Copy numbers from one place to another, which is not behind it if both are in the same array."""
    for i in range(count):
        to[place + i] = of[begin + i]


@njit(**FAST)
def opened(form, state, cells):
    """Fill the cells from a state, which has how much each is above empty; return how far they are filled."""
    far = 0
    for i in range(len(cells)):
        cells[i] = EMPTY
    for s in range(form.stacks):
        for i in range(form.depth):
            above = state[form.hidden + s * form.depth + i]
            cells[(i + 1) * form.lanes + s] = above + EMPTY
            if above != 0:
                far = max(far, i + 1 if form.head < 0 else abs(i + 1 - form.head))
    return far


@njit(**FAST)
def closed(form, h, at, cells, state):
    """Fill a state from units and cells."""
    copied(h, at, state, 0, form.hidden)
    for s in range(form.stacks):
        for i in range(form.depth):
            state[form.hidden + s * form.depth + i] = cells[(i + 1) * form.lanes + s] - EMPTY


@functools.cache
def places(form: Form) -> NDArray[np.int64]:
    """Return where each row of U, R, P, A, D and V, one below the other, begins in the array of weights."""
    stack, lanes, wide = np.arange(form.stacks)[:, None], form.lanes, form.wide
    place = np.arange(form.reach)
    cells = (place if form.head < 0 else place[::-1]) * lanes + stack
    actions, values = np.arange(form.choices) * lanes + stack, form.choices * lanes + stack
    symbols = np.arange(form.vocabulary)
    rows = (symbols, np.arange(form.recurrent), cells, actions, values, symbols)
    begins = (0, form.R, form.P, form.O, form.O, form.V)
    return np.concatenate([begin + row.ravel() * wide for begin, row in zip(begins, rows, strict=True)])


@njit(**FAST)
def packed(form, rows, matrix, W):
    """Fill the array of weights from U, R, P, A, D and V, one below the other."""
    for k in range(len(rows)):
        for i in range(form.hidden):
            W[rows[k] + i] = matrix[k, i]


@njit(**FAST)
def check(symbols, vocabulary):
    """Raise ValueError if a symbol is none of the vocabulary's."""
    for row in range(symbols.shape[0]):
        for t in range(symbols.shape[1]):
            if symbols[row, t] < 0 or symbols[row, t] >= vocabulary:
                raise ValueError("a symbol is not among those that the model has")


@njit(**FAST)
def read(form, tokens, rounded, rows, matrix, state, hidden):
    """Read rows of symbols: fill hidden (rows, time, units); states (rows, units + cells) go on, in place."""
    check(tokens, form.vocabulary)
    kind = state.dtype
    W, out = np.zeros(form.size, kind), np.zeros(form.many, kind)
    h, cells, silent = np.zeros(2 * form.wide, kind), np.empty((form.depth + 2) * form.lanes, kind), np.empty(0, kind)
    packed(form, rows, matrix, W)
    for row in range(len(tokens)):
        filled = opened(form, state[row], cells)
        before, after = 0, form.wide
        copied(state[row], 0, h, before, form.hidden)
        for t in range(tokens.shape[1]):
            filled = min(filled + 1, form.depth)
            step(form, W, tokens[row, t], silent, 0, rounded, h, before, after, out, 0, cells, filled)
            copied(h, after, hidden[row, t], 0, form.hidden)
            before, after = after, before
        closed(form, h, before, cells, state[row])
