"""Clusters found without labels, and named by a few."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.optim import Adam

from lamina.core import Run
from lamina.data.batches import Batches, in_order
from lamina.data.dataset import Data
from lamina.data.examples import whole
from lamina.modules.mlp import mlp
from lamina.modules.standardize import Standardize
from lamina.optim.schedules import one_cycle
from lamina.recipes.inputs import everything, rows
from lamina.recipes.registry import recipe
from lamina.recipes.semisupervised import chosen
from lamina.recipes.variational import vae
from lamina.systems.semisupervised.cluster import ClusterLabel, affinity, embedding, grouped, k_means


@recipe(
    paper="Hinton, Bengio & LeCun (2015), Deep learning (tutorial), one label a class",
    figure="error",
    published=None,
)
def cluster_label(
    data: Data,
    seed: int = 0,
    labels: int = 10,
    choice: Literal["central", "random"] = "central",
    features: Literal["vae", "raw"] = "vae",
    code: int = 10,
    code_hidden: tuple[int, ...] = (500, 500),
    visible: Literal["bernoulli", "gaussian"] = "bernoulli",
    pretraining: int = 15,
    clusters: int = 2000,
    neighbors: int = 10,
    vectors: float = 1.5,
    hidden: tuple[int, ...] = (500, 500),
    dropout: tuple[float, float] = (0.2, 0.5),
    epochs: int = 10,
    batch: int = 100,
    lr: float = 1e-3,
) -> Run:
    """Cluster all examples, give every cluster a class by a few labels, and train a perceptron on these classes.

    The last epoch is kept: choosing one by validation labels would use more labels than `labels`.

    Args:
        data: classified images or vectors; values in 0..1 for binary units.
        seed: of the features, the clusters, the labelled examples, the weights and the order of the examples.
        labels: training examples whose class is used; 0 for all that have one.
        choice: of the labelled examples: the one nearest to the middle of each group of clusters, whose name it gives
            to all of the group; or random ones, as many of each class, which name the clusters nearest to them along
            the graph of clusters.
        features: codes of a variational auto-encoder, or the examples' own numbers.
        code: numbers of a code.
        code_hidden: units of the auto-encoder's hidden layers.
        visible: its binary units for values in 0..1, or Gaussian ones for any.
        pretraining: passes over the data for the auto-encoder.
        clusters: centroids of k-means.
        neighbors: of each cluster in the graph that groups them.
        vectors: eigenvectors of the graph to group by, for each class; Ng et al. have one for each group.
        hidden: units of the perceptron's hidden layers.
        dropout: share of its inputs, and of its hidden units, left out.
        epochs: passes over the data for the perceptron.
        batch: examples in an update.
        lr: largest learning rate of Adam, which rises and falls in one cycle.

    Raises:
        ValueError: the data has no classes, fewer labels than classes, more labels than clusters, more clusters than
            examples, or scikit-learn is missing.
    """
    classes, x, pool = data.labels(), rows(data), everything(data)
    asked = chosen(data, labels, seed)
    first = None
    if features == "vae":
        first = vae(
            replace(data, train=pool),
            seed=seed,
            hidden=code_hidden,
            latent=code,
            visible=visible,
            batch=200,
            epochs=pretraining,
        )
    start = torch.zeros(clusters, x[0].numel() if first is None else code)
    network = mlp(data.shape, hidden, classes, dropout)
    system = ClusterLabel(None if first is None else first.system, start, classes, Standardize.fitted(x), network)

    def before() -> Iterator[Run]:
        if not len(asked) <= clusters <= len(pool):
            raise ValueError(
                f"clusters must lie in {len(asked)}..{len(pool)}, the numbers of labels and examples; got {clusters}"
            )
        if first is not None:
            yield first
        name(system, data, asked, choice == "central", neighbors, vectors, seed)

    return Run(
        system=system,
        train=Batches(pool, batch, seed=seed),
        valid=in_order(data.valid),
        test=in_order(data.test),
        optimizer=partial(Adam, lr=lr, fused=True),
        schedules={"lr": one_cycle(lr)},
        epochs=epochs,
        keep="last",
        before=before,
    )


@torch.no_grad()
def name(
    system: ClusterLabel, data: Data, asked: Tensor, central: bool, neighbors: int, vectors: float, seed: int
) -> None:
    """Find the clusters of all training examples and give each a class, from as many labels as are `asked` for."""
    system.cpu()  # where scikit-learn computes
    codes = torch.cat([system.codes(batch["x"]) for batch in Batches(everything(data), 1000, shuffle=False).epoch(0)])
    system.centroids.copy_(k_means(codes, len(system.centroids), seed))
    known, size = codes[: len(data.train)], min(round(vectors * data.labels()), len(system.centroids))
    places = embedding(affinity(system.centroids, neighbors), size)
    if central:
        group, middle = grouped(places, len(asked), seed)
        asked = torch.cdist(system.centroids[middle], known).argmin(1)
    else:
        group = torch.cdist(places, places[system.nearest(known[asked])]).argmin(1)
    system.names.copy_(whole(data.train)["y"][asked][group])
