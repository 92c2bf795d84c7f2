import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from lamina.analysis import pyramid as analysis
from lamina.analysis.pyramid import details, pyramid_log_likelihood
from lamina.modules.pyramid import Pyramid
from lamina.systems.generative.lapgan import Level, Levels


class Fixed(nn.Module):
    """One residual whatever it is given."""

    def __init__(self, residual: Tensor) -> None:
        super().__init__()
        self.residual = nn.Parameter(residual)

    def forward(self, noise: Tensor, *given: Tensor) -> Tensor:
        return self.residual.expand(len(noise), *self.residual.shape[1:])


def test_details_have_no_block_means():
    x = torch.rand(3, 2, 4, 6, dtype=torch.float64)
    means = x.reshape(3, 2, 2, 2, 3, 2).mean((3, 5))
    torch.testing.assert_close(details(x) + means.repeat_interleave(2, 2).repeat_interleave(2, 3), x)


def test_one_generated_image_gives_a_gaussian_of_pixels(monkeypatch):
    """With fixed generators and one width a Gaussian of all pixels has the same density at each test image.

    The images' coarse part is drawn around the coarsest generator's image; the details around those of l + r, which are
    affine in the coarse part, so that the mean and covariance of the pixels follow by matrices.
    """
    monkeypatch.setattr(analysis, "SIGMAS", (0.3,))
    monkeypatch.setattr(analysis, "COARSE", 1)
    monkeypatch.setattr(
        analysis, "log_likelihood", lambda s, v, t: type("", (), {"mean": float(coarse(s, t).mean())})()
    )
    torch.manual_seed(0)

    def coarse(s: Tensor, t: Tensor) -> Tensor:
        return MultivariateNormal(s[0].flatten(), 0.2**2 * torch.eye(4, dtype=s.dtype)).log_prob(t.flatten(1))

    pyramid = Pyramid(((4, 4), (2, 2)))
    fine, base = torch.randn(1, 1, 4, 4, dtype=torch.float64), torch.randn(1, 1, 2, 2, dtype=torch.float64)
    levels = Levels(pyramid, [Level(Fixed(fine), nn.Identity(), 1), Level(Fixed(base), nn.Identity(), 1)])
    x = torch.randn(5, 1, 4, 4, dtype=torch.float64)

    units = torch.eye(4, dtype=torch.float64).reshape(4, 1, 2, 2)
    spread = units.repeat_interleave(2, 2).repeat_interleave(2, 3).reshape(4, 16).T  # block means to pixels
    follow = details(pyramid.up(units, 0)).reshape(4, 16).T  # of the details, on the block means
    mean = (spread + follow) @ base.flatten() + details(fine).flatten()
    free = torch.eye(16, dtype=torch.float64) - spread @ spread.T / 4  # onto what has no block means
    covariance = 0.2**2 * (spread + follow) @ (spread + follow).T + 0.3**2 * free
    expected = MultivariateNormal(mean, covariance).log_prob(x.flatten(1)).mean()
    assert pyramid_log_likelihood(levels, x, x, samples=1) == pytest.approx(float(expected), abs=1e-9)
    assert math.isfinite(expected)
