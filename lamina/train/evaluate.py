"""Metrics of a system on a source, without a trace on the system or on the random numbers of training."""

import contextlib
from collections.abc import Iterator

import torch

from lamina.core import Batch, Precision, Source, System, metric_fields, select
from lamina.train.products import quick_products

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@torch.no_grad()
def evaluate(system: System, source: Source, device: str = "cpu", precision: Precision = "fp32") -> dict[str, float]:
    """Return each metric of `system`, averaged over all examples of `source`.

    The random numbers that a metric draws are the same at every call. Modes and random state are left as found.

    Raises:
        ValueError: the source has no batch, or lacks a field.
    """
    names, sums, count = metric_fields(system), dict[str, torch.Tensor](), 0
    with evaluating(system), formats(precision, device), seeded(device), quick_products(device):
        for batch in source.epoch(0):
            chosen = moved(select(batch, names), device)
            size = len(next(iter(chosen.values())))
            for name, value in system.metrics(**chosen).items():
                sums[name] = sums.get(name, torch.zeros((), device=device)) + value.float() * size
            count += size
    if not count:
        raise ValueError("there are no examples to evaluate on")
    return {name: float(value) / count for name, value in sums.items()}


@contextlib.contextmanager
def evaluating(system: System) -> Iterator[None]:
    """Put every module in evaluation mode, and back into its own mode afterwards."""
    modes = [(module, module.training) for module in system.modules()]
    system.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextlib.contextmanager
def seeded(device: str, seed: int = 0) -> Iterator[None]:
    """Draw from `seed` inside, and go on outside as if nothing had been drawn."""
    with torch.random.fork_rng(devices=[device] if torch.device(device).type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def formats(precision: Precision, device: str) -> contextlib.AbstractContextManager[object]:
    """Return the context in which the forward pass runs at a precision."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(torch.device(device).type, DTYPES[precision])


def moved(batch: Batch, device: str) -> Batch:
    """Return the batch on a device."""
    return batch if device == "cpu" else {name: value.to(device, non_blocking=True) for name, value in batch.items()}
