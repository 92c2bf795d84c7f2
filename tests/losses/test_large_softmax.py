"""The cross-entropy of a large vocabulary against torch's own, in value and gradient."""

import pytest
import torch
from torch.nn import functional as F

from lamina.losses import large_softmax as module
from lamina.losses.large_softmax import linear_cross_entropy


def parts(rows=37, hidden=8, vocabulary=1200, dtype=torch.float64, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    h, weight = (scale * torch.randn(n, hidden, generator=generator, dtype=dtype) for n in (rows, vocabulary))
    bias = torch.randn(vocabulary, generator=generator, dtype=dtype)
    targets = torch.randint(vocabulary, (rows,), generator=generator)
    return [part.requires_grad_() for part in (h, weight, bias)], targets


def plain(h, weight, bias, targets):
    return F.cross_entropy(F.linear(h, weight, bias), targets)


@pytest.mark.parametrize("chunk", [1, 5 * 1200, 1 << 22])
def test_value_and_gradient_are_torchs(chunk, monkeypatch):
    """Chunks of one row, of five with a rest, and of all; the loss is also weighted."""
    monkeypatch.setattr(module, "CHUNK", chunk)
    leaves, targets = parts()
    found, expected = linear_cross_entropy(*leaves, targets), plain(*leaves, targets)
    assert type(found.grad_fn).__name__ == "ChunkedBackward"
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for mine, its in zip(
        torch.autograd.grad(3 * found, leaves), torch.autograd.grad(3 * expected, leaves), strict=True
    ):
        torch.testing.assert_close(mine, its, rtol=0, atol=1e-12)


def test_symbols_that_are_almost_impossible_keep_their_loss():
    """Logits that lie thousands apart, in float32: p of the target is zero, −log p is not infinite."""
    leaves, targets = parts(dtype=torch.float32, scale=30.0)
    found = linear_cross_entropy(*leaves, targets)
    torch.testing.assert_close(found, plain(*leaves, targets), rtol=1e-5, atol=0)
    assert float(found.detach()) > 1000
    assert all(slope.isfinite().all() for slope in torch.autograd.grad(found, leaves))


def test_small_vocabularies_and_evaluation_take_the_plain_layer():
    leaves, targets = parts(vocabulary=50)
    found = linear_cross_entropy(*leaves, targets)
    assert torch.equal(found, plain(*leaves, targets))
    leaves, targets = parts()
    with torch.no_grad():
        torch.testing.assert_close(linear_cross_entropy(*leaves, targets), plain(*leaves, targets))
