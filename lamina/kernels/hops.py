"""An end-to-end memory network on a batch of questions, forward and backward, compiled for the CPU.

The equations are those of `lamina.systems.memory.memn2n`, whose operations in torch are the oracle. The tables of all
hops lie side by side, so that a word's vectors for all of them are read and added at once. Symbol 0 is no word, and
never an answer. Python's lock is released.
"""

import math

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def learn(
    story,
    question,
    y,
    ages,
    words,
    times,
    H,
    reads,
    asks,
    tells,
    slope,
    middle,
    steep,
    room,
    linear,
    dwords,
    dtimes,
    dH,
):
    """Add up the gradient of Σ −log p(y) over a batch, and return this sum; NaN if a number is none of a symbol.

    Args:
        story: numbers of words (batch, memory, words).
        question: (batch, words).
        y: answers (batch,).
        ages: times of the statements (batch, memory).
        words: tables side by side (vocabulary, tables · hidden).
        times: those of the memories (times, memories · hidden).
        H: the matrix between hops, or an empty one.
        reads: where each hop's input and output vectors begin (hops, 2).
        asks: where the question's vectors begin.
        tells: where the answer's vectors begin.
        slope: s_k of the position encoding (hidden,).
        middle: place from which it counts.
        steep: its factor.
        room: places that take part in the softmax, those without a statement with a score of 0; 0 if these do not.
        linear: whether to leave the softmax out.
        dwords: gradient of the words.
        dtimes: gradient of the times.
        dH: gradient of the matrix.
    """
    hidden, width, hops, kind = len(slope), times.shape[1], len(reads), words.dtype
    memory = story.shape[1]
    if not (within(story, 0, len(words)) and within(question, 0, len(words)) and within(y, 1, len(words))):
        return np.nan
    weights = encoding(max(story.shape[2], question.shape[1]), max(width, asks + hidden), slope, middle, steep)
    cells, dcells = np.empty((memory, width), kind), np.empty((memory, width), kind)
    place = np.empty(memory, np.int64)
    p, dp = np.empty((hops, memory), kind), np.empty(memory, kind)
    u, du, later = np.empty((hops + 1, hidden), kind), np.empty(hidden, kind), np.empty(hidden, kind)
    told = np.empty(len(words), kind)
    nll = 0.0
    for b in range(len(story)):
        count = read(story[b], ages[b], words, times, weights, cells, place)
        u[0] = 0
        for j in range(question.shape[1]):
            word = question[b, j]
            if word:
                for k in range(hidden):
                    u[0, k] += weights[j, asks + k] * words[word, asks + k]
        for hop in range(hops):
            look(cells[:count], reads[hop, 0], reads[hop, 1], u[hop], H, room - count, linear, p[hop], u[hop + 1])
        nll -= tell(words, tells, u[hops], told, y[b])
        told[y[b]] -= 1
        untell(words, tells, u[hops], told, du, dwords)
        dcells[:count] = 0
        for hop in range(hops - 1, -1, -1):
            unlook(cells[:count], reads[hop, 0], reads[hop, 1], u[hop], H, linear, p[hop], du, dp, later, dcells, dH)
            du[:] = later
        unread(story[b], ages[b], place[:count], weights, dcells, dtimes, dwords)
        for j in range(question.shape[1]):
            word = question[b, j]
            if word:
                for k in range(hidden):
                    dwords[word, asks + k] += weights[j, asks + k] * du[k]
    return nll


@njit(cache=True, nogil=True)
def within(numbers, least, end):
    """Return whether all numbers are at least one bound and below the other."""
    flat, low, high = numbers.reshape(-1), least, end - 1
    for i in range(len(flat)):
        low, high = min(low, flat[i]), max(high, flat[i])
    return low == least and high == end - 1


@njit(cache=True, nogil=True)
def jitter(count, uniform, noise, ages):
    """Fill the times of statements, which are their places and the number of blanks before them.

    Args:
        count: statements of each story.
        uniform: random numbers below 1 (batch, 1 + times); the first says how many blanks, one of the others whether
            a time is taken by a statement: with the share that statements have of the times that are left.
        noise: most blanks, as a share of the statements.
        ages: the times (batch, memory).
    """
    for b in range(len(ages)):
        wanted, t = count[b], 0
        left = wanted + int(uniform[b, 0] * (math.ceil(wanted * noise) + 1))
        for i in range(ages.shape[1]):
            while i < wanted and uniform[b, 1 + t] * (left - t) >= wanted - i:
                t += 1
            ages[b, i] = t
            t += 1


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def encoding(words, width, slope, middle, steep):
    """Return l of each place of a word, once for each table."""
    made = np.empty((words, width), slope.dtype)
    for j in range(words):
        for k in range(width):
            made[j, k] = 1 + steep * slope[k % len(slope)] * (j + 1 - middle)
    return made


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def read(story, ages, words, times, weights, cells, place):
    """Fill the vectors of a story's statements, and their places in the story; return how many there are."""
    count = 0
    for i in range(len(story)):
        if not story[i, 0]:
            continue
        place[count] = i
        cell = cells[count]
        cell[:] = times[ages[i]]
        for j in range(story.shape[1]):
            word = story[i, j]
            if word:
                for k in range(len(cell)):
                    cell[k] += weights[j, k] * words[word, k]
        count += 1
    return count


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def unread(story, ages, place, weights, dcells, dtimes, dwords):
    """Add to the gradients of words and times what the statements' slopes bring."""
    for n in range(len(place)):
        i, slope = place[n], dcells[n]
        for k in range(len(slope)):
            dtimes[ages[i], k] += slope[k]
        for j in range(story.shape[1]):
            word = story[i, j]
            if word:
                for k in range(len(slope)):
                    dwords[word, k] += weights[j, k] * slope[k]


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def look(cells, m, c, u, H, blanks, linear, p, after):
    """Fill the weights of the statements in one look at them, and u after it."""
    hidden, count = len(u), len(cells)
    for i in range(count):
        p[i] = 0
        for k in range(hidden):
            p[i] += cells[i, m + k] * u[k]
    if not linear:
        normalize(p[:count], blanks)
    after[:] = u
    if len(H):
        for a in range(hidden):
            after[a] = 0
            for k in range(hidden):
                after[a] += H[a, k] * u[k]
    for i in range(count):
        for k in range(hidden):
            after[k] += p[i] * cells[i, c + k]


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def unlook(cells, m, c, u, H, linear, p, du, dp, later, dcells, dH):
    """Fill the slopes of u before a look, given those after it, and add to those of the statements and of H."""
    hidden, count = len(u), len(cells)
    mean = 0 * u[0]
    for i in range(count):
        dp[i] = 0
        for k in range(hidden):
            dp[i] += cells[i, c + k] * du[k]
            dcells[i, c + k] += p[i] * du[k]
        mean += p[i] * dp[i]
    later[:] = du
    if len(H):
        later[:] = 0
        for a in range(hidden):
            for k in range(hidden):
                later[k] += H[a, k] * du[a]
                dH[a, k] += du[a] * u[k]
    for i in range(count):
        slope = dp[i] if linear else p[i] * (dp[i] - mean)
        for k in range(hidden):
            later[k] += slope * cells[i, m + k]
            dcells[i, m + k] += slope * u[k]


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def tell(words, tells, u, p, y):
    """Fill the probabilities of the answers; return log p of the right one."""
    for v in range(1, len(words)):
        p[v] = 0
        for k in range(len(u)):
            p[v] += words[v, tells + k] * u[k]
    right = p[y]
    return right - normalize(p[1:], 0)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def untell(words, tells, u, slope, du, dwords):
    """Fill the slopes of u, given those of the answers' scores, and add to the gradient of the words."""
    du[:] = 0
    for v in range(1, len(words)):
        for k in range(len(u)):
            du[k] += slope[v] * words[v, tells + k]
            dwords[v, tells + k] += slope[v] * u[k]


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def normalize(scores, blanks):
    """Turn scores, in place, into their softmax; return the logarithm of the sum of their exponentials.

    Args:
        scores: numbers.
        blanks: further scores of 0 that take their share; none if it is below 1.
    """
    largest, total = 0 * scores.sum(), 0 * scores.sum()
    for i in range(len(scores)):
        largest = max(largest, scores[i]) if i or blanks > 0 else scores[i]
    for i in range(len(scores)):
        scores[i] = math.exp(scores[i] - largest)
        total += scores[i]
    if blanks > 0:
        total += blanks * math.exp(-largest)
    for i in range(len(scores)):
        scores[i] /= total
    return largest + math.log(total)
