import math

import pytest
import torch
from torch import Tensor, nn

from lamina.core import Objective, fields, select
from lamina.data.dataset import Data
from lamina.data.examples import Arrays
from lamina.modules.pyramid import ImageDiscriminator, Pyramid, ResidualGenerator, halved
from lamina.recipes import generated
from lamina.recipes.generative import Joined
from lamina.recipes.pyramid import lapgan, lapgan_conditional
from lamina.systems.generative.gan import GAN, ConditionalGAN
from lamina.systems.generative.lapgan import LAPGAN, ConditionalLAPGAN, Level, Levels

SHAPE = (2, 6, 5)


def players(shape: tuple[int, ...], classes: int = 0) -> tuple[nn.Module, nn.Module]:
    pixels = math.prod(shape)
    generator = Joined(nn.Linear(5 + classes, 7), nn.Tanh(), nn.Linear(7, pixels), nn.Unflatten(1, shape))
    return generator, Joined(nn.Linear(pixels + classes, 9), nn.Tanh(), nn.Dropout(0.2), nn.Linear(9, 1))


def levels_of(classes: int = 0, count: int = 3) -> Levels:
    """Three levels of small networks in float64."""
    torch.manual_seed(0)
    channels, height, width = SHAPE
    pyramid, made = Pyramid(halved((height, width), count)), []
    for h, w in pyramid.sizes[:-1]:
        generator = ResidualGenerator((channels, h, w), classes, 2)
        made.append(Level(generator, ImageDiscriminator((channels, h, w), classes, 2, kernel=3), h * w))
    made.append(Level(*players((channels, *pyramid.sizes[-1]), classes), noise=5))
    return Levels(pyramid, made).double()


def batch(count: int = 6) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {"x": torch.rand(count, *SHAPE, dtype=torch.float64), "y": torch.arange(count) % 3}


def of(objective: Objective, given: dict[str, Tensor], seed: int = 2) -> Tensor:
    torch.manual_seed(seed)
    return sum(objective.loss(**select(given, fields(objective.loss))).values())


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("goal", ["minimax", "non-saturating"])
def test_one_level_is_a_gan(classes, goal):
    """The same weights, seeds and dropout give the same losses, gradients, metrics and samples, bit for bit."""
    torch.manual_seed(0)
    generator, discriminator = (net.double() for net in players(SHAPE, classes))
    levels = Levels(Pyramid((SHAPE[1:],)), [Level(generator, discriminator, 5)], goal)
    ours = ConditionalLAPGAN(levels, classes) if classes else LAPGAN(levels)
    other = (
        ConditionalGAN(generator, discriminator, classes, 5, goal)
        if classes
        else GAN(generator, discriminator, 5, goal)
    )
    given = batch()
    for objective, twin in zip(ours.objectives(), other.objectives(), strict=True):
        found = [of(o, given) for o in (objective, twin)]
        assert torch.equal(*found)
        slopes = [torch.autograd.grad(loss, list(twin.trains.parameters())) for loss in found]
        assert all(torch.equal(a, b) for a, b in zip(*slopes, strict=True))
    told = []
    for system in (ours, other):
        torch.manual_seed(3)
        told.append((system.sample(4), system.eval().metrics(**select(given, fields(system.metrics)))))
    assert torch.equal(told[0][0], told[1][0])
    assert told[0][1]["energy_distance"] == told[1][1]["energy_distance"]
    assert {f"{name}_0" for name in told[1][1]} == told[0][1].keys() - {"energy_distance"}


@pytest.mark.parametrize("classes", [0, 3])
def test_a_level_does_not_know_the_others(classes):
    """Each loss has a gradient in its own player alone, but for the discriminator that a generator looks through.

    And it stays the same when the weights of all other levels change.
    """
    levels = levels_of(classes)
    system, given = (ConditionalLAPGAN(levels, classes) if classes else LAPGAN(levels)), batch()
    names = [f"{player}_{k}" for k in range(3) for player in ("discriminator", "generator")]
    assert [objective.name for objective in system.objectives()] == names
    for place, objective in enumerate(system.objectives()):
        system.zero_grad(set_to_none=True)
        loss = of(objective, given)
        torch.autograd.backward(loss, inputs=list(objective.trains.parameters()))
        reached = {name for name, p in system.named_parameters() if p.grad is not None}
        player = f"levels.players.{place // 2}.{objective.name.split('_')[0]}."
        assert reached == {name for name, _ in system.named_parameters() if name.startswith(player)}
        assert all(p.grad.any() for p in objective.trains.parameters())
        with torch.no_grad():
            for k, level in enumerate(levels.players):
                if k != place // 2:
                    for parameter in level.parameters():
                        parameter.add_(torch.randn_like(parameter))
        assert torch.equal(loss, of(objective, given))


def test_no_gradient_flows_to_what_a_step_does_not_train():
    """The discriminator's step builds no graph through the generator."""
    levels = levels_of()
    for objective in LAPGAN(levels).objectives()[::2]:
        loss = of(objective, batch())
        k = int(objective.name.split("_")[1])
        found = torch.autograd.grad(loss, list(levels.level(k).generator.parameters()), allow_unused=True)
        assert all(slope is None for slope in found)


@pytest.mark.parametrize("turn", [2, 3, 4, 5])  # the finest level is as the middle one
def test_gradients_agree_with_finite_differences(turn):
    objective = ConditionalLAPGAN(levels_of(3), 3).objectives()[turn]
    assert torch.autograd.gradcheck(lambda *_: of(objective, batch(2)), tuple(objective.trains.parameters()))


class Residual(nn.Module):
    """Gives one residual whatever the noise, so that samples are known."""

    def __init__(self, residual: Tensor) -> None:
        super().__init__()
        self.residual = nn.Parameter(residual)

    def forward(self, noise: Tensor, *given: Tensor) -> Tensor:
        return self.residual.expand(len(noise), *self.residual.shape[1:])


def test_samples_are_the_sum_of_the_levels():
    """With generators that give an image's own pyramid, the sample is the image, and each level's game is undecided."""
    torch.manual_seed(0)
    pyramid, x = Pyramid(halved((28, 28), 3)), torch.rand(1, 1, 28, 28)
    sizes = [part[0].numel() * (2 if k < 2 else 1) for k, part in enumerate(pyramid.build(x))]
    made = [
        Level(Residual(part), Joined(nn.Linear(size, 1)), 2) for part, size in zip(pyramid.build(x), sizes, strict=True)
    ]
    system = LAPGAN(Levels(pyramid, made))
    torch.testing.assert_close(system.sample(3), x.expand(3, -1, -1, -1))
    for k in range(3):
        image, low = system.levels.real(k, x)
        torch.testing.assert_close(made[k].generated(1, low, ()), image)
        terms = system.discrimination(k, x)
        logit = made[k].logits(image, low, ())
        torch.testing.assert_close(terms[f"real_{k}"] - terms[f"fake_{k}"], -logit.mean() / 2)


def test_samples_of_given_classes():
    """A coarsest generator that shows the code, and details that add nothing."""
    show = Joined(nn.Linear(5, 3, bias=False), nn.Unflatten(1, (1, 1, 3)))
    with torch.no_grad():
        show.layers[0].weight.copy_(torch.eye(5)[2:])
    pyramid = Pyramid(((2, 6), (1, 3)))
    made = [Level(Residual(torch.zeros(1, 1, 2, 6)), nn.Identity(), 2), Level(show, nn.Identity(), 2)]
    system = ConditionalLAPGAN(Levels(pyramid, made), 3)
    assert system.sample_of(torch.tensor([2, 0, 1]))[:, 0].mean(1).argmax(1).floor_divide(2).tolist() == [2, 0, 1]
    assert system.sample(4)[:, 0].mean(1).argmax(1).floor_divide(2).tolist() == [0, 1, 2, 0]


def toy(shape: tuple[int, ...] = (1, 8, 8), classes: tuple[str, ...] = ("a", "b", "c")) -> Data:
    torch.manual_seed(0)
    parts = [Arrays(x=torch.rand(count, *shape), y=torch.arange(count) % 3) for count in (200, 60, 50)]
    return Data("toy", *parts, classes=classes)


SMALL = {"hidden": 8, "channels": 4, "batch": 20, "epochs": 2}


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 9, 13)])
def test_recipe_fits_images_of_any_size_and_rebuilds_from_an_outline(shape):
    data = toy(shape)
    run = lapgan(data, conditional=True, **SMALL)
    again = lapgan(Data.blank(data.outline()), conditional=True, **SMALL).system
    again.load_state_dict(run.system.state_dict())
    torch.manual_seed(3)
    first = run.system.sample(6)
    torch.manual_seed(3)
    assert torch.equal(first, again.sample(6))
    assert first.shape == (6, *shape)


def test_recipe_begins_at_the_mean_image():
    """The coarsest generator's bias gives the block means of the training images' mean."""
    data = toy()
    bias = lapgan(data, **SMALL).system.levels.players[-1].generator.layers[4].bias
    expected = data.train.fields["x"].mean(0).reshape(2, 4, 2, 4).mean((1, 3))
    torch.testing.assert_close(bias.sigmoid().reshape(2, 2), expected)


def test_images_without_a_label_are_learned_from():
    data = toy()
    more = Data("toy", data.train, data.valid, classes=data.classes, unlabelled=Arrays(x=torch.rand(40, 1, 8, 8)))
    assert len(lapgan(more, **SMALL).train) == 12
    assert len(lapgan_conditional(more, epochs=1).train) == 2


def test_recipe_refuses_data_that_do_not_fit():
    rows = Data("toy", Arrays(x=torch.rand(10, 4)))
    with pytest.raises(ValueError, match="toy has rows of numbers: use gan"):
        lapgan(rows)
    dark = Data("toy", Arrays(x=torch.rand(10, 1, 8, 8) - 1))
    with pytest.raises(ValueError, match=r"must lie in 0\.\.1"):
        lapgan(dark)
    with pytest.raises(ValueError, match="toy has no labels"):
        lapgan(toy(classes=()), conditional=True)
    with pytest.raises(ValueError, match="cannot have 9 levels"):
        lapgan(toy(), levels=9)
    with pytest.raises(ValueError, match="odd kernel"):
        lapgan(toy(), kernel=4)


@pytest.mark.parametrize("conditional", [False, True])
def test_measure(conditional, monkeypatch):
    monkeypatch.setattr(generated, "SAMPLES", 100)
    monkeypatch.setattr(generated, "CENTROIDS", 10)
    run = lapgan(toy(), conditional=conditional, **SMALL)
    figures = lapgan.measure(run)
    assert lapgan.figure in figures
    assert all(math.isfinite(value) for value in figures.values())
    assert ("nearest_error" in figures) == conditional
    assert figures.keys() >= {"classifier_accuracy", "classifier_p", "frechet", "frechet_training_examples"}
    assert figures == lapgan.measure(run)  # draws from the run's seed
