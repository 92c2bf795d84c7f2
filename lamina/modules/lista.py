"""Feed-forward networks that predict sparse codes.

    LISTA: z₁ = h(xWᵀ; θ),  z_{t+1} = h(xWᵀ + z_t S; θ)       h(u; θ) = sign(u) max(|u| - θ, 0)
    tanh:  z = g ∘ tanh(xWᵀ + d)

- LISTA unrolls the steps of ISTA and learns W, S and θ, which all steps share: Gregor & LeCun (2010), Learning fast
  approximations of sparse coding, section 3. With W = B/L, S = I - BBᵀ/L and θ = λ/L its T layers are T steps of ISTA
  from zero. One layer is a plain shrinkage encoder.
- The tanh encoder is that of Kavukcuoglu, Ranzato & LeCun (2008), Fast inference in sparse coding algorithms with
  applications to object recognition, section 2.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class LISTA(nn.Module):
    """Layers of shrinkage with shared weights, which begin as steps of ISTA.

    Args:
        B: the dictionary, with a row for every atom.
        sparsity: weight λ of the codes' size.
        layers: steps that are unrolled.

    Raises:
        ValueError: no layer.
    """

    def __init__(self, B: Float[Tensor, "codes features"], sparsity: float, layers: int = 3) -> None:
        super().__init__()
        if layers < 1:
            raise ValueError(f"layers must be at least 1, got {layers}")
        self.layers = layers
        B = B.detach()
        L = torch.linalg.matrix_norm(B, 2).square()  # the largest eigenvalue of BBᵀ
        self.W = nn.Parameter(B / L)
        self.S = nn.Parameter(torch.eye(len(B), dtype=B.dtype, device=B.device) - B @ B.t() / L)
        self.theta = nn.Parameter(B.new_full((len(B),), sparsity) / L)

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch codes"]:
        drive = x @ self.W.t()
        z = self.shrink(drive)
        for _ in range(self.layers - 1):
            z = self.shrink(torch.addmm(drive, z, self.S))
        return z

    def shrink(self, u: Float[Tensor, "batch codes"]) -> Float[Tensor, "batch codes"]:
        """Return h(u; θ), with a gradient for θ."""
        return (u - self.theta).relu() - (-u - self.theta).relu()


class TanhEncoder(nn.Module):
    """One layer of tanh units, each with a gain.

    Args:
        features: numbers of an example.
        codes: units.
    """

    def __init__(self, features: int, codes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, codes)
        self.g = nn.Parameter(torch.ones(codes))

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch codes"]:
        z: Tensor = self.g * self.linear(x).tanh()
        return z
