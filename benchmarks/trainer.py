"""What `Trainer` and `fit` add to a bare PyTorch loop that does the same arithmetic.

LeNet-5 of lamina on batches of 64 images, and a net of 4-8-3 units on batches of 16, where nothing but the overhead
counts; both with SGD and momentum. The bare loop picks its batches with `index_select` and looks at nothing. `fit`
trains without a folder: best weights kept in memory, 500 losses logged in a run of 20 epochs. The bare loop once more
shows what the measurement itself can tell apart. Eight processes of each. Targets: at LeNet size at most 1.03 of the
bare loop, and on the tiny net at most 40 µs an update more than the bare loop.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.results import Result, Row, Target, timed
from benchmarks.turns import Costs, compare, quartiles

SIZES = ("LeNet-5", "tiny")


def measure(quick: bool) -> Result:
    """Compare the loops at both sizes."""
    rows: list[Row] = []
    for size in SIZES:
        variants = {f"{size}, {name}": partial(loop, size) for name, loop in LOOPS.items()}
        base = f"{size}, bare"
        costs = compare(variants, rounds=5, starts=1 if quick else 8)
        rows += [more(row, costs, base) for row in timed(costs, base, unit=1e-6, name="µs")]
    targets = [Target(f"LeNet-5, {name}", "ratio", "<=", 1.03) for name in ("Trainer", "fit")]
    targets += [Target(f"tiny, {name}", "µs more", "<=", 40) for name in ("Trainer", "fit")]
    return Result(rows, targets, {"batch": {"LeNet-5": 64, "tiny": 16}})


def more(row: Row, costs: dict[str, Costs], base: str) -> Row:
    """Return a row with the microseconds an update that it costs more than the bare loop."""
    if row.note:
        return row
    rounds = zip(costs[row.name].cpu, costs[base].cpu, strict=True)
    return Row(row.name, {**row.values, "µs more": quartiles([1e6 * (mine - bare) for mine, bare in rounds])[1]})


def parts(size: str) -> tuple[Any, Any, Callable[..., Any]]:
    """Return a network, the batches and the maker of the optimizer; the same ones at every call."""
    import torch
    from torch import nn

    from lamina.data.batches import Batches
    from lamina.data.examples import Arrays
    from lamina.modules.lenet import lenet5

    torch.manual_seed(0)
    large = size == SIZES[0]
    network = lenet5((1, 28, 28), 10) if large else nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    count, shape, batch = (6400, (1, 28, 28), 64) if large else (64_000, (4,), 16)
    examples = Arrays(x=torch.randn(count, *shape), y=torch.randint(3, (count,)))
    return network, Batches(examples, batch), partial(torch.optim.SGD, lr=0.001, momentum=0.9, fused=True)


def bare(size: str, turn: Callable[[], None], epochs: int = 1000) -> Any:
    """Train as by hand, with the same matrix products as the trainer; return the network."""
    from torch.nn.functional import cross_entropy

    from lamina.train.products import quick_products

    network, batches, sgd = parts(size)
    x, y, optimizer = batches.examples.fields["x"], batches.examples.fields["y"], sgd(network.parameters())
    with quick_products("cpu"):
        for k in range(epochs):
            order = batches.order(k)
            for start in range(0, len(x), batches.size):
                rows = order[start : start + batches.size]
                loss = cross_entropy(network(x.index_select(0, rows)), y.index_select(0, rows))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                turn()
    return network


def run_of(size: str, epochs: int) -> Any:
    """Return the run that does what `bare` does."""
    from torch import nn

    from lamina.core import Run
    from lamina.systems.vision.classifier import Classifier

    network, batches, sgd = parts(size)
    return Run(system=Classifier(nn.Identity(), network), train=batches, optimizer=sgd, epochs=epochs)


def trainer(size: str, turn: Callable[[], None], epochs: int = 1000) -> Any:
    """Train with the iterator; return the network."""
    from lamina.train.trainer import Trainer, Update

    run = run_of(size, epochs)
    for event in Trainer(run):
        if isinstance(event, Update):
            turn()
    return run.system.network


def fitted(size: str, turn: Callable[[], None], epochs: int = 1000) -> Any:
    """Train with `fit`, in runs of at most 20 epochs, as it logs 500 losses a run; return the last network."""
    from lamina.train.fit import fit

    for _ in range(0, epochs, 20):
        run = run_of(size, min(epochs, 20))
        fit(run, display=ticking(turn))
    return run.system.network


def ticking(turn: Callable[[], None]) -> Any:
    """Return a display that takes a turn after every update."""
    from lamina.train.display import Display

    class Ticking(Display):
        last = 0

        def tick(self, step: int) -> None:
            if step != self.last:  # `fit` ticks after an epoch too
                turn()
            self.last = step

    return Ticking()


LOOPS = {"bare": bare, "bare once more": bare, "Trainer": trainer, "fit": fitted}
