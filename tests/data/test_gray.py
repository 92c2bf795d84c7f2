"""Gray codes: bijective, neighbors one bit apart, and a density of numbers from probabilities of bits."""

import torch

from lamina.data.dataset import Data
from lamina.data.examples import Arrays, whole
from lamina.data.gray import GrayCode


def test_neighbors_differ_in_one_bit_and_no_two_cells_share_a_code():
    code = GrayCode(torch.tensor([-1.0]), torch.tensor([3.0]), bits=5)
    middles = (torch.arange(32)[:, None] + 0.5) / 32 * 4 - 1
    bits = code.coded(middles)
    assert len(bits.unique(dim=0)) == 32
    assert bool((bits[1:] - bits[:-1]).abs().sum(1).eq(1).all())
    assert torch.equal(code.coded(torch.tensor([[-9.0], [9.0]])), bits[[0, -1]])  # beyond the ends


def test_volume_makes_probabilities_a_density():
    x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    code = GrayCode.fitted(x, bits=3, margin=0.25)
    area = float((1.5 * (x.amax(0) - x.amin(0))).prod())
    assert abs(64 * torch.tensor(code.log_volume).exp() - area) < 1e-4 * area
    data = code.applied(Data("toy", Arrays(x=x, y=torch.arange(500)), Arrays(x=x[:5])))
    assert data.shape == (6,)
    assert data.test is None
    assert torch.equal(whole(data.valid)["x"], code.coded(x[:5]))
    assert torch.equal(whole(data.train)["y"], torch.arange(500))
