"""Resident memory while batches are drawn in random order from .npy files that are larger than memory.

`python -m benchmarks.memory --sparse 20` reads a file of 20 GB that takes no disk: its pages are holes, which the
kernel maps as zeros. `--dense 3` writes a file of 3 GB and reads real pages. Both print the peak of resident memory and
the rate.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

from lamina.data.batches import Batches
from lamina.data.stream import OnDisk

SHAPE = (3, 64, 64)  # bytes of one example
BATCH = 256


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


def peak() -> float:
    """Return the peak of this process's resident memory in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


def main() -> None:
    """Measure one pass and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--sparse", type=float, metavar="GB")
    kind.add_argument("--dense", type=float, metavar="GB")
    parser.add_argument("--folder", type=Path, help="where to put the file; a temporary folder if not given")
    options = parser.parse_args()
    torch.set_num_threads(1)
    gigabytes = options.dense or options.sparse
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "x.npy"
        count = write(path, gigabytes, dense=bool(options.dense))
        batches, before = Batches(OnDisk({"x": path}), BATCH), peak()
        began, seen, total = time.perf_counter(), 0, 0.0
        for batch in batches.epoch(0):
            seen += len(batch["x"])
            total += float(batch["x"][0, 0, 0, 0])
        seconds = time.perf_counter() - began
        assert seen == count
        disk, rate = path.stat().st_blocks * 512 / 1e9, path.stat().st_size / seconds / 1e6
        print(f"{gigabytes:g} GB, {disk:.2f} GB of it on disk; {count} examples at {rate:.0f} MB/s")
        print(f"peak {peak():.2f} GB resident, {before:.2f} GB of it before the first batch")


if __name__ == "__main__":
    main()
