"""What recipes read off their data: units that fit it, and examples of a source."""

import torch
from torch import Tensor

from lamina.core import Batch, Source, select
from lamina.data.dataset import Data
from lamina.data.examples import Examples, Joined, Mapped, spread
from lamina.systems.energy.units import Bernoulli, Gaussian


def rows(data: Data) -> Tensor:
    """Return x of 50,000 training examples, evenly spaced over the set, or of all if there are fewer.

    Raises:
        ValueError: the data has none, as a text.
    """
    return select(spread(data.train), ("x",))["x"]


def bernoulli(x: Tensor, binarize: bool) -> Bernoulli:
    """Return binary units for data in 0..1.

    Raises:
        ValueError: the data has other values.
    """
    low, high = (float(end) for end in x.aminmax())
    if low < 0 or high > 1:
        mend = "use visible=gaussian, or rescale it where a recipe has binary units alone"
        raise ValueError(f"binary units need values in 0..1, the data has {low:g}..{high:g}; {mend}")
    return Bernoulli(tuple(x.shape[1:]), binarize)


def gaussian(x: Tensor) -> Gaussian:
    """Return Gaussian units that standardize data like `x`; pixels that hardly vary keep a scale of 0.1."""
    scale = x.std(0, correction=0)
    scale = scale.clamp_min(0.1) if scale.ndim == 3 else torch.where(scale > 0, scale, 1.0)
    return Gaussian(x.mean(0), scale)


def gather(source: Source, count: int | None, device: str) -> Batch:
    """Return the first `count` examples of a source's first epoch, or all that there are."""
    batches, found = [], 0
    for batch in source.epoch(0):
        batches.append(batch)
        found += len(batch["x"])
        if count is not None and found >= count:
            break
    return {name: torch.cat([batch[name] for batch in batches])[:count].to(device) for name in batches[0]}


def everything(data: Data) -> Examples:
    """Return the inputs of all training examples, also of those that have no label."""
    known = Mapped(data.train, inputs_alone)
    return known if data.unlabelled is None else Joined(known, data.unlabelled)


def inputs_alone(batch: Batch) -> Batch:
    """Leave out all but the inputs."""
    return select(batch, ("x",))
