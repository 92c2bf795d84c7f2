"""LISTA against the steps that it unrolls, before and after training; the tanh encoder against its formula."""

import pytest
import torch
import torch.nn.functional as F

from lamina.modules.lista import LISTA, TanhEncoder
from lamina.optim.fista import fista, ista

LAMBDA = 0.2


def dictionary(codes=20, features=10, dtype=torch.float64):
    return F.normalize(torch.randn(codes, features, generator=torch.Generator().manual_seed(0), dtype=dtype), dim=1)


def examples(B, count, seed):
    """Return sums of about three atoms with normal codes."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randn(count, len(B), generator=generator) * (torch.rand(count, len(B), generator=generator) < 0.15)
    return codes.to(B) @ B


@pytest.mark.parametrize("layers", [1, 2, 3, 20])
def test_begins_as_steps_of_ista(layers):
    B = dictionary()
    x = torch.randn(50, 10, dtype=torch.float64)
    expected = ista(B @ B.t(), x @ B.t(), LAMBDA, steps=layers)
    found = LISTA(B, LAMBDA, layers)(x)
    torch.testing.assert_close(found.detach(), expected, rtol=0, atol=1e-12)
    assert bool((found == 0).any())


def test_many_layers_reach_the_optimum():
    B, x = dictionary(), examples(dictionary(), 20, 1)
    best = fista(B @ B.t(), x @ B.t(), LAMBDA, steps=50_000, tolerance=1e-10)
    with torch.no_grad():
        torch.testing.assert_close(LISTA(B, LAMBDA, 20_000)(x), best, rtol=0, atol=1e-7)


def test_gradient_equals_finite_differences():
    torch.manual_seed(1)
    B, x = dictionary(5, 4), torch.randn(3, 4, dtype=torch.float64)
    for network in (LISTA(B, LAMBDA, 3), TanhEncoder(4, 5).double()):
        names, values = zip(*network.named_parameters(), strict=True)

        def output(*values, names=names, network=network):
            return torch.func.functional_call(network, dict(zip(names, values, strict=True)), x)

        assert torch.autograd.gradcheck(output, values)


def test_after_training_few_layers_beat_as_many_steps_of_fista():
    """10 numbers, 20 atoms, 3 layers, 1,500 updates of 200 of 20,000 examples (seeds 2, 3); 2,000 held out (seed 1)."""
    B = dictionary(dtype=torch.float32)
    gram = B @ B.t()
    network = LISTA(B, LAMBDA, 3)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3, fused=True)
    held = examples(B, 2000, 1)
    best = fista(gram, held @ B.t(), LAMBDA, steps=2000, tolerance=1e-4)
    fit = examples(B, 20_000, 2)
    targets = fista(gram, fit @ B.t(), LAMBDA, steps=2000, tolerance=1e-4)
    generator = torch.Generator().manual_seed(3)
    for update in range(1500):
        rows = torch.randint(len(fit), (200,), generator=generator)
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - update / 1500)
        optimizer.zero_grad()
        (network(fit[rows]) - targets[rows]).square().sum(1).mean().backward()
        optimizer.step()
    with torch.no_grad():
        learned = float((network(held) - best).square().sum(1).mean())
        begun = float((LISTA(B, LAMBDA, 3)(held) - best).square().sum(1).mean())
    stepped = float((fista(gram, held @ B.t(), LAMBDA, steps=3) - best).square().sum(1).mean())
    assert stepped < begun
    assert learned < stepped / 2


def test_tanh_encoder_is_its_formula():
    network = TanhEncoder(3, 4).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_()
    x = torch.randn(5, 3, dtype=torch.float64)
    W, d = network.linear.weight, network.linear.bias
    assert torch.allclose(network(x), network.g * torch.tanh(x @ W.t() + d), rtol=1e-14)


def test_refuses_no_layer():
    with pytest.raises(ValueError, match="layers must be at least 1"):
        LISTA(dictionary(), LAMBDA, 0)
