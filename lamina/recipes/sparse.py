"""Experiments with sparse coding and predictive sparse decomposition, on whole examples or on patches of images."""

import dataclasses
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Adam

from lamina.core import Run, System
from lamina.data.batches import Batches, in_order
from lamina.data.dataset import Data
from lamina.data.examples import Arrays, Examples, spread
from lamina.modules.lista import LISTA, TanhEncoder
from lamina.modules.whitening import Method, Whitening
from lamina.optim.schedules import linear_to_zero
from lamina.optim.wrappers import projected
from lamina.recipes.registry import recipe
from lamina.systems.autoencoder.sparse import PSD, Dictionary, SparseCoding, unit_atoms

HELD = 10_000  # patches to choose with, and to report on
CHUNK = 1_000  # images that patches are cut from at once
NOISE = 0.1  # standard deviation, beside 1 of the data


@recipe(
    paper="Olshausen & Field (1996), Emergence of simple-cell receptive field properties by learning a sparse code for"
    " natural images, Nature 381; inference of Beck & Teboulle (2009), FISTA",
    figure="energy",
    unit="nats",
    published=None,
)
def sparse_coding(
    data: Data,
    seed: int = 0,
    hidden: int = 256,
    sparsity: float = 2.0,
    steps: int = 50,
    patch: int = 0,
    patches: int = 50_000,
    whitening: Method = "none",
    components: int = 0,
    floor: float = 0.1,
    contrast: float = 0.0,
    lr: float = 1e-2,
    epochs: int = 5,
    batch: int = 100,
) -> Run:
    """Learn a dictionary of which every example needs few atoms, with codes by FISTA.

    The paper's form: whitening=zca, patch=12 or 16, on images of nature. The figure is the energy of held-out examples,
    half the squared error plus sparsity times the sum of sizes of the codes; without whitening, the numbers of an
    example have variance 1 on average.

    Args:
        data: images of any size, or rows.
        seed: of the atoms, the patches and the order of the examples.
        hidden: atoms.
        sparsity: weight of the codes' size.
        steps: of FISTA for an update.
        patch: side of patches drawn from images at random; 0 learns from whole examples.
        patches: how many to draw for training, and at most a fifth as many to choose with and to report on.
        whitening: "none" only centers and scales; "pca" and "zca" take out correlations too.
        components: directions of largest variance that whitening keeps; 0 keeps all.
        floor: added to every variance before whitening, as a share of their mean.
        contrast: added to an example's variance before its contrast is normalized, such as 1.5e-4 for images with
            values in 0..1; 0 leaves brightness and contrast as they are.
        lr: learning rate of Adam, falling linearly to zero.
        epochs: passes over the data.
        batch: examples in an update.

    Raises:
        ValueError: patches of rows or larger than the images, or a number that makes no sense.
    """
    data = cut(data, patch, patches, seed)
    dictionary = fresh(data, hidden, sparsity, whitening, components, floor, contrast)
    return learned(SparseCoding(dictionary, steps), dictionary, data, seed, lr, epochs, batch)


@recipe(
    paper="Kavukcuoglu, Ranzato & LeCun (2008), Fast inference in sparse coding algorithms; encoder also of Gregor &"
    " LeCun (2010), Learning fast approximations of sparse coding",
    figure="energy",
    unit="nats",
    published=None,
)
def psd(
    data: Data,
    seed: int = 0,
    hidden: int = 256,
    sparsity: float = 2.0,
    alpha: float = 1.0,
    encoder: Literal["tanh", "lista"] = "tanh",
    layers: int = 3,
    steps: int = 20,
    patch: int = 0,
    patches: int = 50_000,
    whitening: Method = "none",
    components: int = 0,
    floor: float = 0.1,
    contrast: float = 0.0,
    lr: float = 3e-3,
    epochs: int = 5,
    batch: int = 100,
) -> Run:
    """Learn a dictionary and an encoder that predicts its sparse codes, each from the other.

    The paper's form: patch=9 or 12, contrast normalized, on natural images. The figure is the energy of held-out
    examples: half the squared error, the sparsity penalty, and alpha times the squared distance from the prediction.

    Args:
        data: images of any size, or rows.
        seed: of the weights, the patches and the order of the examples.
        hidden: atoms.
        sparsity: weight of the codes' size.
        alpha: weight of the squared distance between codes and prediction.
        encoder: a layer of tanh units with gains, or shrinkage layers that begin as steps of ISTA.
        layers: of the encoder "lista"; one is plain shrinkage.
        steps: of FISTA for an update, from the prediction.
        patch: side of patches drawn from images at random; 0 learns from whole examples.
        patches: how many to draw for training, and at most a fifth as many to choose with and to report on.
        whitening: "none" only centers and scales; "pca" and "zca" take out correlations too.
        components: directions of largest variance that whitening keeps; 0 keeps all.
        floor: added to every variance before whitening, as a share of their mean.
        contrast: added to an example's variance before its contrast is normalized, such as 1.5e-4 for images with
            values in 0..1; 0 leaves brightness and contrast as they are.
        lr: learning rate of Adam, falling linearly to zero.
        epochs: passes over the data.
        batch: examples in an update.

    Raises:
        ValueError: patches of rows or larger than the images, or a number that makes no sense.
    """
    data = cut(data, patch, patches, seed)
    dictionary = fresh(data, hidden, sparsity, whitening, components, floor, contrast)
    network = (
        TanhEncoder(dictionary.inputs.features, hidden) if encoder == "tanh" else LISTA(dictionary.B, sparsity, layers)
    )
    return learned(PSD(dictionary, network, alpha, steps), dictionary, data, seed, lr, epochs, batch)


def fresh(
    data: Data, hidden: int, sparsity: float, whitening: Method, components: int, floor: float, contrast: float
) -> Dictionary:
    """Return a dictionary whose atoms are training examples with noise, so that no two are the same."""
    x = spread(data.train)["x"]
    inputs = Whitening.fitted(x, whitening, components, floor, contrast)
    chosen = inputs.standard(x[torch.randint(len(x), (max(hidden, 0),))])
    return Dictionary(inputs, hidden, sparsity, chosen + NOISE * torch.randn_like(chosen))


def learned(system: System, dictionary: Dictionary, data: Data, seed: int, lr: float, epochs: int, batch: int) -> Run:
    """Return the run that trains a system and keeps the norm of its atoms."""
    return Run(
        system=system,
        train=Batches(data.train, batch, seed=seed),
        valid=in_order(data.valid),
        test=in_order(data.test),
        optimizer=projected(partial(Adam, lr=lr, fused=True), unit_atoms(dictionary)),
        schedules={"lr": linear_to_zero(lr)},
        epochs=epochs,
    )


def cut(data: Data, side: int, count: int, seed: int) -> Data:
    """Return data of random patches of the images, or the data itself for side 0.

    Raises:
        ValueError: the data are texts, or patches are wanted of rows or larger than the images.
    """
    shape = data.shape
    if side == 0:
        return data
    if len(shape) != 3:
        raise ValueError(f"patches are cut from images, but an example has the shape {shape}: leave patch at 0")
    if not 0 < side <= min(shape[1:]) or count < 1:
        raise ValueError(f"patches must be within {shape[1:]} pixels and at least 1, got {side} and {count}")
    held = min(max(count // 5, 1), HELD)
    return dataclasses.replace(
        data,
        train=Arrays(x=drawn(data.train, side, count, seed)),
        valid=data.valid and Arrays(x=drawn(data.valid, side, held, seed)),
        test=data.test and Arrays(x=drawn(data.test, side, held, seed)),
    )


def drawn(examples: Examples, side: int, count: int, seed: int) -> Float[Tensor, "patches channels side side"]:
    """Return square patches from random places of random images, no more than there are."""
    generator = torch.Generator().manual_seed(seed)
    height, width = examples.fetch(torch.zeros(1, dtype=torch.int64))["x"].shape[2:]
    rows, columns = height - side + 1, width - side + 1
    count = min(count, len(examples) * rows * columns)
    found, reach = list[Tensor](), torch.arange(side)
    for which in torch.split(torch.randint(len(examples), (count,), generator=generator), CHUNK):
        top = torch.randint(rows, (len(which), 1, 1), generator=generator) + reach[:, None]
        left = torch.randint(columns, (len(which), 1, 1), generator=generator) + reach
        images = examples.fetch(which)["x"]
        found.append(images[torch.arange(len(which))[:, None, None], :, top, left].permute(0, 3, 1, 2))
    return torch.cat(found)
