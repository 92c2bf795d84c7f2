"""Several networks of one kind that learn side by side, so that the best of them can go on.

Joulin & Mikolov (2015), section 5, start anew at random where training has found no pattern. Here all starts are one
run: a thread computes each network's gradient, and the learning rate is theirs in common.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from lamina.core import System, Terms
from lamina.kernels.threads import pool
from lamina.systems.memory.stack_rnn import StackRNN


class Restarts(System):
    """Networks that begin at different weights; of their metrics those of the best are reported.

    Args:
        nets: the networks.
        apart: whether a batch has as many rows for each of them; otherwise all read all rows.

    Raises:
        ValueError: there is none.
    """

    def __init__(self, nets: Sequence[StackRNN], apart: bool = True) -> None:
        super().__init__()
        if not nets:
            raise ValueError("restarts need at least 1 network")
        self.nets, self.apart = nn.ModuleList(nets), apart

    def networks(self) -> list[StackRNN]:
        """Return the networks."""
        return [net for net in self.nets if isinstance(net, StackRNN)]

    def loss(
        self, tokens: Int[Tensor, "rows span"], targets: Int[Tensor, "rows time"], fresh: Bool[Tensor, " rows"]
    ) -> Terms:
        """Return the mean of the networks' losses.

        Raises:
            ValueError: the rows cannot be dealt out equally.
        """
        if self.apart and len(tokens) % len(self.nets):
            raise ValueError(f"{len(tokens)} rows cannot be dealt out equally to {len(self.nets)} networks")
        nets = self.networks()
        fields = (tokens, targets, fresh)
        parts = [field.chunk(len(nets)) if self.apart else (field,) * len(nets) for field in fields]
        noise = [net.disturbance(part) for net, part in zip(nets, parts[0], strict=True)]  # drawn in one order

        def learn(net: StackRNN, *part: Tensor) -> Tensor:
            return net.learn(*part)["nll"]

        threads = torch.get_num_threads()
        run = map if threads == 1 else pool(threads).map
        return {"nll": torch.stack(list(run(learn, nets, *parts, noise))).mean()}

    def metrics(
        self, tokens: Int[Tensor, "rows time"], targets: Int[Tensor, "rows time"], fresh: Bool[Tensor, " rows"]
    ) -> Terms:
        """Return the least of each metric over the networks."""
        found = [net.metrics(tokens, targets, fresh) for net in self.networks()]
        return {name: torch.stack([terms[name] for terms in found]).amin(0) for name in found[0]}
