"""A large memory that is read at its nearest slots alone and written in few, compiled for the CPU.

A slot's place in the index is a bucket for each of several tables: the signs of its products with the table's random
directions (Charikar 2002, Similarity estimation techniques from rounding algorithms). Vectors at an angle θ share a
sign with probability 1 − θ/π. The slots of a bucket are a chain through `ahead` and `behind`; −1 ends it.

What was used last is a chain too, from the least recently used slot at `order[slots, 1]` to the latest.
"""

import numpy as np
from numba import njit

NONE = -1


@njit(inline="always", fastmath=True)
def dot(a, b):
    """Return the scalar product."""
    total = np.float32(0)
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@njit(cache=True, nogil=True, fastmath=True)
def bucket(vector, directions):
    """Return the number that the signs of a vector's products with directions make."""
    found = 0
    for j in range(len(directions)):
        found = 2 * found + (dot(directions[j], vector) > 0)
    return found


@njit(cache=True, nogil=True)
def leave(slot, table, first, ahead, behind, where):
    """Take a slot out of its bucket of a table, if it is in one."""
    old = where[table, slot]
    if old == NONE:
        return
    before, after = behind[table, slot], ahead[table, slot]
    if before == NONE:
        first[table, old] = after
    else:
        ahead[table, before] = after
    if after != NONE:
        behind[table, after] = before
    where[table, slot] = NONE


@njit(cache=True, nogil=True, fastmath=True)
def enter(slot, vector, directions, first, ahead, behind, where):
    """Put a slot in the bucket of its vector, in all tables; an empty one is in none."""
    for table in range(len(first)):
        new = bucket(vector, directions[table]) if dot(vector, vector) > 0 else NONE
        if new == where[table, slot]:
            continue
        leave(slot, table, first, ahead, behind, where)
        if new == NONE:
            continue
        head = first[table, new]
        ahead[table, slot], behind[table, slot] = head, NONE
        if head != NONE:
            behind[table, head] = slot
        first[table, new], where[table, slot] = slot, new


@njit(inline="always")
def offer(slot, likeness, places, best):
    """Insert a slot among the nearest, which are in descending order, if it is nearer than the last."""
    last = len(best) - 1
    if likeness <= best[last]:
        return
    while last > 0 and best[last - 1] < likeness:
        best[last], places[last] = best[last - 1], places[last - 1]
        last -= 1
    best[last], places[last] = likeness, slot


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz", "arcp"})
def scan(memory, inverse, query, places, best):
    """Fill the slots nearest to a query and their cosines (but for the query's norm), among all."""
    places[:], best[:] = NONE, -np.inf
    for slot in range(len(memory)):
        offer(slot, dot(memory[slot], query) * inverse[slot], places, best)


@njit(cache=True, nogil=True, fastmath=True)
def begin(query, directions, first):
    """Return the first slot in the bucket of a query, for each table."""
    at = np.empty(len(first), np.int64)
    for table in range(len(first)):
        at[table] = first[table, bucket(query, directions[table])]
    return at


@njit(cache=True, nogil=True)
def advance(at, ahead, some):
    """Fill the slots that the chains of all tables have come to, go on by one in each, and return how many there are.

    What lies far apart in a large memory is then fetched at the same time, where one chain after the other would wait.
    """
    count = 0
    for table in range(len(at)):
        slot = at[table]
        if slot != NONE:
            some[count], at[table] = slot, ahead[table, slot]
            count += 1
    return count


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz", "arcp"})
def search(memory, query, directions, first, ahead, epsilon, places, best):
    """Do the same among the slots that share a bucket with the query in any table; return how many times one was met.

    Their norms are computed, so that there is one place less to fetch from.
    """
    places[:], best[:] = NONE, -np.inf
    at, some, total, count = begin(query, directions, first), np.empty(len(first), np.int64), 0, len(first)
    while count:
        count = advance(at, ahead, some)
        total += count
        for slot in some[:count]:
            likeness = dot(memory[slot], query) / np.sqrt(dot(memory[slot], memory[slot]) + epsilon)
            if likeness > best[-1] and not among(slot, places):
                offer(slot, likeness, places, best)
    return total


@njit(inline="always")
def among(slot, places):
    """Return whether a slot was found already."""
    found = False
    for place in places:
        found |= place == slot
    return found


@njit(cache=True, nogil=True)
def use(slot, order):
    """Make a slot the latest in the order of use; its last row is the end and the beginning of the circle."""
    before, after = order[slot]
    order[before, 1], order[after, 0] = after, before
    end = len(order) - 1
    latest = order[end, 0]
    order[latest, 1], order[end, 0] = slot, slot
    order[slot, 0], order[slot, 1] = latest, end


@njit(inline="always", fastmath={"contract", "reassoc", "nsz", "arcp"})
def weigh(strength, places, best):
    """Turn likenesses, which are in descending order, into the softmax of `strength` times them; NONE has weight 0."""
    total, peak = np.float32(0), best[0]
    for j in range(len(best)):
        best[j] = np.exp(strength * (best[j] - peak)) if places[j] != NONE else 0
        total += best[j]
    if total > 0:
        best /= total


@njit(cache=True, nogil=True)
def read(memory, inverse, directions, first, ahead, order, queries, strength, epsilon, places, weights, values):
    """Fill the slots nearest to each query, their weights and what they give together; they are the latest used then.

    Return how many slots were looked at for all.
    """
    count = 0
    for i in range(len(queries)):
        if len(first):
            count += search(memory, queries[i], directions, first, ahead, np.float32(epsilon), places[i], weights[i])
        else:
            scan(memory, inverse, queries[i], places[i], weights[i])
            count += len(memory)
        weigh(np.float32(strength / np.sqrt(dot(queries[i], queries[i]) + epsilon)), places[i], weights[i])
        values[i] = 0
        for j in range(places.shape[1] - 1, -1, -1):  # the nearest is the latest
            if places[i, j] != NONE:
                values[i] += weights[i, j] * memory[places[i, j]]
                use(places[i, j], order)
    return count


@njit(cache=True, nogil=True)
def put(memory, inverse, directions, first, ahead, behind, where, order, slots, rows, epsilon):
    """Replace the vectors of slots; they are the latest used then."""
    for i in range(len(slots)):
        memory[slots[i]] = rows[i]
        settle(memory, inverse, directions, first, ahead, behind, where, order, slots[i], epsilon)


@njit(cache=True, nogil=True)
def add(memory, inverse, directions, first, ahead, behind, where, order, slots, weights, value, epsilon):
    """Add a value to slots, by their weights; a slot may come several times."""
    for i in range(len(slots)):
        memory[slots[i]] += weights[i] * value
    for i in range(len(slots) - 1, -1, -1):
        settle(memory, inverse, directions, first, ahead, behind, where, order, slots[i], epsilon)


@njit(cache=True, nogil=True, fastmath=True)
def settle(memory, inverse, directions, first, ahead, behind, where, order, slot, epsilon):
    """Bring up to date what depends on the vector of a slot that was written."""
    inverse[slot] = np.float32(1) / np.sqrt(dot(memory[slot], memory[slot]) + epsilon)
    enter(slot, memory[slot], directions, first, ahead, behind, where)
    use(slot, order)
