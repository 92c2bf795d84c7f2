"""How well RBMs of 784-500 units model MNIST after 20 epochs of PCD-1 at learning rate 0.05 and batches of 100.

Mean test log-likelihood in nats, with log Z from lamina's annealed importance sampling for all: 100 runs of 14,500
temperatures, standard error in the table, and by how many nats the figure would change with the estimate of log Z
backward. All learn from one and the same binary draw of the 60,000 gray images, and the 10,000 test images are drawn
once as well, so figures compare with each other, and with published ones only up to that draw. One seed.

scikit-learn starts with visible biases of zero, does not shuffle, and keeps its learning rate; lamina starts at the
log-odds of the pixels and shuffles, and is shown with a constant rate and with one that falls to zero. ebmkit starts at
zero too, and moves 100 chains an update, of the 10,000 that its documentation advises or of 100 (drawn with
replacement); rbms starts at the log-odds and scales its gradients to length 1, so it gets its default rate of 0.01;
learnergy knows CD-1 alone, and chains begun at data do not find what such a machine holds likely, so its two estimates
of log Z lie far apart and neither is to be trusted. CPU and wall time are those of training.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks import machines
from benchmarks.inputs import available, bits
from benchmarks.results import Result, Row
from benchmarks.turns import alone, peak

IMAGES, TESTS, BATCH = 60_000, 10_000, 100


def measure(quick: bool) -> Result:
    """Train each and estimate its likelihood."""
    available()
    images, hidden, epochs = (6000, 20, 1) if quick else (IMAGES, 500, 20)
    rows = list[Row]()
    for name, way in WAYS.items():
        try:
            rows.append(Row(name, alone(trained, way, images, hidden, epochs)))
        except ImportError as error:
            rows.append(Row(name, note=f"skipped, not installed: {error}"))
    return Result(rows, settings={"images": images, "hidden": hidden, "epochs": epochs, "lr": machines.LR})


def trained(way: machines.Way, images: int, hidden: int, epochs: int) -> dict[str, float]:
    """Train one machine; return its likelihood and what the training cost."""
    x = bits(images)
    wall, cpu = time.perf_counter(), time.process_time()
    weights = way(x, hidden, BATCH, epochs, nothing)
    costs = {"CPU s": time.process_time() - cpu, "wall s": time.perf_counter() - wall, "GB": peak()}
    return likelihood(x, *weights) | costs


def likelihood(x: machines.Rows, W: machines.Rows, a: machines.Rows, b: machines.Rows) -> dict[str, float]:
    """Return lamina's estimates for the weights of any machine that was trained on `x`."""
    import torch

    from lamina.data.dataset import Data
    from lamina.data.examples import Arrays
    from lamina.recipes.energy import rbm
    from lamina.recipes.harmoniums import likelihood as estimate

    run = rbm(Data("mnist", Arrays(x=x), test=Arrays(x=bits(TESTS, "t10k"))), hidden=len(b), epochs=1, batch=BATCH)
    model: Any = run.system
    with torch.no_grad():
        for parameter, values in ((model.W, W), (model.a, a), (model.b, b)):
            parameter.copy_(torch.tensor(values))
    figures = estimate(run)
    return {
        "test nats": figures["log_likelihood"],
        "standard error": figures["error"],
        "backward": figures["log_partition"] - figures["log_partition_reverse"],
        "train nats": figures["train_log_likelihood"],
    }


def nothing() -> None:
    """Do nothing after an update."""


WAYS: dict[str, Callable[..., Any]] = {
    "lamina, rate to zero": partial(machines.lamina, True, False),
    "lamina, constant rate": partial(machines.lamina, False, False),
    "scikit-learn float32": partial(machines.sklearn, "float32"),
    "ebmkit, 10,000 chains": partial(machines.ebmkit, 10_000),
    "ebmkit, 100 chains": partial(machines.ebmkit, BATCH),
    "rbms": machines.rbms,
    "learnergy": machines.learnergy,
}
