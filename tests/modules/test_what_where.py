"""What-where pooling against loops over windows, the identity, the adjoint, its own limit, and finite differences."""

import itertools
import math

import pytest
import torch

from lamina.modules.what_where import WhatWhere, sides_after

SIZES = [(2, 8, 6), (2, 7, 5), (3, 7, 8), (1, 3, 2)]  # of a window, height and width


def maps(height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, height, width, generator=generator, dtype=torch.float64)


def windows(size, height, width):
    """Yield each window's place among the pooled maps, and the places of its numbers."""
    rows, columns = sides_after(size, height, width)
    for i, j in itertools.product(range(rows), range(columns)):
        inside = itertools.product(range(i * size, (i + 1) * size), range(j * size, (j + 1) * size))
        yield (i, j), [(r, c) for r, c in inside if r < height and c < width]


def sparse(size, height, width):
    """Return maps with one positive number in each window, at a place of its own, and zeros."""
    x, values = torch.zeros(2, 3, height, width, dtype=torch.float64), maps(height, width).abs() + 0.5
    generator = torch.Generator().manual_seed(1)
    for b, m in itertools.product(range(2), range(3)):
        for _, places in windows(size, height, width):
            r, c = places[int(torch.randint(len(places), (), generator=generator))]
            x[b, m, r, c] = values[b, m, r, c]
    return x


@pytest.mark.parametrize(("size", "height", "width"), SIZES)
def test_pools_as_loops_do(size, height, width):
    x = maps(height, width)
    hard, soft = WhatWhere(size), WhatWhere(size, beta=1.5)
    (what, where), (mean, place) = hard(x), soft(x)
    assert what.shape[2:] == where.shape[2:] == mean.shape[2:] == sides_after(size, height, width)
    for (i, j), places in windows(size, height, width):
        for b, m in itertools.product(range(2), range(3)):
            z = {(r, c): float(x[b, m, r, c]) for r, c in places}
            r, c = max(z, key=lambda t: z[t])
            assert float(what[b, m, i, j]) == z[r, c]
            assert int(where[b, m, i, j]) == r * width + c
            total = sum(math.exp(1.5 * v) for v in z.values())
            w = {t: math.exp(1.5 * v) / total for t, v in z.items()}
            assert float(mean[b, m, i, j]) == pytest.approx(sum(w[t] * z[t] for t in z), rel=1e-12)
            expected = [sum(w[t] * (t[axis] - (i, j)[axis] * size) for t in z) for axis in (0, 1)]
            assert place[b, m, i, j].tolist() == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("beta", [None, 1000.0])
@pytest.mark.parametrize(("size", "height", "width"), SIZES)
def test_unpooling_undoes_pooling_where_maxima_are_all_there_is(size, height, width, beta):
    x, layer = sparse(size, height, width), WhatWhere(size, beta)
    torch.testing.assert_close(layer.unpool(*layer(x), height, width), x, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("size", "height", "width"), SIZES)
def test_what_is_pooled_again_is_the_same(size, height, width):
    """Of positive maps: unpooled to the maxima alone, they have the same what and where."""
    layer, x = WhatWhere(size), maps(height, width).abs()
    what, where = layer(x)
    again, place = layer(layer.unpool(what, where, height, width))
    assert torch.equal(what, again)
    assert torch.equal(where, place)


def test_unpooling_is_the_adjoint_of_pooling_at_fixed_places():
    """So <unpool(a), x> = <a, x at where>, the gradient of pooling is unpooling, and the other way round."""
    layer, x = WhatWhere(2), maps(7, 5).requires_grad_()
    what, where = layer(x)
    a = torch.randn_like(what)
    up = layer.unpool(a, where, 7, 5)
    assert float((up * x).sum().detach()) == pytest.approx(float((a * what).sum().detach()), rel=1e-12)
    torch.testing.assert_close(torch.autograd.grad((a * what).sum(), x)[0], up)
    given = a.clone().requires_grad_()
    torch.testing.assert_close(torch.autograd.grad((layer.unpool(given, where, 7, 5) * x).sum(), given)[0], what)


@pytest.mark.parametrize(("size", "height", "width"), SIZES)
def test_soft_pooling_becomes_hard(size, height, width):
    """The weight of all but the maximum is at most places · exp(-β gap)."""
    x = (
        maps(height, width).flatten(2).argsort(2).argsort(2).double().unflatten(2, (height, width))
    )  # gaps of one or more
    hard, soft = WhatWhere(size), WhatWhere(size, beta=40.0)
    (what, where), (mean, place) = hard(x), soft(x)
    torch.testing.assert_close(mean, what, rtol=0, atol=1e-13)
    corner = torch.stack([where // width, where % width], -1) % size
    torch.testing.assert_close(place, corner.double(), rtol=0, atol=1e-13)
    torch.testing.assert_close(soft.unpool(mean, place, height, width), hard.unpool(what, where, height, width))


@pytest.mark.parametrize(("size", "height", "width"), SIZES)
def test_a_soft_place_keeps_sum_and_center(size, height, width):
    layer = WhatWhere(size, beta=0.7)
    what, where = layer(maps(height, width))
    z = layer.unpool(what, where, height, width)
    for (i, j), places in windows(size, height, width):
        total = sum(z[:, :, r, c] for r, c in places)
        torch.testing.assert_close(total, what[:, :, i, j])
        for axis in (0, 1):
            center = sum(z[:, :, t[0], t[1]] * (t[axis] - (i, j)[axis] * size) for t in places)
            torch.testing.assert_close(center, what[:, :, i, j] * where[:, :, i, j, axis])


@pytest.mark.parametrize("beta", [None, 1.5])
def test_gradient_by_finite_differences(beta):
    layer = WhatWhere(2, beta)

    def both(x):
        what, where = layer(x)
        return what, layer.unpool(what.tanh(), where, 5, 4)

    assert torch.autograd.gradcheck(both, maps(5, 4).requires_grad_())


@pytest.mark.parametrize(("size", "beta"), [(0, None), (2, 0.0), (2, -1.0)])
def test_what_makes_no_sense_is_refused(size, beta):
    with pytest.raises(ValueError, match=f"got {size} and {beta}"):
        WhatWhere(size, beta)
