"""A small system and runs of it, for tests of what surrounds systems."""

from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from lamina.core import Run, System
from lamina.data.batches import Batches
from lamina.data.examples import Arrays

SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9)


class Small(System):
    """A net with dropout and batch norm, so that random state and buffers matter."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
        self.temperature = 1.0

    def loss(self, x, y):
        return {"nll": F.cross_entropy(self.net(x) / self.temperature, y)}

    def metrics(self, x, y):
        return {"error": (self.net(x).argmax(1) != y).float().mean(), "noise": torch.rand(())}


def examples(count=50, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Arrays(x=torch.randn(count, 4, generator=generator), y=torch.randint(3, (count,), generator=generator))


def run_of(seed=0, **changes):
    torch.manual_seed(seed)
    data = examples()
    settings = {"system": Small(), "train": Batches(data, 8), "optimizer": SGD, "epochs": 3, "valid": Batches(data, 20)}
    return Run(**settings | changes)


def weights(run):
    return torch.cat([value.flatten().float() for value in run.system.state_dict().values()])


def pictures(folder, classes=("cat", "dog"), count=8):
    """A folder with a subfolder of small pictures for each class."""
    generator = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(generator.integers(0, 255, (9, 9), dtype=np.uint8)).save(folder / name / f"{i}.png")
    return folder


def table(path, rows=30):
    """A table of two numbers and a label."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(rows, 2))
    lines = [f"{a:.3f},{b:.3f},{'yes' if a > 0 else 'no'}" for a, b in x]
    path.write_text("\n".join(["height,width,label", *lines]) + "\n")
    return path
