"""How near an update comes to the machine's limit, the product of two 1024x1024 matrices of float32 on one thread.

The limit is the quickest of torch's default product, oneDNN's (which torch uses for convolutions) and NumPy's. An
update's operations are the multiplications and additions of its matrix products and convolutions, forward and backward,
as torch's `FlopCounterMode` counts them: those of torch alone, not what numba's kernels do beside them. Its share is
their number a second over that of the limit, round by round. Small products are far below it on any machine.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.inputs import available, bits, standardized
from benchmarks.results import Result, Row
from benchmarks.turns import Costs, Turn, compare, quartiles

SIDE = 1024


def measure(quick: bool) -> Result:
    """Compare the updates of some recipes with the limit."""
    available()
    products = {f"product, {name}": partial(product, multiplication) for name, multiplication in PRODUCTS.items()}
    costs = compare(products | {name: partial(recipe, name) for name in RECIPES}, rounds=3 if quick else 30)
    limit = min((costs[name] for name in products if not costs[name].trouble), key=lambda cost: quartiles(cost.cpu)[1])
    return Result([row(name, cost, limit) for name, cost in costs.items()], settings={"side": SIDE})


def row(name: str, cost: Costs, limit: Costs) -> Row:
    """Return operations, time, rate and share of the limit."""
    if cost.trouble:
        return Row(name, note=cost.trouble)
    flops, seconds = cost.notes["flops"], quartiles(cost.cpu)[1]
    share = quartiles([flops / limit.notes["flops"] / ratio for ratio in cost.ratios(limit)])[1]
    rates = {"MFLOP": flops / 1e6, "GFLOP/s": flops / seconds / 1e9, "share": share} if flops else {}
    return Row(name, {"CPU ms": 1e3 * seconds} | rates | {"GB": cost.peak})


def product(multiplication: Callable[[], Callable[[], object]], turn: Turn) -> None:
    """Multiply matrices."""
    multiply = multiplication()
    turn.notes["flops"] = 2 * SIDE**3
    while True:
        multiply()
        turn()


def by_torch() -> Callable[[], object]:
    """Return torch's product."""
    import torch

    a, b, c = (torch.randn(SIDE, SIDE) for _ in range(3))
    return lambda: torch.mm(a, b, out=c)


def by_onednn() -> Callable[[], object]:
    """Return oneDNN's product."""
    import torch

    a, b = (torch.randn(SIDE, SIDE) for _ in range(2))
    return lambda: torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")


def by_numpy() -> Callable[[], object]:
    """Return NumPy's product."""
    import numpy as np

    a, b, c = (np.random.default_rng(0).random((SIDE, SIDE), np.float32) for _ in range(3))
    return lambda: np.matmul(a, b, out=c)


def recipe(name: str, turn: Turn) -> None:
    """Train a recipe; count the operations of its second update."""
    from torch.utils.flop_counter import FlopCounterMode

    from lamina.train.trainer import Trainer, Update

    events = iter(Trainer(RECIPES[name]()))
    next(events)
    with FlopCounterMode(display=False) as counter:
        next(events)
    turn.notes["flops"] = counter.get_total_flops()
    for event in events:
        if isinstance(event, Update):
            turn()


def lenet() -> Any:
    """Return a run of `lenet5` at batch 64."""
    from lamina.recipes.vision import lenet5

    return lenet5(digits(6400), batch=64, shift=0, epochs=10**6)


def rbm(batch: int) -> Any:
    """Return a run of `rbm` with 500 hidden units on binary images."""
    from lamina.data.dataset import Data
    from lamina.data.examples import Arrays
    from lamina.recipes.energy import rbm as made

    return made(Data("mnist", Arrays(x=bits(6000))), batch=batch, chains=batch, epochs=10**6, binarize=False)


def ladder() -> Any:
    """Return a run of `ladder` with 100 labels."""
    from lamina.recipes.semisupervised import ladder as made

    return made(digits(6400), epochs=10**6)


def vae() -> Any:
    """Return a run of `vae`."""
    from lamina.data.dataset import Data
    from lamina.data.examples import Arrays
    from lamina.recipes.variational import vae as made

    return made(Data("mnist", Arrays(x=bits(6000))), epochs=10**6)


def digits(count: int) -> Any:
    """Return the first images of MNIST as data for training alone."""
    from lamina.data.dataset import Data
    from lamina.data.examples import Arrays

    x, y = standardized(count)
    return Data("mnist", Arrays(x=x, y=y), classes=tuple("0123456789"))


RECIPES: dict[str, Callable[[], Any]] = {
    "lenet5, batch 64": lenet,
    "rbm, batch 100": partial(rbm, 100),
    "rbm, batch 10": partial(rbm, 10),
    "ladder, batch 100": ladder,
    "vae": vae,
}
PRODUCTS: dict[str, Callable[[], Callable[[], object]]] = {"torch": by_torch, "oneDNN": by_onednn, "NumPy": by_numpy}
