"""Questions on a simulated world of four people, three things and five rooms.

Weston, Chopra & Bordes (2015), Memory networks, section 5.2 and appendix A: people go, get, get from, put, give and
leave, and it is told in sentences of a simple grammar. Questions are where somebody is, where they were before they
came to a room, and where a thing is; each is about somebody or something that was mentioned within the last
`difficulty` statements. The supporting facts are at most two.

Differs from the paper: what there is to get things from and to put them on is a table in each room. The simulation
begins anew with each story, of ten questions. Who gave a thing to whom is told by the order of words alone, which a
bag of words lacks, so people give only where it is asked for ("give").
"""

from collections.abc import Callable, Sequence
from functools import partial
from random import Random

from lamina.data.babi.world import World, called, give, go, leave, take
from lamina.data.dataset import Data
from lamina.data.stories import Question, from_questions

PEOPLE = ("Joe", "Fred", "Dan", "Bill")
ROOMS = ("kitchen", "office", "bathroom", "bedroom", "garden")
THINGS = ("milk", "apple", "football")
QUESTIONS = 10  # of a story
HELD = 0.1  # share of the training questions that choose

put = partial(leave, on="table")
KINDS: dict[str, tuple[Callable[[World], bool], ...]] = {
    "actor": (go,),
    "object": (go, go, take, take, leave, put),
    "give": (go, go, take, take, leave, put, give),
}
"""What people do, by the kind of questions: of people alone, of things as well, and with gifts."""


def world(kind: str = "object:5", seed: int = 0, count: int = 3000) -> Data:
    """Questions on a simulated world, such as world:actor:1, world:object:5 or world:give:5.

    Args:
        kind: a name of `KINDS`, and after a colon the difficulty: within how many statements the one that is asked for
            was mentioned.
        seed: of the training stories; those of the test part are always the same.
        count: questions to learn from, a tenth of them to choose with, and as many to report on.

    Raises:
        ValueError: there is no such kind, or too few questions.
    """
    name, _, difficulty = kind.partition(":")
    if name not in KINDS or not difficulty.isdigit() or int(difficulty) < 1:
        raise ValueError(f"world:{kind} is no world: give world:NAME:DIFFICULTY, as world:object:5; {', '.join(KINDS)}")
    if count < 10:
        raise ValueError(f"it takes 10 questions, to hold a tenth out, got {count}")
    draw, rng, held = partial(simulated, name, int(difficulty)), Random(f"{seed} {kind}"), round(HELD * count)
    train, valid, test = draw(count - held, rng), draw(held, rng), draw(count, Random(f"test {kind}"))
    return from_questions(f"world:{kind}", train, valid, test)


def simulated(
    kind: str,
    difficulty: int,
    count: int,
    rng: Random,
    people: Sequence[str] = PEOPLE,
    rooms: Sequence[str] = ROOMS,
    things: Sequence[str] = THINGS,
) -> list[Question]:
    """Return questions on new stories, of these people, rooms and things."""
    found: list[Question] = []
    while len(found) < count:
        world = World(rng, people, rooms, things)
        while len(world.questions) < QUESTIONS:
            for _ in range(rng.randrange(1, 5)):
                world.act(*KINDS[kind])
            ask(world, difficulty, kind != "actor")
        found += world.questions
    return found[:count]


def ask(world: World, difficulty: int, things: bool) -> None:
    """Ask about somebody or something that was mentioned of late, if the story answers it."""
    recent = [statement.rstrip(".").split() for statement in world.told[-difficulty:]]
    drawn, mentioned = world.rng.choice(recent), {word for statement in recent for word in statement}
    now = world.rng.choice((" now", ""))
    forms: list[tuple[str, str, tuple[int, ...]]] = []
    for person, route in world.routes.items():
        if person in drawn and route:
            forms.append((f"Where is {person}{now}", route[-1][0], (route[-1][1],)))
        if person in drawn and len(route) > 1:
            (before, earlier), (last, later) = route[-2:]
            forms.append((f"Where was {person} before {called(last)}", before, (later, earlier)))
    for name in world.things if things else ():
        if name in mentioned and (known := world.where(name)):
            forms.append((f"Where is the {name}{now}", *known))
    if forms:
        world.ask(*world.rng.choice(forms))
