"""A batch's examples over torch's threads, for compiled loops that release Python's lock."""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

import torch

LEAST = 16  # examples that are worth a thread
T = TypeVar("T")


def in_threads(count: int, work: Callable[[slice], T]) -> list[T]:
    """Return what `work` returns for equal parts of a batch, one for each of torch's threads; small ones stay whole."""
    parts = max(1, min(torch.get_num_threads(), count // LEAST))
    ends = [count * i // parts for i in range(parts + 1)]
    slices = [slice(begin, end) for begin, end in pairwise(ends)]
    return [work(slices[0])] if parts == 1 else list(pool(parts).map(work, slices))


@functools.cache
def pool(threads: int) -> ThreadPoolExecutor:
    """Return threads to compute in; they live as long as the process."""
    return ThreadPoolExecutor(threads)
