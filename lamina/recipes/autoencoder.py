"""Experiments with auto-encoders: stacked and fine-tuned, contractive, generative."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Literal

import torch
from torch import nn
from torch.optim import Adam

from lamina.core import Batch, Run
from lamina.data.batches import Batches, in_order
from lamina.data.dataset import Data
from lamina.data.examples import Mapped
from lamina.modules.standardize import Standardize
from lamina.optim.schedules import linear_to_zero
from lamina.recipes.generated import measure_generator
from lamina.recipes.inputs import bernoulli, rows
from lamina.recipes.registry import recipe
from lamina.recipes.shallow import NOISES, Noise, autoencoder
from lamina.systems.autoencoder.autoencoder import Activation, Autoencoder
from lamina.systems.energy.units import Bernoulli, Gaussian
from lamina.systems.vision.classifier import Classifier

AVERAGE = 0.999  # decay of the mean of a classifier's weights, which is what is evaluated and kept


@recipe(
    paper="Vincent et al. (2010), Stacked denoising autoencoders, table 3 (SdA-3)",
    figure="error",
    published=0.0128,
    quick={"pretraining": 5, "epochs": 10},
)
def sda(
    data: Data,
    seed: int = 0,
    hidden: tuple[int, ...] = (1000, 1000, 1000),
    noise: Noise = "masking",
    level: float = 0.25,
    visible: Literal["bernoulli", "gaussian"] = "bernoulli",
    pretraining: int = 15,
    pretraining_lr: float = 1e-3,
    dropout: tuple[float, float] = (0.2, 0.0),
    epochs: int = 20,
    batch: int = 100,
    lr: float = 0.5,
) -> Run:
    """Train denoising auto-encoders one upon the other, then all their encoders as a classifier.

    Args:
        data: labelled images or rows.
        seed: of the weights, the order of the examples and the noise.
        hidden: units of every hidden layer.
        noise: what the auto-encoders repair.
        level: share of the numbers that noise destroys, or its standard deviation.
        visible: binary units for values in 0..1, or Gaussian ones for any; data for the latter is standardized.
        pretraining: passes over the data for every auto-encoder; 0 trains the classifier alone.
        pretraining_lr: learning rate of Adam for the auto-encoders, falling linearly to zero.
        dropout: share of the inputs, and of the hidden units, left out while the classifier learns; 0 0 is the paper's.
        epochs: passes over the data for the classifier.
        batch: examples in an update.
        lr: first learning rate of SGD with momentum for the classifier, falling linearly to zero.

    Raises:
        ValueError: the data have no labels, values outside 0..1 for binary units, or a size or share makes no sense.
    """
    inputs, units = inputs_of(data, visible)
    layers = [
        Autoencoder(below, size, NOISES[noise](level)) for below, size in zip(stack(units, hidden), hidden, strict=True)
    ]
    return fine_tuned(data, seed, inputs, layers, pretraining, pretraining_lr, epochs, batch, lr, dropout)


@recipe(
    paper="Rifai et al. (2011), Contractive auto-encoders, table 1 (one layer of 1000 units)",
    figure="error",
    published=0.0114,
    quick={"pretraining": 10, "epochs": 10},
)
def cae(
    data: Data,
    seed: int = 0,
    hidden: tuple[int, ...] = (1000,),
    contraction: float = 0.1,
    visible: Literal["bernoulli", "gaussian"] = "bernoulli",
    pretraining: int = 30,
    pretraining_lr: float = 1e-3,
    dropout: tuple[float, float] = (0.2, 0.0),
    epochs: int = 20,
    batch: int = 100,
    lr: float = 0.5,
) -> Run:
    """Train contractive auto-encoders one upon the other, then all their encoders as a classifier.

    Args:
        data: labelled images or rows.
        seed: of the weights and the order of the examples.
        hidden: units of every hidden layer.
        contraction: weight of the squared norm of a code's Jacobian.
        visible: binary units for values in 0..1, or Gaussian ones for any; data for the latter is standardized.
        pretraining: passes over the data for every auto-encoder; 0 trains the classifier alone.
        pretraining_lr: learning rate of Adam for the auto-encoders, falling linearly to zero.
        dropout: share of the inputs, and of the hidden units, left out while the classifier learns; 0 0 is the paper's.
        epochs: passes over the data for the classifier.
        batch: examples in an update.
        lr: first learning rate of SGD with momentum for the classifier, falling linearly to zero.

    Raises:
        ValueError: the data have no labels, values outside 0..1 for binary units, or a size makes no sense.
    """
    inputs, units = inputs_of(data, visible)
    layers = [
        Autoencoder(below, size, contraction=contraction)
        for below, size in zip(stack(units, hidden), hidden, strict=True)
    ]
    return fine_tuned(data, seed, inputs, layers, pretraining, pretraining_lr, epochs, batch, lr, dropout)


@recipe(
    paper="Bengio, Yao, Alain & Vincent (2013), Generalized denoising auto-encoders, section 5 (walkback)",
    figure="parzen",
    unit="nats",
    published=150.0,
    measure=measure_generator,
    quick={"epochs": 5},
)
def walkback(
    data: Data,
    seed: int = 0,
    hidden: int = 2000,
    noise: Noise = "salt-and-pepper",
    level: float = 0.5,
    steps: int = 3,
    sparsity: float = 0.0,
    contraction: float = 0.0,
    saturation: float = 0.0,
    visible: Literal["bernoulli", "gaussian"] = "bernoulli",
    lr: float = 1e-3,
    epochs: int = 20,
    batch: int = 100,
) -> Run:
    """Train a denoising auto-encoder as a generative model: its Markov chain makes new examples.

    Args:
        data: values in 0..1, or any for Gaussian units.
        seed: of the weights, the order of the examples and the noise.
        hidden: units of the code.
        noise: what the auto-encoder repairs.
        level: share of the numbers that noise destroys, or its standard deviation.
        steps: steps of the chain from which an update restores the input; 1 is a plain denoising auto-encoder.
        sparsity: weight of the penalty that pulls hidden units to a mean activity of 0.05.
        contraction: weight of the squared norm of the code's Jacobian.
        saturation: weight of the distance of hidden units from where they are cut off, at -1 and 1.
        visible: binary units for values in 0..1, or Gaussian ones for any; data for the latter is standardized.
        lr: learning rate of Adam, falling linearly to zero.
        epochs: passes over the data.
        batch: examples in an update.
    """
    activation: Activation = "sigmoid" if sparsity else "saturated-linear" if saturation else "tanh"
    return autoencoder(
        data,
        seed=seed,
        hidden=hidden,
        activation=activation,
        tied=False,
        noise=noise,
        level=level,
        steps=steps,
        contraction=contraction,
        sparsity=sparsity,
        saturation=saturation,
        visible=visible,
        lr=lr,
        epochs=epochs,
        batch=batch,
    )


def inputs_of(data: Data, visible: Literal["bernoulli", "gaussian"]) -> tuple[nn.Module, Bernoulli | Gaussian]:
    """Return what comes before the first layer, and the units that it restores."""
    x = rows(data)
    size = x[0].numel()
    if visible == "bernoulli":
        bernoulli(x, binarize=False)  # refuses other values
        return nn.Flatten(), Bernoulli((size,), binarize=False)
    return nn.Sequential(Standardize.fitted(x), nn.Flatten()), Gaussian(torch.zeros(size), torch.ones(size))


def stack(units: Bernoulli | Gaussian, hidden: Sequence[int]) -> list[Bernoulli | Gaussian]:
    """Return what each auto-encoder restores: the input, and then the codes below."""
    return [units, *(Bernoulli((size,), binarize=False) for size in hidden[:-1])]


def fine_tuned(
    data: Data,
    seed: int,
    inputs: nn.Module,
    layers: Sequence[Autoencoder],
    pretraining: int,
    pretraining_lr: float,
    epochs: int,
    batch: int,
    lr: float,
    dropout: tuple[float, float],
) -> Run:
    """Return the run of a classifier made of the encoders, with their pre-training before it."""

    def greedy() -> Iterator[Run]:
        for depth, layer in enumerate(layers):
            below = nn.Sequential(inputs, *(part for low in layers[:depth] for part in (low.encoder, nn.Sigmoid())))
            yield Run(
                system=layer,
                train=Batches(Mapped(data.train, partial(coded, below)), batch, seed=seed),
                optimizer=partial(Adam, lr=pretraining_lr, fused=True),
                schedules={"lr": linear_to_zero(pretraining_lr)},
                epochs=pretraining,
            )

    encoders = [layer.encoder for layer in layers]
    return classifier(data, seed, inputs, encoders, epochs, batch, lr, greedy if pretraining else None, dropout)


def classifier(
    data: Data,
    seed: int,
    inputs: nn.Module,
    encoders: Sequence[nn.Linear],
    epochs: int,
    batch: int,
    lr: float,
    before: Callable[[], Iterator[Run]] | None,
    dropout: tuple[float, float] = (0.0, 0.0),
) -> Run:
    """Return the run of a classifier of sigmoid layers that `before` trains first; dropout is of inputs and units."""
    head = nn.Linear(encoders[-1].out_features, data.labels())
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    thinned = [[nn.Dropout(share)] if share else [] for share in dropout]
    hidden = (part for encoder in encoders for part in (encoder, nn.Sigmoid(), *thinned[1]))
    train = Batches(data.train, batch, seed=seed)
    return Run(
        system=Classifier(inputs, nn.Sequential(*thinned[0], *hidden, head)),
        train=train,
        valid=in_order(data.valid),
        test=in_order(data.test),
        optimizer=partial(torch.optim.SGD, lr=lr, momentum=0.9, nesterov=True, fused=True),
        schedules={"lr": linear_to_zero(lr)},
        epochs=epochs,
        average=min(AVERAGE, max(0.0, 1 - 10 / (len(train) * max(epochs, 1)))),  # a tenth of a short run
        before=before,
    )


@torch.no_grad()
def coded(below: nn.Module, batch: Batch) -> Batch:
    """Return the batch with its `x` passed through the layers below, which go to where their parameters are."""
    device = next((p.device for p in below.parameters()), batch["x"].device)
    codes = below.to(device)(batch["x"].to(device)).to(batch["x"].device)
    return batch | {"x": codes}
