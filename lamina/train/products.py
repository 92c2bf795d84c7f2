"""Matrix products in float32 by the faster of the two libraries that torch has for them on a processor.

On some processors oneDNN is twice as fast as MKL, which torch takes by default, as it uses wider vector units. torch
turns to oneDNN at the precision "medium", which would also allow it to round the factors to bfloat16 where there is
hardware for that. So its products are tried first, and taken only if they are as accurate as float32 should be.
"""

import contextlib
import functools
from collections.abc import Iterator

import torch

ERROR = 2e-5  # largest error of a product, by its root mean square: MKL has 2e-6, oneDNN 3e-6, bfloat16 1e-2


@contextlib.contextmanager
def quick_products(device: str) -> Iterator[None]:
    """Take oneDNN's products inside, if they are exact on this processor; what the user has set stays in force."""
    if device != "cpu" or torch.get_float32_matmul_precision() != "highest" or not exact():
        yield
        return
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("highest")


@functools.cache
def exact() -> bool:
    """Return whether oneDNN's products are accurate to float32 on this processor."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    a, b = (torch.randn(256, 256, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    torch.set_float32_matmul_precision("medium")
    try:
        found = a @ b
    finally:
        torch.set_float32_matmul_precision("highest")
    return float((found.double() - a.double() @ b.double()).abs().max()) / 16 < ERROR
