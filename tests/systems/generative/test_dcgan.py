"""What the convolutional networks and `GAN` do together: cost of a step, sampling, the recipes."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import lamina
from lamina.data.dataset import Data
from lamina.data.examples import Arrays
from lamina.modules.dcgan import Discriminator, Generator
from lamina.recipes import generated
from lamina.recipes.convolutional import dcgan, dcgan_conditional
from lamina.systems.generative import gan as systems
from lamina.systems.generative.gan import GAN, ConditionalGAN
from lamina.train.fit import fit

SMALL = {"noise": 5, "width": 4, "hidden": 6, "batch": 20, "epochs": 1}


def toy(shape=(1, 8, 8), labels=True):
    torch.manual_seed(0)
    parts = [{"x": torch.rand(count, *shape)} for count in (200, 60, 50)]
    if labels:
        parts = [part | {"y": torch.arange(len(part["x"])) % 3} for part in parts]
    return Data("toy", *(Arrays(**part) for part in parts), classes=("a", "b", "c") if labels else ())


class Watch(TorchDispatchMode):
    """Counts the gradients of weights and of inputs that convolutions compute, by the shape of the weights."""

    def __init__(self):
        super().__init__()
        self.weights, self.inputs = [], []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.convolution_backward.default:
            of_input, of_weight, _ = args[-1]
            self.inputs += [tuple(args[2].shape)] * of_input
            self.weights += [tuple(args[2].shape)] * of_weight
        return function(*args, **(kwargs or {}))


def kernels(network):
    return [tuple(p.shape) for p in network.parameters() if p.ndim == 4]


def test_no_step_pays_for_the_other_player():
    """The convolutions of the backward passes are counted.

    The generator's step takes no weight gradient in the discriminator, whose step has no backward in the generator.
    """
    torch.manual_seed(0)
    system = GAN(Generator((1, 28, 28), 5, 3, hidden=7), Discriminator((1, 28, 28), 5, hidden=7), noise=5)
    x, ours, theirs = torch.rand(4, 1, 28, 28), kernels(system.generator), kernels(system.discriminator)
    discriminating, generating = system.objectives()
    for objective, weights, inputs in (
        (discriminating, 2 * theirs, 2 * theirs[1:]),  # real and generated; images need no gradient
        (generating, ours, ours + theirs),
    ):
        total = sum(objective.loss(x).values())
        with Watch() as watch:
            torch.autograd.backward(total, inputs=list(objective.trains.parameters()))
        assert sorted(watch.weights) == sorted(weights)
        assert sorted(watch.inputs) == sorted(inputs)


@pytest.mark.parametrize("conditional", [False, True])
def test_sampling_is_chunked_and_each_example_for_itself(conditional, monkeypatch):
    """With statistics that were kept in training, an example depends on its own noise and class alone."""
    run = dcgan(toy(), conditional=conditional, **SMALL)
    fit(run)
    system = run.system
    monkeypatch.setattr(systems, "CHUNK", 7)
    torch.manual_seed(1)
    some = system.sample(20)
    sizes = []
    system.generator.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    torch.manual_seed(1)
    torch.testing.assert_close(system.sample(40)[:20], some)
    assert max(sizes) == 7
    if conditional:
        torch.manual_seed(1)
        alone = system.sample_of(torch.tensor([0]))
        torch.testing.assert_close(alone, some[:1])


def test_one_class_alone_is_drawn_as_among_others():
    """Statistics of a batch would change with the classes that are in it."""
    run = dcgan_conditional(toy(), **SMALL)
    fit(run)
    system, z = run.system, torch.randn(6, 5)
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    with torch.no_grad():
        together = system.generator(z, system.code(y))
        torch.testing.assert_close(system.generator(z[y == 1], system.code(y[y == 1])), together[y == 1])


def test_averaged_weights_come_with_the_last_statistics():
    """The average keeps the running statistics of the trained weights, as they are after the last update."""
    run = dcgan(toy(), **SMALL, average=0.9)
    trainer = lamina.Trainer(run)
    for _ in trainer:
        pass
    mine, averaged = run.system.generator, trainer.model.generator
    assert torch.equal(mine.norm.running_mean, averaged.norm.running_mean)
    assert not torch.equal(mine.first.weight, averaged.first.weight)


def test_average_is_over_a_fifth_of_a_short_run():
    assert dcgan(toy(), **SMALL | {"epochs": 10}).average == pytest.approx(0.95)  # 100 updates
    assert dcgan(toy(), **SMALL | {"epochs": 1000}).average == 0.999
    assert dcgan(toy(), **SMALL, average=0.0).average is None


@pytest.mark.parametrize("shape", [(3, 32, 32), (3, 64, 64), (1, 28, 28), (1, 10, 9)])
def test_trains_on_any_images(shape, tmp_path):
    run = dcgan(toy(shape, labels=False), **SMALL)
    fit(run, tmp_path / "run")
    again = lamina.load(tmp_path / "run")
    assert again.sample(3).shape == (3, *shape)


def test_uses_examples_without_a_label():
    data = toy()
    both = Data("toy", data.train, data.valid, data.test, data.classes, {}, Arrays(x=torch.rand(100, 1, 8, 8)))
    assert len(dcgan(data, **SMALL).train) == 10
    assert len(dcgan(both, **SMALL).train) == 15
    assert len(dcgan_conditional(both, **SMALL).train) == 10


def test_begins_at_the_mean_of_each_channel():
    data = toy((3, 8, 8))
    data.train.fields["x"][:, 1] *= 0.1
    bias = dcgan(data, **SMALL).system.generator.last.bias
    expected = data.train.fields["x"].mean((0, 2, 3)).repeat_interleave(4)
    torch.testing.assert_close(bias.sigmoid(), expected)


def test_refuses_data_that_do_not_fit():
    rows = Data("toy", Arrays(x=torch.rand(10, 4)))
    with pytest.raises(ValueError, match="for rows use gan"):
        dcgan(rows)
    with pytest.raises(ValueError, match="at least 2 images"):
        dcgan(toy(), batch=1)
    with pytest.raises(ValueError, match="toy has no labels"):
        dcgan_conditional(toy(labels=False))
    with pytest.raises(ValueError, match=r"must lie in 0\.\.1"):
        dcgan(Data("toy", Arrays(x=torch.rand(10, 1, 8, 8) - 1)))


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(generated, "SAMPLES", 100)
    monkeypatch.setattr(generated, "CENTROIDS", 10)


@pytest.mark.parametrize("labels", [True, False])
def test_measure(labels, few):
    run = dcgan(toy(labels=labels), **SMALL)
    figures = dcgan.measure(run)
    assert dcgan.figure in figures
    assert all(math.isfinite(value) for value in figures.values())
    assert ("frechet" in figures) == labels
    state = torch.get_rng_state()
    assert figures == dcgan.measure(run)
    assert torch.equal(state, torch.get_rng_state())
    assert isinstance(run.system, GAN)


def test_measure_in_the_features_of_a_run(few, tmp_path):
    classifier = lamina.recipes.named("mlp")(toy(), hidden=(6,), epochs=1)
    fit(classifier, tmp_path / "classifier")
    run = dcgan_conditional(toy(), **SMALL, features=str(tmp_path / "classifier"))
    figures = dcgan_conditional.measure(run)
    assert isinstance(run.system, ConditionalGAN)
    assert figures.keys() >= {"nearest_error", "frechet", "frechet_training_examples", "classifier_accuracy"}
    fit(run, tmp_path / "generator")
    other = dcgan(toy(), **SMALL, features=str(tmp_path / "generator"))
    with pytest.raises(ValueError, match="holds a ConditionalGAN, which has no features"):
        dcgan.measure(other)
