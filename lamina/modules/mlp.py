"""Fully connected networks, as the sequence of their layers; the last layer gives the logits."""

import math
from itertools import pairwise

from torch import nn

from lamina.modules.maxout import Maxout


def mlp(
    shape: tuple[int, ...],
    hidden: tuple[int, ...],
    outputs: int,
    dropout: tuple[float, float] = (0.0, 0.0),
    norm: bool = False,
    pieces: int = 0,
) -> nn.Sequential:
    """Return a multilayer perceptron of rectified or of maxout units.

    Weights are drawn after He et al. (2015), eq. 10; biases start at zero.

    Args:
        shape: of one example.
        hidden: units of every hidden layer.
        outputs: numbers the last layer gives.
        dropout: share of the inputs, and of the hidden units, left out (Srivastava et al. 2014).
        norm: normalize every hidden layer over the batch (Ioffe & Szegedy 2015).
        pieces: linear functions of a maxout unit (Goodfellow et al. 2013); 0 makes rectified units.

    Raises:
        ValueError: a size below one, a share outside 0..1, or maxout with batch normalization.
    """
    if min((*hidden, outputs)) < 1:
        raise ValueError(f"every layer needs at least 1 unit, got {(*hidden, outputs)}")
    if not all(0 <= share < 1 for share in dropout):
        raise ValueError(f"a share of units to leave out lies in 0..1, got {dropout}")
    if norm and pieces:
        raise ValueError("maxout units are not normalized over the batch here; choose one of the two")
    layers: list[nn.Module] = [nn.Flatten(), *([nn.Dropout(dropout[0])] if dropout[0] else [])]
    widths = (math.prod(shape), *hidden)
    for low, high in pairwise(widths):
        if pieces:
            layers.append(Maxout(low, high, pieces))
        else:
            layers += [nn.Linear(low, high, bias=not norm), *([nn.BatchNorm1d(high)] if norm else []), nn.ReLU()]
        layers += [nn.Dropout(dropout[1])] if dropout[1] else []
    network = nn.Sequential(*layers, nn.Linear(widths[-1], outputs))
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear" if layer is network[-1] or pieces else "relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network
