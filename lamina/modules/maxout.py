"""Maxout: a layer whose units each take the largest of several linear functions of the input.

    hᵢ(x) = max_j (xᵀ W_ij + b_ij),  j = 1 … pieces

Goodfellow, Warde-Farley, Mirza, Courville & Bengio (2013), Maxout networks, section 3.
"""

from jaxtyping import Float
from torch import Tensor, nn


class Maxout(nn.Module):
    """Units that take the maximum over `pieces` linear functions each.

    All pieces are one matrix product; its columns are ordered piece by piece, so that the maximum runs over rows of
    neighboring units. Where pieces tie, the gradient is shared among them.

    Args:
        inputs: features of an example.
        units: maxout units, the features that come out.
        pieces: linear functions a unit.

    Raises:
        ValueError: fewer than one piece.
    """

    def __init__(self, inputs: int, units: int, pieces: int = 5) -> None:
        super().__init__()
        if pieces < 1:
            raise ValueError(f"a maxout unit needs at least 1 piece, got {pieces}")
        self.units, self.pieces = units, pieces
        self.linear = nn.Linear(inputs, pieces * units)

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch units"]:
        pieces: Tensor = self.linear(x).unflatten(-1, (self.pieces, self.units))
        return pieces.amax(-2)

    def extra_repr(self) -> str:
        return f"units={self.units}, pieces={self.pieces}"
