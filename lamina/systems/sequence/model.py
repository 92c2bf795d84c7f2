"""A recurrent network that reads a sequence, and answers at its end or at each step.

With the output h_t of any cell, of T steps:

    at the end:     p(y | x) = softmax(head(h_T)),    nll = −log p(y | x)
    at each step:   p(y_t | x_1..x_t) = softmax(head(h_t)),   nll = mean over all steps of the batch
    numbers:        ŷ = head(h),   squared = mean over the numbers of (ŷ − y)²
    activity:       w · mean over all steps of Σ_i |h_ti|                                          (sparse activations)
    propagation:    w · Ω, see `lamina.systems.sequence.propagation`                           (plain recurrent layers)

Sequences of a `RaggedModel` may end at different steps: `lengths`. What stands after the end of one enters nothing. A
step whose y is `SILENT` asks for no answer. A deep output (Pascanu et al. 2014) is a head of several layers.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from lamina.core import System, Terms
from lamina.modules.cells import Unfold
from lamina.modules.deep_cells import Bidirectional
from lamina.modules.torch_cells import RNN
from lamina.systems.sequence.propagation import propagation

SILENT = -100  # as F.cross_entropy has it
NEAR = 0.04  # a number is right if it is off by less (Hochreiter & Schmidhuber 1997, experiment 4)


class Reader(System):
    """A recurrent network with a head that answers; what `SequenceModel` and `RaggedModel` share.

    Args:
        inputs: applied to raw input first, as `Standardize`.
        unfold: a cell, or two, run over sequences.
        head: from the outputs (..., width) to logits or numbers (..., answers).
        numbers: answers are numbers, y of shape (..., answers); else classes.
        each_step: answer at each step; else at the end.
        activity: weight of the absolute activations.
        propagation: weight of Ω.

    Raises:
        ValueError: a negative weight, or Ω for a cell other than the plain one.
    """

    def __init__(
        self,
        inputs: nn.Module,
        unfold: Unfold | Bidirectional,
        head: nn.Module,
        numbers: bool = False,
        each_step: bool = False,
        activity: float = 0.0,
        propagation: float = 0.0,
    ) -> None:
        super().__init__()
        if min(activity, propagation) < 0:
            raise ValueError(f"weights cannot be negative, got {activity} and {propagation}")
        if propagation and not (isinstance(unfold, Unfold) and isinstance(unfold.cell, RNN)):
            raise ValueError("the propagation term is defined for the plain cell in one direction: use cell=rnn")
        self.inputs, self.unfold, self.head = inputs, unfold, head
        self.numbers, self.each_step = numbers, each_step
        self.activity, self.propagation = activity, propagation
        self.measure = "squared" if numbers else "nll"

    @torch.no_grad()
    def predict(
        self, x: Float[Tensor, "batch *shape"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch *answers"]:
        """Return class probabilities or numbers, (batch, answers), at each step (batch, time, answers)."""
        answers: Tensor = self.head(self.read(x, lengths)[1 - self.each_step])
        answers = answers if self.numbers else answers.softmax(-1)
        return answers.transpose(0, 1) if self.each_step else answers

    @torch.no_grad()
    def encode(
        self, x: Float[Tensor, "batch *shape"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch width"]:
        """Return the output at the end of each sequence."""
        return self.read(x, lengths)[1]

    def read(
        self, x: Float[Tensor, "batch *shape"], lengths: Int[Tensor, " batch"] | None
    ) -> tuple[Float[Tensor, "time batch width"], Float[Tensor, "batch width"]]:
        """Return the outputs at all steps, and those at the end."""
        outputs, state = self.unfold(as_sequences(self.inputs(x)), lengths=lengths)
        return outputs, state[0]

    def terms(self, x: Tensor, y: Tensor, lengths: Tensor | None) -> Terms:
        """Return the error and what else is weighed."""
        outputs, last = self.read(x, lengths)
        error, _ = self.told(outputs, last, y, lengths)
        terms = {self.measure: error}
        if self.activity:
            steps = outputs[..., 0].numel() if lengths is None else lengths.sum()
            terms["activity"] = self.activity * outputs.abs().sum() / steps  # zero after the end
        if self.propagation and torch.is_grad_enabled():
            terms["propagation"] = self.propagation * self.omega(error, outputs, last, lengths)
        return terms

    def figures(self, x: Tensor, y: Tensor, lengths: Tensor | None) -> Terms:
        """Return the error as it is minimized, and the share of sequences with a wrong answer."""
        value, wrong = self.told(*self.read(x, lengths), y, lengths)
        return {self.measure: value, "error": wrong.float().mean()}

    def told(self, outputs: Tensor, last: Tensor, y: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the error as a mean, and which sequences have a wrong answer (batch,)."""
        answers = self.head(outputs.transpose(0, 1) if self.each_step else last)
        past = None  # steps of padding
        if self.each_step and lengths is not None:
            past = torch.arange(len(outputs), device=y.device) >= lengths[:, None]
        if self.numbers:
            off = answers - y if past is None else (answers - y).masked_fill(past[:, :, None], 0.0)
            count = y.numel() if past is None else (~past).sum() * y.shape[2]
            return off.square().sum() / count, (off.abs() >= NEAR).flatten(1).any(1)
        y = y if past is None else y.masked_fill(past, SILENT)
        wrong = (answers.argmax(-1) != y) & (y != SILENT)
        return F.cross_entropy(answers.flatten(0, -2), y.flatten(), ignore_index=SILENT), wrong.view(len(y), -1).any(1)

    def omega(self, error: Tensor, outputs: Tensor, last: Tensor, lengths: Tensor | None) -> Tensor:
        """Return Ω, for which the error goes back through the head, and then through time."""
        cell = self.unfold.cell if isinstance(self.unfold, Unfold) else None
        assert isinstance(cell, RNN)
        at_steps, at_end = torch.autograd.grad(
            error, (outputs, last), retain_graph=True, allow_unused=True, materialize_grads=True
        )
        ends = torch.full((len(last),), len(outputs), device=last.device) if lengths is None else lengths
        at_end = torch.zeros_like(outputs).scatter_(0, (ends - 1)[None, :, None].expand_as(last[None]), at_end[None])
        return propagation(cell.across, cell.slopes(outputs), at_steps + at_end)


class SequenceModel(Reader):
    """A reader of sequences that have one length in each batch."""

    def loss(self, x: Float[Tensor, "batch *shape"], y: Shaped[Tensor, "batch *answers"]) -> Terms:
        """Return the error and what else is weighed."""
        return self.terms(x, y, None)

    def metrics(self, x: Float[Tensor, "batch *shape"], y: Shaped[Tensor, "batch *answers"]) -> Terms:
        """Return the error, and the share of sequences with a wrong answer."""
        return self.figures(x, y, None)


class RaggedModel(Reader):
    """A reader of sequences that end at different steps."""

    def loss(
        self, x: Float[Tensor, "batch *shape"], y: Shaped[Tensor, "batch *answers"], lengths: Int[Tensor, " batch"]
    ) -> Terms:
        """Return the error and what else is weighed."""
        return self.terms(x, y, lengths)

    def metrics(
        self, x: Float[Tensor, "batch *shape"], y: Shaped[Tensor, "batch *answers"], lengths: Int[Tensor, " batch"]
    ) -> Terms:
        """Return the error, and the share of sequences with a wrong answer."""
        return self.figures(x, y, lengths)


def as_sequences(x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "time batch inputs"]:
    """Return examples as sequences: numbers of a row one by one, rows of a picture from its top."""
    if x.ndim == 2:
        return x.t()[:, :, None]
    if x.ndim > 3:  # batch, channels, height, width
        x = x.movedim(-2, 1).flatten(2)
    return x.transpose(0, 1)
