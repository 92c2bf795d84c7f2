"""Sparse coding, and predictive sparse decomposition: codes with few atoms, found by descent or predicted by a network.

    sparse coding: E(z; v) = ½ |v - zB|² + λ |z|₁                         rows of B: atoms of norm 1
    PSD:           E(z; v) = ½ |v - zB|² + λ |z|₁ + α |z - F(v)|²         F: an encoder
    learning:      z* = argmin_z E(z; v), then a step down ∂E(z*; v)/∂(B, F)

The slope of min_z E is that of E with z* held fixed, so inference carries no gradient. E is -log p(v, z) in nats, up to
a constant, for Gaussian noise of variance 1 and Laplacian codes. The optimizer keeps the atoms' norm, by
`projected(make, unit_atoms(dictionary))`; without it, long atoms would make all codes cheap.

- Sparse coding: Olshausen & Field (1996), Emergence of simple-cell receptive field properties by learning a sparse code
  for natural images, Nature 381.
- PSD: Kavukcuoglu, Ranzato & LeCun (2008), Fast inference in sparse coding algorithms with applications to object
  recognition, section 2.

Convolutional forms have a `ConvDictionary` in place of the `Dictionary`, and are else the same.

Differs from the papers: codes are found by FISTA, where the papers went down the gradient; in PSD from the prediction,
as theirs. The squared error is halved, so λ and α are half of PSD's for the same codes. Olshausen & Field adapted the
norm of each atom to the variance of its code, and penalized codes by log(1 + z²) as well as by |z|.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lamina.core import System, Terms
from lamina.modules.whitening import Whitening
from lamina.optim.fista import fista
from lamina.optim.lasso import lasso
from lamina.systems.autoencoder.conv_dictionary import ConvDictionary

STEPS, TOLERANCE = 2000, 1e-3  # of codes that are asked for exactly


class Dictionary(nn.Module):
    """Atoms from which examples are put together, and what a code costs.

    Args:
        inputs: from raw input to what is coded, and back.
        codes: how many atoms.
        sparsity: weight λ of the codes' size.
        atoms: initial directions of the atoms, random by default.

    Raises:
        ValueError: no atom, or a negative sparsity.
    """

    def __init__(
        self, inputs: Whitening, codes: int, sparsity: float, atoms: Float[Tensor, "codes features"] | None = None
    ) -> None:
        super().__init__()
        if codes < 1 or sparsity < 0:
            raise ValueError(f"there must be at least 1 atom and sparsity at least 0, got {codes} and {sparsity}")
        self.inputs, self.sparsity = inputs, sparsity
        first = torch.randn(codes, inputs.features) if atoms is None else atoms
        self.B = nn.Parameter(F.normalize(first, dim=1))

    def infer(
        self,
        v: Float[Tensor, "batch features"],
        steps: int,
        tolerance: float = 0.0,
        prediction: Float[Tensor, "batch codes"] | None = None,
        alpha: float = 0.0,
    ) -> Float[Tensor, "batch codes"]:
        """Return argmin_z of E, from the prediction or from zero, in full precision and without gradient.

        Codes are found by steps of FISTA, or where a tolerance is given by coordinate descent.
        """
        with torch.no_grad(), torch.autocast(v.device.type, enabled=False):
            gram, correlation = self.B @ self.B.t(), v.to(self.B) @ self.B.t()
            if prediction is not None:
                prediction = prediction.to(self.B)
                gram.diagonal().add_(2 * alpha)
                correlation.add_(prediction, alpha=2 * alpha)
            find = lasso if tolerance else fista
            return find(gram, correlation, self.sparsity, prediction, steps, tolerance)

    def error(self, v: Float[Tensor, "batch features"], z: Float[Tensor, "batch codes"]) -> Float[Tensor, "batch"]:
        """Return ½ |v - zB|²."""
        return (v - z @ self.B).square().sum(1) / 2

    def cost(self, z: Float[Tensor, "batch codes"]) -> Float[Tensor, "batch"]:
        """Return λ |z|₁."""
        return self.sparsity * z.abs().sum(1)

    @torch.no_grad()
    def decode(
        self, z: Float[Tensor, "batch codes"], like: Float[Tensor, "batch ..."] | None = None
    ) -> Float[Tensor, "batch ..."]:
        """Return the raw input that a code stands for, of the contrast of `like` if contrasts are normalized."""
        return self.inputs.restored(z @ self.B, like)

    @torch.no_grad()
    def pictures(self) -> Float[Tensor, "codes ..."]:
        """Return the atoms in the form of an example, up to contrast; `analysis.pictures.centered` makes them grey."""
        return self.inputs.directions(self.B)


class SparseCoding(System):
    """A dictionary with codes that are found by FISTA.

    Args:
        dictionary: atoms, and what a code costs.
        steps: of FISTA for an update, and for `encode`.

    Raises:
        ValueError: no step.
    """

    def __init__(self, dictionary: Dictionary | ConvDictionary, steps: int = 50) -> None:
        super().__init__()
        self.dictionary, self.steps = dictionary, at_least_one(steps)

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch codes"]:
        """Return the codes after as many steps as in training."""
        return self.dictionary.infer(self.dictionary.inputs.standard(x), self.steps)

    @torch.no_grad()
    def infer(
        self, x: Float[Tensor, "batch ..."], steps: int = STEPS, tolerance: float = TOLERANCE
    ) -> Float[Tensor, "batch codes"]:
        """Return the codes of least energy, with subgradients no longer than `tolerance` if `steps` are enough."""
        return self.dictionary.infer(self.dictionary.inputs.standard(x), steps, tolerance)

    @torch.no_grad()
    def energy(
        self, x: Float[Tensor, "batch ..."], z: Float[Tensor, "batch codes"] | None = None
    ) -> Float[Tensor, "batch"]:
        """Return E(z; x) in nats, or without codes the least over them."""
        z = self.infer(x) if z is None else z
        return self.dictionary.error(self.dictionary.inputs.standard(x), z) + self.dictionary.cost(z)

    @torch.no_grad()
    def score(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch"]:
        """Return minus the least energy in nats; it is no log-likelihood, as codes are not summed over."""
        return -self.energy(x)

    @torch.no_grad()
    def decode(self, z: Float[Tensor, "batch codes"]) -> Float[Tensor, "batch ..."]:
        """Return the raw input that a code stands for."""
        return self.dictionary.decode(z)

    @torch.no_grad()
    def reconstruct(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """Return raw input from its codes, with the contrast that it had."""
        return self.dictionary.decode(self.encode(x), x)

    def loss(self, x: Float[Tensor, "batch ..."]) -> Terms:
        """Return both parts of E at codes that are held fixed; the second has no gradient."""
        v = self.dictionary.inputs.standard(x)
        z = self.dictionary.infer(v, self.steps)
        return {"reconstruction": self.dictionary.error(v, z).mean(), "sparsity": self.dictionary.cost(z).mean()}

    def metrics(self, x: Float[Tensor, "batch ..."]) -> Terms:
        """Return E, the half squared error in it, and how many codes of an example are not zero."""
        v = self.dictionary.inputs.standard(x)
        z = self.dictionary.infer(v, self.steps)
        error = self.dictionary.error(v, z).mean()
        return {"energy": error + self.dictionary.cost(z).mean(), "reconstruction": error, "active": active(z)}


class PSD(System):
    """A dictionary with an encoder that predicts its codes.

    Args:
        dictionary: atoms, and what a code costs.
        encoder: F, from what is coded to codes, such as `TanhEncoder` or `LISTA`.
        alpha: weight α of the distance from the prediction.
        steps: of FISTA for an update, from the prediction.

    Raises:
        ValueError: no step, or a negative alpha.
    """

    def __init__(
        self, dictionary: Dictionary | ConvDictionary, encoder: nn.Module, alpha: float = 1.0, steps: int = 20
    ) -> None:
        super().__init__()
        if alpha < 0:
            raise ValueError(f"alpha must be at least 0, got {alpha}")
        self.dictionary, self.encoder, self.alpha, self.steps = dictionary, encoder, alpha, at_least_one(steps)

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch codes"]:
        """Return the predicted codes F(x), which takes no descent."""
        z: Tensor = self.encoder(self.dictionary.inputs.standard(x))
        return z

    @torch.no_grad()
    def infer(
        self, x: Float[Tensor, "batch ..."], steps: int = STEPS, tolerance: float = TOLERANCE
    ) -> Float[Tensor, "batch codes"]:
        """Return the codes of least energy, with subgradients no longer than `tolerance` if `steps` are enough."""
        return self.dictionary.infer(
            self.dictionary.inputs.standard(x), steps, tolerance, prediction=self.encode(x), alpha=self.alpha
        )

    @torch.no_grad()
    def energy(
        self, x: Float[Tensor, "batch ..."], z: Float[Tensor, "batch codes"] | None = None
    ) -> Float[Tensor, "batch"]:
        """Return E(z; x) in nats, or without codes the least over them."""
        z = self.infer(x) if z is None else z
        terms = self.parts(self.dictionary.inputs.standard(x), z, self.encode(x))
        return torch.stack(list(terms.values())).sum(0)

    @torch.no_grad()
    def score(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch"]:
        """Return minus the least energy in nats; it is no log-likelihood, as codes are not summed over."""
        return -self.energy(x)

    @torch.no_grad()
    def decode(self, z: Float[Tensor, "batch codes"]) -> Float[Tensor, "batch ..."]:
        """Return the raw input that a code stands for."""
        return self.dictionary.decode(z)

    @torch.no_grad()
    def reconstruct(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """Return raw input from its predicted codes, with the contrast that it had."""
        return self.dictionary.decode(self.encode(x), x)

    def parts(
        self,
        v: Float[Tensor, "batch features"],
        z: Float[Tensor, "batch codes"],
        prediction: Float[Tensor, "batch codes"],
    ) -> dict[str, Tensor]:
        """Return the three parts of E for each example."""
        return {
            "reconstruction": self.dictionary.error(v, z),
            "sparsity": self.dictionary.cost(z),
            "prediction": self.alpha * (z - prediction).square().sum(1),
        }

    def loss(self, x: Float[Tensor, "batch ..."]) -> Terms:
        """Return the three parts of E at codes that are held fixed."""
        v = self.dictionary.inputs.standard(x)
        prediction = self.encoder(v)
        z = self.dictionary.infer(v, self.steps, prediction=prediction, alpha=self.alpha)
        return {name: part.mean() for name, part in self.parts(v, z, prediction).items()}

    def metrics(self, x: Float[Tensor, "batch ..."]) -> Terms:
        """Return E, sparse coding's energy of its codes and of the prediction, and how many codes are not zero."""
        v = self.dictionary.inputs.standard(x)
        prediction = self.encoder(v)
        z = self.dictionary.infer(v, self.steps, prediction=prediction, alpha=self.alpha)
        parts = {name: part.mean() for name, part in self.parts(v, z, prediction).items()}
        predicted = self.dictionary.error(v, prediction) + self.dictionary.cost(prediction)
        return {
            "energy": parts["reconstruction"] + parts["sparsity"] + parts["prediction"],
            "coding": parts["reconstruction"] + parts["sparsity"],
            "predicted": predicted.mean(),
            "active": active(z),
        }


def unit_atoms(dictionary: Dictionary | ConvDictionary) -> Callable[[Tensor], None]:
    """Return a projection for `lamina.optim.wrappers.projected` that gives the atoms norm 1, and leaves all else."""

    def project(weight: Tensor) -> None:
        if weight is dictionary.B:
            rows = weight.flatten(1)  # a view
            F.normalize(rows, dim=1, out=rows)

    return project


def active(z: Float[Tensor, "batch codes"]) -> Float[Tensor, ""]:
    """Return how many codes of an example are not zero."""
    return (z != 0).sum(1).float().mean()


def at_least_one(steps: int) -> int:
    """Return a number of steps.

    Raises:
        ValueError: it is below one.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    return steps
