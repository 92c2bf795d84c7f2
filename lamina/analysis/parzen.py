"""The Parzen-window log-likelihood, by which generators without a density used to be compared.

    log p(x) = log 1/N Σᵢ exp(−|x − sᵢ|²/2σ²) − d/2 log 2πσ²

with N samples sᵢ of the generator and the width σ that is best on validation examples. Breuleux, Bengio & Vincent
(2011), Quickly generating representative samples from an RBM-derived process, section 6; Goodfellow et al. (2014),
Generative adversarial nets, section 5.

The figure is poor: for lack of samples it ranks centroids of k-means above the training examples themselves (Theis,
van den Oord & Bethge 2016, A note on the evaluation of generative models, section 3.2). Never report it without what
those two reach.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lamina.analysis.neighbors import affinities

SIGMAS = tuple(10 ** (-1 + k / 9) for k in range(10))  # the grid of the authors' parzen_ll.py, for pixels in 0..1


@dataclass(frozen=True)
class LogLikelihood:
    """A Parzen estimate, in nats.

    Args:
        mean: log-likelihood per test example.
        error: standard error of the mean over test examples.
        sigma: width of the window.
    """

    mean: float
    error: float
    sigma: float


@torch.no_grad()
def parzen(
    samples: Float[Tensor, "samples *shape"], x: Float[Tensor, "examples *shape"], sigmas: tuple[float, ...]
) -> Float[Tensor, "widths examples"]:
    """Return the log-density in nats of each example under Gaussian windows of each width around the samples."""
    samples, x = samples.flatten(1), x.flatten(1)
    blocks = [
        torch.stack([torch.logsumexp(block / sigma**2, 1) for sigma in sigmas]) for block in affinities(samples, x)
    ]
    features = x.shape[1]
    constants = [math.log(len(samples)) + features * math.log(sigma * math.sqrt(2 * math.pi)) for sigma in sigmas]
    return torch.cat(blocks, 1) - x.new_tensor(constants)[:, None]


def log_likelihood(
    samples: Float[Tensor, "samples *shape"],
    valid: Float[Tensor, "valid *shape"],
    test: Float[Tensor, "test *shape"],
    sigmas: tuple[float, ...] = SIGMAS,
) -> LogLikelihood:
    """Return the log-likelihood of `test`, with the width that gives `valid` the largest.

    The published protocol is 10,000 samples, the first 1,000 validation images, all test images.
    """
    sigma = sigmas[int(parzen(samples, valid, sigmas).mean(1).argmax())]
    each = parzen(samples, test, (sigma,))[0].double()
    return LogLikelihood(float(each.mean()), float(each.std(correction=0)) / math.sqrt(len(each)), sigma)
