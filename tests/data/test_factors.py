"""Pictures with known factors: each factor changes what it should, and nothing depends on more than the seed."""

import numpy as np
import pytest
import torch

from lamina.data.factors import FACTORS, HIGH, LOW, SHAPES, draw, factors

SIDE = 32


def picture(shape=0, size=0.15, angle=0.0, x=0.5, y=0.5, brightness=1.0, side=SIDE):
    return draw(np.array([[shape, size, angle, x, y, brightness]]), side)[0, 0].astype(np.float64)


def center(image):
    """Center of mass, from the left and from the top, by the side of the picture."""
    at = (np.arange(len(image)) + 0.5) / len(image)
    return np.array([image.sum(0) @ at, image.sum(1) @ at]) / image.sum()


every = pytest.mark.parametrize("shape", range(len(SHAPES)), ids=SHAPES)


@every
@pytest.mark.parametrize("angle", [0.0, 20.0, 77.0])
def test_the_center_of_mass_is_where_x_and_y_say(shape, angle):
    for x, y in ((0.5, 0.5), (0.35, 0.64), (0.4, 0.63)):
        image = picture(shape, angle=angle, x=x, y=y)
        assert np.abs(center(image) - (x, y)).max() < 0.1 / SIDE  # a tenth of a pixel


@every
def test_the_area_is_that_of_the_shape_and_grows_with_size(shape):
    """Squares (2s)², ellipses π s²/2, crosses of two beams 2s by 2s/3 with one middle; the edge is soft, so 4 %."""
    area = (lambda s: 4 * s**2, lambda s: np.pi * s**2 / 2, lambda s: 20 / 9 * s**2)[shape]
    sizes = np.linspace(0.12, 0.2, 6)
    found = [picture(shape, size=s, angle=30.0, side=128).sum() / 128**2 for s in sizes]
    assert found == pytest.approx(area(sizes), rel=0.04)
    assert (np.diff([picture(shape, size=s).sum() for s in sizes]) > 0).all()


@every
def test_angle_turns_the_shape(shape):
    """By a quarter turn the picture turns by one, which leaves squares and crosses as they were, and no less does."""
    upright, quarter = picture(shape), picture(shape, angle=90.0)
    assert np.allclose(quarter, np.rot90(upright), atol=1e-4)
    assert np.allclose(quarter, upright, atol=1e-4) == (shape != 1)
    assert np.abs(picture(shape, angle=45.0) - upright).max() > 0.5
    if shape == 1:  # from the right downward: at 45° the ellipse lies along the diagonal of rows and columns
        diagonal = picture(shape, angle=45.0)
        assert diagonal.diagonal().sum() > 1.5 * diagonal[::-1].diagonal().sum()


@every
def test_brightness_scales_the_picture(shape):
    assert np.allclose(picture(shape, brightness=0.4), 0.4 * picture(shape), atol=1e-6)


@every
def test_shapes_stay_inside(shape):
    """At the largest size, in the corners, at any angle, no pixel of the border is touched."""
    for x in (LOW[3], HIGH[3]):
        for y in (LOW[4], HIGH[4]):
            for angle in (0.0, 15.0, 45.0):
                image = picture(shape, HIGH[1], angle, x, y)
                assert max(image[0].max(), image[-1].max(), image[:, 0].max(), image[:, -1].max()) == 0


def test_splits_are_drawn_from_the_seed_and_test_pictures_never_change():
    data, again, other = (factors(seed, count=700, held=20, side=16) for seed in (0, 0, 1))
    assert (len(data.train), len(data.valid), len(data.test)) == (700, 20, 10_000)
    assert data.shape == (1, 16, 16)
    assert data.classes == SHAPES
    for part in ("train", "valid", "test"):
        for name in ("x", "y", "factors"):
            value, same, new = (getattr(d, part).fields[name] for d in (data, again, other))
            assert torch.equal(value, same)
            assert torch.equal(value, new) == (part == "test")
    fields = data.train.fields
    assert fields["factors"].shape == (700, len(FACTORS))
    assert torch.equal(fields["factors"][:, 0].long(), fields["y"])
    assert torch.equal(torch.from_numpy(draw(fields["factors"].numpy(), 16)), fields["x"])
    assert float(fields["x"].min()) == 0
    assert float(fields["x"].max()) <= 1


def test_factors_are_independent_and_uniform():
    """10,000 test examples: correlations within 5 / √10,000; means and deviations within 5 standard errors, which are
    √(1/12 / 10,000) and √(1/180 / 10,000) / (2 √(1/12)) of a factor's range, so 0.015 and 0.0065 of it."""
    values = factors(count=1, held=1, side=16).test.fields["factors"].double()
    correlation = values.t().corrcoef() - torch.eye(len(FACTORS))
    assert float(correlation.abs().max()) < 0.05
    low, high = (torch.tensor(bound).double()[1:] for bound in (LOW, HIGH))
    unit = (values[:, 1:] - low) / (high - low)
    assert float((unit.mean(0) - 0.5).abs().max()) < 0.015
    assert float((unit.std(0) - (1 / 12) ** 0.5).abs().max()) < 0.0065
    share = torch.bincount(values[:, 0].long()) / len(values)
    assert float((share - 1 / 3).abs().max()) < 5 * (2 / 9 / len(values)) ** 0.5


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="side of at least 16"):
        factors(side=8)
    with pytest.raises(ValueError, match="at least 1"):
        factors(count=0)
