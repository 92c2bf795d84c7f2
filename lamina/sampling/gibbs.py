"""Gibbs sampling of binary units with any energy: p(x_i = 1 | all others) from two energies.

A unit turns with probability σ(E(x) - E(x with bit i flipped)); units take turns in order (Geman & Geman 1984,
section XI). Models with structure sample far faster by it, such as `RBM.gibbs` and `BoltzmannMachine.sweep`.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


@torch.no_grad()
def gibbs(
    energy: Callable[[Tensor], Tensor], x: Float[Tensor, "batch bits"], sweeps: int
) -> Float[Tensor, "batch bits"]:
    """Return where chains are after some sweeps over all units from x; a unit's turn takes one call of the energy."""
    E = energy(x)
    for i in list(range(x.shape[1])) * sweeps:
        other = x.clone()
        other[:, i].neg_().add_(1)
        E_other = energy(other)
        turned = torch.rand_like(E) < (E - E_other).sigmoid()
        x, E = torch.where(turned[:, None], other, x), torch.where(turned, E_other, E)
    return x
