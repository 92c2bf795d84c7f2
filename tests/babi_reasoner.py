"""A reader of bAbI stories that answers from their sentences alone; it shares no code with their generator."""

import itertools
import re

VERBS = "(?:went|went back|journeyed|travelled|moved) to"
WHEN = ("yesterday", "this morning", "this afternoon", "this evening")
TIME = "|".join(WHEN)
MOVE = re.compile(
    rf"(?:(?P<early>{TIME}) )?(?:(?:then|after that|following that|afterwards) )?(?P<who>\w+(?: and \w+)?) "
    rf"{VERBS} the (?P<room>\w+)(?: (?P<late>{TIME}))?"
)
STAYS = re.compile(r"(?P<who>\w+) is (?P<how>|not |no longer |either )in the (?P<room>\w+)(?: or the (?P<or>\w+))?")
TAKES = re.compile(r"(\w+) (?:got|took|grabbed|picked up) the (\w+)(?: there| from the table)?")
LEAVES = re.compile(r"(\w+) (?:dropped|left|put down|discarded|put) the (\w+)(?: there| on the table)?")
GIVES = re.compile(r"(\w+) (?:gave|handed|passed) the (\w+) to (\w+)")
BESIDE = re.compile(
    r"(?:is )?the ([\w ]+?) (?:is )?(north of|south of|east of|west of|above|below|to the \w+ of) the ([\w ]+)"
)
STEP = {"n": (0, 1), "s": (0, -1), "e": (1, 0), "w": (-1, 0), "a": (0, 1), "b": (0, -1), "r": (1, 0), "l": (-1, 0)}
BACK = dict(zip("nsewablr", "snwebarl", strict=True))
ONE = {"mice": "mouse", "sheep": "sheep", "wolves": "wolf", "cats": "cat"}
GOALS = {
    "hungry": ("kitchen", "apple"),
    "thirsty": ("kitchen", "milk"),
    "bored": ("garden", "football"),
    "tired": ("bedroom", "pajamas"),
}


def solve(story, question):
    """Return the answer to a question, or None if the statements do not tell it."""
    told = [line.lower().rstrip(".") for line in story]
    for pattern, answer in QUESTIONS:
        if found := re.fullmatch(pattern, question.lower().rstrip("?").removesuffix(" now")):
            return answer(told, *found.groups())
    raise AssertionError(question)


def people(told):
    """Return where each may be, and where each is not, as told last."""
    at, before = {}, ()
    for line in told:
        if found := MOVE.fullmatch(line):
            who = tuple(found["who"].split(" and "))
            if who[0] in ("he", "she", "they"):
                who = before if meant(before) == who[0] else ()
            at |= dict.fromkeys(who, ({found["room"]}, set()))
            before = who
        elif found := STAYS.fullmatch(line):
            rooms = {found["room"], found["or"]} - {None}
            at[found["who"]] = (set(), rooms) if found["how"] in ("not ", "no longer ") else (rooms, set())
            before = (found["who"],)
        else:
            before = ()
    return at


def meant(group):
    """Return the pronoun of a group of people."""
    if len(group) == 1:
        return "he" if group[0] in ("john", "daniel") else "she"
    return "they" if group else ""


def where_is(told, person):
    rooms = people(told).get(person, ((), ()))[0]
    return next(iter(rooms)) if len(rooms) == 1 else None


def is_in(told, person, room):
    may, cannot = people(told).get(person, (None, ()))
    if may is None:
        return None
    if room in cannot or (may and room not in may):
        return "no"
    return None if not may else "yes" if len(may) == 1 else "maybe"


def history(told, thing):
    """Return the places that a thing was at, one after the other, None where that is not told."""
    at, holder, places = {}, None, [None]
    for line in told:
        if found := MOVE.fullmatch(line):
            at[found["who"]] = found["room"]
        elif (found := TAKES.fullmatch(line)) and found[2] == thing:
            assert holder is None, line
            holder = found[1]
        elif (found := GIVES.fullmatch(line)) and found[2] == thing:
            assert holder in (None, found[1]), line
            holder = found[3]
        elif (found := LEAVES.fullmatch(line)) and found[2] == thing:
            assert holder in (None, found[1]), line
            if at.get(found[1]) != places[-1]:
                places.append(at.get(found[1]))
            holder = None
        if holder is not None and at.get(holder) != places[-1]:
            places.append(at.get(holder))
    return places


def before(told, thing, room):
    places = history(told, thing)
    last = max((k for k, place in enumerate(places) if place == room), default=0)
    return places[last - 1] if last else None


def gift(told, wanted, giver=None, thing=None, receiver=None):
    for line in reversed(told):
        found = GIVES.fullmatch(line)
        if found and all(a in (None, b) for a, b in zip((giver, thing, receiver), found.groups(), strict=True)):
            return found[wanted]
    return None


def carried(told, person):
    """Return what somebody holds, or None if nothing is told of that."""
    held, known = [], False
    for line in told:
        for pattern, gains in ((TAKES, 1), (LEAVES, 0), (GIVES, 3)):
            found = pattern.fullmatch(line)
            if found and gains and found[gains] == person:
                held.append(found[2])
                known = True
            elif found and gains != 1 and found[1] == person:
                held = [thing for thing in held if thing != found[2]]
                known = True
    return held if known else None


def count(told, person):
    held = carried(told, person)
    return None if held is None else ("none", "one", "two", "three")[len(held)]


def list_of(told, person):
    held = carried(told, person)
    return None if held is None else ",".join(held) or "nothing"


def was_before(told, person, room):
    moves = [found for line in told if (found := MOVE.fullmatch(line)) and found["who"] == person]
    if moves and (moves[0]["early"] or moves[0]["late"]):
        moves.sort(key=lambda found: WHEN.index(found["early"] or found["late"]))
    rooms = [found["room"] for found in moves]
    last = max((k for k, place in enumerate(rooms) if place == room), default=0)
    return rooms[last - 1] if last else None


def relations(told):
    """Return (here, direction, there), from both sides."""
    for line in told:
        here, word, there = BESIDE.fullmatch(line).groups()
        word = word.removeprefix("to the ")[0]
        yield here, word, there
        yield there, BACK[word], here


def next_to(told, here=None, word=None, there=None):
    found = [(a, b) for a, told_word, b in relations(told) if told_word == word[0] and here in (None, a)]
    found = [b if here else a for a, b in found if there in (None, b)]
    return found[0] if len(found) == 1 else None


def is_beside(told, here, word, there):
    places, left = {here: (0, 0)}, list(relations(told)) * 3
    for a, way, b in left:  # a is one step this way from b
        if a in places:
            places.setdefault(b, (places[a][0] - STEP[way][0], places[a][1] - STEP[way][1]))
    if there not in places:
        return None
    x, y = STEP[word.removeprefix("to the ")[0]]
    gap = -places[there][0] * x - places[there][1] * y
    return None if gap == 0 else "yes" if gap > 0 else "no"


def way(told, start, end):
    steps = {(b, a): word for a, word, b in relations(told)}
    paths = [
        f"{steps[start, middle]},{steps[middle, end]}"
        for middle in {a for a, _ in steps}
        if (start, middle) in steps and (middle, end) in steps
    ]
    return paths[0] if len(paths) == 1 else None


def larger(told, large, small):
    known = set()
    for line in told:
        if found := re.fullmatch(r"the ([\w ]+) fits inside the ([\w ]+)", line):
            known.add((found[2], found[1]))
        elif found := re.fullmatch(r"the ([\w ]+) is bigger than the ([\w ]+)", line):
            known.add(found.groups())
    things = {thing for pair in known for thing in pair}
    for middle, a, b in itertools.product(things, repeat=3):  # the middle in the outer loop, as Warshall
        if (a, middle) in known and (middle, b) in known:
            known.add((a, b))
    assert not any((b, a) in known for a, b in known)
    return "yes" if (large, small) in known else "no" if (small, large) in known else None


def feared(told, name):
    kinds = dict(found.groups() for line in told if (found := re.fullmatch(r"(\w+) is a (\w+)", line)))
    fears = dict(found.groups() for line in told if (found := re.fullmatch(r"(\w+) are afraid of (\w+)", line)))
    fears = {ONE[one]: ONE[other] for one, other in fears.items()}
    return fears.get(kinds.get(name))


def color(told, name):
    kinds = dict(found.groups() for line in told if (found := re.fullmatch(r"(\w+) is a (\w+)", line)))
    colors = dict(found.groups() for line in told if (found := re.fullmatch(r"(\w+) is (\w+)", line)))
    found = {colors[other] for other, kind in kinds.items() if kind == kinds.get(name) and other in colors}
    return found.pop() if len(found) == 1 else None


def mood(told, person):
    return next((line.split()[-1] for line in told if re.fullmatch(rf"{person} is \w+", line)), None)


def goal(told, person):
    return GOALS[found][0] if (found := mood(told, person)) else None


def motive(told, person, kind, what):
    found = mood(told, person)
    return found if found and GOALS[found][kind == "get"] == what else None


QUESTIONS = [
    (r"where is the (\w+)", lambda told, thing: history(told, thing)[-1]),
    (r"where is (\w+)", where_is),
    (r"where was the (\w+) before the (\w+)", before),
    (r"where was (\w+) before the (\w+)", was_before),
    (r"is (\w+) in the (\w+)", is_in),
    (r"what did (\w+) give to (\w+)", lambda told, a, b: gift(told, 2, giver=a, receiver=b)),
    (r"who gave the (\w+) to (\w+)", lambda told, a, b: gift(told, 1, thing=a, receiver=b)),
    (r"who did (\w+) give the (\w+) to", lambda told, a, b: gift(told, 3, giver=a, thing=b)),
    (r"who gave the (\w+)", lambda told, a: gift(told, 1, thing=a)),
    (r"who received the (\w+)", lambda told, a: gift(told, 3, thing=a)),
    (r"how many objects is (\w+) carrying", count),
    (r"what is (\w+) carrying", list_of),
    (r"what is (\w+) afraid of", feared),
    (r"what is the (\w+) (\w+) of", next_to),
    (r"what is (\w+) of the (\w+)", lambda told, word, there: next_to(told, None, word, there)),
    (r"what color is (\w+)", color),
    (r"is the ([\w ]+?) (above|below|to the \w+ of) the ([\w ]+)", is_beside),
    (r"does the ([\w ]+) fit in the ([\w ]+)", lambda told, small, large: larger(told, large, small)),
    (r"is the ([\w ]+) bigger than the ([\w ]+)", larger),
    (r"how do you go from the (\w+) to the (\w+)", way),
    (r"where will (\w+) go", goal),
    (r"why did (\w+) (go) to the (\w+)", motive),
    (r"why did (\w+) (get) the (\w+)", motive),
]
