"""The encoder problem of Ackley, Hinton & Sejnowski (1985), section 4.1."""

import torch

from lamina.data.dataset import Data
from lamina.data.examples import Arrays


def encoder(seed: int = 0, patterns: int = 4, repeats: int = 2) -> Data:
    """Pairs of equal groups in which one unit is on: 4 patterns, which two hidden units can hand from group to group.

    Training shows every pattern `repeats` times, twice as in the paper; validation and test show it once.

    Args:
        seed: unused; the patterns are always the same.
        patterns: units of a group, each on in one pattern.
        repeats: how often training shows a pattern.

    Raises:
        ValueError: fewer than two patterns, or no repeats.
    """
    if patterns < 2 or repeats < 1:
        raise ValueError(f"an encoder needs at least 2 patterns, each shown once, got {patterns} and {repeats}")
    once = torch.eye(patterns).repeat(1, 2)
    shown = Arrays(x=once)
    return Data("encoder" if patterns == 4 else f"encoder:{patterns}", Arrays(x=once.repeat(repeats, 1)), shown, shown)
