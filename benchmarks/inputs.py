"""What several benchmarks train on, and the network that they train."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamina.data.fetch import cache

MEAN, DEVIATION = 0.1307, 0.3081  # of MNIST's training pixels, as everybody standardizes it


def available() -> None:
    """Bring MNIST into the cache, so that variants need no library to read it."""
    from lamina.data.standard import mnist

    mnist()


def images(count: int, part: str = "train") -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the first images (count, 28, 28) of a part of MNIST, "train" or "t10k", and their labels."""
    folder = cache() / "mnist"
    x = np.fromfile(folder / f"{part}-images-idx3-ubyte", np.uint8, count * 784, offset=16)
    y = np.fromfile(folder / f"{part}-labels-idx1-ubyte", np.uint8, count, offset=8)
    return x.reshape(-1, 28, 28), y.astype(np.int64)


def standardized(count: int, part: str = "train") -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return images (count, 1, 28, 28) of mean 0 and deviation 1, and their labels."""
    x, y = images(count, part)
    return ((x[:, None] / 255 - MEAN) / DEVIATION).astype(np.float32), y


def bits(count: int, part: str = "train") -> NDArray[np.float32]:
    """Return images (count, 784) whose gray values were drawn as ones and zeros, once."""
    x, _ = images(count, part)
    drawn = np.random.default_rng(len(part)).random((count, 784), np.float32)
    return (drawn * 255 < x.reshape(-1, 784)).astype(np.float32)


def usual() -> Any:
    """Return LeNet-5 as it is usually written in PyTorch: tanh before pooling."""
    from torch import nn

    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.Tanh(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10)),
    )


def from_keras(backend: str, optimizer: str, **settings: float) -> Any:
    """Return LeNet-5 in Keras, compiled to train on standardized images (28, 28, 1) and labels."""
    import os

    os.environ["KERAS_BACKEND"] = backend
    import keras
    from keras import layers

    network = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            *(layers.Conv2D(6, 5, padding="same", activation="tanh"), layers.MaxPooling2D()),
            *(layers.Conv2D(16, 5, activation="tanh"), layers.MaxPooling2D(), layers.Flatten()),
            *(layers.Dense(120, activation="tanh"), layers.Dense(84, activation="tanh"), layers.Dense(10)),
        ]
    )
    chosen = keras.optimizers.get({"class_name": optimizer, "config": settings})
    network.compile(chosen, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return network


class Loaded:
    """The images of MNIST as a `DataLoader` takes them in the usual tutorials: each is decoded and scaled by itself."""

    def __init__(self, count: int) -> None:
        self.x, self.y = images(count)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> tuple[Any, int]:
        """Return a standardized picture and its label: the steps of torchvision's MNIST, ToTensor and Normalize."""
        import torch
        from PIL import Image

        picture = Image.fromarray(self.x[i])
        pixels = torch.from_numpy(np.array(picture, np.uint8, copy=True)).view(28, 28, 1)
        tensor = pixels.permute(2, 0, 1).contiguous().to(torch.float32).div(255)
        return tensor.clone().sub_(torch.as_tensor([MEAN])[:, None, None]).div_(
            torch.as_tensor([DEVIATION])[:, None, None]
        ), int(self.y[i])
