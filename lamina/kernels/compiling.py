"""When a compiled kernel can run, and word to the user while numba compiles it, which could look like a hang."""

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

PATIENCE = 2.0  # seconds before a word is due; a kernel that is kept from an earlier program takes less


@contextlib.contextmanager
def announced(function: Any, name: str) -> Iterator[None]:
    """Say that a compiled function is being compiled, if the first call of it takes long.

    Args:
        function: what numba compiles, at its first call within.
        name: what to call it.
    """
    if function.signatures:
        yield
        return
    told = f"compiling {name} for this processor; that is kept, and takes about half a minute at most"
    timer = threading.Timer(PATIENCE, lambda: print(told, file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def compiled(weight: Tensor) -> bool:
    """Return whether the compiled kernel can compute with weights like this."""
    plain = not (torch.compiler.is_compiling() or torch.is_autocast_enabled(weight.device.type))
    return plain and weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.float64)
