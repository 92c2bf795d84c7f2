import pytest
import torch

from lamina.modules.maxout import Maxout


def test_is_the_maximum_over_explicit_pieces():
    torch.manual_seed(0)
    layer, x = Maxout(5, units=4, pieces=3).double(), torch.randn(7, 5, dtype=torch.float64)
    weight = layer.linear.weight.detach().reshape(3, 4, 5)  # W_ij, pieces first
    bias = layer.linear.bias.detach().reshape(3, 4)
    for n in range(7):
        for i in range(4):
            largest = max(float(x[n] @ weight[j, i] + bias[j, i]) for j in range(3))
            assert float(layer(x)[n, i].detach()) == pytest.approx(largest, abs=1e-12)


def test_gradients_agree_with_finite_differences():
    torch.manual_seed(0)
    layer, x = Maxout(5, units=4, pieces=3).double(), torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    parameters = dict(layer.named_parameters())

    def forward(x, weight, bias):
        return torch.func.functional_call(layer, {"linear.weight": weight, "linear.bias": bias}, (x,))

    assert torch.autograd.gradcheck(forward, (x, *parameters.values()))


def test_one_piece_is_linear_and_two_opposite_pieces_are_the_absolute_value():
    x = torch.linspace(-2, 2, 9)[:, None]
    single, double = Maxout(1, units=2, pieces=1), Maxout(1, units=1, pieces=2)
    torch.testing.assert_close(single(x), single.linear(x), rtol=0, atol=0)
    with torch.no_grad():
        double.linear.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        double.linear.bias.zero_()
    torch.testing.assert_close(double(x), x.abs(), rtol=0, atol=0)


def test_leading_axes_are_kept():
    assert Maxout(5, units=4)(torch.zeros(2, 3, 5)).shape == (2, 3, 4)


def test_refuses_no_piece():
    with pytest.raises(ValueError, match="at least 1 piece, got 0"):
        Maxout(5, units=4, pieces=0)
