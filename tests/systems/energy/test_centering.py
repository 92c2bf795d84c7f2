"""Centered gradients against the plain ones, and against what must not change when a unit's 0 and 1 trade places."""

from itertools import pairwise

import torch

from lamina.systems.energy.centering import centered
from lamina.systems.energy.dbm import Twice
from lamina.systems.energy.rbm import RBM
from lamina.systems.energy.units import Bernoulli

SIZES = (5, 4, 3)


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def parameters():
    W = [drawn(low, high).requires_grad_() for low, high in pairwise(SIZES)]
    return W, [drawn(size).requires_grad_() for size in SIZES]


def direction(weight, states, centers, W, b):
    return torch.autograd.grad(centered(weight, states, centers, W, b), [*W, *b])


def rows():
    weight = torch.cat([torch.full((6,), -1 / 6, dtype=torch.float64), torch.full((8,), 1 / 8)])
    return weight, [torch.rand(14, size).double() for size in SIZES]


def test_with_centers_at_zero_it_is_the_gradient_of_the_energy():
    torch.manual_seed(0)
    (W, b), (weight, states) = parameters(), rows()
    energy = sum((weight @ h * bias).sum() for h, bias in zip(states, b, strict=True))
    for low, W_l, high in zip(states, W, states[1:], strict=False):
        energy = energy + ((low * weight[:, None]) @ W_l * high).sum()
    found = direction(weight, states, [torch.zeros(size).double() for size in SIZES], W, b)
    for a, c in zip(found, torch.autograd.grad(energy, [*W, *b]), strict=True):
        torch.testing.assert_close(a, c, rtol=0, atol=1e-12)


def test_a_step_is_the_same_machine_when_zeros_and_ones_trade_places():
    """A step and then turning some units is turning them and then a step; the plain gradient has no such thing."""
    torch.manual_seed(1)
    (W, b), (weight, states) = parameters(), rows()
    turned = [torch.rand(size).lt(0.5).double() for size in SIZES]
    assert all(0 < t.sum() < len(t) for t in turned)
    centers = [torch.rand(size).double() for size in SIZES]

    def flip(h):
        return [t + (1 - 2 * t) * x for t, x in zip(turned, h, strict=True)]

    def turn(W, b):
        """Return the parameters with which turned states have the same energies, but for a constant."""
        sign = [1 - 2 * t for t in turned]
        new = [sign[i][:, None] * w * sign[i + 1] for i, w in enumerate(W)]
        biases = list(b)
        for i, w in enumerate(W):
            biases[i] = biases[i] + w @ turned[i + 1]
            biases[i + 1] = biases[i + 1] + turned[i] @ w
        return new, [s * bias for s, bias in zip(sign, biases, strict=True)]

    def step(W, b, states, centers):
        slopes = direction(weight, states, centers, W, b)
        made = [p.detach() - 0.1 * s for p, s in zip((*W, *b), slopes, strict=True)]
        return made[: len(W)], made[len(W) :]

    there = turn(*step(W, b, states, centers))
    new = [[p.detach().requires_grad_() for p in part] for part in turn(W, b)]
    back = step(*new, flip(states), flip(centers))
    for a, c in zip((*there[0], *there[1]), (*back[0], *back[1]), strict=True):
        torch.testing.assert_close(a, c, rtol=0, atol=1e-12)


def test_two_copies_have_the_mean_gradient_of_both():
    once = drawn(3, 2).requires_grad_()
    slope = drawn(3, 4)
    both = Twice(1)(once)
    torch.testing.assert_close(both, torch.cat([once, once], 1))
    (found,) = torch.autograd.grad((both * slope).sum(), once)
    torch.testing.assert_close(found, (slope[:, :2] + slope[:, 2:]) / 2)


def test_an_rbm_follows_the_means_of_its_units():
    torch.manual_seed(0)
    model = RBM(Bernoulli((6,)), 4, centering=1.0)
    x = torch.rand(20, 6).round()
    h = model.encode(x)
    model.loss(x)
    torch.testing.assert_close(model.centers, torch.cat([x.mean(0), h.mean(0)]))
