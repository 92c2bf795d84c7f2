"""Convolutional dictionary: small atoms that may be anywhere in an image, with a map of codes for each.

    E(z; v) = ½ |v - Σ_k B_k * z_k|² + λ |z|₁ + α |z - F(v)|²                  *: convolution, |B_k| = 1
    Lz ← h(Ly - Σ-correlation of B with (Σ_k B_k * y_k - v) - 2α (y - F); λ)    FISTA, as in `lamina.optim.fista`
    L = max_ω λ_max(Σ_k B̂_k(ω) B̂_k(ω)ᴴ) + 2α                                  B̂_k(ω): a number for every channel

L bounds the curvature: on a torus as large as the image with its padding, convolution is a product for each frequency
ω of the discrete Fourier transform, and the image is a part of the torus. One code for each place and atom stands in
a row, so `SparseCoding` and `PSD` take such a dictionary as any other. With atoms as large as the image there is one
place, and it is the plain dictionary.

Kavukcuoglu, Sermanet, Boureau, Gregor, Mathieu & LeCun (2010), Learning convolutional feature hierarchies for visual
recognition, eq. 2 and 3. Zeiler, Krishnan, Taylor & Fergus (2010), Deconvolutional networks, is the same without F.

Differs from the paper: atoms lie within the image by default; it also has codes of atoms that reach beyond, which is
padding = side - 1 here. Codes are found by FISTA, there by coordinate descent or gradients.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lamina.modules.contrast import LocalContrast
from lamina.modules.whitening import Whitening
from lamina.optim.fista import CHECK, momenta


class ConvDictionary(nn.Module):
    """Atoms that are laid over each other at all places of an image, and what a code costs.

    Args:
        inputs: from raw images to what is coded, and back.
        codes: how many atoms; their first directions are random.
        side: of the square atoms.
        sparsity: weight λ of the codes' size.
        padding: pixels by which atoms may reach beyond the image.

    Raises:
        ValueError: not an image, no atom, a negative sparsity, or atoms that do not fit the image.
    """

    def __init__(
        self,
        inputs: Whitening | LocalContrast,
        codes: int,
        side: int,
        sparsity: float,
        padding: int = 0,
    ) -> None:
        super().__init__()
        if len(inputs.shape) != 3:
            raise ValueError(f"convolution needs images, but an example has the shape {inputs.shape}; for rows use psd")
        channels, height, width = inputs.shape
        if codes < 1 or sparsity < 0:
            raise ValueError(f"there must be at least 1 atom and sparsity at least 0, got {codes} and {sparsity}")
        if not 1 <= side <= min(height, width) or not 0 <= padding < side:
            raise ValueError(
                f"atoms must be within {height}x{width} pixels and padding below their side, got {side} and {padding}"
            )
        self.inputs, self.sparsity, self.padding = inputs, sparsity, padding
        self.torus = (height + 2 * padding, width + 2 * padding)
        self.places = (codes, self.torus[0] - side + 1, self.torus[1] - side + 1)
        self.B = nn.Parameter(F.normalize(torch.randn(codes, channels * side**2)).view(codes, channels, side, side))

    def infer(
        self,
        v: Float[Tensor, "batch features"],
        steps: int,
        tolerance: float = 0.0,
        prediction: Float[Tensor, "batch codes"] | None = None,
        alpha: float = 0.0,
    ) -> Float[Tensor, "batch codes"]:
        """Return argmin_z of E, from the prediction or from zero, in full precision and without gradient."""
        with torch.no_grad(), torch.autocast(v.device.type, enabled=False):
            pull = 0.0 if prediction is None else 2 * alpha
            L, c = self.curvature() + pull, self.correlated(v.to(self.B))
            if prediction is None:
                z = torch.zeros_like(c)
            else:
                z = prediction.to(self.B)
                c = c.add_(z, alpha=pull)
                z = z * L
            y = z  # codes are times L here, so that the threshold is λ
            for k, beta in zip(range(1, steps + 1), momenta(), strict=False):
                slope = self.correlated(self.combined(y)).add_(y, alpha=pull).div_(L)
                new = F.softshrink(c + y - slope, self.sparsity)
                if tolerance and k % CHECK == 0 and float(torch.linalg.vector_norm(new - y, dim=1).max()) <= tolerance:
                    return new.div_(L)
                y, z = torch.lerp(z, new, 1 + beta), new
            return z.div_(L)

    def curvature(self) -> Float[Tensor, ""]:
        """Return a bound on the largest eigenvalue of the error's second derivative, the largest over the torus."""
        spectrum = torch.fft.rfft2(self.B, s=self.torus)
        grams = torch.einsum("kchw,kdhw->hwcd", spectrum, spectrum.conj())
        largest: Tensor = torch.linalg.eigvalsh(grams)[..., -1].max()
        return largest.clamp_min(torch.finfo(self.B.dtype).tiny)

    def combined(self, z: Float[Tensor, "batch codes"]) -> Float[Tensor, "batch features"]:
        """Return Σ_k B_k * z_k."""
        return F.conv_transpose2d(z.view(-1, *self.places), self.B, padding=self.padding).flatten(1)

    def correlated(self, v: Float[Tensor, "batch features"]) -> Float[Tensor, "batch codes"]:
        """Return the product of every atom with the image at every place."""
        return F.conv2d(v.reshape(-1, *self.inputs.shape), self.B, padding=self.padding).flatten(1)

    def error(self, v: Float[Tensor, "batch features"], z: Float[Tensor, "batch codes"]) -> Float[Tensor, "batch"]:
        """Return ½ |v - Σ_k B_k * z_k|²."""
        return (v - self.combined(z)).square().sum(1) / 2

    def cost(self, z: Float[Tensor, "batch codes"]) -> Float[Tensor, "batch"]:
        """Return λ |z|₁."""
        return self.sparsity * z.abs().sum(1)

    @torch.no_grad()
    def decode(
        self, z: Float[Tensor, "batch codes"], like: Float[Tensor, "batch ..."] | None = None
    ) -> Float[Tensor, "batch ..."]:
        """Return the raw image that a code stands for, of the contrast of `like` if contrasts are normalized."""
        return self.inputs.restored(self.combined(z), like)

    @torch.no_grad()
    def pictures(self) -> Float[Tensor, "codes channels side side"]:
        """Return the atoms; `analysis.pictures.centered` makes them grey."""
        return self.B.detach()
