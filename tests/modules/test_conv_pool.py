"""The compiled kernel against its torch twin."""

import copy

import pytest
import torch
from torch import nn

from lamina.modules.conv_pool import ConvPoolTanh


def stages(*sizes):
    torch.manual_seed(0)
    layers = []
    for channels, maps, side, pad in sizes:
        layers += [nn.Conv2d(channels, maps, side, padding=pad), nn.MaxPool2d(2), nn.Tanh()]
    return ConvPoolTanh(nn.Sequential(*layers))


def fused(y):
    return y.grad_fn is not None and "Stages" in type(y.grad_fn).__name__


FORMS = {
    "LeNet-5 on gray": ([(1, 6, 5, 2), (6, 16, 5, 0)], (28, 28)),
    "LeNet-5 on color, odd sides": ([(3, 6, 5, 2), (6, 16, 5, 0)], (31, 24)),
    "many maps, three stages, padding within": ([(1, 20, 3, 1), (20, 40, 3, 1), (40, 7, 5, 2)], (20, 23)),
    "even kernel": ([(2, 9, 4, 1)], (11, 13)),
    "one map between": ([(1, 1, 3, 0), (1, 5, 3, 1)], (17, 16)),
}


@pytest.mark.parametrize(("sizes", "image"), FORMS.values(), ids=FORMS)
def test_agrees_with_the_layers(sizes, image):
    module = stages(*sizes)
    twin = copy.deepcopy(module).double().layers
    x = torch.randn(5, sizes[0][0], *image)
    y, expected = module(x), twin(x.double())
    assert fused(y)
    assert y.is_contiguous()
    torch.testing.assert_close(y.double(), expected, atol=2e-6, rtol=0)
    slope = torch.randn_like(y)
    y.backward(slope)
    expected.backward(slope.double())
    for (name, found), wanted in zip(module.named_parameters(), twin.parameters(), strict=True):
        scale = float(wanted.grad.abs().max())
        torch.testing.assert_close(found.grad.double(), wanted.grad, atol=1e-5 * scale, rtol=0, msg=name)


def test_tanh_is_exact_to_rounding_over_its_whole_range():
    module = stages((1, 1, 1, 0))
    with torch.no_grad():
        module.convolutions[0].weight.fill_(1)
        module.convolutions[0].bias.zero_()
    values = torch.cat([torch.linspace(-12, 12, 4001), torch.logspace(-8, 0, 999), torch.tensor([0.0, 1e30, -1e30])])
    x = values[:, None, None, None].expand(-1, 1, 2, 2).contiguous()
    torch.testing.assert_close(module(x)[:, 0, 0, 0].detach(), values.tanh(), atol=3e-7, rtol=1e-6)


def test_of_equal_numbers_the_first_gets_the_gradient():
    module, x = stages((1, 2, 3, 0)), torch.ones(1, 1, 4, 4)
    twin = copy.deepcopy(module).layers
    module(x).sum().backward()
    twin(x).sum().backward()
    torch.testing.assert_close(module.convolutions[0].weight.grad, twin[0].weight.grad)


def test_nothing_beyond_the_batch_is_read_into_the_result():
    module, x = stages((1, 6, 5, 2), (6, 16, 5, 0)), torch.randn(3, 1, 28, 28)
    alone = torch.cat([module(one[None]) for one in x])
    assert torch.equal(module(x), alone)


def test_the_layers_take_over_where_the_kernel_does_not_fit():
    module, x = stages((1, 6, 5, 2)), torch.randn(2, 1, 28, 28)
    assert not fused(module(x.requires_grad_()))
    x = x.detach()
    assert not fused(copy.deepcopy(module).double()(x.double()))
    with torch.autocast("cpu", torch.bfloat16):
        assert not fused(module(x))
    assert fused(module(x))


def test_threads_share_the_batch():
    module, x = stages((1, 6, 5, 2), (6, 16, 5, 0)), torch.randn(70, 1, 28, 28)
    alone, found = module(x), list[torch.Tensor]()
    alone.square().sum().backward()
    expected = [parameter.grad.clone() for parameter in module.parameters()]
    module.zero_grad()
    torch.set_num_threads(3)
    try:
        together = module(x)
        together.square().sum().backward()
        found = [parameter.grad for parameter in module.parameters()]
    finally:
        torch.set_num_threads(1)
    assert torch.equal(alone, together)
    for mine, its in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-4)


def test_other_layers_are_refused():
    with pytest.raises(AssertionError):
        ConvPoolTanh(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()))
