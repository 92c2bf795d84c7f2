"""Word to the user while numba compiles, which could look like a hang."""

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

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
