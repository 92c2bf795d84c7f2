import pytest
import torch
from torch import nn

from lamina.modules.maxout import Maxout
from lamina.modules.mlp import mlp


def test_is_the_matrix_product_rectified_layer_by_layer():
    torch.manual_seed(0)
    network, x = mlp((2, 3), (5, 4), 3), torch.randn(7, 2, 3)
    linears = [layer for layer in network if isinstance(layer, nn.Linear)]
    h = x.reshape(7, 6)
    for layer in linears[:-1]:
        h = (h @ layer.weight.T + layer.bias).clamp(min=0)
    torch.testing.assert_close(network(x), h @ linears[-1].weight.T + linears[-1].bias)


def test_the_signal_keeps_its_size_through_many_layers():
    torch.manual_seed(0)
    with torch.no_grad():
        for pieces in (0, 1):
            out = mlp((400,), (400,) * 8, 400, pieces=pieces)(torch.randn(200, 400))
            assert 0.4 < float(out.square().mean()) < 2.5


def test_drops_inputs_and_hidden_units():
    network = mlp((4,), (5, 6), 3, dropout=(0.2, 0.5))
    assert [layer.p for layer in network if isinstance(layer, nn.Dropout)] == [0.2, 0.5, 0.5]
    assert not any(isinstance(layer, nn.Dropout) for layer in mlp((4,), (5,), 3))


def test_normalizes_every_hidden_layer():
    network = mlp((4,), (5, 6), 3, norm=True)
    assert [layer.num_features for layer in network if isinstance(layer, nn.BatchNorm1d)] == [5, 6]
    assert [layer.bias is None for layer in network if isinstance(layer, nn.Linear)] == [True, True, False]


def test_maxout_units():
    network = mlp((4,), (5,), 3, pieces=2)
    assert [layer.pieces for layer in network if isinstance(layer, Maxout)] == [2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden": (0,)}, "at least 1 unit"),
        ({"hidden": (3,), "dropout": (0.0, 1.0)}, r"lies in 0\.\.1"),
        ({"hidden": (3,), "norm": True, "pieces": 2}, "choose one"),
    ],
)
def test_refuses_what_makes_no_network(arguments, message):
    with pytest.raises(ValueError, match=message):
        mlp((4,), outputs=2, **arguments)
