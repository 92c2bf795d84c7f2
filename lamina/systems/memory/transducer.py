"""A recurrent cell that reads a sequence and says bits at each step, of which those of the answer count.

    L = −Σ_t told_t Σ_j log₂ p(y_tj),   p(y_tj = 1) = σ(V_j s_t + b_j)

with the outputs s_t of any cell (`lamina.modules.cells`): an LSTM, or a neural Turing machine (`lamina.modules.ntm`).
What a tape is, and where it is told, is the data's matter: `lamina.data.tapes`. Graves, Wayne & Danihelka (2014),
Neural Turing machines, section 4.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lamina.core import System, Terms
from lamina.modules.cells import Cell, Unfold


class Transducer(System):
    """A cell that answers sequences of numbers by sequences of bits.

    Args:
        cell: what reads.
        outputs: bits of a step.

    Raises:
        ValueError: there is no output.
    """

    def __init__(self, cell: Cell, outputs: int) -> None:
        super().__init__()
        if outputs < 1:
            raise ValueError(f"there must be at least 1 output, got {outputs}")
        self.reader, self.readout = Unfold(cell), nn.Linear(cell.width, outputs)

    def logits(self, x: Float[Tensor, "batch time inputs"]) -> Float[Tensor, "batch time outputs"]:
        """Return the log-odds that a bit is one.

        Raises:
            ValueError: steps of another size.
        """
        if x.shape[2] != self.reader.cell.inputs:
            raise ValueError(f"a step has {x.shape[2]} numbers, where the cell reads {self.reader.cell.inputs}")
        outputs, _ = self.reader(x.transpose(0, 1))
        logits: Tensor = self.readout(outputs)
        return logits.transpose(0, 1)

    @torch.no_grad()
    def answer(self, x: Float[Tensor, "batch time inputs"]) -> Float[Tensor, "batch time outputs"]:
        """Return the probability that a bit is one, at each step of a sequence."""
        return self.logits(x).sigmoid()

    def loss(
        self,
        tape: Float[Tensor, "batch time inputs"],
        y: Bool[Tensor, "batch time outputs"],
        told: Bool[Tensor, "batch time"],
    ) -> Terms:
        """Return the bits that an answer costs."""
        return {"bits": cost(self.logits(tape), y, told).mean()}

    def metrics(
        self,
        tape: Float[Tensor, "batch time inputs"],
        y: Bool[Tensor, "batch time outputs"],
        told: Bool[Tensor, "batch time"],
    ) -> Terms:
        """Return the bits that an answer costs, the share of its bits that are wrong, and that of answers with any."""
        logits = self.logits(tape)
        wrong = (((logits > 0) != y) & told[..., None]).flatten(1).sum(1)
        share = wrong / (told.sum(1) * y.shape[2]).clamp_min(1)
        return {"bits": cost(logits, y, told).mean(), "error": share.mean(), "failed": (wrong > 0).float().mean()}


def cost(
    logits: Float[Tensor, "batch time outputs"], y: Bool[Tensor, "batch time outputs"], told: Bool[Tensor, "batch time"]
) -> Float[Tensor, " batch"]:
    """Return the bits that each answer costs."""
    nats = F.binary_cross_entropy_with_logits(logits, y.to(logits), reduction="none").sum(2)
    return (nats * told).sum(1) / math.log(2)
