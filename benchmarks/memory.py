"""Resident memory while batches are drawn in random order from .npy files that are larger than memory.

One file of 20 GB takes no disk: its pages are holes, which the kernel maps as zeros. One of 3 GB holds real content.
Batches of 256 images of 3x64x64 bytes are read ahead by a thread, for one pass. Target: less than 2 GB resident.
"""

import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.results import Result, Row, Target
from benchmarks.turns import alone, peak

SHAPE = (3, 64, 64)  # bytes of one example
BATCH = 256


def measure(quick: bool) -> Result:
    """Read a file of holes and one of content."""
    holes, content = (2.0, 0.2) if quick else (20.0, 3.0)
    rows = [Row("holes", alone(one_pass, holes, False)), Row("content", alone(one_pass, content, True))]
    targets = [Target(row.name, "GB", "<=", 2) for row in rows]
    return Result(rows, targets, {"shape": list(SHAPE), "batch": BATCH})


def one_pass(gigabytes: float, dense: bool) -> dict[str, float]:
    """Read a file once in random order; return its size, the rate and the peak of memory."""
    from lamina.data.batches import Batches
    from lamina.data.stream import OnDisk

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npy"
        count = write(path, gigabytes, dense)
        batches, before = Batches(OnDisk({"x": path}), BATCH), peak()
        wall, cpu, seen, total = time.perf_counter(), time.process_time(), 0, 0.0
        for batch in batches.epoch(0):
            seen += len(batch["x"])
            total += float(batch["x"][0, 0, 0, 0])
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        assert seen == count
        size = path.stat()
    rate = size.st_size / wall / 1e6
    values = {"file GB": size.st_size / 1e9, "disk GB": size.st_blocks * 512 / 1e9, "CPU s": cpu, "wall s": wall}
    return values | {"MB/s": rate, "GB before": before, "GB": peak()}


def write(path: Path, gigabytes: float, dense: bool) -> int:
    """Write a .npy file of bytes, with content or with holes; return its number of examples."""
    count = int(gigabytes * 1e9) // int(np.prod(SHAPE))
    with path.open("wb") as file:
        head = {"descr": "|u1", "fortran_order": False, "shape": (count, *SHAPE)}
        np.lib.format.write_array_header_1_0(file, head)
        if dense:
            rng = np.random.default_rng(0)
            block = rng.integers(0, 256, (1000, *SHAPE), dtype=np.uint8).tobytes()
            for start in range(0, count, 1000):
                file.write(block[: min(1000, count - start) * int(np.prod(SHAPE))])
        else:
            file.truncate(file.tell() + count * int(np.prod(SHAPE)))
    return count
