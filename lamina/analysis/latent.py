"""Arithmetic with codes, for every system that encodes and decodes.

    d = mean code of the examples with an attribute - mean code of those without it         (direction)
    decode(ē(a) - ē(b) + ē(c)),   ē the mean code of some examples                          (analogy)
    z(t) = (1 - t) u + t v                                                                  (linear)
    z(t) = ((1 - t)|u| + t|v|) (sin((1 - t)ω) û + sin(tω) v̂) / sin ω,   cos ω = ûᵀv̂         (spherical)
    z = m + s Φ⁻¹((i + ½) / side)   for two numbers of the code                             (manifold)

û and v̂ have length 1, Φ is the normal distribution function. Analogies: Radford, Metz & Chintala (2016), "Unsupervised
representation learning with deep convolutional GANs", section 6.3.2. Directions and the spherical path: White (2016),
"Sampling generative networks". Manifold: Kingma & Welling (2014), "Auto-encoding variational Bayes", figure 4.

Differs from the papers: between codes of unequal length the spherical path turns evenly and changes its length evenly.
What is returned is what `decode` gives, which for a VAE are means, not draws. Systems are used in the mode that they
are in: call `eval()` first if it matters, as with dropout.
"""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeGuard, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from lamina.analysis.pictures import as_images, grid
from lamina.core import Encodes

ROWS = 1000  # examples encoded or decoded at once
SMALL = 1e-4  # an angle at which a chord and its arc differ by less than the rounding of float32


@runtime_checkable
class Decodes(Encodes, Protocol):
    """Systems that turn examples into codes, and codes back into examples."""

    def decode(self, z: Tensor, /) -> Tensor:
        """Return examples in raw form for codes (examples, latent)."""


def decodes(system: object) -> TypeGuard[Decodes]:
    """Return whether a system encodes, and decodes codes without being told more, such as a class."""
    if not isinstance(system, Decodes):
        return False
    asked = inspect.signature(system.decode).parameters.values()
    return sum(parameter.default is parameter.empty for parameter in asked) == 1


@torch.no_grad()
def codes(system: Encodes, x: Float[Tensor, "examples ..."]) -> Float[Tensor, "examples latent"]:
    """Return the codes of any number of examples."""
    return torch.cat([system.encode(part) for part in torch.split(x, ROWS)])


@torch.no_grad()
def decoded(system: Decodes, z: Float[Tensor, "rows columns latent"]) -> Float[Tensor, "rows columns ..."]:
    """Return the examples of a table of codes."""
    x = torch.cat([system.decode(part) for part in torch.split(z.flatten(0, 1), ROWS)])
    return x.reshape(*z.shape[:2], *x.shape[1:])


def direction(
    z: Float[Tensor, "examples latent"],
    labels: Int[Tensor, " labels"] | Bool[Tensor, " labels"] | NDArray[Any] | Sequence[Any],
    value: int | str = 1,
    logistic: bool = False,
) -> Float[Tensor, "latent"]:
    """Return the vector in code space along which an attribute appears.

    Args:
        z: codes of labelled examples.
        labels: their classes as numbers or words, or whether they have the attribute.
        value: the label of those that have it.
        logistic: take the normal of a logistic regression on the codes, as long as the class means lie apart along it,
            instead of the difference of the class means. It leaves out what merely goes along with the attribute.

    Raises:
        ValueError: there is not one label for each code, or all examples have the attribute, or none.
    """
    if len(labels) != len(z):
        raise ValueError(f"a direction needs a label for each code, got {len(labels)} labels for {len(z)} codes")
    has = torch.tensor([label == value for label in labels], dtype=torch.bool, device=z.device)
    if (some := int(has.sum())) in (0, len(has)):
        raise ValueError(
            f"a direction needs examples with label {value} and without it, got {some} of {len(has)} with it"
        )
    apart: Tensor = z[has].mean(0) - z[~has].mean(0)
    if not logistic:
        return apart
    from sklearn.linear_model import LogisticRegression

    scale = z.std(0).clamp_min(torch.finfo(z.dtype).tiny)
    fitted = LogisticRegression(max_iter=1000).fit(((z - z.mean(0)) / scale).cpu().numpy(), has.cpu().numpy())
    slope = torch.as_tensor(fitted.coef_[0], dtype=z.dtype, device=z.device) / scale
    normal: Tensor = slope / slope.norm()
    return normal * (apart @ normal)


def move(
    system: Decodes, x: Float[Tensor, "batch ..."], along: Float[Tensor, "latent"], steps: Sequence[float]
) -> Float[Tensor, "batch steps ..."]:
    """Return each example moved so many times along a direction of code space."""
    z = codes(system, x)
    return decoded(system, z[:, None] + z.new_tensor(steps)[:, None] * along)


def analogy(
    system: Decodes,
    a: Float[Tensor, "a ..."],
    b: Float[Tensor, "b ..."],
    c: Float[Tensor, "c ..."],
) -> Float[Tensor, "1 ..."]:
    """Return what is to `c` as `a` is to `b`, such as man with glasses - man + woman.

    Args:
        system: encodes and decodes.
        a: examples with what is to be carried over; their mean code counts, so a few are better than one.
        b: like those, without it.
        c: others without it.
    """
    mean = [codes(system, x).mean(0) for x in (a, b, c)]
    return decoded(system, (mean[0] - mean[1] + mean[2])[None, None])[0]


def analogies(
    system: Decodes, a: Float[Tensor, "a ..."], b: Float[Tensor, "b ..."], c: Float[Tensor, "c ..."], rows: int = 6
) -> Float[Tensor, "rows 4 ..."]:
    """Return rows of an example of each, and of what is to that of `c` as all of `a` are to all of `b`."""
    rows = min(rows, len(c))
    along = codes(system, a).mean(0) - codes(system, b).mean(0)
    shown = [x[torch.arange(rows) % len(x)] for x in (a, b, c)]
    return torch.stack([*shown, move(system, c[:rows], along, (1.0,))[:, 0]], 1)


def interpolate(
    system: Decodes,
    first: Float[Tensor, "batch ..."],
    last: Float[Tensor, "batch ..."],
    steps: int = 9,
    spherical: bool = False,
) -> Float[Tensor, "batch steps ..."]:
    """Return what lies between the codes of the examples of two batches, the codes of both ends included."""
    start, stop = codes(system, first), codes(system, last)
    shares = torch.linspace(0, 1, steps, dtype=start.dtype, device=start.device)
    path = arc if spherical else line
    return decoded(system, path(start, stop, shares))


def line(
    start: Float[Tensor, "batch latent"], stop: Float[Tensor, "batch latent"], shares: Float[Tensor, "steps"]
) -> Float[Tensor, "batch steps latent"]:
    """Return the points at these shares of the straight ways between codes."""
    return torch.lerp(start[:, None], stop[:, None], shares[:, None])


def arc(
    start: Float[Tensor, "batch latent"], stop: Float[Tensor, "batch latent"], shares: Float[Tensor, "steps"]
) -> Float[Tensor, "batch steps latent"]:
    """Return the points at these shares of the ways around the origin between codes.

    Raises:
        ValueError: two codes point in opposite directions, so that no way around is the shortest.
    """
    lengths = [z.norm(dim=1, keepdim=True) for z in (start, stop)]
    u, v = start / lengths[0].clamp_min(1e-12), stop / lengths[1].clamp_min(1e-12)
    chord, middle = (u - v).norm(dim=1, keepdim=True), (u + v).norm(dim=1, keepdim=True)
    if bool((middle < SMALL * chord).any()):
        raise ValueError("two codes point in opposite directions, with many arcs between them: interpolate linearly")
    angle = 2 * torch.atan2(chord, middle)  # exact where the cosine is near 1 (Kahan)
    t = shares.expand(len(start), -1)
    near, sine = angle < SMALL, angle.sin().clamp_min(SMALL / 2)
    weights = [torch.where(near, share, (share * angle).sin() / sine)[..., None] for share in (1 - t, t)]
    length = torch.lerp(lengths[0], lengths[1], t)[..., None]
    path: Tensor = length * (weights[0] * u[:, None] + weights[1] * v[:, None])
    return path


def manifold(
    system: Decodes,
    mean: Float[Tensor, "latent"],
    scale: Float[Tensor, "latent"] | None = None,
    side: int = 20,
    axes: tuple[int, int] = (0, 1),
) -> Float[Tensor, "side side ..."]:
    """Return the examples on a lattice of equal normal probability over two numbers of the code.

    Args:
        system: encodes and decodes.
        mean: the code in the middle, of which only the two numbers are varied. Zeros for a system whose codes have the
            prior N(0, I), as a VAE's; the mean of many codes for others.
        scale: standard deviation of each number of the code, 1 if not given.
        side: points along each axis.
        axes: the numbers of the code that change downward and to the right.

    Raises:
        ValueError: an axis that the code lacks, or the same one twice.
    """
    latent = len(mean)
    if axes[0] == axes[1] or not all(0 <= axis < latent for axis in axes):
        raise ValueError(f"a manifold needs two different axes below {latent}, got {axes[0]} and {axes[1]}")
    levels = torch.special.ndtri((torch.arange(side, dtype=mean.dtype, device=mean.device) + 0.5) / side)
    z = mean.repeat(side, side, 1)
    scale = torch.ones_like(mean) if scale is None else scale
    z[..., axes[0]] += scale[axes[0]] * levels[:, None]
    z[..., axes[1]] += scale[axes[1]] * levels
    return decoded(system, z)


def leading(system: Decodes, z: Float[Tensor, "examples latent"], among: int = 50) -> list[int]:
    """Return the numbers of the code in order of how much they change what is decoded, the most telling first.

    Each is moved from a deviation below its mean over some codes to one above, the others staying at theirs. Only those
    numbers count whose deviations are the largest `among` all.
    """
    scale = z.std(0)
    widest = scale.topk(min(among, len(scale))).indices
    steps = torch.zeros(len(widest), 2, len(scale), dtype=z.dtype, device=z.device)
    steps[torch.arange(len(widest)), :, widest] = scale[widest, None] * scale.new_tensor([-1.0, 1.0])
    below, above = decoded(system, z.mean(0) + steps).flatten(2).unbind(1)
    order: list[int] = widest[(above - below).norm(dim=1).argsort(descending=True)].tolist()
    return order


def write_grid(x: Float[Tensor, "rows columns ..."], shape: Sequence[int], path: Path) -> None:
    """Write a table of examples as a picture.

    Args:
        x: values in 0..1, as the functions here return them.
        shape: of one picture, (channels, height, width), as `Data.shape` tells.
        path: of the file, such as manifold.png.

    Raises:
        ValueError: the examples are no pictures of that shape.
    """
    images = as_images(x.flatten(0, 1), shape)
    if images is None:
        raise ValueError(
            f"examples of shape {tuple(x.shape[2:])} are no pictures of shape {tuple(shape)}: torch.save them"
        )
    grid(images, columns=x.shape[1]).save(path)
