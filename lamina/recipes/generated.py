"""What is measured of a trained generator: its examples beside real ones."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from lamina.analysis.frechet import encoded, frechet_distance
from lamina.analysis.neighbors import nearest_error, two_sample_accuracy
from lamina.analysis.parzen import log_likelihood
from lamina.analysis.two_sample import two_sample_test
from lamina.core import Batch, Encodes, Run, Samples, System
from lamina.data.dataset import Data
from lamina.data.examples import Arrays
from lamina.recipes.inputs import gather
from lamina.recipes.vision import lenet5
from lamina.systems.generative.gan import ConditionalGAN
from lamina.systems.generative.lapgan import ConditionalLAPGAN
from lamina.train.evaluate import evaluating, seeded
from lamina.train.fit import fit

SAMPLES = 10_000  # examples that a Parzen window is laid around
LABELED = 50_000  # labeled examples that a nearest-neighbor classifier stores
CENTROIDS = 1_000
WIDTH_EXAMPLES = 1_000  # validation examples that choose the Parzen window's width
IMAGES = 4  # axes of a batch of images
BATCH = 1_000  # examples that are drawn at once


def measure_generator(run: Run) -> dict[str, float]:
    """Return what `measure_samples` does, and how well networks tell generated from real examples.

    The Fréchet distance of images is taken in the features of the recipe's `features`; of a LeNet-5 trained for two
    epochs on the run's own images, if that is not given and there are labels.
    """
    figures = measure_samples(run)
    assert run.test is not None
    held = gather(run.test, SAMPLES, run.device)
    train, test = gather(run.train, SAMPLES, run.device)["x"], held["x"]
    if min(len(train), len(test)) == 1:
        return figures  # a network has nothing to learn from
    with evaluating(run.system), seeded(run.device, run.seed):
        fake = twins(run.system, held)
    told = two_sample_test(test, fake)
    figures |= {"classifier_accuracy": told.accuracy, "classifier_p": told.p}
    figures["classifier_accuracy_training_examples"] = two_sample_test(test, train).accuracy
    if (encoder := feature_maker(run)) is not None:
        there, made, learned = (encoded(encoder, x) for x in (test, fake, train[: len(test)]))
        figures["frechet"] = frechet_distance(there, made)
        figures["frechet_training_examples"] = frechet_distance(there, learned)
    return figures


def measure_samples(run: Run) -> dict[str, float]:
    """Return what is known of a generator's examples, each figure beside that of real examples.

    Raises:
        ValueError: the run has no validation or no test examples.
    """
    system = run.system
    assert isinstance(system, Samples)
    if run.valid is None or run.test is None:
        raise ValueError("a Parzen estimate needs validation and test examples: give the data both splits")
    train, test = gather(run.train, LABELED, run.device), gather(run.test, SAMPLES, run.device)
    valid = gather(run.valid, WIDTH_EXAMPLES, run.device)["x"]
    with evaluating(system), seeded(run.device, run.seed):
        samples = torch.cat([system.sample(SAMPLES // 10) for _ in range(10)])
        estimate = log_likelihood(samples, valid, test["x"])
        figures = {"parzen": estimate.mean, "parzen_error": estimate.error, "parzen_sigma": estimate.sigma}
        figures["parzen_training_examples"] = log_likelihood(train["x"][:SAMPLES], valid, test["x"]).mean
        if (middles := centroids(train["x"], run.seed)) is not None:
            figures["parzen_centroids"] = log_likelihood(middles, valid, test["x"]).mean
        real, fake = two_sample_accuracy(test["x"], samples[: len(test["x"])])
        figures |= {"two_sample_accuracy_real": real, "two_sample_accuracy_generated": fake}
        if isinstance(run.system, ConditionalGAN | ConditionalLAPGAN):
            drawn = torch.cat([run.system.sample_of(y) for y in torch.split(train["y"], BATCH)])
            figures["nearest_error"] = nearest_error(drawn, train["y"], test["x"], test["y"])
            figures["nearest_error_training_examples"] = nearest_error(train["x"], train["y"], test["x"], test["y"])
    return figures


def twins(system: System, real: Batch) -> Float[Tensor, "examples ..."]:
    """Return as many generated examples as there are real ones, of the same classes if it draws by class."""
    if isinstance(system, ConditionalGAN | ConditionalLAPGAN):
        return torch.cat([system.sample_of(y) for y in torch.split(real["y"], BATCH)])
    assert isinstance(system, Samples)
    return torch.cat([system.sample(len(part)) for part in torch.split(real["x"], BATCH)])


def feature_maker(run: Run) -> Encodes | None:
    """Return the system that gives the features of a Fréchet distance, or None where there are no labels to train it.

    Raises:
        ValueError: the recipe's `features` is the folder of a run that has none.
    """
    if folder := run.origin["arguments"].get("features"):
        from lamina.recipes.saved import load  # which imports this module

        system = load(folder).to(run.device)
        if not isinstance(system, Encodes):
            raise ValueError(
                f"{folder} holds a {type(system).__name__}, which has no features; give a classifier's run"
            )
        return system
    batch = gather(run.train, LABELED, "cpu")
    if "y" not in batch or batch["x"].ndim != IMAGES:
        return None
    classes = tuple(map(str, range(int(batch["y"].max()) + 1)))
    with seeded(run.device):  # whatever the run's seed, the same first weights
        stage = replace(
            lenet5(Data("images", Arrays(**batch), classes=classes), fast=True, epochs=2), device=run.device
        )
        fit(stage)
    system = stage.system
    assert isinstance(system, Encodes)
    return system


def centroids(x: Float[Tensor, "examples *shape"], seed: int) -> Float[Tensor, "centroids *shape"] | None:
    """Return the centers of k-means clusters of the examples, or None without scikit-learn."""
    try:
        from sklearn.cluster import KMeans
    except ImportError:
        return None
    means = KMeans(min(CENTROIDS, len(x)), init="random", n_init=1, max_iter=10, random_state=seed)
    return torch.from_numpy(means.fit(x.flatten(1).cpu().numpy()).cluster_centers_).to(x).reshape(-1, *x.shape[1:])
