"""Measure test error against the number of labels, of every method for few, and write the table in docs/few_labels.md.

python examples/few_labels.py [--data mnist fashion] [--labels 100 600 1000 3000] [--seeds 0] [--methods NAME ...]

Each cell is a run of `lamina reproduce`, whose record is kept as it ends; what has a record is not trained again, and
what was stopped goes on where it was. All methods are given the same labelled examples for the same seed.
"""

import argparse
import sys
from pathlib import Path

from lamina.cli import main
from lamina.recipes import RECIPES
from lamina.recipes.records import PLACE, by_labels, record_name, renewed

METHODS: dict[str, tuple[str, ...]] = {  # a recipe, and what shortens it to a minute or so on one thread
    "few_labels": (),
    "few_labels network=lenet5": (),
    "cluster_label": ("clusters=4000", "epochs=5"),  # no fewer than labels
    "ladder": ("epochs=3",),
    "ladder_gamma": ("epochs=3",),
    "ladder_bottom": ("epochs=3",),
    "ladder_conv": ("quick", "epochs=1"),
    "m2": ("epochs=6",),
    "m1_m2": ("pretraining=10", "epochs=10"),
    "swwae": ("quick", "epochs=1"),
}


def cell(method: str, data: str, labels: int, seed: int, records: Path, runs: Path) -> int:
    """Train one method on one data set unless its record is there; return the command's exit status."""
    recipe, *words = *method.split(), *METHODS[method], f"labels={labels}"
    quick = "quick" in words
    words = [word for word in words if word != "quick"]
    form = " ".join(("quick" if quick else "full", *words))
    if (records / f"{record_name(recipe, form, data, seed)}.json").exists():
        return 0
    options = ["--data", data, "--seeds", str(seed), "--records", str(records), "--runs", str(runs), "--quiet"]
    status = main(["reproduce", recipe, *(["--quick"] if quick else []), "--set", *words, *options])
    if status > 128:
        sys.exit(status)  # a signal stops the whole
    return status


def cells() -> int:
    """Train what has no record yet, and renew the page after each; return the number of those that failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["mnist", "fashion"])
    parser.add_argument("--labels", nargs="+", type=int, default=[100, 600, 1000, 3000])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--methods", nargs="+", default=[name for name in METHODS if name.split()[0] in RECIPES])
    parser.add_argument("--records", type=Path, default=PLACE / "few_labels")
    parser.add_argument("--runs", type=Path, default=Path("runs/few_labels"))
    parser.add_argument("--page", type=Path, default=Path(__file__).parents[1] / "docs" / "few_labels.md")
    chosen = parser.parse_args()
    failed = 0
    for seed in chosen.seeds:
        for labels in chosen.labels:
            for data in chosen.data:
                for method in chosen.methods:
                    failed += bool(cell(method, data, labels, seed, chosen.records, chosen.runs))
                    renewed(chosen.page, by_labels(chosen.records))
    return failed


if __name__ == "__main__":
    sys.exit(cells())
