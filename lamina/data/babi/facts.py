"""Tasks 1 to 3 and 5 to 8: where people and things are and were, who gave what, what is carried."""

from random import Random

from lamina.data.babi.world import World, give, go, leave, take

QUESTIONS = 5  # of a story
GIVERS = ("Fred", "Bill", "Jeff", "Mary")
NUMBERS = ("none", "one", "two", "three")


def where_is_somebody(rng: Random) -> World:
    """1: one supporting fact."""
    world = World(rng)
    while len(world.questions) < QUESTIONS:
        world.act(go)
        world.act(go)
        person = rng.choice(sorted(world.seen))
        world.ask(f"Where is {person}", world.at[person], [world.seen[person]])
    return world


def where_is_thing(rng: Random) -> World:
    """2: two supporting facts."""
    world = World(rng)
    while len(world.questions) < QUESTIONS:
        world.act(go, go, take, leave)
        known = {name: found for name in world.things if (found := world.where(name))}
        if world.since() > 2 and known and rng.random() < 0.25:
            name = rng.choice(sorted(known))
            world.ask(f"Where is the {name}", *known[name])
    return world


def where_was_thing(rng: Random) -> World:
    """3: three supporting facts."""
    world = World(rng)
    while len(world.questions) < QUESTIONS:
        world.act(go, go, take, leave)
        known = sorted(name for name, thing in world.things.items() if len(thing.trail) > 1)
        if world.since() > 2 and known and rng.random() < 0.125:
            name = rng.choice(known)
            thing = world.things[name]
            (before, earlier), (now, later) = thing.trail[-2:]
            world.ask(f"Where was the {name} before the {now}", before, [thing.carried, later, earlier])
    return world


def who_gave_what(rng: Random) -> World:
    """5: relations of three arguments."""
    world = World(rng, people=GIVERS)
    while len(world.questions) < QUESTIONS:
        world.act(go, take, give)
        if world.since() > 1 and world.gifts and world.gifts[-1][3] == len(world.told) - 1:
            gift = len(world.gifts) - 1
            for _ in range(rng.randrange(6)):
                world.act(go, take, give)
            ask_of(world, gift)
    return world


def ask_of(world: World, which: int) -> None:
    """Ask about a gift, so that no later gift answers the question."""
    giver, thing, receiver, fact = world.gifts[which]
    forms = [  # a question, its answer, and what it tells of giver, thing and receiver
        (f"What did {giver} give to {receiver}", thing, (giver, "", receiver)),
        (f"Who gave the {thing} to {receiver}", giver, ("", thing, receiver)),
        (f"Who did {giver} give the {thing} to", receiver, (giver, thing, "")),
        (f"Who gave the {thing}", giver, ("", thing, "")),
        (f"Who received the {thing}", receiver, ("", thing, "")),
    ]
    for *later, _ in world.gifts[which + 1 :]:
        forms = [form for form in forms if any(a not in ("", b) for a, b in zip(form[2], later, strict=True))]
    if forms:
        question, answer, _ = world.rng.choice(forms)
        world.ask(question, answer, [fact])


def is_somebody_there(rng: Random) -> World:
    """6: yes or no."""
    world = World(rng)
    while len(world.questions) < QUESTIONS:
        world.act(go)
        while rng.random() < 0.3:
            world.act(go, take, leave)
        world.act(go)
        person = rng.choice(sorted(world.seen))
        here = world.at[person]
        asked, answer = (here, "yes") if rng.random() < 0.5 else (other(world, here), "no")
        world.ask(f"Is {person} in the {asked}", answer, [world.seen[person]])
    return world


def other(world: World, *rooms: str) -> str:
    """Return another room than these."""
    return world.rng.choice([room for room in world.rooms if room not in rooms])


def how_many(rng: Random) -> World:
    """7: counting."""
    world = World(rng)
    while len(world.questions) < QUESTIONS:
        if person := somebody_with_things(world):
            held = world.held_by(person)
            world.ask(f"How many objects is {person} carrying", NUMBERS[len(held)], reasons(world, person, held))
    return world


def what_is_carried(rng: Random) -> World:
    """8: lists."""
    world = World(rng)
    while len(world.questions) < QUESTIONS:
        if person := somebody_with_things(world):
            held = world.held_by(person)
            world.ask(f"What is {person} carrying", ",".join(held) or "nothing", reasons(world, person, held))
    return world


def somebody_with_things(world: World) -> str:
    """Let something happen; return one of those who hold things or did, or "" if it is not the time to ask."""
    world.act(go, go, take, take, give, leave)
    known = sorted({person for person in world.people if world.held_by(person)} | world.lost.keys())
    return world.rng.choice(known) if known and world.since() > 1 and world.rng.random() < 0.4 else ""


def reasons(world: World, person: str, held: list[str]) -> list[int]:
    """Return how what somebody holds came to them; of one who holds nothing, how the last thing went."""
    facts = [fact for name in held if (fact := world.things[name].fact) is not None]
    return facts or [world.lost[person]]
