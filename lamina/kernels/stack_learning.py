"""The gradient of a recurrent network with stacks or lists, and steps along it, compiled for the CPU.

Symbols are read as in `lamina.kernels.stack`, which has the layout, and what each left behind is kept. After every so
many of them the errors of these go back, through them and `context` symbols before; then the weights may take a step.
What was kept stays as it was, though the weights that made it have moved since, as in the program of Joulin & Mikolov
(2015). A slope of a cell cannot come from further away than the symbols that have been gone back through: only these
rows are touched.
"""

import math

import numpy as np
from numba import njit

from lamina.kernels.stack import FAST, check, closed, combine, copied, dot, opened, packed, step
from lamina.kernels.vectors import LANES, fused, least, load, minus, most, plus, spread, store, times

LEAST = 64  # symbols that are read before what was kept of them is moved to where it began


@njit(**FAST)
def undo_stack(form, slope, memory, m, out, at, turn, live):
    """Turn the slopes of the cells, in place, into those before an action; fill the slopes of the decisions.

    They are zero but in `live` rows; then in one more. `memory` has the cells before, from `m` on.
    """
    lanes = form.lanes
    end = min(live + 1, form.depth)
    for g in range(0, lanes, LANES):
        nothing = spread(slope.dtype.type(0))
        push, pop = load(out, at + g), load(out, at + lanes + g)
        stay = load(out, at + 2 * lanes + g) if form.choices == 3 else nothing
        above, here = load(out, at + form.choices * lanes + g), load(memory, m + g)
        upper, middle = nothing, load(slope, lanes + g)
        value = times(middle, push)
        pushed, popped, stayed = nothing, nothing, nothing
        for i in range(g, end * lanes, lanes):
            below, lower = load(memory, m + i + lanes), load(slope, i + 2 * lanes)
            pushed, popped, stayed = (
                fused(middle, above, pushed),
                fused(middle, below, popped),
                fused(middle, here, stayed),
            )
            store(fused(push, lower, fused(pop, upper, times(stay, middle))), slope, i + lanes)
            above, here, upper, middle = here, below, middle, lower
        store(pushed, turn, at + g)
        store(popped, turn, at + lanes + g)
        if form.choices == 3:
            store(stayed, turn, at + 2 * lanes + g)
        store(value, turn, at + form.choices * lanes + g)


@njit(**FAST)
def undo_list(form, slope, memory, m, low, out, at, turn, live):
    """Do the same for lists; `memory` has the rows from `low` on."""
    lanes, head = form.lanes, form.head
    begin, end = max(1, head - live - 1), min(form.depth, head + live + 1)
    for g in range(0, lanes, LANES):
        nothing = spread(slope.dtype.type(0))
        insert, left, right = load(out, at + g), load(out, at + lanes + g), load(out, at + 2 * lanes + g)
        shift, value = plus(insert, right), load(out, at + 3 * lanes + g)
        first = m + (begin - low) * lanes + g
        above, here = load(memory, first - lanes), load(memory, first)
        upper, middle = load(slope, (begin - 1) * lanes + g), load(slope, begin * lanes + g)
        inserted, lefts, rights = nothing, nothing, nothing
        store(times(load(slope, head * lanes + g), insert), turn, at + 3 * lanes + g)
        for row in range(begin, end + 1):
            below, lower = load(memory, first + (row + 1 - begin) * lanes), load(slope, (row + 1) * lanes + g)
            source = below if row < head else value if row == head else here
            inserted, lefts, rights = (
                fused(middle, source, inserted),
                fused(middle, above, lefts),
                fused(middle, below, rights),
            )
            new = fused(left, lower, times(shift if row <= head else right, upper))
            store(fused(insert, middle, new) if row > head else new, slope, row * lanes + g)
            above, here, upper, middle = here, below, middle, lower
        store(inserted, turn, at + g)
        store(lefts, turn, at + lanes + g)
        store(rights, turn, at + 2 * lanes + g)


@njit(**FAST)
def wishes(form, out, at, turn):
    """Turn the slopes of the decisions, in place, into those of what decides them."""
    lanes = form.lanes
    for g in range(at, at + lanes, LANES):
        end = g + form.choices * lanes
        soft = end + lanes - g
        mean = spread(turn.dtype.type(0))
        for a in range(g, end, lanes):
            mean = fused(load(turn, a), load(out, a + soft), mean)
        for a in range(g, end, lanes):
            store(times(load(out, a + soft), minus(load(turn, a), mean)), turn, a)
        value = load(out, end)
        store(times(load(turn, end), minus(value, times(value, value))), turn, end)


@njit(**FAST)
def predict(form, W, h, at, p, o, target):
    """Fill the slopes of the logits of the next symbol; return log p of the one that comes."""
    peak = -np.inf
    for v in range(form.vocabulary):
        p[o + v] = dot(W, form.V + v * form.wide, h, at, form.wide)
        peak = max(peak, p[o + v])
    wanted, total = p[o + target] - peak, 0 * h[0]
    for v in range(o, o + form.vocabulary):
        p[v] = math.exp(p[v] - peak)
        total += p[v]
    for v in range(o, o + form.vocabulary):
        p[v] /= total
    p[o + target] -= 1
    return wanted - math.log(total)


@njit(**FAST)
def clear(array, begin, end):
    """Set a part of an array to zero."""
    for i in range(begin, end):
        array[i] = 0


@njit(**FAST)
def back(form, W, G, clip, tokens, first, told, last, h, out, memory, low, tall, p, turn, ds, slope, later):
    """Add to G the gradient that errors at the symbols `told` to `last` have in those from `first` on."""
    wide, lanes = form.wide, form.lanes
    many, skip = form.many, lanes * wide
    live, bound = 0, ds.dtype.type(clip)
    clear(later, 0, wide)
    for t in range(last, first - 1, -1):
        at, d, units = t * many, t * wide, (t + 1) * wide
        copied(later, 0, ds, d, wide)
        if t >= told:
            combine(ds, d, wide, W, form.V, wide, p, t * form.vocabulary, 1, form.vocabulary)
        if t < last:
            if form.head < 0:
                undo_stack(form, slope, memory, t * tall, out, at, turn, live)
            else:
                undo_list(form, slope, memory, t * tall, low, out, at, turn, live)
            wishes(form, out, at, turn)
            combine(ds, d, wide, W, form.O, wide, turn, at, 1, form.stacks, form.choices + 1, skip, lanes)
            live += 1
        else:
            live = form.reach
        for i in range(0, wide, LANES):
            limited = most(least(load(ds, d + i), spread(bound)), spread(-bound))
            unit, u = load(h, units + i), tokens[t] * wide + i
            new = times(limited, minus(unit, times(unit, unit)))
            store(new, ds, d + i)
            store(plus(load(G, u), new), G, u)
        if t > first:
            for k in range(form.reach):
                for s in range(form.stacks):
                    slope[(form.first + k) * lanes + s] += dot(W, form.P + (k * lanes + s) * wide, ds, d, wide)
            for j in range(form.recurrent):
                later[j] = dot(W, form.R + j * wide, ds, d, wide)
    gather(form, G, first, told, last, h, memory, low, tall, p, turn, ds)
    begin, end = (1, live) if form.head < 0 else (form.head - live, form.head + live)
    clear(slope, max(begin, 0) * lanes, min((end + 1) * lanes, len(slope)))


@njit(**FAST)
def gather(form, G, first, told, last, h, memory, low, tall, p, turn, ds):
    """Add to the gradient of the weights what the slopes of all symbols bring, one row of weights after the other."""
    wide, lanes, many = form.wide, form.lanes, form.many
    count = last - first + 1
    units, top = (first + 1) * wide, first * tall + (form.first - low) * lanes
    for a in range(0, (form.choices + 1) * lanes, lanes):
        for s in range(a, a + form.stacks):
            combine(G, form.O + s * wide, wide, h, units, wide, turn, first * many + s, many, count - 1)
    for a in range(0, form.reach * lanes, lanes):
        for s in range(a, a + form.stacks):
            combine(G, form.P + s * wide, wide, ds, first * wide, wide, memory, top + s, tall, count)
    for j in range(form.recurrent):
        combine(G, form.R + j * wide, wide, ds, first * wide, wide, h, first * wide + j, wide, count)
    for v in range(form.vocabulary):
        start = told * form.vocabulary + v
        combine(G, form.V + v * wide, wide, h, (told + 1) * wide, wide, p, start, form.vocabulary, last - told + 1)


@njit(**FAST)
def learn(form, tokens, targets, noise, rounded, clip, every, rate, places, matrix, state, gradient):
    """Return the sum of −log p of the targets, and fill the sum of the gradients of all steps.

    Targets follow the last tokens; those before are context. States (rows, units + cells) go on, in place, by as many
    as are targets. After `every` of them the weights, not those of `matrix`, take a step of `rate` along the
    gradient of these. Where actions are rounded, errors go back through them as if they were not.
    """
    check(tokens, form.vocabulary)
    check(targets, form.vocabulary)
    (rows, time), window = tokens.shape, targets.shape[1]
    context, kind = time - window, state.dtype
    wide, lanes, many = form.wide, form.lanes, form.many
    block = every * max(1, LEAST // every)
    span, far = context + block, context + every + form.reach
    low, high = (
        (1, min(far, form.depth) + 1)
        if form.head < 0
        else (max(0, form.head - far), min(form.depth + 1, form.head + far))
    )
    tall = (high + 1 - low) * lanes
    W, G, whole = np.zeros(form.size, kind), np.zeros(form.size, kind), np.zeros(form.size, kind)
    packed(form, places, matrix, W)
    h, out = np.zeros((rows, (span + 1) * wide), kind), np.zeros((rows, span * many), kind)
    memory, cells = np.empty((rows, span * tall), kind), np.empty((rows, (form.depth + 2) * lanes), kind)
    p, turn, ds = np.empty(span * form.vocabulary, kind), np.empty(span * many, kind), np.empty(span * wide, kind)
    slope, later = np.zeros((form.depth + 3) * lanes, kind), np.zeros(wide, kind)
    filled = np.zeros(rows, np.int64)
    for row in range(rows):
        filled[row] = opened(form, state[row], cells[row])
        copied(state[row], 0, h[row], 0, form.hidden)
    nll, moved = 0.0, 0  # symbols by which what is kept has been moved
    for begin in range(0, window, every):
        end = min(begin + every, window)  # targets of this step
        if context + end - moved > span:
            for row in range(rows):
                n = begin - moved
                copied(h[row], n * wide, h[row], 0, (context + 1) * wide)
                copied(out[row], n * many, out[row], 0, context * many)
                copied(memory[row], n * tall, memory[row], 0, context * tall)
            moved = begin
        first, told, last = begin - moved, context + begin - moved, context + end - moved - 1
        for row in range(rows):
            for t in range(0 if begin == 0 else told, last + 1):
                now = t + moved
                if now == window:
                    closed(form, h[row], t * wide, cells[row], state[row])
                copied(cells[row], low * lanes, memory[row], t * tall, tall)
                filled[row] = min(filled[row] + 1, form.depth)
                step(
                    form,
                    W,
                    tokens[row, now],
                    noise,
                    (row * time + now) * form.stacks * form.choices,
                    rounded,
                    h[row],
                    t * wide,
                    (t + 1) * wide,
                    out[row],
                    t * many,
                    cells[row],
                    filled[row],
                )
                if t >= told:
                    nll -= predict(form, W, h[row], (t + 1) * wide, p, t * form.vocabulary, targets[row, now - context])
            symbols = tokens[row, moved:]
            back(
                form,
                W,
                G,
                clip,
                symbols,
                first,
                told,
                last,
                h[row],
                out[row],
                memory[row],
                low,
                tall,
                p,
                turn,
                ds,
                slope,
                later,
            )
        advance(W, G, whole, rate if end < window else 0 * rate)
    if context == 0:
        for row in range(rows):
            closed(form, h[row], (window - moved) * wide, cells[row], state[row])
    for k in range(len(places)):
        copied(whole, places[k], gradient[k], 0, form.hidden)
    return nll


@njit(**FAST)
def advance(W, G, whole, rate):
    """Let the weights take a step along a gradient, add it to a sum, and set it to zero."""
    length = W.dtype.type(rate)
    for i in range(len(W)):
        W[i] -= length * G[i]
        whole[i] += G[i]
        G[i] = 0
