"""Answers questions about a story whose names were never seen in training: python ring.py [questions to learn from].

A memory network learns from a simulated world of other people, places and things. While it learns, some words of some
stories are taken for unseen, so that it also learns to tell from its neighbors what an unseen word is.
"""

import sys
from functools import partial
from random import Random

from lamina.data.examples import whole
from lamina.data.stories import Question, from_questions, numbered, tokens
from lamina.data.world import PEOPLE, ROOMS, THINGS, simulated
from lamina.recipes.answers import memnn
from lamina.train.trainer import Epoch, Trainer

STORY = (
    "Bilbo travelled to the cave.",
    "Gollum dropped the ring there.",
    "Bilbo took the ring.",
    "Bilbo went back to the Shire.",
    "Bilbo left the ring there.",
    "Frodo got the ring.",
    "Frodo journeyed to Mount-Doom.",
    "Frodo dropped the ring there.",
    "Sauron died.",
    "Frodo went back to the Shire.",
    "Bilbo travelled to the Grey-havens.",
    "The End.",
)
ASKED = (
    ("Where is the ring?", "mount-doom"),
    ("Where is Bilbo now?", "grey-havens"),
    ("Where is Frodo now?", "shire"),
)
PLACES = (*ROOMS, "London", "Paris", "Rome", "Oslo", "Lisbon")  # with an article, and names without one

count = int(sys.argv[1]) if len(sys.argv) > 1 else 2700
told = partial(simulated, "object", 5, people=PEOPLE, rooms=PLACES, things=THINGS)
data = from_questions("journeys", told(count, Random(1)), told(300, Random(2)))
run = memnn(data, unseen=0.5, epochs=10)
for event in Trainer(run):
    if isinstance(event, Epoch):
        print(f"epoch {event.number}: {event.valid['error']:.1%} of the questions on other stories are answered wrong")

questions = [Question(STORY, question, answer) for question, answer in ASKED]
new = {word for sentence in (*STORY, *(one.question for one in questions)) for word in tokens(sentence)}
symbols = (*data.classes, *sorted(new - set(data.classes)))  # unseen words get numbers of their own
print(f"not seen in training: {', '.join(symbols[len(data.classes) :])}")
batch = whole(numbered(questions, symbols, len(STORY)))
run.system.eval()
p, looks = run.system.answer(batch["story"], batch["question"])
for one, likely, found in zip(questions, p, looks, strict=True):
    print(f"\n{one.question}  {symbols[likely.argmax()]}  ({likely.max():.3f})")
    for age in found.argmax(1)[found.any(1)].tolist():
        print(f"    {STORY[-1 - age]}")
print(f"\n{sum(symbols[row.argmax()] == one.answer for one, row in zip(questions, p, strict=True))} of 3 right")
