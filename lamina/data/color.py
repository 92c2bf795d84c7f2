"""Sets of classified color images, 32x32: CIFAR-10 and the street view house numbers."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from lamina.data.dataset import Data, split
from lamina.data.examples import Arrays, whole
from lamina.data.fetch import File, Https, deb_members, fetch

CIFAR10 = {"cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"}
SVHN = {
    "train_32x32.mat": "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
    "test_32x32.mat": "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
}
THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SHAPE = (3, 32, 32)


def cifar10(seed: int = 0, held: int = 5000) -> Data:
    """Animals and vehicles, 32x32 color, 50,000 + 10,000 (Krizhevsky, 2009).

    Args:
        seed: of the choice of validation examples.
        held: training examples held out for validation.
    """
    ((name, digest),) = CIFAR10.items()
    addresses = (
        "https://www.cs.toronto.edu/~kriz/",
        "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/",
    )
    archive = fetch(File(f"cifar10/{name}", digest, tuple(Https(address + name) for address in addresses)))
    found = {Path(member).name: body for member, body in deb_members(archive)}
    train = read_cifar(found[f"data_batch_{i}.bin"] for i in range(1, 6))
    return from_bytes("cifar10", train, read_cifar([found["test_batch.bin"]]), THINGS, CIFAR10, seed, held)


def svhn(seed: int = 0, held: int = 5000) -> Data:
    """House numbers, one digit in the middle, 32x32 color, 73,257 + 26,032 (Netzer et al., 2011).

    Args:
        seed: of the choice of validation examples.
        held: training examples held out for validation.

    Raises:
        ValueError: SciPy, which reads the format, is not installed.
    """
    train, test = (
        fetch(File(f"svhn/{name}", digest, (Https(f"http://ufldl.stanford.edu/housenumbers/{name}"),)))  # has no https
        for name, digest in SVHN.items()
    )
    return from_bytes("svhn", read_mat(train), read_mat(test), tuple("0123456789"), SVHN, seed, held)


def read_cifar(batches: Iterable[bytes]) -> tuple[UInt8[Tensor, "examples 3 32 32"], UInt8[Tensor, " examples"]]:
    """Return images and labels of CIFAR-10's binary files: a byte of label, then red, green and blue rows."""
    rows = torch.cat([torch.frombuffer(bytearray(batch), dtype=torch.uint8) for batch in batches])
    rows = rows.reshape(-1, 1 + torch.Size(SHAPE).numel())
    return rows[:, 1:].reshape(-1, *SHAPE), rows[:, 0]


def read_mat(path: Path) -> tuple[UInt8[Tensor, "examples 3 height width"], UInt8[Tensor, " examples"]]:
    """Return images and labels of a MATLAB file with `X` (height, width, 3, examples) and `y`, where 10 stands for 0.

    Raises:
        ValueError: SciPy is not installed.
    """
    try:
        from scipy.io import loadmat
    except ImportError:
        raise ValueError("svhn is read by SciPy: pip install 'lamina[sklearn]'") from None
    content = loadmat(io.BytesIO(path.read_bytes()))
    images = torch.from_numpy(np.ascontiguousarray(content["X"].transpose(3, 2, 0, 1)))
    return images, torch.from_numpy(content["y"].astype(np.uint8).ravel() % 10)


def from_bytes(
    name: str,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    classes: tuple[str, ...],
    hashes: Mapping[str, str],
    seed: int,
    held: int,
) -> Data:
    """Return a data set of images and labels in bytes, with `held` of its training examples for validation."""
    images, labels = train
    rows = split(Arrays(row=torch.arange(len(labels))), held, seed)
    chosen = [whole(some)["row"] for some in rows]  # bytes are quicker to pick from than the floats that they become
    rest, valid = (as_floats(images.index_select(0, row), labels[row]) for row in chosen)
    return Data(name, rest, valid, as_floats(*test), classes, hashes)


def as_floats(images: UInt8[Tensor, "examples channels height width"], labels: UInt8[Tensor, " examples"]) -> Arrays:
    """Return examples with values in 0..1."""
    return Arrays(x=images.float().div_(255), y=labels)
