"""An epoch of 12,800 images for LeNet-5 in lamina and in other libraries: batches of 64, SGD with momentum 0.9.

The bare loop is what a careful user writes: standardized images in memory, batches by index, the network with tanh
before pooling. Every library gets its batches in the quickest way that it takes, in memory and by index, and has
progress bars, logs, checkpoints and metrics off as far as they can be; only the DataLoader row decodes and scales each
image by itself, as the usual tutorials do. lamina's is `fit` on its recipe, which standardizes in every update, moves
the learning rate, and runs the first half of the network in its compiled kernel, which gives the same. Setting up and
compiling are left out. Further goal: a fourth of the bare loop.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from benchmarks.inputs import Loaded, available, from_keras, standardized, usual
from benchmarks.results import Result, Target, timed
from benchmarks.trainer import ticking
from benchmarks.turns import Turn, Variant, compare

COUNT, BATCH, EPOCHS = 12_800, 64, 1000
SGD: dict[str, Any] = {"lr": 0.01, "momentum": 0.9}


def measure(quick: bool) -> Result:
    """Compare an epoch of each."""
    available()
    costs = compare(VARIANTS, rounds=2 if quick else 30)
    rows = timed(costs, "bare loop", updates=COUNT / BATCH)
    return Result(rows, [Target("lamina", "ratio", "<=", 0.25)], {"images": COUNT, "batch": BATCH})


class Indexed:
    """Batches by index, new ones at every iteration."""

    def __init__(self, dataset: Any = None, batch_size: int = BATCH) -> None:
        import torch

        x, y = standardized(COUNT) if dataset is None else (dataset.X, dataset.y)
        self.x, self.y, self.size = torch.as_tensor(x), torch.as_tensor(y), batch_size

    def __len__(self) -> int:
        return len(self.x) // self.size

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        import torch

        for rows in torch.randperm(len(self.x)).split(self.size):
            yield self.x.index_select(0, rows), self.y.index_select(0, rows)


def by_hand(load: Callable[[], Any], turn: Turn) -> None:
    """Train on what `load` gives."""
    import torch
    from torch.nn.functional import cross_entropy

    network, loaded = usual(), load()
    optimizer = torch.optim.SGD(network.parameters(), **SGD)
    for _ in range(EPOCHS):
        for x, y in loaded:
            loss = cross_entropy(network(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            turn()


def loader() -> Any:
    """Return the usual DataLoader."""
    from torch.utils.data import DataLoader

    images: Any = Loaded(COUNT)
    return DataLoader(images, BATCH, shuffle=True)


def lamina(turn: Turn) -> None:
    """Train the recipe with `fit`."""
    from dataclasses import replace

    from lamina.data.dataset import Data
    from lamina.data.examples import Arrays
    from lamina.recipes.vision import lenet5
    from lamina.train.fit import fit

    x, y = standardized(COUNT)
    data = Data("mnist", Arrays(x=x, y=y), classes=tuple("0123456789"))
    fit(replace(lenet5(data, batch=BATCH, shift=0, decay=0.0, lr=SGD["lr"]), epochs=EPOCHS), display=ticking(turn))


def lightning(turn: Turn) -> None:
    """Train with Lightning, all that can be switched off switched off."""
    import torch
    from lightning import Callback, LightningModule, Trainer
    from torch.nn.functional import cross_entropy

    class Net(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = usual()

        def training_step(self, batch: Any, number: int) -> Any:
            return cross_entropy(self.network(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), **SGD)

    class Turns(Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            turn()

    off = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    Trainer(accelerator="cpu", max_epochs=EPOCHS, callbacks=[Turns()], **off).fit(Net(), Indexed())


def skorch(turn: Turn) -> None:
    """Train with skorch."""
    import torch
    from skorch import NeuralNetClassifier
    from skorch.callbacks import Callback

    class Turns(Callback):
        def on_batch_end(self, net: Any, **_: Any) -> None:
            turn()

    x, y = standardized(COUNT)
    net = NeuralNetClassifier(
        usual(), criterion=torch.nn.CrossEntropyLoss, optimizer=torch.optim.SGD, lr=SGD["lr"], optimizer__momentum=0.9,
        batch_size=BATCH, max_epochs=EPOCHS, train_split=None, verbose=0, iterator_train=Indexed, callbacks=[Turns()],
    )  # fmt: skip
    net.fit(x, y)


def keras(backend: str, turn: Turn) -> None:
    """Train with Keras, silently."""
    network = from_keras(backend, "SGD", learning_rate=SGD["lr"], momentum=0.9)
    from keras.callbacks import Callback

    class Turns(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            turn()

    x, y = standardized(COUNT)
    network.fit(x.reshape(-1, 28, 28, 1), y, BATCH, epochs=EPOCHS, verbose=0, callbacks=[Turns()])


VARIANTS: dict[str, Variant] = {
    "bare loop": partial(by_hand, Indexed),
    "lamina": lamina,
    "Lightning": lightning,
    "skorch": skorch,
    "Keras on jax": partial(keras, "jax"),
    "Keras on tensorflow": partial(keras, "tensorflow"),
    "DataLoader": partial(by_hand, loader),
}
