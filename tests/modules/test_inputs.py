"""What comes before a network: normalization and random shifts."""

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler

from lamina.modules.shift import Shift
from lamina.modules.standardize import Standardize


def test_rows_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    x = rng.normal(5, [1, 10, 0, 1e-3], (50, 4)).astype(np.float32)
    expected = StandardScaler().fit(x.astype(np.float64)).transform(x)
    np.testing.assert_allclose(Standardize.fitted(torch.from_numpy(x))(torch.from_numpy(x)), expected, atol=1e-2)


def test_a_constant_column_becomes_zero():
    x = torch.tensor([[0.1, 1e6], [0.1, 1e6]])
    assert torch.equal(Standardize.fitted(x)(x), torch.zeros(2, 2))


def test_images_share_mean_and_scale_among_pixels():
    torch.manual_seed(0)
    x = torch.rand(20, 3, 4, 5) * torch.tensor([1.0, 2.0, 3.0])[:, None, None]
    normal = Standardize.fitted(x)
    assert normal.mean.shape == (3, 1, 1)
    out = normal(x).transpose(0, 1).flatten(1)
    torch.testing.assert_close(out.mean(1), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std(1, correction=0), torch.ones(3))


def test_shifts_are_rolls_whose_gap_the_edge_fills():
    torch.manual_seed(0)
    x = torch.arange(2 * 5 * 6.0).reshape(1, 2, 5, 6).repeat(200, 1, 1, 1)
    wide = torch.nn.functional.pad(x[:1], [1] * 4, mode="replicate")[0]
    places = {(i, j): wide[:, i : i + 5, j : j + 6] for i in range(3) for j in range(3)}
    counts = dict.fromkeys(places, 0)
    for image in Shift(1)(x):
        found = [place for place, expected in places.items() if torch.equal(image, expected)]
        assert len(found) == 1
        counts[found[0]] += 1
    assert min(counts.values()) > 8  # 200 / 9 expected


def test_nothing_is_shifted_in_evaluation():
    x = torch.rand(3, 1, 5, 5)
    assert torch.equal(Shift(2).eval()(x), x)
