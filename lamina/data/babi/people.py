"""Tasks 9 to 14: where people are, told by negation, by alternatives, by pronouns, in pairs and by the time of day."""

from random import Random

from lamina.data.babi.facts import QUESTIONS, other
from lamina.data.babi.world import FRIENDS, GO, MEN, TOWN, Story, World, go

THEN = ("then", "after that", "following that", "afterwards")
TIMES = ("yesterday", "this morning", "this afternoon", "this evening")


def is_no_longer(rng: Random) -> World:
    """9: simple negation."""
    world = World(rng)
    denied: dict[int, str] = {}  # the statements that tell where somebody is not
    while len(world.questions) < QUESTIONS:
        for _ in range(2):
            person, kind = rng.choice(world.people), rng.choice(("go", "is", "not", "no longer"))
            if kind == "go":
                go(world)
            elif kind == "is":
                here = world.at[person]
                world.moved(person, here, world.tell(f"{person} is in the {here}"))
            else:
                room = other(world, world.at[person])
                world.seen[person] = world.tell(f"{person} is {kind} in the {room}")
                denied[world.seen[person]] = room
        person = rng.choice(sorted(world.seen))
        fact = world.seen[person]
        if fact in denied:
            asked, answer = denied[fact], "no"
        else:
            here = world.at[person]
            asked, answer = (here, "yes") if rng.random() < 0.6 else (other(world, here), "no")
        world.ask(f"Is {person} in the {asked}", answer, [fact])
    return world


def is_either(rng: Random) -> World:
    """10: indefinite knowledge."""
    world = World(rng, people=FRIENDS, rooms=TOWN)
    rooms: dict[str, tuple[str, ...]] = {}  # where somebody can be
    while len(world.questions) < QUESTIONS:
        for _ in range(2):
            person, kind = rng.choice(world.people), rng.choice(("go", "is", "either"))
            room = other(world, world.at[person])
            found: tuple[str, ...] = (world.at[person],) if kind == "is" else (room,)
            if kind == "either":
                found = tuple(rng.sample((room, other(world, room)), 2))
                sentence = f"{person} is either in the {found[0]} or the {found[1]}"
            else:
                sentence = f"{person} {'is in' if kind == 'is' else rng.choice(GO)} the {found[0]}"
            world.moved(person, room if kind != "is" else found[0], world.tell(sentence))
            rooms[person] = found
        person = rng.choice(sorted(rooms))
        asked = rng.choice(rooms[person]) if rng.random() < 0.6 else other(world, *rooms[person])
        answer = "no" if asked not in rooms[person] else "yes" if len(rooms[person]) == 1 else "maybe"
        world.ask(f"Is {person} in the {asked}", answer, [world.seen[person]])
    return world


def where_is_pronoun(rng: Random) -> World:
    """11: coreference."""
    world = World(rng)
    while len(world.questions) < QUESTIONS:
        person = rng.choice(world.people)
        group_goes(world, (person,), person)
        group_goes(world, (person,), f"{rng.choice(THEN)} {'he' if person in MEN else 'she'}")
        person = rng.choice(sorted(world.seen))
        fact = world.seen[person]
        world.ask(f"Where is {person}", world.at[person], [fact - 1, fact])
    return world


def where_is_pair(rng: Random) -> World:
    """12: conjunction."""
    world = World(rng)
    while len(world.questions) < QUESTIONS:
        for _ in range(2):
            pair = rng.sample(world.people, 2)
            group_goes(world, pair, " and ".join(pair))
        person = rng.choice(sorted(world.seen))
        world.ask(f"Where is {person}", world.at[person], [world.seen[person]])
    return world


def where_are_they(rng: Random) -> World:
    """13: compound coreference."""
    world = World(rng)
    while len(world.questions) < QUESTIONS:
        pair = rng.sample(world.people, 2)
        group_goes(world, pair, " and ".join(pair))
        group_goes(world, pair, f"{rng.choice(THEN)} they")
        person = rng.choice(sorted(world.seen))
        fact = world.seen[person]
        world.ask(f"Where is {person}", world.at[person], [fact - 1, fact])
    return world


def group_goes(world: World, group: list[str] | tuple[str, ...], told: str) -> None:
    """Let some people go together to where none of them is."""
    room = other(world, *(world.at[person] for person in group))
    fact = world.tell(f"{told} {world.rng.choice(GO)} the {room}")
    for person in group:
        world.moved(person, room, fact)


def where_was_somebody(rng: Random) -> Story:
    """14: time. Nobody is in the same place twice."""
    story = Story(rng)
    routes = {person: dict(zip(TIMES, rng.sample(TOWN, len(TIMES)), strict=True)) for person in FRIENDS}
    told: dict[str, dict[str, int]] = {person: {} for person in FRIENDS}
    order = [(person, time) for person in FRIENDS for time in TIMES]
    rng.shuffle(order)
    for person, time in order:
        sentence = f"{person} {rng.choice(GO)} the {routes[person][time]}"
        told[person][time] = story.tell(rng.choice((f"{sentence} {time}", f"{time} {sentence}")))
        able = [who for who in FRIENDS if len(told[who]) > 1]
        if able and len(story.told) >= 4 and len(story.told) % 2 == 0 and len(story.questions) < QUESTIONS:
            who = rng.choice(able)
            times = [time for time in TIMES if time in told[who]]
            k = rng.randrange(1, len(times))
            before, now = times[k - 1], times[k]
            answer = routes[who][before]
            story.ask(f"Where was {who} before the {routes[who][now]}", answer, [told[who][now], told[who][before]])
    return story
