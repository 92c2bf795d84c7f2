"""A simulated world: people go about, take, give and leave things, and what they do is told in sentences.

Where everybody and everything is at first is drawn and not told. The world keeps, beside what is true, which statements
of the story it was told by, so that a question is asked only where the story answers it, with the least statements that
do.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random

from lamina.data.stories import Question

PEOPLE = ("Mary", "John", "Sandra", "Daniel")
FRIENDS = ("Fred", "Bill", "Julie", "Mary")
ROOMS = ("bedroom", "kitchen", "garden", "hallway", "bathroom", "office")
TOWN = ("bedroom", "kitchen", "cinema", "park", "school", "office")
THINGS = ("apple", "football", "milk")
MEN = {"John", "Daniel"}

GO = ("went to", "went back to", "journeyed to", "travelled to", "moved to")
TAKE = ("got", "took", "grabbed", "picked up")
LEAVE = ("dropped", "left", "put down", "discarded")
GIVE = ("gave", "handed", "passed")
THERE = (" there", "")


class Story:
    """A story while it is told, and the questions on the way.

    Args:
        rng: what is drawn comes from it.
    """

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.told: list[str] = []
        self.questions: list[Question] = []

    def tell(self, sentence: str) -> int:
        """Add a statement and return its place."""
        self.told.append(sentence[0].upper() + sentence[1:] + ".")
        return len(self.told) - 1

    def ask(self, question: str, answer: str, support: Iterable[int]) -> None:
        """Ask something about the story so far."""
        self.questions.append(Question(tuple(self.told), question + "?", answer, tuple(support)))

    def since(self) -> int:
        """Return the number of statements since the last question."""
        return len(self.told) - (len(self.questions[-1].story) if self.questions else 0)

    def shuffled(self, sentences: Sequence[str]) -> list[int]:
        """Tell statements in random order; return the place of each."""
        order = self.rng.sample(range(len(sentences)), len(sentences))
        places = {which: self.tell(sentences[which]) for which in order}
        return [places[which] for which in range(len(sentences))]


@dataclass
class Thing:
    """A thing: where it lies or who holds it, and how the story tells that.

    Args:
        place: where it lies, while nobody holds it.
        holder: who holds it.
        on: what it stands on, if it was put there.
        fact: statement by which it came to where it is, taken, given or left; None if the story has none.
        carried: statement by which its last holder came to hold it.
        trail: places that the last holder brought it to, as far as they are told, and the statements that tell them.
    """

    place: str
    holder: str = ""
    on: str = ""
    fact: int | None = None
    carried: int = 0
    trail: list[tuple[str, int]] = field(default_factory=list)


class World(Story):
    """People, places and things.

    Args:
        rng: what is drawn comes from it.
        people: who acts.
        rooms: where they go.
        things: what they carry.
    """

    def __init__(
        self,
        rng: Random,
        people: Sequence[str] = PEOPLE,
        rooms: Sequence[str] = ROOMS,
        things: Sequence[str] = THINGS,
    ) -> None:
        super().__init__(rng)
        self.people, self.rooms = people, rooms
        self.at = {person: rng.choice(rooms) for person in people}
        self.things = {thing: Thing(rng.choice(rooms)) for thing in things}
        self.seen: dict[str, int] = {}  # the statement that tells where somebody is
        self.routes: dict[str, list[tuple[str, int]]] = {person: [] for person in people}  # and all before it
        self.lost: dict[str, int] = {}  # the last one by which somebody gave a thing away or left it
        self.gifts: list[tuple[str, str, str, int]] = []  # giver, thing, receiver, statement

    def act(self, *kinds: Callable[["World"], bool]) -> None:
        """Let something happen, of a kind that is drawn; of those that cannot happen now, nothing is told."""
        while not self.rng.choice(kinds)(self):
            pass

    def held_by(self, person: str) -> list[str]:
        """Return what somebody holds, in the order in which it came to them."""
        held = [name for name, thing in self.things.items() if thing.holder == person]
        return sorted(held, key=lambda name: self.things[name].fact or 0)

    def moved(self, person: str, room: str, fact: int) -> None:
        """Note that a statement tells of somebody's arrival."""
        self.at[person], self.seen[person] = room, fact
        self.routes[person].append((room, fact))
        for thing in self.things.values():
            if thing.holder == person:
                thing.trail.append((room, fact))

    def received(self, person: str, name: str, fact: int) -> None:
        """Note that a statement tells how somebody came to hold a thing."""
        trail = [(self.at[person], self.seen[person])] if person in self.seen else []
        self.things[name] = Thing("", person, fact=fact, carried=fact, trail=trail)

    def where(self, name: str) -> tuple[str, tuple[int, ...]] | None:
        """Return where a thing is and the statements that tell it, or None if they do not."""
        thing = self.things[name]
        if thing.fact is None or not thing.trail:
            return None
        return thing.trail[-1][0], (thing.fact, thing.trail[-1][1])


def go(world: World) -> bool:
    """Let somebody go elsewhere."""
    person = world.rng.choice(world.people)
    room = world.rng.choice([room for room in world.rooms if room != world.at[person]])
    world.moved(person, room, world.tell(f"{person} {world.rng.choice(GO)} {called(room)}"))
    return True


def called(place: str) -> str:
    """Return a place with its article; a name, which has a capital, has none."""
    return place if place[0].isupper() else f"the {place}"


def take(world: World) -> bool:
    """Let somebody take what lies where they are."""
    able = [(p, n) for p in world.people for n, t in world.things.items() if not t.holder and t.place == world.at[p]]
    if not able:
        return False
    person, name = world.rng.choice(able)
    on = world.things[name].on
    place = f" from the {on}" if on else world.rng.choice(THERE)
    world.received(person, name, world.tell(f"{person} {world.rng.choice(TAKE)} the {name}{place}"))
    return True


def leave(world: World, on: str = "") -> bool:
    """Let somebody leave a thing where they are, or put it on something there."""
    held = [name for name, thing in world.things.items() if thing.holder]
    if not held:
        return False
    name = world.rng.choice(held)
    thing = world.things[name]
    person, thing.place = thing.holder, world.at[thing.holder]
    done = f"put the {name} on the {on}" if on else f"{world.rng.choice(LEAVE)} the {name}{world.rng.choice(THERE)}"
    thing.holder, thing.on = "", on
    thing.fact = world.lost[person] = world.tell(f"{person} {done}")
    return True


def give(world: World) -> bool:
    """Let somebody give a thing to another who is there."""
    at = world.at
    able = [
        (name, person)
        for name, thing in world.things.items()
        for person in world.people
        if thing.holder and person != thing.holder and at[person] == at[thing.holder]
    ]
    if not able:
        return False
    name, person = world.rng.choice(able)
    giver, verb = world.things[name].holder, world.rng.choice(GIVE)
    fact = world.tell(f"{giver} {verb} the {name} to {person}")
    world.received(person, name, fact)
    world.lost[giver] = fact
    world.gifts.append((giver, name, person, fact))
    return True
