import pytest
import torch
from torch.nn import functional as F

from lamina.modules.pyramid import ImageDiscriminator, Pyramid, ResidualGenerator, halved


@pytest.mark.parametrize(
    "sizes", [halved((28, 28), 3), halved((32, 32), 3), halved((9, 7), 4), ((28, 28), (14, 14), (8, 8))]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_reconstruction_is_exact(sizes, channels):
    """To rounding in both precisions; bit for bit where no sum is rounded, as for multiples of 2⁻⁸ that halve."""
    torch.manual_seed(0)
    pyramid = Pyramid(sizes)
    x = torch.rand(5, channels, *sizes[0], dtype=torch.float64)
    torch.testing.assert_close(pyramid.reconstruct(pyramid.build(x)), x, rtol=0, atol=1e-15)
    torch.testing.assert_close(pyramid.reconstruct(pyramid.build(x.float())), x.float(), rtol=0, atol=2e-7)
    assert [tuple(part.shape) for part in pyramid.build(x)] == [(5, channels, *size) for size in sizes]
    if sizes[0][0] % 4 == 0 and sizes[-1][0] * 4 == sizes[0][0]:
        pixels = (256 * x).floor().float() / 256
        assert torch.equal(pyramid.reconstruct(pyramid.build(pixels)), pixels)


def test_levels_agree_with_their_definition():
    """Block means by reshaping, and linear interpolation between the centers of pixels by hand."""
    torch.manual_seed(0)
    pyramid, x = Pyramid(((6, 8), (3, 4))), torch.rand(2, 3, 6, 8, dtype=torch.float64)
    residual, coarse = pyramid.build(x)
    torch.testing.assert_close(coarse, x.reshape(2, 3, 3, 2, 4, 2).mean((3, 5)))

    def matrix(large, small):
        found = torch.zeros(large, small, dtype=torch.float64)
        for i in range(large):
            place = min(max((i + 0.5) * small / large - 0.5, 0), small - 1)
            low = min(int(place), small - 2)
            found[i, low], found[i, low + 1] = 1 - (place - low), place - low
        return found

    torch.testing.assert_close(residual, x - matrix(6, 3) @ coarse @ matrix(8, 4).T)


def test_one_level_is_the_image():
    x = torch.rand(2, 1, 5, 5)
    (only,) = Pyramid(((5, 5),)).build(x)
    assert torch.equal(only, x)


@pytest.mark.parametrize("sizes", [(), ((4, 4), (4, 4)), ((4, 4), (8, 2)), ((4, 4), (0, 2))])
def test_levels_that_do_not_shrink_are_refused(sizes):
    with pytest.raises(ValueError, match="each level of a pyramid must be smaller"):
        Pyramid(sizes)


def test_sizes():
    assert halved((32, 32), 3) == ((32, 32), (16, 16), (8, 8))
    assert halved((9, 1), 4) == ((9, 1), (5, 1), (3, 1), (2, 1))
    assert halved((1, 1), 1) == ((1, 1),)
    for levels in (0, 6):
        with pytest.raises(ValueError, match=f"cannot have {levels} levels"):
            halved((9, 1), levels)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 9, 6)])
@pytest.mark.parametrize("classes", [0, 4])
@pytest.mark.parametrize("stride", [1, 2])
def test_networks_fit_images_of_any_size(shape, classes, stride):
    torch.manual_seed(0)
    low, noise = torch.rand(2, *shape), torch.randn(2, shape[1] * shape[2])
    code = (F.one_hot(torch.tensor([0, 3]), 4).float(),) if classes else ()
    generator = ResidualGenerator(shape, classes, 6, kernel=3, stride=stride)
    image = low + generator(noise, low, *code)
    assert image.shape == (2, *shape)
    for paired in (True, False):
        logits = ImageDiscriminator(shape, classes, 6, stride=stride, paired=paired)(image, low, *code)
    assert logits.shape == (2, 1)
    logits.sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in generator.parameters())
