import pytest
import torch
from torch.nn import functional as F

from lamina.modules.lenet import TABLE, Codes, Squash, Subsample, TableConvolution, lenet5, lenet5_1998


def trainable(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_published_network_has_its_60000_trainable_parameters():
    network = lenet5_1998((1, 28, 28), 10)
    assert trainable(network) == 60_000  # LeCun et al. (1998), section II.B
    assert [trainable(layer) for layer in network if trainable(layer)] == [156, 12, 1516, 32, 48120, 10164]


def test_the_tutorials_network_has_the_layers_sizes():
    network = lenet5((1, 28, 28), 10)
    assert [trainable(layer) for layer in network if trainable(layer)] == [156 + 2416, 48120, 10164, 850]


def test_pooling_before_tanh_is_pooling_after_it():
    x = torch.randn(3, 6, 28, 28)
    assert torch.equal(F.max_pool2d(x, 2).tanh(), F.max_pool2d(x.tanh(), 2))


def test_table_convolution_is_a_dense_one_with_zeros_elsewhere():
    torch.manual_seed(0)
    layer, x = TableConvolution().double(), torch.randn(2, 6, 14, 14, dtype=torch.float64)
    torch.nn.init.normal_(layer.bias)
    out, at = layer(x), 0
    for to, maps in enumerate(TABLE):
        expected = layer.bias[to] + sum(
            F.conv2d(x[:, of : of + 1], layer.weight[at + i][None, None])[:, 0] for i, of in enumerate(maps)
        )
        torch.testing.assert_close(out[:, to], expected)
        at += len(maps)
    assert at == 60  # connections of maps in table I


def test_subsampling_sums_four_neighbors():
    layer, x = Subsample(2), torch.arange(16.0).reshape(1, 1, 4, 4).repeat(1, 2, 1, 1)
    with torch.no_grad():
        layer.coefficient.copy_(torch.tensor([1.0, 0.5]))
        layer.bias.copy_(torch.tensor([0.0, 3.0]))
    sums = torch.tensor([[0 + 1 + 4 + 5, 2 + 3 + 6 + 7], [8 + 9 + 12 + 13, 10 + 11 + 14 + 15]], dtype=torch.float32)
    torch.testing.assert_close(layer(x)[0], torch.stack([sums, 0.5 * sums + 3]))


def test_squash_keeps_plus_and_minus_one():
    ends = torch.tensor([-1.0, 0.0, 1.0])
    torch.testing.assert_close(Squash()(ends), ends, rtol=0, atol=1e-4)


def test_codes_measure_squared_distances():
    layer = Codes(5, 3)
    assert set(layer.codes.flatten().tolist()) <= {-1.0, 1.0}
    x = torch.randn(4, 5)
    torch.testing.assert_close(layer(x), -(torch.cdist(x, layer.codes) ** 2), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("build", [lenet5, lenet5_1998])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 48), (1, 8, 8), (2, 5, 31)])
def test_takes_images_of_any_size(build, shape):
    assert build(shape, 7)(torch.zeros(2, *shape)).shape == (2, 7)


@pytest.mark.parametrize("build", [lenet5, lenet5_1998])
def test_refuses_rows(build):
    with pytest.raises(ValueError, match=r"needs images .* got shape \(30,\); for rows use mlp"):
        build((30,), 2)
