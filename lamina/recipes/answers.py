"""Networks that answer questions on stories and are trained by the statements that answers follow from, too."""

from functools import partial

import torch

from lamina.core import Run
from lamina.data.batches import Batches, in_order
from lamina.data.dataset import Data
from lamina.data.examples import spread
from lamina.optim.schedules import one_cycle
from lamina.recipes.registry import recipe
from lamina.recipes.stories import questions
from lamina.systems.memory.memnn import MemNN


@recipe(
    paper="Weston, Chopra & Bordes (2015), Memory networks, table 3 (k = 2 with time, actor and object, difficulty 5)",
    figure="error",
    published=0.006,
    data="world:object:5",
)
def memnn(
    data: Data,
    seed: int = 0,
    hidden: int = 50,
    looks: int = 2,
    time: bool = True,
    matching: bool = True,
    order: bool = True,
    unseen: float = 0.0,
    margin: float = 0.1,
    negatives: int = 0,
    batch: int = 32,
    lr: float = 0.01,
    epochs: int = 20,
) -> Run:
    """Train a memory network to find the statements that an answer follows from, and the answer.

    Args:
        data: stories with questions, answers, and the statements that they follow from.
        seed: of the weights, the order of the questions, and what is drawn while training.
        hidden: numbers of each vector.
        looks: k, statements that are looked up.
        time: compare statements by when they were written.
        matching: have features for words that two sentences share.
        order: let the order of words count, as it must where somebody gives something to another; not in the paper.
        unseen: share of the words that are taken for unseen in half of the questions, so that new words get features
            by their neighbors; with 0 they have none.
        margin: γ of the ranking.
        negatives: statements and words that each margin is drawn over, 1 in the paper; with 0 it is over all.
        batch: questions of an update.
        lr: learning rate at its highest.
        epochs: passes over the questions.

    Raises:
        ValueError: the data has no questions, or its answers have no supporting statements.
    """
    symbols, _, _ = questions(data)
    if len(data.train) > 1 and not spread(data.train)["support"].any():  # one blank example rebuilds a saved system
        raise ValueError(f"{data.name} does not say which statements its answers follow from; use memn2n")
    return Run(
        system=MemNN(symbols, hidden, looks, time, matching, order, unseen, margin, negatives),
        train=Batches(data.train, min(batch, len(data.train)), tail=False, seed=seed),
        optimizer=partial(torch.optim.Adam, lr=lr, fused=True),
        schedules={"lr": one_cycle(lr)},
        epochs=epochs,
        keep="last",  # several epochs have no wrong answer on the validation questions
        valid=in_order(data.valid),
        test=in_order(data.test),
    )
