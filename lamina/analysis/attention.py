"""Which statements of a story an answer comes from: a picture of the weight that each look at the story gives them.

A row for each statement, in the order of the story, and a column for each hop; black is a weight of 1, and a dot marks
the statements that the answer is known to follow from. Plots need matplotlib (`lamina[report]`).
"""

from collections.abc import Sequence
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from lamina.core import Answers
from lamina.data.examples import whole
from lamina.data.stories import Question, numbered

SHOWN = 0.005  # weight from which it is written down


def looked(
    system: Answers, symbols: Sequence[str], one: Question
) -> tuple[Float[Tensor, " vocabulary"], Float[Tensor, "statements looks"]]:
    """Return the probabilities of the answers, and the weights of the last statements, in the order of the story.

    Args:
        system: a trained system.
        symbols: its vocabulary, as `Data.classes`.
        one: a question; its answer and support are not read.
    """
    asked = whole(numbered([one], symbols, max(1, len(one.story))))
    p, attention = system.answer(asked["story"], asked["question"])
    return p[0], attention[0, :, : len(one.story)].T.flip(0)


def plot_attention(system: Answers, symbols: Sequence[str], questions: Sequence[Question], path: Path) -> None:
    """Write a picture of the looks at the stories of some questions, as PNG, SVG or PDF by the file's name.

    Args:
        system: a trained system.
        symbols: its vocabulary, as `Data.classes`.
        questions: a panel for each.
        path: of the picture.
    """
    from matplotlib.figure import Figure

    found = [looked(system, symbols, one) for one in questions]
    rows = [len(weights) for _, weights in found]
    figure = Figure(figsize=(6, 0.22 * sum(rows) + 0.7 * len(rows)), layout="constrained")
    panels = figure.subplots(len(rows), 1, height_ratios=rows, squeeze=False)[:, 0]
    for panel, one, (p, weights) in zip(panels, questions, found, strict=True):
        panel.imshow(weights.numpy(), cmap="Greys", vmin=0, vmax=1, aspect="auto")
        marked = [f"{'• ' if place in one.support else ''}{told}" for place, told in enumerate(one.story)]
        panel.set_yticks(range(len(weights)), marked[len(marked) - len(weights) :], fontsize=8)
        panel.set_xticks(range(weights.shape[1]), [f"hop {k + 1}" for k in range(weights.shape[1])], fontsize=8)
        panel.set_title(f"{one.question}  {symbols[int(p.argmax())]} ({float(p.max()):.2f})", fontsize=9, loc="left")
        panel.tick_params(length=0)
        for row, looks in enumerate(weights.tolist()):
            for hop, weight in enumerate(looks):
                if weight >= SHOWN:
                    color = "white" if weight > 0.5 else "black"
                    panel.text(hop, row, f"{weight:.2f}", ha="center", va="center", fontsize=7, color=color)
    figure.savefig(path, dpi=120)
