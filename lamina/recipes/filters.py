"""Experiments with filters that convolutional predictive sparse decomposition learns."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import nn
from torch.optim import Adam

from lamina.core import Run
from lamina.data.batches import Batches, in_order
from lamina.data.dataset import Data
from lamina.data.examples import Mapped, subset
from lamina.modules.contrast import LocalContrast
from lamina.modules.conv_encoder import ConvEncoder, Squash, stage
from lamina.modules.whitening import Whitening
from lamina.optim.schedules import linear_to_zero
from lamina.recipes.autoencoder import coded
from lamina.recipes.dictionaries import begin, cut, learned
from lamina.recipes.inputs import everything, rows
from lamina.recipes.registry import recipe
from lamina.recipes.semisupervised import chosen
from lamina.systems.autoencoder.conv_dictionary import ConvDictionary
from lamina.systems.autoencoder.sparse import PSD
from lamina.systems.vision.classifier import Classifier

KAVUKCUOGLU = "Kavukcuoglu et al. (2010), Learning convolutional feature hierarchies for visual recognition"
EXAMPLES = 2_000  # from which the first atoms are taken


@recipe(paper=KAVUKCUOGLU + ", sections 2.1 and 2.2", figure="energy", unit="nats", published=None)
def conv_psd(
    data: Data,
    seed: int = 0,
    hidden: int = 32,
    side: int = 7,
    padding: int = 0,
    sparsity: float = 1.0,
    alpha: float = 1.0,
    encoder: Squash = "shrink",
    steps: int = 20,
    window: int = 9,
    patch: int = 0,
    patches: int = 20_000,
    lr: float = 1e-2,
    epochs: int = 1,
    batch: int = 50,
) -> Run:
    """Learn small atoms that may be anywhere in an image, and a convolutional encoder that predicts their codes.

    The paper's form: side=9, padding=8, hidden=64, on natural images or on patches that are larger than the
    atoms (patch=25). The figure is the energy of a held-out image, as that of `psd`.

    Args:
        data: images of any size.
        seed: of the weights, the patches and the order of the examples.
        hidden: atoms.
        side: of the atoms in pixels.
        padding: pixels by which an atom may reach beyond the image.
        sparsity: weight of the codes' size.
        alpha: weight of the squared distance between codes and prediction.
        encoder: squashing function after the encoder's convolution.
        steps: of FISTA for an update, from the prediction.
        window: side of the window of local contrast normalization, odd; 0 only centers and scales.
        patch: side of patches drawn from images at random; 0 learns from whole images.
        patches: how many to draw for training, and at most a fifth as many to choose with and to report on.
        lr: learning rate of Adam, falling linearly to zero.
        epochs: passes over the data.
        batch: images in an update.

    Raises:
        ValueError: rows in place of images, or a number that makes no sense.
    """
    data = cut(data, patch, patches, seed)
    x = rows(data)
    inputs = LocalContrast(data.shape, window, apart=True) if window else Whitening.fitted(x)
    dictionary = ConvDictionary(inputs, hidden, side, sparsity, padding)
    begin(dictionary, inputs.standard(x[:EXAMPLES]))
    network = ConvEncoder(data.shape[0], hidden, side, padding, encoder)
    return learned(predictive(dictionary, network, alpha, steps), dictionary, data, seed, lr, epochs, batch)


def predictive(dictionary: ConvDictionary, encoder: ConvEncoder, alpha: float, steps: int) -> PSD:
    """Return convolutional PSD, whose encoder reads and gives rows; that of shrinkage begins as a step of ISTA."""
    with torch.no_grad():
        encoder.conv.weight.copy_(dictionary.B)
        assert encoder.conv.bias is not None
        encoder.conv.bias.zero_()
        encoder.g.fill_(1 / dictionary.curvature())
        if encoder.theta is not None:
            encoder.theta.fill_(dictionary.sparsity)
    return PSD(dictionary, nn.Sequential(nn.Unflatten(1, dictionary.inputs.shape), encoder, nn.Flatten()), alpha, steps)


@recipe(
    paper=KAVUKCUOGLU + ", section 3; stages of Jarrett et al. (2009), What is the best multi-stage architecture for"
    " object recognition?",
    figure="error",
    published=None,
    quick={"images": 2000, "epochs": 60},
)
def psd_convnet(
    data: Data,
    seed: int = 0,
    labels: int = 300,
    filters: tuple[int, ...] = (32, 64),
    sides: tuple[int, ...] = (7, 5),
    pools: tuple[int, ...] = (2, 2),
    learned_stages: int = 1,
    window: int = 5,
    encoder: Squash = "shrink",
    sparsity: float = 0.5,
    steps: int = 10,
    images: int = 10_000,
    pretraining: int = 1,
    pretraining_lr: float = 3e-3,
    epochs: int = 100,
    batch: int = 50,
    lr: float = 1e-3,
) -> Run:
    """Train filters of a convolutional network by convolutional PSD without labels, then all of it with a few.

    A stage has filters with gains, rectification by the absolute value, local contrast normalization and average
    pooling. The last epoch is kept: choosing one by validation labels would use more labels than `labels`.

    Args:
        data: classified images; those without a label serve for the filters.
        seed: of the labelled examples, the weights and the order of the examples.
        labels: training examples whose class is used, as many of each class; 0 for all that have one.
        filters: of each stage.
        sides: of each stage's filters in pixels.
        pools: sides of the squares that each stage averages.
        learned_stages: the lowest stages, whose filters are learned without labels; those above begin from random ones.
        window: side of the windows of local contrast normalization, odd.
        encoder: squashing function after the filters.
        sparsity: weight of the codes' size, for the filters.
        steps: of FISTA for an update of the filters.
        images: to learn filters from.
        pretraining: passes over these for each stage that is learned; 0 begins from random filters.
        pretraining_lr: learning rate of Adam for the filters, falling linearly to zero.
        epochs: passes over the labelled examples.
        batch: examples in an update.
        lr: learning rate of Adam for the whole network, falling linearly to zero.

    Raises:
        ValueError: the data are not classified images, fewer labels than classes, or a size makes no sense.
    """
    inputs, shapes = LocalContrast(data.shape, window, apart=True), [data.shape]
    labelled = subset(data.train, chosen(data, labels, seed))
    if not len(filters) == len(sides) == len(pools):
        raise ValueError(f"each stage needs filters, a side and a pool, got {filters}, {sides} and {pools}")
    encoders, stages = list[ConvEncoder](), list[nn.Sequential]()
    for count, side, pool in zip(filters, sides, pools, strict=True):
        encoders.append(ConvEncoder(shapes[-1][0], count, side, squash=encoder))
        made, shape = stage(shapes[-1], encoders[-1], window, pool)
        stages.append(made)
        shapes.append(shape)
    unlabelled = everything(data)
    some = subset(unlabelled, torch.randperm(len(unlabelled))[:images])

    def greedy() -> Iterator[Run]:
        for depth, network in enumerate(encoders[:learned_stages]):
            mapped = Mapped(some, partial(coded, nn.Sequential(inputs, *stages[:depth])))
            dictionary = ConvDictionary(
                Whitening.fitted(torch.zeros(1, *shapes[depth])), filters[depth], sides[depth], sparsity
            )
            begin(dictionary, mapped.fetch(torch.arange(min(len(some), EXAMPLES)))["x"].flatten(1))
            system = predictive(dictionary, network, 1.0, steps)
            yield learned(system, dictionary, Data(data.name, mapped), seed, pretraining_lr, pretraining, batch)
            network.reset_scale()

    head = nn.Linear(int(torch.Size(shapes[-1]).numel()), data.labels())
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return Run(
        system=Classifier(inputs, nn.Sequential(*stages, nn.Flatten(), head)),
        train=Batches(labelled, batch, seed=seed),
        valid=in_order(data.valid),
        test=in_order(data.test),
        optimizer=partial(Adam, lr=lr, fused=True),
        schedules={"lr": linear_to_zero(lr)},
        epochs=epochs,
        keep="last",
        before=greedy if pretraining else None,
    )
