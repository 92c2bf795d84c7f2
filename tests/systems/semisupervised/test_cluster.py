"""Clusters against scikit-learn, a graph in two parts, and two moons that k-means alone cannot tell apart."""

import sys

import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import make_moons
from sklearn.manifold import spectral_embedding
from sklearn.neighbors import kneighbors_graph

import lamina
from lamina.core import Predicts
from lamina.data.dataset import Data
from lamina.data.examples import Arrays
from lamina.recipes.cluster import cluster_label
from lamina.recipes.ladders import few_labels
from lamina.recipes.semisupervised import chosen, ladder
from lamina.systems.semisupervised.cluster import affinity, embedding, grouped, k_means
from lamina.train.evaluate import evaluate
from lamina.train.fit import fit

SMALL = {"features": "raw", "clusters": 60, "neighbors": 5, "hidden": (30,), "dropout": (0.0, 0.0), "lr": 0.01}


def moons(count=1500, seed=0) -> Data:
    x, y = make_moons(count, noise=0.06, random_state=seed)
    parts = [Arrays(x=x[i::3].astype("float32"), y=y[i::3]) for i in range(3)]
    return Data("moons", *parts, classes=("upper", "lower"))


def test_affinity_joins_what_scikit_learn_finds_nearest():
    points = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    graph = torch.from_numpy(kneighbors_graph(points.numpy(), 5, mode="distance").toarray())
    one_way = torch.where(graph > 0, (-4 * (graph / graph.amax(1, keepdim=True)) ** 2).exp(), 0.0)
    torch.testing.assert_close(affinity(points, 5), torch.maximum(one_way, one_way.t()), rtol=1e-4, atol=1e-6)


def test_embedding_spans_what_scikit_learn_finds():
    """Before the rows are given length one they are the same eigenvectors, in some order and with some sign."""
    points = torch.randn(40, 3, generator=torch.Generator().manual_seed(1))
    W = affinity(points, 8)
    theirs = torch.from_numpy(spectral_embedding(W.numpy(), n_components=4, drop_first=False, random_state=0))
    theirs = theirs * W.sum(1).sqrt()[:, None]  # it divides the eigenvectors by the square root of the degrees
    theirs = torch.nn.functional.normalize(theirs / theirs.norm(dim=0), dim=1)
    ours = embedding(W, 4)
    torch.testing.assert_close(ours @ ours.t(), theirs @ theirs.t(), rtol=1e-5, atol=1e-5)


def test_parts_of_a_graph_become_points():
    """Ng, Jordan & Weiss, proposition 1: as many orthogonal points as the graph has parts that nothing joins."""
    generator = torch.Generator().manual_seed(2)
    points = torch.cat([torch.rand(12, 2, generator=generator) + 100 * part for part in range(3)])
    places = embedding(affinity(points, 11), 3)
    parts = torch.arange(36) // 12
    expected = (parts[:, None] == parts).double()
    torch.testing.assert_close(places @ places.t(), expected, rtol=0, atol=1e-6)
    group, middle = grouped(places, 3, 0)
    assert (group[parts.bool().logical_not()] == group[0]).all()
    assert len(set(group[::12].tolist())) == 3
    assert torch.equal(group[middle], torch.arange(3))


def test_centroids_are_means_of_their_clusters():
    """Four clouds 20 deviations apart, 400 points of seed 0; the best of five starts finds all four."""
    generator = torch.Generator().manual_seed(0)
    centers = 20 * torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    codes = (centers[:, None] + torch.randn(4, 100, 2, generator=generator)).flatten(0, 1)
    found = min(
        (k_means(codes, 4, seed) for seed in range(5)), key=lambda c: float(torch.cdist(codes, c).amin(1).sum())
    )
    means = codes.view(4, 100, 2).mean(1)
    torch.testing.assert_close(found[torch.cdist(means, found).argmin(1)], means)


@pytest.mark.parametrize("choice", ["central", "random"])
def test_two_labels_tell_two_moons_apart(choice):
    """1,500 points of seed 0, a third each to learn, choose and test: error below 2 %, where k-means errs on 20 %."""
    data = moons()
    run = cluster_label(data, labels=2, choice=choice, epochs=30, batch=20, **SMALL)
    fit(run)
    figures = evaluate(run.system, run.test)
    assert figures["cluster_error"] < 0.02
    assert figures["error"] < 0.02
    assert isinstance(run.system, Predicts)
    x, y = data.test.fields["x"], data.test.fields["y"]
    torch.testing.assert_close(run.system.predict(x).sum(1), torch.ones(len(x)))
    assert float((run.system.predict(x).argmax(1) != y).float().mean()) == pytest.approx(figures["error"])
    plain = torch.from_numpy(KMeans(2, n_init=3, random_state=0).fit(data.train.fields["x"].numpy()).predict(x.numpy()))
    wrong = float((plain != y).float().mean())
    assert min(wrong, 1 - wrong) > 0.2


def test_no_label_is_used_but_the_chosen_ones():
    """With the labels of all others turned round after the choice, the names of the clusters are the same."""
    names = []
    for spoiled in (False, True):
        data = moons()
        run = cluster_label(data, seed=3, labels=6, choice="random", epochs=1, **SMALL)
        if spoiled:
            asked, y = chosen(data, 6, 3), data.train.fields["y"]
            kept = y[asked].clone()
            y.copy_(1 - y)
            y[asked] = kept
        fit(run)
        names.append(run.system.names)
    assert torch.equal(*names)


def test_methods_learn_from_the_same_labelled_examples():
    data = moons()
    few = next(few_labels(data, seed=4, labels=8, rounds=1).train.epoch(0))["x"]
    beside = next(ladder(data, seed=4, labels=8, hidden=(5,), costs=(1.0, 1.0, 1.0)).train.epoch(0))["x"]
    asked = data.train.fields["x"][chosen(data, 8, 4)]
    assert sorted(few.tolist()) == sorted(beside.tolist()) == sorted(asked.tolist())


def test_codes_of_an_auto_encoder_and_examples_without_labels(tmp_path):
    whole = moons()
    x, y = whole.train.fields["x"], whole.train.fields["y"]
    data = Data("moons", Arrays(x=x[:100], y=y[:100]), whole.valid, whole.test, whole.classes)
    data = Data("moons", data.train, data.valid, data.test, data.classes, unlabelled=Arrays(x=x[100:]))
    settings = SMALL | {"features": "vae", "code": 2, "code_hidden": (8,), "visible": "gaussian", "pretraining": 2}
    run = cluster_label(data, labels=4, epochs=2, batch=50, **settings)
    assert len(run.train) == 10
    fit(run, tmp_path / "run")
    again = lamina.load(tmp_path / "run")
    assert torch.equal(again.predict(x), run.system.predict(x))
    assert torch.equal(again.names, run.system.names)
    assert again.centroids.shape == (60, 2)


@pytest.mark.parametrize("clusters", [5, 600])
def test_clusters_that_do_not_fit(clusters):
    run = cluster_label(moons(), labels=10, **SMALL | {"clusters": clusters})
    with pytest.raises(ValueError, match=r"must lie in 10..500"):
        fit(run)


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(ValueError, match="pip install"):
        k_means(torch.rand(9, 2), 3, 0)
