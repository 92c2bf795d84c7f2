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
def search(memory, inverse, query, directions, first, ahead, seen, turn, places, best):
    """Do the same among the slots that share a bucket with the query in any table; return how many these are."""
    places[:], best[:] = NONE, -np.inf
    at, some, total, count = begin(query, directions, first), np.empty(len(first), np.int64), 0, len(first)
    while count:
        count = advance(at, ahead, some)
        for slot in some[:count]:
            if seen[slot] != turn:
                seen[slot] = turn
                total += 1
                offer(slot, dot(memory[slot], query) * inverse[slot], places, best)
    return total


@njit(cache=True, nogil=True)
def use(slot, order):
    """Make a slot the latest in the order of use; its last row is the end and the beginning of the circle."""
    before, after = order[slot]
    order[before, 1], order[after, 0] = after, before
    end = len(order) - 1
    latest = order[end, 0]
    order[latest, 1], order[end, 0] = slot, slot
    order[slot, 0], order[slot, 1] = latest, end


@njit(cache=True, nogil=True)
def nearest(memory, inverse, queries, directions, first, ahead, seen, turn, places, best):
    """Fill the nearest slots of each query and their cosines; return how many slots were looked at for all."""
    count = 0
    for i in range(len(queries)):
        if len(first):
            turn[0] += 1
            count += search(memory, inverse, queries[i], directions, first, ahead, seen, turn[0], places[i], best[i])
        else:
            scan(memory, inverse, queries[i], places[i], best[i])
            count += len(memory)
    return count


@njit(cache=True, nogil=True, fastmath=True)
def put(slots, rows, epsilon, memory, inverse, directions, first, ahead, behind, where):
    """Replace the vectors of slots."""
    for i in range(len(slots)):
        slot = slots[i]
        memory[slot] = rows[i]
        inverse[slot] = np.float32(1) / np.sqrt(dot(rows[i], rows[i]) + epsilon)
        enter(slot, rows[i], directions, first, ahead, behind, where)


@njit(cache=True, nogil=True)
def touch(slots, order):
    """Make slots the latest that were used, one after the other; NONE is none."""
    for slot in slots.flat:
        if slot != NONE:
            use(slot, order)
