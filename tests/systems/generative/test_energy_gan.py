"""The energy-based GAN: its objectives by hand, the best energy by theory, and what it learns on the plane."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lamina.core import Samples, Scores
from lamina.data.dataset import Data
from lamina.data.examples import Arrays
from lamina.data.plane import mixture
from lamina.recipes.strategies import ebgan
from lamina.systems.energy.units import Gaussian
from lamina.systems.generative.energy_gan import EnergyGAN, ReconstructionError
from lamina.train.evaluate import evaluate
from lamina.train.fit import fit


def test_objectives_are_those_of_the_paper():
    torch.manual_seed(0)
    units, energy, generator = Gaussian(torch.ones(2), 2 * torch.ones(2)), nn.Linear(2, 1), nn.Linear(3, 2)
    system, x = EnergyGAN(units, generator, energy, noise=3, margin=0.7), torch.randn(5, 2)
    torch.manual_seed(1)
    found = system.discrimination(x)
    torch.manual_seed(1)
    fake = generator(3**0.5 * (2 * torch.rand(5, 3) - 1))
    torch.testing.assert_close(found["real"], energy((x - 1) / 2).clamp_min(0).mean())
    torch.testing.assert_close(found["fake"], (0.7 - energy(fake)).clamp_min(0).mean(), rtol=0, atol=1e-6)
    torch.manual_seed(1)
    torch.testing.assert_close(system.generation(x)["generator"], energy(fake).mean(), rtol=0, atol=1e-6)
    torch.testing.assert_close(system.score(x), -energy((x - 1) / 2).squeeze(1))
    assert [player.trains for player in system.objectives()] == [energy, generator]
    with pytest.raises(ValueError, match="margin must be above 0"):
        EnergyGAN(units, generator, energy, margin=0.0)


def test_the_best_energy_is_the_margin_where_the_generator_is_likelier_and_else_zero():
    """Lemma 1 of the paper: of p E + q max(0, m - E) at four places, with E from a table, by 2,000 steps of Adam."""
    p, q, table = torch.tensor([0.5, 0.3, 0.15, 0.05]), torch.tensor([0.1, 0.1, 0.4, 0.4]), torch.zeros(4)
    table.requires_grad_()
    optimizer = torch.optim.Adam([table], lr=0.05)
    for _ in range(2000):
        optimizer.zero_grad()
        E = F.softplus(table)
        (p @ E + q @ (0.8 - E).clamp_min(0)).backward()
        optimizer.step()
    torch.testing.assert_close(F.softplus(table.detach()), torch.tensor([0.0, 0.0, 0.8, 0.8]), rtol=0, atol=0.03)


def test_reconstruction_error_is_a_mean_over_numbers():
    network = nn.Linear(4, 4)
    v = torch.randn(3, 4)
    expected = torch.stack([F.mse_loss(network(row), row) for row in v])[:, None]
    torch.testing.assert_close(ReconstructionError(network)(v), expected)


def test_it_learns_where_points_are():
    """2,000 points of the mixture, seed 0: normal noise with the data's mean and variance is at a distance of 0.036.

    Generated points come within a third of that, and the energy is lower on data than on a square around it."""
    data = mixture(count=2000)
    run = ebgan(data, hidden=64, batch=100, epochs=40, average=0.98)
    fit(run)
    system, x = run.system, data.valid.fields["x"]
    assert isinstance(system, Samples)
    assert isinstance(system, Scores)
    assert evaluate(system, run.valid)["energy_distance"] < 0.012
    around = 8 * torch.rand(2000, 2, generator=torch.Generator().manual_seed(0)) - 4
    assert float(system.score(x).mean()) > float(system.score(around).mean()) + 0.1


@pytest.mark.parametrize("discriminator", ["autoencoder", "mlp"])
def test_recipe_on_images(discriminator):
    x = torch.rand(30, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    data = Data("toy", Arrays(x=x), Arrays(x=x), Arrays(x=x))
    run = ebgan(data, discriminator=discriminator, hidden=6, code=3, batch=10, epochs=1)
    fit(run)
    assert run.system.sample(7).shape == (7, 3, 4, 5)
    assert run.system.score(x).shape == (30,)
    if discriminator == "autoencoder":
        assert bool((run.system.score(x) <= 0).all())
    again = ebgan(Data.blank(data.outline()), discriminator=discriminator, hidden=6, code=3).system
    again.load_state_dict(run.system.state_dict())
    assert torch.equal(again.score(x), run.system.score(x))
