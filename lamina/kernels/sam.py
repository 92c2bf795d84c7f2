"""A step of a controller's sparse memory, forward and backward, one row of the batch after the other, on the CPU.

The equations are those of `lamina.modules.sam`. A step looks at the slots that it writes and reads alone; with hash
tables, those of `lamina.kernels.sparse_memory`, so does the search for the nearest. `inverse` is 1/√(|M_i|² + ε), and 0
for an empty slot. What a step replaced (`old`), and what each slot came after in the order of use (`moved`), is kept,
and the backward pass puts it back: after it the memory, `inverse` and the order are bit for bit as before the step.

What the hash tables know of a slot lies side by side in `chains` (slots, tables, 3): the next slot in its bucket, the
one before it, and the bucket's number.

`act` has for each head the key, the value, the gate that writes, the gate of where, and the strength. Gradients of the
memory are kept for rows that a sequence touches alone (`slopes`): numbers of rows are given beside the slots.
"""

import numpy as np
from numba import njit

from lamina.kernels.addressing import EPSILON
from lamina.kernels.sparse_memory import NONE, dot, enter, offer, search, use

LEAST = np.float32(0.005)  # a slot with a greater weight is used: δ of Rae et al. (2016), section 3.2
ZERO, ONE, SMALL = np.float32(0), np.float32(1), np.float32(EPSILON)
FAST = {"contract", "reassoc", "nsz", "arcp"}


@njit(cache=True, nogil=True, fastmath=FAST)
def settle(slot, memory, inverse, directions, first, chains):
    """Bring the norm of a slot and its places in the hash tables up to date."""
    square = dot(memory[slot], memory[slot])
    inverse[slot] = ONE / np.sqrt(square + SMALL) if square > 0 else ZERO
    enter(slot, memory[slot], directions, first, chains[0], chains[1], chains[2])


@njit(cache=True, nogil=True)
def fill(memory, inverse, directions, first, chains):
    """Do so for all slots."""
    for b in range(len(memory)):
        for slot in range(memory.shape[1]):
            settle(slot, memory[b], inverse[b], directions, first[b], chains[b].T)


@njit(cache=True, nogil=True)
def touch(slot, weight, order):
    """Make a slot the latest that was used, if its weight is enough; return the one before it, or NONE."""
    if slot == NONE or weight <= LEAST:
        return NONE
    before = order[slot, 0]
    use(slot, order)
    return before


@njit(cache=True, nogil=True)
def untouch(slot, before, order):
    """Put the slot that was used last where it was."""
    if before == NONE:
        return
    end = len(order) - 1
    second = order[slot, 0]
    order[second, 1], order[end, 0] = end, second
    after = order[before, 1]
    order[before, 1], order[after, 0] = slot, slot
    order[slot, 0], order[slot, 1] = before, after


@njit(cache=True, nogil=True, fastmath=FAST)
def write(act, before, weights, memory, inverse, order, directions, first, chains, oldest, old, moved):
    """Write to the slots used least recently, which are erased first, and to those that were read before."""
    heads, nearest = before.shape
    size, slot = memory.shape[1], len(order) - 1
    for h in range(heads):
        slot = order[slot, 1]
        oldest[h] = slot
        amount = act[h, 2 * size] * (ONE - act[h, 2 * size + 1])
        for i in range(size):
            old[h, 0, i], memory[slot, i] = memory[slot, i], amount * act[h, size + i]
    for h in range(heads):
        gate = act[h, 2 * size] * act[h, 2 * size + 1]
        for j in range(nearest):
            slot = before[h, j]
            if slot != NONE:
                amount = gate * weights[h, j]
                for i in range(size):
                    old[h, 1 + j, i] = memory[slot, i]
                    memory[slot, i] += amount * act[h, size + i]
    for h in range(heads):
        gate = act[h, 2 * size]
        settle(oldest[h], memory, inverse, directions, first, chains)
        moved[h, 0] = touch(oldest[h], gate * (ONE - act[h, 2 * size + 1]), order)
        for j in range(nearest):
            if before[h, j] != NONE:
                settle(before[h, j], memory, inverse, directions, first, chains)
            moved[h, 1 + j] = touch(before[h, j], gate * act[h, 2 * size + 1] * weights[h, j], order)


@njit(cache=True, nogil=True, fastmath=FAST)
def find(query, memory, inverse, directions, first, chains, places, best):
    """Fill the nearest slots that are not empty, and their cosines but for the query's norm."""
    places[:], best[:] = NONE, -np.inf
    if len(first) == 0:
        for slot in range(len(memory)):
            if inverse[slot] > 0:
                offer(slot, dot(memory[slot], query) * inverse[slot], places, best)
    else:
        search(memory, query, directions, first, chains[0], SMALL, places, best)


@njit(cache=True, nogil=True, fastmath=FAST)
def read(act, memory, inverse, order, directions, first, chains, moved, places, cosine, weights, found):
    """Read the slots nearest to the keys."""
    heads, nearest = places.shape
    size = memory.shape[1]
    for h in range(heads):
        query = act[h, :size]
        find(query, memory, inverse, directions, first, chains, places[h], cosine[h])
        scale, total = ONE / np.sqrt(dot(query, query) + SMALL), ZERO
        found[h] = ZERO
        for j in range(nearest):
            there = places[h, j] != NONE
            cosine[h, j] = cosine[h, j] * scale if there else ZERO
            peak = act[h, 2 * size + 2] * cosine[h, 0]
            weights[h, j] = np.exp(act[h, 2 * size + 2] * cosine[h, j] - peak) if there else ZERO
            total += weights[h, j]
        for j in range(nearest):
            if places[h, j] != NONE:
                weights[h, j] /= total
                for i in range(size):
                    found[h, i] += weights[h, j] * memory[places[h, j], i]
        for j in range(nearest - 1, -1, -1):
            moved[h, 1 + nearest + j] = touch(places[h, j], weights[h, j], order)


@njit(cache=True, nogil=True)
def forward(
    directions, act, before, earlier, memory, inverse, order, first, chains, oldest, old, moved, places, cosine,
    weights, found,
):  # fmt: skip
    """Write, then read; `before` and `earlier` are the places and the weights of the last step."""
    for b in range(len(act)):
        index = directions, first[b], chains[b].T
        write(act[b], before[b], earlier[b], memory[b], inverse[b], order[b], *index, oldest[b], old[b], moved[b])
        state = memory[b], inverse[b], order[b], *index, moved[b]
        read(act[b], *state, places[b], cosine[b], weights[b], found[b])


@njit(cache=True, nogil=True, fastmath=FAST)
def slopes_of_read(act, memory, inverse, places, rows, cosine, weights, dfound, dweights, slopes, draw):
    """Add the gradients of what was read to those of the memory, and fill those of the keys and strengths."""
    heads, nearest = places.shape
    size = memory.shape[1]
    for h in range(heads):
        strength, mean, dstrength = act[h, 2 * size + 2], ZERO, ZERO
        scale = ONE / np.sqrt(dot(act[h, :size], act[h, :size]) + SMALL)
        draw[h, :size] = ZERO
        for j in range(nearest):
            if places[h, j] != NONE:
                dweights[h, j] += dot(dfound[h], memory[places[h, j]])
                mean += weights[h, j] * dweights[h, j]
        for j in range(nearest):
            slot, row, weight, c = places[h, j], rows[h, j], weights[h, j], cosine[h, j]
            if slot == NONE:
                continue
            slope, own = weight * (dweights[h, j] - mean), inverse[slot]
            dstrength += slope * c
            slope *= strength
            cross, mine, its = slope * scale * own, slope * c * scale * scale, slope * c * own * own
            for i in range(size):
                m, q = memory[slot, i], act[h, i]
                slopes[row, i] += weight * dfound[h, i] + cross * q - its * m
                draw[h, i] += cross * m - mine * q
        for i in range(size):
            draw[h, i] *= ONE - act[h, i] * act[h, i]
        draw[h, 2 * size + 2] = dstrength * -np.expm1(-strength)


@njit(cache=True, nogil=True, fastmath=FAST)
def slopes_of_write(act, before, weights, rows, oldest_rows, slopes, dweights, draw):
    """Fill the gradients of values, gates and the weights before, and move those of the memory before the step."""
    heads, nearest = before.shape
    size = slopes.shape[1]
    for h in range(heads):
        value, gate, where = act[h, size : 2 * size], act[h, 2 * size], act[h, 2 * size + 1]
        row, dold = oldest_rows[h], ZERO
        dnew = dot(slopes[row], value)
        for i in range(size):
            draw[h, size + i] = gate * (ONE - where) * slopes[row, i]
        for j in range(nearest):
            dweights[h, j] = ZERO
            if before[h, j] != NONE:
                row = rows[h, j]
                along = dot(slopes[row], value)
                dold += weights[h, j] * along
                dweights[h, j] = gate * where * along
                for i in range(size):
                    draw[h, size + i] += gate * where * weights[h, j] * slopes[row, i]
        for i in range(size):
            draw[h, size + i] *= ONE - value[i] * value[i]
        draw[h, 2 * size] = (where * dold + (ONE - where) * dnew) * gate * (ONE - gate)
        draw[h, 2 * size + 1] = gate * (dold - dnew) * where * (ONE - where)
    for h in range(heads):
        slopes[oldest_rows[h]] = ZERO


@njit(cache=True, nogil=True)
def undo(before, memory, inverse, order, directions, first, chains, oldest, old, moved, places):
    """Give the memory what a step replaced, and the order of use."""
    heads, nearest = places.shape
    for h in range(heads - 1, -1, -1):
        for j in range(nearest):
            untouch(places[h, j], moved[h, 1 + nearest + j], order)
    for h in range(heads - 1, -1, -1):
        for j in range(nearest - 1, -1, -1):
            untouch(before[h, j], moved[h, 1 + j], order)
            if before[h, j] != NONE:
                memory[before[h, j]] = old[h, 1 + j]
        untouch(oldest[h], moved[h, 0], order)
    for h in range(heads - 1, -1, -1):
        memory[oldest[h]] = old[h, 0]
    for h in range(heads):
        settle(oldest[h], memory, inverse, directions, first, chains)
        for j in range(nearest):
            if before[h, j] != NONE:
                settle(before[h, j], memory, inverse, directions, first, chains)


@njit(cache=True, nogil=True)
def backward(
    directions, slopes, act, before, earlier, memory, inverse, order, first, chains, oldest, old, moved, places, cosine,
    weights, before_rows, oldest_rows, rows, dfound, dweights, dearlier, draw,
):  # fmt: skip
    """Fill the gradients of `act`'s numbers and of the weights before; undo the step."""
    for b in range(len(act)):
        now = places[b], rows[b], cosine[b], weights[b], dfound[b], dweights[b]
        slopes_of_read(act[b], memory[b], inverse[b], *now, slopes, draw[b])
        then = before[b], earlier[b], before_rows[b], oldest_rows[b]
        slopes_of_write(act[b], *then, slopes, dearlier[b], draw[b])
        index = directions, first[b], chains[b].T
        undo(before[b], memory[b], inverse[b], order[b], *index, oldest[b], old[b], moved[b], places[b])
