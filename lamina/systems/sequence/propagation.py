"""How much an error changes as it goes back through time, kept near none.

For states a_t = U h_{t−1} + W x_t + b, h_t = f(a_t), and the loss E of a sequence, with δ_t = ∂E/∂a_t:

    Ω = Σ_t ( |δ_{t+1} ∂a_{t+1}/∂a_t| / |δ_{t+1}| − 1 )²,   ∂a_{t+1}/∂a_t = U diag(f'(a_t))               (eq. 9)

The gradient of Ω is the immediate one: δ and a are held fixed, and it reaches U alone, through ∂a_{t+1}/∂a_t (section
3.3). Pascanu, Mikolov & Bengio (2013), On the difficulty of training recurrent neural networks.

Differs from the paper: Ω is the mean over the sequences of a batch; a step whose δ is too small to be divided by counts
nothing.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from lamina.modules.scan import errors

LEAST = 1e-18  # of |δ|; its square is still a number of float32


def propagation(
    across: Float[Tensor, "hidden hidden"],
    slopes: Float[Tensor, "time batch hidden"],
    direct: Float[Tensor, "time batch hidden"],
) -> Float[Tensor, ""]:
    """Return Ω as a function of U.

    Args:
        across: U.
        slopes: f'(a_t).
        direct: what E depends on h_t by itself, without the steps that follow; zero after a sequence's end.
    """
    slopes, direct = slopes.detach(), direct.detach()
    deltas = errors(across.detach(), slopes.clone(), direct)[1:]
    size = deltas.norm(dim=2)
    told = size > LEAST
    before = (deltas @ across) * slopes[:-1]
    ratio = torch.where(told[:, :, None], before, 1.0).norm(dim=2) / torch.where(told, size, 1.0)
    return torch.where(told, (ratio - 1).square(), 0.0).sum(0).mean()
