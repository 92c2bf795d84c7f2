"""Real numbers as bits: the number of an equal cell between two ends, in the reflected binary (Gray) code.

    i = ⌊2^B (x - low) / (high - low)⌋ in 0..2^B - 1,   code = i xor ⌊i / 2⌋

Neighboring cells differ in one bit, so that estimators which flip bits compare a point with its neighbors, and by the
higher bits with its mirror images. A probability of the bits is a density of the numbers, constant within a cell:
log p(x) = log P(code) - log of the cell's volume. Gray (1953), Pulse code communication, US patent 2632058.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from lamina.core import Batch
from lamina.data.dataset import Data
from lamina.data.examples import Mapped


@dataclass(frozen=True)
class GrayCode:
    """Cells of equal size between the ends of each number; what lies beyond belongs to the outermost.

    Args:
        low: lower end of each number.
        high: upper end.
        bits: of a number.
    """

    low: Float[Tensor, "features"]
    high: Float[Tensor, "features"]
    bits: int = 6

    @classmethod
    def fitted(cls, x: Float[Tensor, "examples features"], bits: int = 6, margin: float = 1 / 6) -> "GrayCode":
        """Return a code from below the least to above the largest of each number, by a share of their distance."""
        low, high = x.aminmax(dim=0)
        return cls(low - margin * (high - low), high + margin * (high - low), bits)

    @property
    def log_volume(self) -> float:
        """Log of a cell's volume."""
        return float((self.high - self.low).log().sum()) - self.bits * len(self.low) * math.log(2)

    def coded(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch coded"]:
        """Return the bits of the numbers, the highest of each first."""
        cells = 2**self.bits
        i = ((x - self.low) / (self.high - self.low) * cells).floor().clamp(0, cells - 1).long()
        places = torch.arange(self.bits - 1, -1, -1, device=x.device)
        gray: Tensor = i ^ i >> 1
        return (gray[..., None] >> places & 1).to(x.dtype).flatten(1)

    def applied(self, data: Data) -> Data:
        """Return the data set with its `x` as bits."""

        def mapped(batch: Batch) -> Batch:
            return batch | {"x": self.coded(batch["x"])}

        return replace(
            data,
            name=f"{data.name} in Gray code",
            train=Mapped(data.train, mapped),
            valid=data.valid and Mapped(data.valid, mapped),
            test=data.test and Mapped(data.test, mapped),
            unlabelled=None,
        )
