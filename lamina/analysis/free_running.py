"""The error of a model that reads its own symbols, by how far it has gone without the true ones.

After a stretch of true text x_1..x_c a model goes on alone: y_1, y_2, ... are drawn from it. At distance k

    free(k)   = −log p(x_{c+k} | x_1..x_c, y_1..y_{k-1})       forced(k) = −log p(x_{c+k} | x_1..x_{c+k-1})

in nats, averaged over many stretches; at distance 1 both are the same. Training by teacher forcing minimizes the second
alone. Some of the difference would remain with a perfect model, since another continuation than the true one may be as
good: compare models with each other, at the same places of the same text.

Bengio, Vinyals, Jaitly & Shazeer (2015), Scheduled sampling for sequence prediction with recurrent neural networks,
section 2.3. Plots need matplotlib (`lamina[report]`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
READS = {"free": "own symbols", "forced": "true symbols"}


@dataclass
class Horizon:
    """Errors in nats at distances 1, 2, ..., one row a stretch of text."""

    free: Float[Tensor, "stretches distances"]
    forced: Float[Tensor, "stretches distances"]

    def means(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the mean at each distance, and its standard error."""
        both = {"free": self.free, "forced": self.forced}
        return {name: (found.mean(0), found.std(0) / len(found) ** 0.5) for name, found in both.items()}


@torch.no_grad()
def free_running(
    step: Step,
    nothing: Callable[[int], Tensor],
    text: Int[Tensor, " symbols"],
    context: int = 50,
    horizon: int = 30,
    stretches: int = 500,
) -> Horizon:
    """Return the errors of a model on stretches that are spread evenly over a text; symbols are drawn by torch's seed.

    Args:
        step: from symbols (rows, time) and a state to logits and the state after, as `LanguageModel.following`.
        nothing: the state before a text, for so many rows, as `LanguageModel.nothing`.
        text: true symbols.
        context: symbols of each stretch that the model reads first.
        horizon: symbols that it then goes on by.
        stretches: how many; they may overlap.

    Raises:
        ValueError: a size below one, or a text that is shorter than a stretch.
    """
    if min(context, horizon, stretches) < 1 or len(text) < context + horizon:
        raise ValueError(f"{len(text)} symbols hold no stretch of {context} + {horizon}, or a size is below 1")
    begins = torch.linspace(0, len(text) - context - horizon, stretches).long()
    rows = text[begins[:, None] + torch.arange(context + horizon)]
    logits, state = step(rows[:, :context], nothing(stretches))
    logits = logits[:, -1:]
    own = true = (logits, state)
    errors: tuple[list[Tensor], list[Tensor]] = ([], [])
    for k, symbols in enumerate(rows[:, context:, None].unbind(1), 1):
        for found, (told, _) in zip(errors, (own, true), strict=True):
            found.append(-told[:, -1].log_softmax(1).gather(1, symbols))
        if k < horizon:
            own = step(torch.multinomial(own[0][:, -1].softmax(1), 1), own[1])
            true = step(symbols, true[1])
    free, forced = (torch.cat(found, 1) for found in errors)
    return Horizon(free, forced)


def plot_free_running(models: Mapping[str, Horizon], path: Path) -> None:
    """Write a picture of the errors by distance, as PNG, SVG or PDF by the file's name.

    Args:
        models: errors by the name of the model; the bands are two standard errors wide each way.
        path: of the picture.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    for number, (name, horizon) in enumerate(models.items()):
        for kind, (mean, error) in horizon.means().items():
            distance, style = range(1, len(mean) + 1), "-" if kind == "free" else ":"
            axes.plot(distance, mean.tolist(), style, color=f"C{number}", label=f"{name}, {READS[kind]}")
            low, high = ((mean + sign * 2 * error).tolist() for sign in (-1, 1))
            axes.fill_between(distance, low, high, color=f"C{number}", alpha=0.15, linewidth=0)
    axes.set(xlabel="distance from the last true symbol that it has read", ylabel="−log p of the true symbol, nats")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper left", ncols=2, frameon=False)
    figure.savefig(path, dpi=120)
