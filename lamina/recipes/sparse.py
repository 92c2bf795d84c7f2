"""Experiments with sparse coding and predictive sparse decomposition, on whole examples or patches."""

from typing import Literal

from lamina.core import Run
from lamina.data.dataset import Data
from lamina.modules.lista import LISTA, TanhEncoder
from lamina.modules.whitening import Method
from lamina.recipes.dictionaries import cut, fresh, learned
from lamina.recipes.registry import recipe
from lamina.systems.autoencoder.sparse import PSD, SparseCoding


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
