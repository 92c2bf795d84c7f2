"""A classifier: any network that gives logits, trained by cross-entropy.

    loss = −log p(y | x),   p(i | x) = exp(aᵢ) / (exp(−j) + Σₖ exp(aₖ))

The term exp(−j) stands for all that belongs to no class. It is zero (j = ∞) but for LeNet-5 of 1998, whose criterion
this is with aᵢ = −yᵢ: LeCun et al. (1998), eq. 9.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lamina.core import System, Terms


class Classifier(System):
    """A network that tells the class of each example.

    Args:
        inputs: applied to raw input first, as `Standardize`.
        network: its last layer gives the logits, the one before the features.
        rubbish: the penalty j of belonging to no class, in nats; None for no such class.
    """

    def __init__(self, inputs: nn.Module, network: nn.Sequential, rubbish: float | None = None) -> None:
        super().__init__()
        self.inputs, self.network, self.rubbish = inputs, network, rubbish

    @torch.no_grad()
    def predict(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch classes"]:
        """Return class probabilities."""
        return self.logits(x).softmax(1)

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch features"]:
        """Return what the last layer sees."""
        h: Tensor = self.network[:-1](self.inputs(x))
        return h

    def logits(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch classes"]:
        """Return log-probabilities up to a constant."""
        a: Tensor = self.network(self.inputs(x))
        return a

    def loss(self, x: Float[Tensor, "batch *shape"], y: Int[Tensor, " batch"]) -> Terms:
        """Return the cross-entropy in nats."""
        a = self.logits(x)
        if self.rubbish is not None:
            a = F.pad(a, (0, 1), value=-self.rubbish)
        return {"nll": F.cross_entropy(a, y)}

    def metrics(self, x: Float[Tensor, "batch *shape"], y: Int[Tensor, " batch"]) -> Terms:
        a = self.logits(x)
        return {"error": (a.argmax(1) != y).float().mean(), "nll": F.cross_entropy(a, y)}
