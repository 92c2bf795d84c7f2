"""Seconds of training until LeNet-5 first has 99 % of MNIST's test images right.

- lamina: `lenet5 --fast` on the 55,000 images that are left beside validation. Its schedule has a fixed end, so the
  whole run counts, to its last update, and its test accuracy is that of the end.
- DataLoader: the usual PyTorch script on 60,000 images. Adam at 1e-3, batches of 64, each image decoded, scaled and
  standardized by itself in the main process.
- Keras: `model.fit` on 60,000 standardized images in memory, Adam, batches of 128, backend jax; its compiling counts.

The rivals are tested after every epoch, for at most 10, and the seconds up to the first that reaches 99 % count; where
none does, the seconds of all count and a note says so. Only training counts: not importing, loading data, building the
network, validating or testing. One thread; ratios are of process time, seed by seed, and their median. Target: the
rivals take at least 3 times as long as lamina.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.inputs import Loaded, available, from_keras, standardized, usual
from benchmarks.results import Result, Row, Target
from benchmarks.turns import alone, peak, quartiles

GOAL, EPOCHS, SEEDS = 0.99, 10, (0, 1, 2)


def measure(quick: bool) -> Result:
    """Train each on each seed."""
    available()
    seeds, epochs = (SEEDS[:1], 1) if quick else (SEEDS, EPOCHS)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    missing = dict[str, str]()
    for seed in seeds:
        for name in WAYS.keys() - missing.keys():
            try:
                found[name].append(alone(WAYS[name], seed, epochs))
            except ImportError as error:
                missing[name] = f"skipped, not installed: {error}"
    rows = [row(name, runs, found["lamina"], missing.get(name, "")) for name, runs in found.items()]
    targets = [Target(name, "ratio", ">=", 3) for name in WAYS if name != "lamina"]
    return Result(rows, targets, {"seeds": list(seeds), "epochs at most": epochs})


def row(name: str, runs: list[dict[str, float]], base: list[dict[str, float]], missing: str) -> Row:
    """Return medians over the seeds."""
    if missing:
        return Row(name, note=missing)
    values = {key: quartiles([run[key] for run in runs])[1] for key in runs[0]}
    ratio = quartiles([mine["CPU s"] / its["CPU s"] for mine, its in zip(runs, base, strict=True)])[1]
    reached = sum(run["test accuracy"] >= GOAL for run in runs)
    each = ", ".join(f"{100 * run['test accuracy']:.2f} % after {run['CPU s']:.1f} CPU s" for run in runs)
    return Row(name, values | {"ratio": ratio}, f"{reached} of {len(runs)} runs reached {GOAL:.0%}: {each}")


class Clock:
    """Adds up the time between `start` and `stop`."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def start(self) -> None:
        self.wall -= time.perf_counter()
        self.cpu -= time.process_time()

    def stop(self) -> None:
        self.wall += time.perf_counter()
        self.cpu += time.process_time()

    def told(self, accuracy: float, epochs: int) -> dict[str, float]:
        """Return what one run came to."""
        return {"CPU s": self.cpu, "wall s": self.wall, "epochs": epochs, "test accuracy": accuracy, "GB": peak()}


def lamina(seed: int, epochs: int) -> dict[str, float]:
    """Train the fast recipe to its end."""
    from dataclasses import replace

    from lamina.data.standard import mnist
    from lamina.recipes.vision import lenet5
    from lamina.train.evaluate import evaluate
    from lamina.train.fit import fit

    run, clock = lenet5(mnist(seed), seed=seed, fast=True), Clock()
    assert run.test is not None
    clock.start()
    result = fit(replace(run, valid=None))
    clock.stop()
    return clock.told(1 - evaluate(run.system, run.test)["error"], result.epochs)


def loader(seed: int, epochs: int) -> dict[str, float]:
    """Train with a DataLoader until the goal is reached."""
    import torch
    from torch.nn.functional import cross_entropy
    from torch.utils.data import DataLoader

    torch.manual_seed(seed)
    network, clock = usual(), Clock()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    images: Any = Loaded(60_000)
    loaded: Any = DataLoader(images, 64, shuffle=True)
    x, y = (torch.as_tensor(values) for values in standardized(10_000, "t10k"))
    epoch, accuracy = 0, 0.0
    while epoch < epochs and accuracy < GOAL:
        epoch += 1
        clock.start()
        for some, labels in loaded:
            optimizer.zero_grad()
            cross_entropy(network(some), labels).backward()
            optimizer.step()
        clock.stop()
        with torch.no_grad():
            right = torch.cat([network(part).argmax(1) for part in x.split(1000)]) == y
        accuracy = float(right.double().mean())
    return clock.told(accuracy, epoch)


def keras(backend: str, seed: int, epochs: int) -> dict[str, float]:
    """Train with Keras until the goal is reached."""
    network, clock, reached = from_keras(backend, "Adam", learning_rate=1e-3), Clock(), list[float]()
    import keras

    keras.utils.set_random_seed(seed)
    for variable in network.weights:  # the network was built before the seed was set
        if len(variable.shape) > 1:
            variable.assign(keras.initializers.GlorotUniform()(variable.shape))
    x, y, test, labels = *standardized(60_000), *standardized(10_000, "t10k")
    x, test = x.reshape(-1, 28, 28, 1), test.reshape(-1, 28, 28, 1)

    class Test(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch:
                clock.start()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            clock.stop()
            right = network.predict(test, 1000, verbose=0).argmax(1) == labels
            reached.append(float(right.mean()))
            network.stop_training = reached[-1] >= GOAL

    clock.start()
    network.fit(x, y, 128, epochs=epochs, verbose=0, callbacks=[Test()])
    return clock.told(reached[-1], len(reached))


WAYS: dict[str, Callable[[int, int], dict[str, float]]] = {
    "lamina": lamina,
    "DataLoader": loader,
    "Keras on jax": partial(keras, "jax"),
}
