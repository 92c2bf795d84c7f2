"""Beam search: the most probable continuations of a text, as far as a search that keeps the best few finds them.

    score(y_1..y_t) = Σ_k log p(y_k | given, y_1..y_{k-1})

At each step, each of the `width` texts kept is continued by every symbol, and the `width` best of all these are kept. A
text that has ended stays as it is, with its score. With a width of at least V^length it is exhaustive, with 1 greedy.

Lowerre (1976), The Harpy speech recognition system; for networks as in Graves (2012) and Sutskever et al. (2014).
"""

from collections.abc import Callable
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

State = TypeVar("State")
Step = Callable[[Tensor, State], tuple[Tensor, State]]
"""From symbols (rows, time) and the state before them to the logits (rows, time, vocabulary) of the symbol after each,
and the state to go on with."""


def first_axis(state: Tensor, rows: Int[Tensor, " chosen"]) -> Tensor:
    """Return the state of some rows, where rows are its first axis."""
    return state.index_select(0, rows)


@torch.no_grad()
def beam_search(
    step: Step[State],
    state: State,
    given: Int[Tensor, " given"],
    length: int,
    width: int,
    end: int | None = None,
    of_rows: Callable[[State, Tensor], State] = first_axis,  # type: ignore[assignment]
) -> tuple[Int[Tensor, "texts {length}"], Float[Tensor, " texts"]]:
    """Return the best continuations, at most `width`, and their log-probabilities in nats, the best first.

    Args:
        step: the model.
        state: before `given`, of one row.
        given: symbols to continue; at least one, such as that which begins a text.
        length: symbols of a continuation.
        width: texts that are kept at each step.
        end: the symbol that ends a text, and fills it up to `length`; None if none does.
        of_rows: picks rows of a state, some perhaps several times.

    Raises:
        ValueError: a length or width below one, or nothing to continue.
    """
    if length < 1 or width < 1 or not len(given):
        raise ValueError(f"a search needs a length, a width and a beginning, got {length}, {width} and {len(given)}")
    logits, state = step(given[None], state)
    texts, scores = given.new_empty(1, 0), logits.new_zeros(1)
    for _ in range(length):
        gains = logits[:, -1].log_softmax(1)
        if end is not None and texts.shape[1]:
            ended = texts[:, -1] == end
            gains[ended] = -torch.inf
            gains[ended, end] = 0.0
        every = (scores[:, None] + gains).flatten()
        scores, places = every.topk(min(width, int(every.isfinite().sum())))
        rows, symbols = places // gains.shape[1], places % gains.shape[1]
        texts = torch.cat([texts[rows], symbols[:, None]], 1)
        if texts.shape[1] == length or (end is not None and bool((symbols == end).all())):
            break
        logits, state = step(symbols[:, None], of_rows(state, rows))
    if texts.shape[1] < length:
        texts = torch.cat([texts, texts.new_full((len(texts), length - texts.shape[1]), end or 0)], 1)
    return texts, scores
