"""What recipes that learn dictionaries share: patches of images, first atoms, and runs that keep the atoms' norm."""

import dataclasses
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.optim import Adam

from lamina.core import Run, System
from lamina.data.batches import Batches, in_order
from lamina.data.dataset import Data
from lamina.data.examples import Arrays, Examples
from lamina.modules.whitening import Method, Whitening
from lamina.optim.schedules import linear_to_zero
from lamina.optim.wrappers import projected
from lamina.recipes.inputs import rows
from lamina.systems.autoencoder.conv_dictionary import ConvDictionary
from lamina.systems.autoencoder.sparse import Dictionary, unit_atoms

HELD = 10_000  # patches to choose with, and to report on
CHUNK = 1_000  # images that patches are cut from at once
NOISE = 0.1  # standard deviation, beside 1 of the data
TRIES = 10  # patches from which an atom is chosen


def fresh(
    data: Data, hidden: int, sparsity: float, whitening: Method, components: int, floor: float, contrast: float
) -> Dictionary:
    """Return a dictionary whose atoms are training examples with noise, so that no two are the same."""
    x = rows(data)
    inputs = Whitening.fitted(x, whitening, components, floor, contrast)
    chosen = inputs.standard(x[torch.randint(len(x), (max(hidden, 0),))])
    return Dictionary(inputs, hidden, sparsity, chosen + NOISE * torch.randn_like(chosen))


@torch.no_grad()
def begin(dictionary: ConvDictionary, v: Float[Tensor, "examples features"]) -> ConvDictionary:
    """Return a dictionary whose atoms are now patches of the examples with noise, of the half with most in them."""
    codes, _, side, _ = dictionary.B.shape
    images = v[torch.randint(len(v), (TRIES * codes,))].view(-1, *dictionary.inputs.shape)
    patches = drawn(Arrays(x=images), side, TRIES * codes, seed=int(torch.randint(2**31, ()))).flatten(1)
    order = patches.norm(dim=1).argsort(descending=True)[: len(patches) // 2]
    chosen = F.normalize(patches[order[torch.randperm(len(order))[:codes]]], dim=1)
    spread = NOISE / chosen.shape[1] ** 0.5
    dictionary.B.copy_(F.normalize(chosen + spread * torch.randn_like(chosen), dim=1).view_as(dictionary.B))
    return dictionary


def learned(
    system: System, dictionary: Dictionary | ConvDictionary, data: Data, seed: int, lr: float, epochs: int, batch: int
) -> Run:
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
