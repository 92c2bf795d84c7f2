"""An epoch of 60,000 images for a Bernoulli RBM of 784-500 units, by PCD-1 at batches of 100 and of 10.

There are as many chains as images in a batch, but for ebmkit.

- scikit-learn's `BernoulliRBM.fit`, on float64, which it takes by default, and on float32.
- lamina's `rbm` recipe through `Trainer`, on float32: once on binary images like the others, and once on gray ones,
  of which it draws new bits in every update, as it does by default.
- ebmkit's `RBM` with its `Trainer`, `ContrastiveDivergence`, `GibbsSampler` and `ReplayBuffer`, of 10,000
  chains as its documentation advises.
- rbms' own gradient (`fit_batch_pcd`, centered) and update; its loop, which writes a file after each, is left out.
- learnergy's `RBM.fit`, by CD-1; it computes two free energies by autograd, and reports a pseudo-likelihood as well.

Ratios are to scikit-learn on float64: below one is quicker. Targets for lamina on binary images: an epoch at least 2
times as quick as float64 and 1.3 times as float32 at batch 100, and 4 times as float64 at batch 10.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks import machines
from benchmarks.inputs import available, bits, images
from benchmarks.results import Result, Row, Target, timed
from benchmarks.turns import Costs, Turn, compare, quartiles

IMAGES, COUNT, HIDDEN = 60_000, 6000, 500


def measure(quick: bool) -> Result:
    """Compare an epoch of each at both batch sizes."""
    available()
    rows = list[Row]()
    for batch in (100, 10):
        variants = {f"{batch}: {name}": partial(forever, way, bits, batch) for name, way in WAYS.items()}
        variants[f"{batch}: lamina, new bits"] = partial(forever, partial(machines.lamina, True, True), gray, batch)
        costs = compare(variants, rounds=2 if quick else 30)
        base = f"{batch}: scikit-learn float64"
        rows += [against(row, costs) for row in timed(costs, base, updates=IMAGES / batch)]
    targets = [Target("100: lamina", "times float64", ">=", 2), Target("100: lamina", "times float32", ">=", 1.3)]
    targets.append(Target("10: lamina", "times float64", ">=", 4))
    return Result(rows, targets, {"images": IMAGES, "hidden": HIDDEN})


def against(row: Row, costs: dict[str, Costs]) -> Row:
    """Return a row of lamina with how many times quicker than scikit-learn it is; other rows as they are."""
    batch, _, name = row.name.partition(": ")
    if row.note or not name.startswith("lamina"):
        return row
    rivals = {form: costs[f"{batch}: scikit-learn {form}"] for form in ("float64", "float32")}
    times = {
        f"times {form}": quartiles(rival.ratios(costs[row.name]))[1]
        for form, rival in rivals.items()
        if not rival.trouble
    }
    return Row(row.name, {**row.values, **times})


def gray(count: int) -> machines.Rows:
    """Return images (count, 784) with values in 0..1."""
    return (images(count)[0].reshape(count, -1) / 255).astype(np.float32)


def forever(way: machines.Way, read: Callable[[int], machines.Rows], batch: int, turn: Turn) -> None:
    """Train without an end."""
    way(read(COUNT), HIDDEN, batch, 10**6, turn)


WAYS: dict[str, machines.Way] = {
    "scikit-learn float64": partial(machines.sklearn, "float64"),
    "scikit-learn float32": partial(machines.sklearn, "float32"),
    "lamina": partial(machines.lamina, True, False),
    "ebmkit": partial(machines.ebmkit, 10_000),
    "rbms": machines.rbms,
    "learnergy": machines.learnergy,
}
