"""Energy-based generative adversarial network: the discriminator is an energy, low on data, high on generated examples.

    discriminator: max(0, E(x)) + max(0, m - E(G(z)))             m: margin, z: noise
    generator:     E(G(z))
    E(x) = |Dec(Enc(x)) - x|²/numbers                             an auto-encoder, or
    E(x) = network(x)                                             any network

Zhao, Mathieu & LeCun (2016), Energy-based generative adversarial network, eq. 1 to 3. At a Nash equilibrium the
generator has the law of the data, and the energy of what it makes averages no more than the margin (theorems 1, 2).
The generator finds where the energy is too low: it is strategy 8 of the tutorial, and the samples are its own.

Differs from the paper: an energy may be negative, which the paper rules out and which counts as zero for data; a
network whose output is squashed to be positive stops learning near zero. For an auto-encoder nothing changes. The
repelling regularizer of section 2.4 is left out, and noise is uniform.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lamina.core import Objective, System, Terms
from lamina.systems.energy.units import Gaussian
from lamina.systems.generative.gan import energy_distance, noise_like


class ReconstructionError(nn.Module):
    """How badly an auto-encoder restores an example, a mean over its numbers.

    Args:
        network: encoder and decoder.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch 1"]:
        restored: Tensor = self.network(v)
        return (restored - v).square().mean(1, keepdim=True)


class EnergyGAN(System):
    """A generator and an energy that learn from each other.

    The first metric is the energy distance of held-out and generated examples, as the game's value does not tell which
    generator is best; see `GAN`.

    Args:
        visible: units that standardize the data.
        generator: noise (batch, noise) -> values of the units.
        network: values of the units -> energies (batch, 1).
        noise: numbers of noise an example.
        margin: m, the energy up to which generated examples are pushed up.

    Raises:
        ValueError: a margin that is not positive.
    """

    def __init__(
        self, visible: Gaussian, generator: nn.Module, network: nn.Module, noise: int = 100, margin: float = 1.0
    ) -> None:
        super().__init__()
        if margin <= 0:
            raise ValueError(f"the margin must be above 0, got {margin:g}")
        self.visible, self.generator, self.network = visible, generator, network
        self.noise, self.margin = noise, margin

    @torch.no_grad()
    def sample(self, count: int) -> Float[Tensor, "count ..."]:
        """Return examples that the generator makes."""
        return self.visible.restored(self.generated(self.visible.shift, count))

    @torch.no_grad()
    def score(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch"]:
        """Return minus the energy; it is no log-likelihood."""
        return -self.potential(self.visible.standard(x))

    def potential(self, v: Float[Tensor, "batch visible"]) -> Float[Tensor, "batch"]:
        """Return E(v), of standardized values."""
        E: Tensor = self.network(v)
        return E.squeeze(1)

    def generated(self, like: Tensor, count: int) -> Float[Tensor, "{count} visible"]:
        """Return what the generator makes of new noise, on the device of a tensor."""
        v: Tensor = self.generator(noise_like(like, count, self.noise))
        return v

    def discrimination(self, x: Float[Tensor, "batch ..."]) -> Terms:
        """Return what the energy minimizes."""
        v = self.visible.standard(x)
        with torch.no_grad():
            fake = self.generated(v, len(v))
        return {"real": F.relu(self.potential(v)).mean(), "fake": F.relu(self.margin - self.potential(fake)).mean()}

    def generation(self, x: Float[Tensor, "batch ..."]) -> Terms:
        """Return what the generator minimizes, on as many new examples as there are in `x`."""
        return {"generator": self.potential(self.generated(x, len(x))).mean()}

    def metrics(self, x: Float[Tensor, "batch ..."]) -> Terms:
        """Return the energy distance, in units of standardized data, and the energies of both kinds of examples."""
        v = self.visible.standard(x)
        fake = self.generated(v, len(v))
        distance = energy_distance(v, fake)
        return {"energy_distance": distance, "real": self.potential(v).mean(), "fake": self.potential(fake).mean()}

    def objectives(self) -> tuple[Objective, ...]:
        return (
            Objective("discriminator", self.discrimination, self.network),
            Objective("generator", self.generation, self.generator),
        )
