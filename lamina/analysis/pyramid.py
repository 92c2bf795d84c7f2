"""The Parzen-window log-likelihood of a LAPGAN, level by level.

Let m be the means of an image's blocks of 2×2 pixels, l = u(m), and h what is left of the image without them, which
has three quarters as many free numbers. In orthonormal coordinates (2m, h) a volume is that of the image, so that

    log p(I_k) = log p(I_{k+1}) − |I_{k+1}| log 2 + log q_k(h_k | l_k),   I_{k+1} = m_k
    q_k(h | l) = 1/N Σᵢ N(h; hᵢ, σ_k² I) for N generated images with the low-pass image l of the test image itself

and log p(I_K) is the usual Parzen estimate of coarse images. Each σ_k is chosen on validation images. Denton, Chintala,
Szlam & Fergus (2015), Deep generative image models using a Laplacian pyramid of adversarial networks, appendix A.

As N is small, for each test image needs images of its own, the figure is low and rises with N; compare it with that of
another LAPGAN alone, at the same N.
"""

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lamina.analysis.parzen import SIGMAS, log_likelihood
from lamina.systems.generative.lapgan import Levels

COARSE = 10_000  # samples that the window of the coarsest level is laid around


def halves(levels: Levels) -> bool:
    """Return whether each level has exactly half the size of that before it, as the density asks for."""
    return all((2 * h, 2 * w) == large for large, (h, w) in pairwise(levels.pyramid.sizes))


@torch.no_grad()
def pyramid_log_likelihood(
    levels: Levels,
    valid: Float[Tensor, "valid channels height width"],
    test: Float[Tensor, "test channels height width"],
    samples: int = 100,
) -> float:
    """Return the log-likelihood per test image in nats, of a LAPGAN without classes.

    Args:
        levels: of the LAPGAN, each of half the size of that before it.
        valid: images that choose the widths.
        test: images to report on.
        samples: generated images for each image and level.
    """
    assert halves(levels)
    coarsest = len(levels.players) - 1
    pieces = [levels.level(coarsest).generated(min(1000, COARSE), None, ()) for _ in range(max(1, COARSE // 1000))]
    images = [levels.pyramid.images(x) for x in (valid, test)]
    total = log_likelihood(torch.cat(pieces), images[0][-1], images[1][-1]).mean
    for k in range(coarsest):
        chosen, found = (detail_density(levels, k, x[k], samples) for x in images)
        total += float(found[int(chosen.argmax())]) - images[1][k + 1][0].numel() * math.log(2)
    return total


def detail_density(
    levels: Levels, k: int, images: Float[Tensor, "images channels height width"], samples: int
) -> Float[Tensor, " widths"]:
    """Return the mean of log q_k(h | l) over images, for each width of the window."""
    rows = []
    for image in torch.split(images, 10):
        low = levels.pyramid.up(F.avg_pool2d(image, 2), k).repeat_interleave(samples, 0)
        generated = details(levels.level(k).generated(len(low), low, ())).reshape(len(image), samples, *image.shape[1:])
        squares = (generated - details(image)[:, None]).flatten(2).square().sum(2)
        rows.append(torch.stack([torch.logsumexp(-squares / (2 * sigma**2), 1) for sigma in SIGMAS]))
    free = images[0].numel() * 3 / 4
    constants = [math.log(samples) + free * math.log(sigma * math.sqrt(2 * math.pi)) for sigma in SIGMAS]
    return torch.cat(rows, 1).mean(1) - images.new_tensor(constants)


def details(
    images: Float[Tensor, "images channels height width"],
) -> Float[Tensor, "images channels height width"]:
    """Return h, images without the means of their blocks of 2×2 pixels."""
    return images - F.interpolate(F.avg_pool2d(images, 2), scale_factor=2.0, mode="nearest")
