"""A recurrent network with stacks or lists, symbol by symbol, forward and backward, compiled for the CPU.

The equations are those of `lamina.systems.memory.stack_rnn`, whose loop in torch's operations is the oracle. All
weights have the hidden units as their last axis, so that the inner loops run over numbers that lie side by side.
Python's lock is released: several networks learn in as many threads.

`head` is where a list is read and written; below zero the memory is a stack, which is read from its cell 0 downward.
Actions are (push, pop[, stay]) on a stack and (insert, left, right) on a list.
"""

import math

import numpy as np
from numba import njit

EMPTY = -1.0  # what a cell holds that nothing was written to (Joulin & Mikolov 2015, section 3.2)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def move(before, action, value, after, head):
    """Fill the cells of one memory after an action, given those before it and the value to write."""
    last = len(before) - 1
    if head < 0:
        push, pop, stay = action[0], action[1], action[2] if len(action) > 2 else 0 * action[0]
        for i in range(1, last):
            after[i] = push * before[i - 1] + pop * before[i + 1] + stay * before[i]
        after[0] = push * value + pop * before[1] + stay * before[0]
        after[last] = push * before[last - 1] + pop * EMPTY + stay * before[last]
        return
    insert, left, right = action[0], action[1], action[2]
    for i in range(1, head):
        after[i] = (insert + right) * before[i + 1] + left * before[i - 1]
    for i in range(head + 1, last):
        after[i] = insert * before[i] + left * before[i - 1] + right * before[i + 1]
    after[head] = insert * value + left * before[head - 1] + right * before[head + 1]
    after[0] = (insert + right) * before[1] + left * EMPTY
    after[last] = insert * before[last] + left * before[last - 1] + right * EMPTY


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def undo(before, action, value, slope, toward, head, live):
    """Fill the slopes of the cells before an action; return those of the value and of the three actions.

    Slopes are zero but in so many `live` cells, from the top or to either side of the head: what is read at the top
    reaches one cell further with each symbol. Those of the cells before are zero but in one more.
    """
    last = len(before) - 1
    s0 = s1 = s2 = 0 * slope[0]
    if head < 0:
        push, pop, stay = action[0], action[1], action[2] if len(action) > 2 else 0 * action[0]
        end = min(live + 1, last)
        for i in range(1, end):
            toward[i] = push * slope[i + 1] + pop * slope[i - 1] + stay * slope[i]
            s0 += slope[i] * before[i - 1]
            s1 += slope[i] * before[i + 1]
            s2 += slope[i] * before[i]
        toward[0] = push * slope[1] + stay * slope[0]
        s0 += slope[0] * value
        s1 += slope[0] * before[1]
        s2 += slope[0] * before[0]
        if end == last:
            toward[last] = pop * slope[last - 1] + stay * slope[last]
            s0 += slope[last] * before[last - 1]
            s1 += slope[last] * EMPTY
            s2 += slope[last] * before[last]
        return slope[0] * push, s0, s1, s2
    insert, left, right = action[0], action[1], action[2]
    for i in range(max(0, head - live - 1), min(last, head + live + 1) + 1):
        lower = before[i - 1] if i > 0 else EMPTY
        upper = before[i + 1] if i < last else EMPTY
        s0 += slope[i] * (upper if i < head else value if i == head else before[i])
        s1 += slope[i] * lower
        s2 += slope[i] * upper
        found = insert * slope[i] if i > head else 0 * insert
        if i > 0:
            found += (insert + right if i <= head else right) * slope[i - 1]
        if i < last:
            found += left * slope[i + 1]
        toward[i] = found
    return slope[head] * insert, s0, s1, s2


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def decide(action, rounded):
    """Turn the wishes for each action, in place, into weights that sum to one; rounded, the strongest has it all."""
    best = 0
    for a in range(len(action)):
        if action[a] > action[best]:
            best = a
    peak, total = action[best], 0 * action[0]
    for a in range(len(action)):
        action[a] = a == best if rounded else math.exp(action[a] - peak)
        total += action[a]
    for a in range(len(action)):
        action[a] /= total


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def step(token, noise, U, R, P, A, D, head, rounded, earlier, before, h, actions, values, after):
    """Fill hidden units, actions, values and cells after a symbol, given units and cells before it."""
    stacks, hidden = len(D), len(h)
    reach, choices = len(P) // stacks, len(A) // stacks
    for i in range(hidden):
        h[i] = U[token, i]
    for j in range(len(R)):
        for i in range(hidden):
            h[i] += R[j, i] * earlier[j]
    for j in range(len(P)):
        cell = before[j // reach, j % reach if head < 0 else head - j % reach]
        for i in range(hidden):
            h[i] += P[j, i] * cell
    for i in range(hidden):
        h[i] = 1 / (1 + math.exp(-h[i]))
    for s in range(stacks):
        action = actions[s]
        for a in range(choices):
            action[a] = noise[s * choices + a] + product(A[s * choices + a], h)
        decide(action, rounded)
        values[s] = 1 / (1 + math.exp(-product(D[s], h)))
        move(before[s], action, values[s], after[s], head)


@njit(cache=True, nogil=True)
def check(symbols, vocabulary):
    """Raise ValueError if a symbol is none of the vocabulary's."""
    for symbol in symbols.flat:
        if symbol < 0 or symbol >= vocabulary:
            raise ValueError("a symbol is not among those that the model has")


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def read(tokens, U, R, P, A, D, head, rounded, h, cells, hidden):
    """Read rows of symbols: fill hidden (rows, time, units); h and cells, in place, go on to the last symbol."""
    check(tokens, len(U))
    rows, time = tokens.shape
    stacks, depth = cells.shape[1:]
    silent = np.zeros(len(A), U.dtype)
    actions, values = np.empty((stacks, len(A) // stacks), U.dtype), np.empty(stacks, U.dtype)
    spare = np.empty((2, stacks, depth), U.dtype)
    for row in range(rows):
        spare[0] = cells[row]
        earlier = h[row]
        for t in range(time):
            before, after = spare[t % 2], spare[1 - t % 2]
            units = hidden[row, t]
            step(tokens[row, t], silent, U, R, P, A, D, head, rounded, earlier, before, units, actions, values, after)
            earlier = units
        cells[row] = spare[time % 2]
        h[row] = earlier


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def learn(tokens, targets, noise, U, R, P, A, D, V, head, clip, depth, state, dU, dR, dP, dA, dD, dV):
    """Return the sum of −log p of the targets, and add its gradient to dU .. dV.

    Targets follow the last tokens; those before are context. A state (rows, units + stacks * depth), the units
    and how much the cells are above empty, goes on, in place, by as many as are targets.
    """
    check(tokens, len(U))
    check(targets, len(V))
    (rows, time), told = tokens.shape, targets.shape[1]
    context = time - told
    stacks, count = D.shape
    reach, choices = len(P) // stacks, len(A) // stacks
    kept, memory = np.empty((time + 1, count), U.dtype), np.empty((time + 1, stacks, depth), U.dtype)
    actions, values = np.empty((time, stacks, choices), U.dtype), np.empty((time, stacks), U.dtype)
    p = np.empty((time, len(V)), U.dtype)
    slope, toward = np.empty((stacks, depth), U.dtype), np.empty((stacks, depth), U.dtype)
    d, later, turn = np.empty(count, U.dtype), np.empty(count, U.dtype), np.empty(3, U.dtype)
    nll = 0.0
    for row in range(rows):
        kept[0] = state[row, :count]
        for i in range(stacks * depth):
            memory[0, i // depth, i % depth] = state[row, count + i] + EMPTY
        for t in range(time):
            units, after = kept[t + 1], memory[t + 1]
            step(
                tokens[row, t],
                noise[row, t],
                U,
                R,
                P,
                A,
                D,
                head,
                False,
                kept[t],
                memory[t],
                units,
                actions[t],
                values[t],
                after,
            )
            if t >= context:
                nll -= predict(V, units, p[t], targets[row, t - context])
        state[row, :count] = kept[told]
        for i in range(stacks * depth):
            state[row, count + i] = memory[told, i // depth, i % depth] - EMPTY
        slope[:], toward[:], later[:] = 0, 0, 0
        for t in range(time - 1, -1, -1):
            now, action, live = kept[t + 1], actions[t], time - 1 - t + reach
            d[:] = later
            if t >= context:
                p[t, targets[row, t - context]] -= 1
                for v in range(len(V)):
                    add(p[t, v], V[v], now, d, dV[v])
            for s in range(stacks):
                value = values[t, s]
                push, turn[0], turn[1], turn[2] = undo(memory[t, s], action[s], value, slope[s], toward[s], head, live)
                add(push * value * (1 - value), D[s], now, d, dD[s])
                mean = product(turn[:choices], action[s])
                for a in range(choices):
                    add(action[s, a] * (turn[a] - mean), A[s * choices + a], now, d, dA[s * choices + a])
            for i in range(count):
                d[i] = min(max(d[i], -clip), clip) * now[i] * (1 - now[i])
                dU[tokens[row, t], i] += d[i]
            receive(kept[t], memory[t], d, R, P, dR, dP, head, later, toward)
            slope, toward = toward, slope
    return nll


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def receive(earlier, before, d, R, P, dR, dP, head, later, toward):
    """Fill the slopes of the units before, add to those of the cells, and to the gradient of the weights of both."""
    reach = len(P) // len(before)
    for j in range(len(R)):
        later[j] = back(earlier[j], d, R[j], dR[j])
    for j in range(len(P)):
        s, place = j // reach, j % reach if head < 0 else head - j % reach
        toward[s, place] += back(before[s, place], d, P[j], dP[j])


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def predict(V, h, p, target):
    """Fill the probabilities of the symbols that may follow; return log p of the one that does."""
    largest = -np.inf
    for v in range(len(V)):
        p[v] = product(V[v], h)
        largest = max(largest, p[v])
    wanted, total = p[target] - largest, 0 * h[0]
    for v in range(len(V)):
        p[v] = math.exp(p[v] - largest)
        total += p[v]
    for v in range(len(V)):
        p[v] /= total
    return wanted - math.log(total)


@njit(inline="always", fastmath=True)
def product(weights, h):
    """Return the scalar product."""
    total = 0 * h[0]
    for i in range(len(h)):
        total += weights[i] * h[i]
    return total


@njit(inline="always", fastmath=True)
def add(slope, weights, h, d, gradient):
    """Add to the slopes d of the units, and to the gradient of an output's weights, what its own slope brings."""
    for i in range(len(h)):
        d[i] += slope * weights[i]
        gradient[i] += slope * h[i]


@njit(inline="always", fastmath=True)
def back(x, d, weights, gradient):
    """Return the slope of an input, and add to the gradient of its weights."""
    total = 0 * x
    for i in range(len(d)):
        total += weights[i] * d[i]
        gradient[i] += x * d[i]
    return total
