"""Tasks 4, 17 and 19: places and shapes on a grid."""

from random import Random

from lamina.data.babi.world import ROOMS, Story

STEPS = {"north": (0, 1), "south": (0, -1), "east": (1, 0), "west": (-1, 0)}
SIDES = {"above": (0, 1), "below": (0, -1), "to the right of": (1, 0), "to the left of": (-1, 0)}
COLORS = ("red", "blue", "pink", "yellow")
FORMS = ("square", "rectangle", "triangle", "sphere")
SHAPES = tuple(f"{color} {form}" for form in FORMS for color in COLORS) + FORMS

Place = tuple[int, int]


def opposite(word: str, words: dict[str, Place]) -> str:
    """Return the word for the opposite direction."""
    x, y = words[word]
    return next(found for found, step in words.items() if step == (-x, -y))


def stated(rng: Random, here: str, word: str, there: str, words: dict[str, Place]) -> tuple[str, str, str]:
    """Return a relation, or the same told from the other side."""
    return (here, word, there) if rng.random() < 0.5 else (there, opposite(word, words), here)


def what_is_next(rng: Random) -> Story:
    """4: relations of two arguments, of three rooms in a line."""
    story = Story(rng)
    first, middle, last = rng.sample(ROOMS, 3)
    word = rng.choice(("north", "east"))
    relations = [stated(rng, first, word, middle, STEPS), stated(rng, middle, word, last, STEPS)]
    facts = story.shuffled([f"the {a} is {told} of the {b}" for a, told, b in relations])
    which = rng.randrange(2)
    a, told, b = relations[which]
    if a == middle:
        story.ask(f"What is the {a} {told} of", b, [facts[which]])
    else:
        story.ask(f"What is {told} of the {b}", a, [facts[which]])
    return story


def is_it_beside(rng: Random) -> Story:
    """17: positions of three shapes, each beside the one before."""
    story = Story(rng)
    shapes = rng.sample(SHAPES, 3)
    while any(a != b and a.endswith(b) for a in shapes for b in shapes):  # "triangle" could be the pink triangle
        shapes = rng.sample(SHAPES, 3)
    places: list[Place] = [(0, 0)]
    relations = []
    while len(places) < 3:
        word = rng.choice(list(SIDES))
        place = (places[-1][0] + SIDES[word][0], places[-1][1] + SIDES[word][1])
        if place not in places:
            relations.append(stated(rng, shapes[len(places)], word, shapes[len(places) - 1], SIDES))
            places.append(place)
    facts = [story.tell(f"the {a} is {word} the {b}") for a, word, b in relations]
    for _ in range(8):
        i, j = rng.sample(range(3), 2)
        gap = (places[i][0] - places[j][0], places[i][1] - places[j][1])
        axis = rng.choice([k for k in (0, 1) if gap[k]])
        word = rng.choice([found for found, step in SIDES.items() if step[axis]])
        answer = "yes" if gap[axis] * SIDES[word][axis] > 0 else "no"
        support = facts if abs(i - j) == 2 else [facts[min(i, j)]]
        story.ask(f"Is the {shapes[i]} {word} the {shapes[j]}", answer, support)
    return story


def how_to_go(rng: Random) -> Story:
    """19: a path of two steps among six rooms; rooms that are side by side are told to be."""
    story = Story(rng)
    rooms = rng.sample(ROOMS, len(ROOMS))
    places: list[Place] = [(0, 0)]
    edges: dict[tuple[int, int], str] = {}  # from one room to a neighbor, by which step
    sentences = []
    while len(places) < len(rooms):
        new, old, word = len(places), rng.randrange(len(places)), rng.choice(list(STEPS))
        place = (places[old][0] + STEPS[word][0], places[old][1] + STEPS[word][1])
        beside = sum((place[0] + x, place[1] + y) in places for x, y in STEPS.values())
        if place in places or beside > 1:
            continue
        places.append(place)
        edges |= {(old, new): word, (new, old): opposite(word, STEPS)}
        a, told, b = stated(rng, rooms[new], word, rooms[old], STEPS)
        sentences.append(f"the {a} is {told} of the {b}")
    facts = story.shuffled(sentences)
    paths = [(i, j, k) for i, j in edges for other, k in edges if other == j and k != i]
    i, j, k = rng.choice(paths)
    answer = f"{edges[i, j][0]},{edges[j, k][0]}"
    support = [facts[max(i, j) - 1], facts[max(j, k) - 1]]  # room n came with sentence n - 1
    story.ask(f"How do you go from the {rooms[i]} to the {rooms[k]}", answer, support)
    return story
