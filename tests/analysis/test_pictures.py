"""Grids to the pixel, filters found in the shapes that systems use, charts that a page can hold."""

import xml.etree.ElementTree as xml

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from lamina.analysis.pictures import as_images, chart, filters, grid, pictures, plot_range
from lamina.train.range_test import Range

HELD = [(1.0, 0.5), (2.0, 0.4)]


def test_grid_places_every_pixel():
    generator = torch.Generator().manual_seed(0)
    levels = torch.randint(256, (5, 1, 2, 4), generator=generator)
    sheet = np.array(grid(levels / 255, columns=3, scale=2))
    expected = np.full((2 * 4 + 2, 3 * 8 + 2 * 2), 128)
    for i in range(5):
        y, x = i // 3 * 6, i % 3 * 10
        expected[y : y + 4, x : x + 8] = np.kron(levels[i, 0].numpy(), np.ones((2, 2)))
    assert np.array_equal(sheet, expected)


def test_grid_of_color_and_of_other_channels():
    images = torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    color = grid(images, columns=4, scale=1)
    assert color.mode == "RGB"
    assert np.array_equal(np.array(color)[:, 6:11], (images[1] * 255).round().byte().permute(1, 2, 0).numpy())
    stereo = grid(images[:, :2])
    assert stereo.mode == "L"
    assert np.array_equal(np.array(stereo), np.array(grid(images[:, :1])))


def test_grid_enlarges_small_images_and_clips():
    assert grid(torch.zeros(1, 1, 28, 28)).size == (56, 56)
    assert grid(torch.zeros(1, 1, 300, 200)).size == (200, 300)
    odd = torch.tensor([-1.0, 2.0, torch.nan, torch.inf]).reshape(1, 1, 1, 4)
    assert np.array(grid(odd, scale=1)).tolist() == [[0, 255, 0, 255]]


def test_grid_refuses_nothing():
    with pytest.raises(ValueError, match="needs images, columns and a scale, got 0"):
        grid(torch.zeros(0, 1, 4, 4))


def test_large_pictures_are_reduced_to_means():
    image = torch.zeros(1, 1, 192, 192)
    image[..., ::2] = 1.0
    (shown,) = pictures(image)
    assert shown.size == (96, 96)
    assert np.unique(np.array(shown)).tolist() == [128]


def test_as_images():
    assert as_images(torch.zeros(2, 784), (1, 28, 28)).shape == (2, 1, 28, 28)
    assert as_images(torch.zeros(2, 784), (784,)) is None
    assert as_images(torch.zeros(2, 30), (1, 28, 28)) is None
    assert as_images(torch.zeros(2, 784, dtype=torch.int64), (1, 28, 28)) is None


class Boltzmann(nn.Module):
    def __init__(self):
        super().__init__()
        self.W = nn.Parameter(torch.randn(12, 7))
        self.up = nn.Linear(7, 5)


@pytest.mark.parametrize(
    ("system", "name", "count", "pick"),
    [
        (nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 8, 3), nn.Linear(12, 6)), "1.weight", 8, lambda w: w[2]),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(12, 6)), "2.weight", 6, lambda w: w[2]),
        (nn.Sequential(nn.Linear(4, 12), nn.Linear(12, 6)), "1.weight", 6, lambda w: w[2]),  # a decoder comes first
        (Boltzmann(), "W", 7, lambda w: w[:, 2]),
    ],
)
def test_filters_are_the_weights_that_meet_the_input(system, name, count, pick):
    found, images = filters(system, (3, 2, 2))
    weight = pick(dict(system.named_parameters())[name].detach())
    assert (found, len(images)) == (name, count)
    expected = 0.5 + 0.5 * weight / weight.abs().max()
    assert torch.allclose(images[2].flatten(), expected.flatten())


def test_no_filters_without_images_or_weights():
    assert filters(nn.Linear(12, 6), (12,)) is None
    assert filters(nn.Linear(11, 6), (3, 2, 2)) is None


def test_chart_is_themed_repeatable_and_leaves_matplotlib_as_it_was():
    train = [(i / 100, 2.0 ** (-i / 50)) for i in range(500)]
    before = dict(matplotlib.rcParams)
    svg = chart(train, HELD, 2.0, "epoch", "nll")
    assert dict(matplotlib.rcParams) == before
    assert svg == chart(train, HELD, 2.0, "epoch", "nll")
    marks = [e for e in xml.fromstring(svg).iter("{http://www.w3.org/2000/svg}use") if "--accent" in e.get("style", "")]
    assert len(marks) == 2
    assert "currentColor" in svg
    assert "#00000" not in svg
    other = chart(train, HELD, 2.0, "epoch", "error")
    ids = [{e.get("id") for e in xml.fromstring(text).iter()} - {None} for text in (svg, other)]
    assert not ids[0] & ids[1]  # both are part of one page


@pytest.mark.parametrize("train", [[], [(1.0, 3.0)], [(1.0, 0.0), (2.0, 0.0)], [(1.0, -5.0), (2.0, 1e9)]])
def test_chart_of_odd_curves(train):
    xml.fromstring(chart(train, [(1.0, 2.0)], None, "update", "x"))


def test_plot_range(tmp_path):
    rates = [10.0 ** (i / 10 - 6) for i in range(60)]
    found = Range(rates, [1.0] * 50 + [0.5] * 9 + [1e30], 0.01)
    plot_range(found, tmp_path / "a.png")
    plot_range(found, tmp_path / "a.svg")
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (960, 600)
    xml.parse(tmp_path / "a.svg")
