"""Cluster, then label: clusters are found without labels, each is named by one label, and a network learns the names.

    cₖ = centroids of the codes e(x) of all examples,   k(x) = argminₖ ‖e(x) − cₖ‖
    Wₖⱼ = max(wₖⱼ, wⱼₖ),   wₖⱼ = exp(−4 ‖cₖ − cⱼ‖² / rₖ²)   for the nearest neighbors cⱼ of cₖ, the last of them rₖ away
    sₖ = row k of the first eigenvectors of D^-½ W D^-½, with length one   (D: diagonal of the sums of W)
    group of cₖ by k-means on sₖ,   name of a group: the class of the example nearest to its middle centroid
    loss = −log p(name of k(x) | x)

There are more centroids than classes, since a class is seldom one round cloud, and as many groups as there are labels.
Centroids that neighbors join end up in one group, however far they lie apart. The network's class borders are smooth,
where those of the centroids follow single cells.

Hinton, Bengio & LeCun (2015), Deep learning (tutorial), learning with one label a class; the groups are those of Ng,
Jordan & Weiss (2002), On spectral clustering, section 2, upon the graph of Zelnik-Manor & Perona (2004), section 3.

Differs from the papers: more eigenvectors than classes may be taken; with one each, two classes that are close, as 4
and 9 among digits, often share a group, while some small part of another class has one to itself.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lamina.core import Encodes, System, Terms

STARTS = 1000  # of k-means for the groups, times their number; a poor one can cost a class its name
SHARPNESS = 4.0  # of the weights, so that the last neighbor has exp(-4)


class ClusterLabel(System):
    """A classifier that learns the names of clusters.

    Args:
        encoder: a trained system whose codes are clustered; None clusters raw examples.
        centroids: of the clusters, in the space of the codes.
        classes: number of classes.
        inputs: applied to raw input first, as `Standardize`.
        network: its last layer gives the logits.
    """

    def __init__(
        self,
        encoder: System | None,
        centroids: Float[Tensor, "clusters features"],
        classes: int,
        inputs: nn.Module,
        network: nn.Sequential,
    ) -> None:
        super().__init__()
        assert encoder is None or isinstance(encoder, Encodes)
        self.encoder, self.inputs, self.network = encoder, inputs, network
        self.register_buffer("centroids", centroids)
        self.register_buffer("names", torch.arange(len(centroids)) % classes)  # of the clusters
        self.centroids: Tensor
        self.names: Tensor

    @torch.no_grad()
    def predict(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch classes"]:
        """Return class probabilities."""
        return self.logits(x).softmax(1)

    def logits(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch classes"]:
        """Return log-probabilities up to a constant."""
        a: Tensor = self.network(self.inputs(x))
        return a

    @torch.no_grad()
    def codes(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch features"]:
        """Return what is clustered."""
        return self.encoder.encode(x) if isinstance(self.encoder, Encodes) else x.flatten(1)

    def nearest(self, codes: Float[Tensor, "batch features"]) -> Int[Tensor, " batch"]:
        """Return the cluster of each code."""
        return torch.cdist(codes, self.centroids).argmin(1)

    def loss(self, x: Float[Tensor, "batch *shape"]) -> Terms:
        """Return the cross-entropy, in nats, with the names of the examples' clusters."""
        return {"nll": F.cross_entropy(self.logits(x), self.names[self.nearest(self.codes(x))])}

    def metrics(self, x: Float[Tensor, "batch *shape"], y: Int[Tensor, " batch"]) -> Terms:
        """Return error and cross-entropy of the network, and the error of the clusters' names themselves."""
        a, named = self.logits(x), self.names[self.nearest(self.codes(x))]
        return {
            "error": (a.argmax(1) != y).float().mean(),
            "nll": F.cross_entropy(a, y),
            "cluster_error": (named != y).float().mean(),
        }


def k_means(codes: Float[Tensor, "examples features"], clusters: int, seed: int) -> Float[Tensor, "clusters features"]:
    """Return the centroids of 20 rounds of scikit-learn's k-means.

    Raises:
        ValueError: scikit-learn is not installed.
    """
    try:
        from sklearn.cluster import KMeans
    except ImportError:
        raise ValueError("clusters come with scikit-learn: pip install 'lamina[sklearn]'") from None
    means = KMeans(clusters, init="random", n_init=1, max_iter=20, random_state=seed)
    return torch.from_numpy(means.fit(codes.numpy()).cluster_centers_).to(codes)


def grouped(
    places: Float[Tensor, "clusters size"], groups: int, seed: int
) -> tuple[Int[Tensor, " clusters"], Int[Tensor, " groups"]]:
    """Return the group of each cluster, by k-means on its place in the embedding, and each group's middle cluster."""
    from sklearn.cluster import KMeans

    means = KMeans(groups, n_init=max(1, STARTS // groups), random_state=seed).fit(places.numpy())
    away = torch.cdist(places, torch.from_numpy(means.cluster_centers_))
    return torch.from_numpy(means.labels_).long(), away.argmin(0)


def affinity(centroids: Float[Tensor, "clusters features"], neighbors: int) -> Float[Tensor, "clusters clusters"]:
    """Return W: how strongly each centroid is joined to its nearest neighbors, in float64."""
    squares = torch.cdist(centroids.double(), centroids.double()).square().fill_diagonal_(torch.inf)
    near = squares.topk(min(neighbors, len(centroids) - 1), largest=False)
    radius = near.values[:, -1:].clamp_min(torch.finfo(torch.float64).tiny)
    W = torch.zeros_like(squares).scatter_(1, near.indices, (-SHARPNESS * near.values / radius).exp())
    return torch.maximum(W, W.t())


def embedding(W: Float[Tensor, "clusters clusters"], size: int) -> Float[Tensor, "clusters size"]:
    """Return the rows of the first eigenvectors of the normalized graph, with length one."""
    scale = W.sum(1).rsqrt()
    _, vectors = torch.linalg.eigh(scale[:, None] * W * scale)  # smallest eigenvalue first
    return F.normalize(vectors[:, -size:], dim=1)
