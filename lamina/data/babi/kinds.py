"""Tasks 15, 16, 18 and 20: what follows from the kind, the size and the mood of somebody or something."""

from random import Random

from lamina.data.babi.facts import QUESTIONS
from lamina.data.babi.world import GO, TAKE, THERE, Story

PLURALS = {"mouse": "mice", "sheep": "sheep", "wolf": "wolves", "cat": "cats"}
NAMES = ("Gertrude", "Winona", "Jessica", "Emily")
PETS = ("Lily", "Bernhard", "Greg", "Julius", "Brian")
ANIMALS = ("swan", "lion", "frog", "rhino")
COLORS = ("gray", "white", "yellow", "green")
SMALL = ("chocolate", "box of chocolates")  # smallest first; the containers are larger
CONTAINERS = ("suitcase", "container", "box", "chest")
MOODS = {  # where one goes and what one gets
    "hungry": ("kitchen", "apple"),
    "thirsty": ("kitchen", "milk"),
    "bored": ("garden", "football"),
    "tired": ("bedroom", "pajamas"),
}
PEOPLE = ("Jason", "Antoine", "Sumit", "Yann")


def what_is_feared(rng: Random) -> Story:
    """15: deduction."""
    story = Story(rng)
    feared = {kind: rng.choice([other for other in PLURALS if other != kind]) for kind in PLURALS}
    kinds = dict(zip(NAMES, rng.sample(list(PLURALS), len(NAMES)), strict=True))
    sentences = [f"{name} is a {kind}" for name, kind in kinds.items()]
    sentences += [f"{PLURALS[kind]} are afraid of {PLURALS[other]}" for kind, other in feared.items()]
    facts = story.shuffled(sentences)
    for name in rng.sample(NAMES, len(NAMES)):
        kind = kinds[name]
        support = [facts[NAMES.index(name)], facts[len(NAMES) + list(PLURALS).index(kind)]]
        story.ask(f"What is {name} afraid of", feared[kind], support)
    return story


def what_color(rng: Random) -> Story:
    """16: induction, as animals of a kind have one color."""
    story = Story(rng)
    color = {animal: rng.choice(COLORS) for animal in ANIMALS}
    names = rng.sample(PETS, len(PETS))  # the first is asked for, the second is of its kind
    kinds = [rng.choice(ANIMALS) for _ in names]
    kinds[1] = kinds[0]
    sentences = [f"{name} is a {kind}" for name, kind in zip(names, kinds, strict=True)]
    sentences += [f"{name} is {color[kind]}" for name, kind in zip(names[1:], kinds[1:], strict=True)]
    facts = story.shuffled(sentences)
    story.ask(f"What color is {names[0]}", color[kinds[0]], [facts[0], facts[1], facts[len(names)]])
    return story


def does_it_fit(rng: Random) -> Story:
    """18: sizes, of two things that are compared to a third."""
    story = Story(rng)
    order = [*SMALL, *rng.sample(CONTAINERS, len(CONTAINERS))]
    small, middle, large = sorted(rng.sample(range(len(order)), 3))
    known = {(small, middle): 0, (middle, large): 0}  # a smaller and a larger thing, and the statement
    while len(known) < 5:
        a, b = sorted(rng.sample(range(len(order)), 2))
        if (a, b) != (small, large):
            known[a, b] = 0
    names = [(order[a], order[b]) for a, b in known]
    told = [rng.choice((f"the {a} fits inside the {b}", f"the {b} is bigger than the {a}")) for a, b in names]
    known = dict(zip(known, story.shuffled(told), strict=True))
    steps = [(a, b, c) for a, b in known for other, c in known if other == b and (a, c) not in known]
    for a, b, c in rng.sample(steps, min(QUESTIONS, len(steps))):
        fits = rng.random() < 0.5
        inside, outside = (order[a], order[c]) if fits else (order[c], order[a])
        form = rng.choice((f"Does the {inside} fit in the {outside}", f"Is the {outside} bigger than the {inside}"))
        story.ask(form, "yes" if fits else "no", [known[a, b], known[b, c]])
    return story


def why(rng: Random) -> Story:
    """20: motives."""
    story = Story(rng)
    moods = {person: rng.choice(list(MOODS)) for person in PEOPLE}
    turns = [person for person in PEOPLE for _ in range(3)]
    rng.shuffle(turns)
    first: dict[str, int] = {}
    for turn, person in enumerate(turns):
        mood = moods[person]
        room, thing = MOODS[mood]
        step = turns[:turn].count(person)
        if step == 0:
            first[person] = story.tell(f"{person} is {mood}")
            story.ask(f"Where will {person} go", room, [first[person]])
        elif step == 1:
            story.tell(f"{person} {rng.choice(GO)} the {room}")
            story.ask(f"Why did {person} go to the {room}", mood, [first[person]])
        else:
            story.tell(f"{person} {rng.choice(TAKE)} the {thing}{rng.choice(THERE)}")
            story.ask(f"Why did {person} get the {thing}", mood, [first[person]])
    return story
