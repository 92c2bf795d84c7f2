"""Measure, print a table of each benchmark with its targets, and keep the records.

Names: {names}.
Those with a star take many minutes, and are left out if no name is given, except with --all.
"""

import argparse
import importlib
import os
from pathlib import Path

from benchmarks.results import PLACE, page, record, table
from benchmarks.turns import ONE_THREAD

NAMES = (
    "imports",
    "trainer",
    "lenet",
    "rbm",
    "vae",
    "dcgan",
    "draw",
    "language",
    "sparse",
    "cells",
    "ntm",
    "sparse_memory",
    "memn2n",
    "stack_rnn",
    "gemm",
    "profile",
    "memory",
    "seconds_to_99",
    "rbm_likelihood",
)
SLOW = ("seconds_to_99", "rbm_likelihood")


def main(words: list[str] | None = None) -> int:
    """Run the benchmarks that are named; return the exit status."""
    options = parse(words)
    keep = options.records or (None if options.quick else PLACE)
    for name in options.names or [name for name in NAMES if options.all or name not in SLOW]:
        run(name, options.quick, keep)
    if keep is None:
        print("a quick run keeps no record; say where with --records")
    elif keep.exists():
        (keep.parent / "README.md" if keep == PLACE else keep / "README.md").write_text(page(keep))
    return 0


def parse(words: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    names = ", ".join(name + "*" * (name in SLOW) for name in NAMES)
    about = (__doc__ or "").format(names=names)
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", type=known, metavar="NAME", help="what to measure")
    parser.add_argument("--all", action="store_true", help="the slow ones too")
    parser.add_argument("--quick", action="store_true", help="short runs, to see that all works; figures mean little")
    parser.add_argument("--records", type=Path, help=f"folder for the records; {PLACE} if not quick")
    return parser.parse_args(words)


def known(name: str) -> str:
    """Return the name of a benchmark.

    Raises:
        ArgumentTypeError: there is none of that name.
    """
    if name not in NAMES:
        raise argparse.ArgumentTypeError(f"no benchmark '{name}'; choose from {', '.join(NAMES)}")
    return name


def run(name: str, quick: bool, keep: Path | None) -> None:
    """Measure one benchmark, print it, and keep its record in a folder."""
    import torch

    from lamina.train.folder import surroundings, write_json

    torch.set_num_threads(1)
    module = importlib.import_module(f"benchmarks.{name}")
    about = str(module.__doc__)
    print(f"\n{name}: {about.splitlines()[0]}", flush=True)
    found = record(name, about, module.measure(quick), surroundings() | {"quick": quick})
    print(table(found), flush=True)
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        write_json(keep / f"{name}.json", found)


if __name__ == "__main__":
    os.environ |= ONE_THREAD  # before any library reads them; the processes of the variants inherit them
    raise SystemExit(main())
