"""Corruption destroys the share that it should, and nothing else."""

import pytest
import torch

from lamina.modules.corruption import GaussianNoise, Masking, SaltAndPepper

ROWS = 200_000  # standard error of a share below 0.0012


def test_masking_sets_the_share_to_zero():
    torch.manual_seed(0)
    found = Masking(0.3)(torch.full((ROWS, 1), 2.0))
    assert set(found.unique().tolist()) == {0.0, 2.0}
    assert abs(float((found == 0).float().mean()) - 0.3) < 0.005


def test_salt_and_pepper_are_alike_in_number():
    torch.manual_seed(0)
    found = SaltAndPepper(0.4)(torch.full((ROWS, 1), 0.5))
    for value in (0.0, 1.0):
        assert abs(float((found == value).float().mean()) - 0.2) < 0.005
    assert set(found.unique().tolist()) == {0.0, 0.5, 1.0}


def test_gaussian_noise_has_its_deviation():
    torch.manual_seed(0)
    found = GaussianNoise(0.7)(torch.full((ROWS, 1), 3.0))
    assert abs(float(found.mean()) - 3) < 0.01
    assert abs(float(found.std()) - 0.7) < 0.01


@pytest.mark.parametrize("make", [lambda: Masking(1.5), lambda: SaltAndPepper(-0.1), lambda: GaussianNoise(-1.0)])
def test_refuses_what_makes_no_sense(make):
    with pytest.raises(ValueError, match="0"):
        make()
