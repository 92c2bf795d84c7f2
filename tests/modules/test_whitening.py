"""Whitening against the identity covariance, scikit-learn's PCA, and its own inverse."""

import numpy as np
import pytest
import torch

from lamina.modules.whitening import Whitening


def correlated(count=400, shape=(1, 2, 3)):
    generator = torch.Generator().manual_seed(0)
    size = int(np.prod(shape))
    mix = torch.randn(size, size, dtype=torch.float64, generator=generator)
    rows = torch.randn(count, size, dtype=torch.float64, generator=generator) @ mix + mix[0]
    return rows.reshape(count, *shape)


@pytest.mark.parametrize("method", ["pca", "zca"])
def test_whitened_examples_have_identity_covariance(method):
    x = correlated()
    v = Whitening.fitted(x, method).standard(x)
    torch.testing.assert_close(v.mean(0), torch.zeros(6).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(v.t() @ v / len(v), torch.eye(6).double(), rtol=0, atol=1e-10)


def test_pca_is_that_of_scikit_learn():
    from sklearn.decomposition import PCA

    x = correlated()
    v = Whitening.fitted(x, "pca", components=4).standard(x)
    other = PCA(4, whiten=True).fit_transform(x.flatten(1).numpy()) * np.sqrt(400 / 399)  # it divides by n - 1
    np.testing.assert_allclose(v.abs(), np.abs(other), atol=1e-9)


def test_zca_changes_examples_least():
    """Of all that whiten, W has the least mean |v - u|², which makes it symmetric and positive."""
    x = correlated()
    W = Whitening.fitted(x, "zca").W
    torch.testing.assert_close(W, W.t(), rtol=0, atol=1e-12)
    assert float(torch.linalg.eigvalsh(W)[0]) > 0


@pytest.mark.parametrize("method", ["none", "pca", "zca"])
@pytest.mark.parametrize("contrast", [0.0, 0.01])
@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_the_way_back_gives_the_examples(method, contrast, floor):
    x = correlated()
    inputs = Whitening.fitted(x, method, floor=floor, contrast=contrast)
    torch.testing.assert_close(inputs.restored(inputs.standard(x), x), x, rtol=0, atol=1e-8)


def test_contrast_normalized_examples_differ_from_raw_ones_by_brightness_and_contrast_only():
    x = correlated()
    inputs = Whitening.fitted(x, contrast=1e-12)
    v = inputs.standard(x)
    torch.testing.assert_close(inputs.standard(3 * x + 2), v, rtol=0, atol=1e-9)
    u = v * inputs.back + inputs.mean
    torch.testing.assert_close(u.mean(1), torch.zeros(400).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(u.square().mean(1), torch.ones(400).double(), rtol=0, atol=1e-9)
    usual = inputs.restored(v).flatten(1)
    torch.testing.assert_close(usual.mean(1), x.mean().expand(400), rtol=0, atol=1e-9)


def test_floor_adds_a_share_of_the_mean_variance():
    x = correlated()
    rows = x.flatten(1) - x.flatten(1).mean(0)
    variances = torch.linalg.eigvalsh(rows.t() @ rows / 400).flip(0)
    v = Whitening.fitted(x, "pca", floor=0.1).standard(x)
    torch.testing.assert_close(v.square().mean(0), variances / (variances + 0.1 * variances.mean()))


def test_what_never_varies_is_left_out_and_comes_back():
    x = correlated(shape=(5,))
    x = torch.cat([x, torch.full((400, 1), 7.0).double(), x[:, :1]], 1)
    for method in ("pca", "zca"):
        inputs = Whitening.fitted(x, method)
        v = inputs.standard(x)
        assert abs(float(v.square().mean(0).sum()) - 5) < 1e-9
        torch.testing.assert_close(inputs.restored(v), x, rtol=0, atol=1e-9)
    constant = Whitening.fitted(x[:, 5:6])
    assert not bool(constant.standard(x[:, 5:6]).any())


def test_refuses_what_makes_no_sense():
    x = correlated(10)
    for settings, message in (
        ({"method": "pca", "components": 7}, r"components must lie in 0\.\.6"),
        ({"components": 2}, "choose pca or zca"),
        ({"floor": -1.0}, "floor and contrast must be at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            Whitening.fitted(x, **settings)
