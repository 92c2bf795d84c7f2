import math

import pytest
import torch
from torch.nn import functional as F

from lamina.modules.dcgan import Discriminator, Generator, Layer, layout


def blocks_to_kernel(weight, channels):
    """Return the 6x6 kernels of stride 2 of a 3x3 convolution over blocks of 2x2 pixels."""
    maps = weight.shape[0]
    parts = weight.reshape(maps, channels, 2, 2, 3, 3)  # (maps, channel, row in block, column in block, block, block)
    return parts.permute(0, 1, 4, 2, 5, 3).reshape(maps, channels, 6, 6)


def codes(count, classes):
    return F.one_hot(torch.arange(count) % classes, classes)


@pytest.mark.parametrize("channels", [1, 3])
def test_convolution_over_blocks_is_one_of_stride_2(channels):
    torch.manual_seed(0)
    first = Discriminator((channels, 8, 12), width=5).double().first.weights
    x = torch.randn(2, channels, 8, 12, dtype=torch.float64)
    expected = F.conv2d(x, blocks_to_kernel(first.weight, channels), first.bias, stride=2, padding=2)
    torch.testing.assert_close(first(F.pixel_unshuffle(x, 2)), expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_convolution_to_blocks_is_a_transposed_one_of_stride_2(channels):
    torch.manual_seed(0)
    last = Generator((channels, 8, 12), width=5).double().last
    h = torch.randn(2, 5, 4, 6, dtype=torch.float64)
    flipped = last.weight.flip(2, 3).transpose(0, 1)  # a transposed convolution has input channels first
    expected = F.conv_transpose2d(h, blocks_to_kernel(flipped, channels), stride=2, padding=2)
    torch.testing.assert_close(F.pixel_shuffle(last(h) - last.bias[:, None, None], 2), expected)


def test_class_is_a_plane_of_ones_beside_the_input():
    """Away from the border, where planes meet the padding: exactly the paper's concatenation, section 3."""
    torch.manual_seed(0)
    layer = Layer(torch.nn.Conv2d(4, 6, 4, 2, 1, bias=False), torch.nn.Identity(), classes=3).double()
    h, code = torch.randn(5, 4, 12, 12, dtype=torch.float64), codes(5, 3).double()
    kernels = torch.randn(6, 3, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        layer.shift.weight.copy_(kernels.sum((2, 3)))
    planes = code[:, :, None, None].expand(-1, -1, 12, 12)
    expected = F.conv2d(torch.cat([h, planes], 1), torch.cat([layer.weights.weight, kernels], 1), None, 2, 1)
    torch.testing.assert_close(layer(h, code)[:, :, 1:-1, 1:-1], expected[:, :, 1:-1, 1:-1])


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("hidden", [0, 7])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 8, 8), (3, 20, 12), (1, 9, 13)])
def test_fits_any_image(shape, hidden, classes):
    torch.manual_seed(0)
    code = codes(4, classes).float() if classes else None
    x = Generator(shape, noise=5, width=4, hidden=hidden, classes=classes)(torch.randn(4, 5), code)
    assert x.shape == (4, *shape)
    assert 0 < x.min() < x.max() < 1
    discriminator = Discriminator(shape, width=4, hidden=hidden, classes=classes)
    logits = discriminator(x, code)
    assert logits.shape == (4, 1)
    (slope,) = torch.autograd.grad(logits.square().sum(), x)
    assert (slope.abs().amax((0, 1)) > 0).all()  # every pixel is seen


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((1, 28, 28), (2, 7, 7)), ((3, 32, 32), (3, 4, 4)), ((3, 64, 64), (4, 4, 4)), ((1, 30, 26), (2, 8, 7))],
)
def test_layout(shape, expected):
    assert layout(shape) == expected


def test_photograph_networks_have_the_paper_s_maps():
    """64×64 in color, figure 1: 1024, 512, 256 and 128 maps of 4, 8, 16 and 32 pixels."""
    with torch.device("meta"):
        generator = Generator((3, 64, 64), width=128, hidden=0)
    assert generator.first.weight.shape == (1024 * 4 * 4, 100)
    assert [layer.weights.out_channels for layer in generator.layers] == [512, 256, 128]
    assert [layer.weights.kernel_size for layer in generator.layers] == [(4, 4)] * 3


def test_first_weights_are_small():
    """Seed 0, 802,816 weights: a standard error of the deviation of 1.6e-5."""
    torch.manual_seed(0)
    generator = Generator((1, 28, 28), hidden=256)
    assert generator.first.weight.std().item() == pytest.approx(0.02, abs=1e-4)
    assert all(not layer.bias.any() for layer in generator.modules() if getattr(layer, "bias", None) is not None)


def test_class_has_its_own_row_of_last_weights():
    torch.manual_seed(0)
    discriminator = Discriminator((1, 8, 8), width=4, hidden=6, classes=3).eval()
    with torch.no_grad():
        discriminator.last.weight.zero_()
        discriminator.last.bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
    assert discriminator(torch.rand(4, 1, 8, 8), codes(4, 3).float()).flatten().tolist() == [1, 2, 3, 1]


def test_maps_lie_with_channels_last():
    network = Discriminator((1, 28, 28), width=4)
    h = network.first(F.pixel_unshuffle(torch.rand(3, 1, 28, 28), 2), None)
    assert h.is_contiguous(memory_format=torch.channels_last)
    flat = h.permute(0, 2, 3, 1).flatten(1)
    assert flat.data_ptr() == h.data_ptr()  # no copy


def test_refuses_rows():
    with pytest.raises(ValueError, match="for rows use gan"):
        Generator((7,))
    assert math.prod(layout((1, 8, 8))[1:]) == 4
