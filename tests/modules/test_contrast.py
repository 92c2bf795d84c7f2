"""Local contrast normalization against loops; encoders and stages against their formulas."""

import itertools
import math

import pytest
import torch

from lamina.modules.contrast import LocalContrast
from lamina.modules.conv_encoder import ConvEncoder, stage


@pytest.mark.parametrize("apart", [False, True])
def test_normalization_is_that_of_loops(apart):
    """The mean, then the deviation, of a Gaussian window over all channels; its weights have sum 1 at borders too."""
    x = torch.rand(2, 3, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = LocalContrast((3, 6, 5), 5, apart).double()(x)

    def smoothed(image):
        out = torch.zeros_like(image)
        for i, j in itertools.product(range(6), range(5)):
            total = weights = 0.0
            for a, b in itertools.product(range(max(i - 2, 0), min(i + 3, 6)), range(max(j - 2, 0), min(j + 3, 5))):
                w = math.exp(-((a - i) ** 2 + (b - j) ** 2) / (2 * (5 / 6) ** 2))
                total, weights = total + w * image[a, b], weights + w
            out[i, j] = total / weights
        return out

    for image, normalized in zip(x, found, strict=True):
        u = image - (torch.stack([smoothed(channel) for channel in image]) if apart else smoothed(image.mean(0)))
        s = smoothed(u.square().mean(0)).sqrt()
        torch.testing.assert_close(normalized, u / s.clamp_min(s.mean()), rtol=0, atol=1e-6)


@pytest.mark.parametrize("apart", [False, True])
def test_brightness_and_contrast_play_no_part_and_come_back(apart):
    x = torch.rand(4, 2, 9, 9, generator=torch.Generator().manual_seed(0))
    contrast = LocalContrast((2, 9, 9), 3, apart)
    torch.testing.assert_close(contrast(x), contrast(0.2 + 0.3 * x), rtol=0, atol=1e-4)
    torch.testing.assert_close(contrast.restored(contrast.standard(x), x), x, rtol=0, atol=1e-6)
    assert float(contrast(torch.full((1, 2, 9, 9), 0.7)).abs().max()) < 1e-3
    assert contrast.directions(contrast.standard(x)).shape == contrast.restored(contrast.standard(x)).shape == x.shape
    flat = torch.zeros(1, 2, 9, 9, requires_grad=True)
    contrast(flat).sum().backward()
    assert bool(flat.grad.isfinite().all())


@pytest.mark.parametrize("squash", ["tanh", "shrink"])
def test_encoders_are_their_formulas(squash):
    torch.manual_seed(0)
    encoder, x = ConvEncoder(2, 3, 3, padding=1, squash=squash), torch.randn(4, 2, 6, 5)
    encoder.g.data.copy_(torch.tensor([0.5, 2.0, -1.0])[:, None, None])
    u = torch.nn.functional.conv2d(x, encoder.conv.weight, encoder.conv.bias, padding=1)
    expected = u.tanh() if squash == "tanh" else torch.nn.functional.softshrink(u, 0.1)
    torch.testing.assert_close(encoder(x), encoder.g * expected)
    encoder(x).square().sum().backward()
    assert all(bool(p.grad.abs().sum() > 0) for p in encoder.parameters())


def test_a_stage_says_what_it_gives():
    made, shape = stage((2, 12, 10), ConvEncoder(2, 4, 3), window=3, pool=3)
    assert made(torch.rand(5, 2, 12, 10)).shape[1:] == shape == (4, 3, 2)
    with pytest.raises(ValueError, match="leave nothing of maps of 12x10"):
        stage((2, 12, 10), ConvEncoder(2, 4, 9), window=3, pool=3)
    with pytest.raises(ValueError, match="leave it out"):
        LocalContrast((7,), 3)
