"""The identities of addressing, reading and writing; gradients by finite differences; the kernel by torch."""

import pytest
import torch

from lamina.modules.addressing import (
    Heads,
    Step,
    addressed,
    numbers,
    plain,
    read,
    sharpened,
    shifted,
    similarity,
    step,
    told,
    written,
)

BATCH, WIDTH, SLOTS = 3, 5, 7


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def simplex(*shape, seed=0):
    return normal(*shape, seed=seed).softmax(-1)


def heads(strength=2.0, gate=1.0, power=1.0, by=0, count=2):
    shift = torch.zeros(BATCH, count, 3, dtype=torch.float64)
    shift[..., 1 + by] = 1
    full = torch.ones(BATCH, count, dtype=torch.float64)
    none = normal(BATCH, 0, WIDTH)
    return Heads(normal(BATCH, count, WIDTH, seed=1), strength * full, gate * full, shift, power * full, none, none)


def test_similarity_is_the_cosine_and_zero_for_what_is_zero():
    memory, key = normal(BATCH, WIDTH, SLOTS), normal(BATCH, 2, WIDTH, seed=1)
    cosine = torch.nn.functional.cosine_similarity(key[:, :, None], memory.transpose(1, 2)[:, None], dim=3)
    torch.testing.assert_close(similarity(memory, key), cosine, rtol=0, atol=2e-5)  # ε for norms above 0.1 or so
    assert not similarity(0 * memory, key).any()
    assert not similarity(memory, 0 * key).any()


def test_content_alone():
    memory, before = normal(BATCH, WIDTH, SLOTS), simplex(BATCH, 2, SLOTS, seed=2)
    given = heads(strength=3.0)
    expected = (3 * similarity(memory, given.key)).softmax(2)
    torch.testing.assert_close(addressed(memory, before, given), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("by", [-1, 0, 1])
def test_place_alone_is_a_roll(by):
    memory, before = normal(BATCH, WIDTH, SLOTS), simplex(BATCH, 2, SLOTS, seed=2)
    found = addressed(memory, before, heads(gate=0.0, by=by))
    torch.testing.assert_close(found, before.roll(by, 2), rtol=0, atol=1e-14)


def test_wide_shifts_are_a_circular_convolution():
    weights, shift = simplex(BATCH, 2, SLOTS), simplex(BATCH, 2, 5, seed=1)
    full = torch.zeros_like(weights)
    full[..., [-2, -1, 0, 1, 2]] = shift
    expected = torch.fft.irfft(torch.fft.rfft(weights) * torch.fft.rfft(full), SLOTS)
    torch.testing.assert_close(shifted(weights, shift), expected, rtol=0, atol=1e-14)


def test_sharpening_is_a_power_and_in_the_limit_one_hot():
    weights, power = simplex(BATCH, 2, SLOTS), 1 + 4 * simplex(BATCH, 2, seed=1)
    expected = weights ** power[..., None]
    expected = expected / expected.sum(2, keepdim=True)
    torch.testing.assert_close(sharpened(weights, power), expected, rtol=0, atol=1e-14)
    sharp = sharpened(weights, torch.full_like(power, 1e6))
    torch.testing.assert_close(sharp, torch.nn.functional.one_hot(weights.argmax(2), SLOTS).double())
    here = torch.zeros(BATCH, 2, SLOTS, dtype=torch.float64)
    here[..., 3] = 1
    torch.testing.assert_close(sharpened(here, power), here, rtol=0, atol=1e-14)


def test_writing():
    memory = normal(BATCH, WIDTH, SLOTS)
    place, other = torch.zeros(2, BATCH, 1, SLOTS, dtype=torch.float64)
    place[..., 2] = other[..., 4] = 1
    one, value = torch.ones(BATCH, 1, WIDTH, dtype=torch.float64), normal(BATCH, 1, WIDTH, seed=1)
    found = written(memory, place, one, value)
    assert torch.equal(found[..., 2], value[:, 0])
    assert torch.equal(found[..., [0, 1, 3, 4, 5, 6]], memory[..., [0, 1, 3, 4, 5, 6]])
    assert torch.equal(read(found, place), value)
    assert torch.equal(written(memory, other, 0 * one, 0 * one), memory)
    weights, erase, add = simplex(BATCH, 2, SLOTS), simplex(BATCH, 2, WIDTH), normal(BATCH, 2, WIDTH)
    found = written(memory, weights, erase, add)
    torch.testing.assert_close(found, written(memory, weights.flip(1), erase.flip(1), add.flip(1)))


def test_reading_gives_the_mean_by_the_weights():
    memory, weights = normal(BATCH, WIDTH, SLOTS), simplex(BATCH, 2, SLOTS)
    torch.testing.assert_close(read(memory, weights), torch.einsum("bhi,bmi->bhm", weights, memory))


def raw_for(reads, writes, shifts=3, scale=1.0, seed=3):
    return scale * normal(BATCH, numbers(WIDTH, reads, writes, shifts), seed=seed)


SHAPES = [(1, 1, 3), (2, 3, 3), (3, 0, 5), (1, 2, 1)]


@pytest.mark.parametrize(("reads", "writes", "shifts"), SHAPES)
def test_gradients_by_finite_differences(reads, writes, shifts):
    given = (raw_for(reads, writes, shifts), simplex(BATCH, reads + writes, SLOTS), normal(BATCH, WIDTH, SLOTS))
    for tensor in given:
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(lambda *t: plain(*t, reads), given)


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
@pytest.mark.parametrize(("reads", "writes", "shifts"), SHAPES)
def test_kernel_by_torch(reads, writes, shifts, scale):
    """Values and gradients in float32 against autograd through torch's operations in float64."""
    exact = raw_for(reads, writes, shifts, scale), simplex(BATCH, reads + writes, SLOTS), normal(BATCH, WIDTH, SLOTS)
    single = [tensor.float().requires_grad_() for tensor in exact]
    double = [tensor.detach().double().requires_grad_() for tensor in single]
    mine, theirs = Step.apply(*single, reads), plain(*double, reads)
    slopes = [normal(*part.shape, seed=5 + i) for i, part in enumerate(theirs)]
    found = torch.autograd.grad(mine, single, [slope.float() for slope in slopes])
    expected = torch.autograd.grad(theirs, double, slopes)
    for a, b in zip((*mine, *found), (*theirs, *expected), strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("compiled", [True, False])
def test_extremes_stay_on_the_simplex_and_finite(compiled):
    """Numbers of ±1000, memory of zeros, keys of zero and weights on one slot."""
    for seed, memory in enumerate((torch.zeros(BATCH, WIDTH, SLOTS), 1e-6 + torch.zeros(BATCH, WIDTH, SLOTS))):
        for scale in (0.0, 1.0, 1000.0):
            raw = raw_for(2, 2, scale=scale, seed=seed).float().requires_grad_()
            before = torch.zeros(BATCH, 4, SLOTS)
            before[..., 0] = 1
            given = (raw, before.requires_grad_(), memory.clone().requires_grad_())
            found, weights, after = (step if compiled else plain)(*given, 2)
            torch.testing.assert_close(weights.sum(2), torch.ones(BATCH, 4))
            assert (weights >= 0).all()
            slopes = torch.autograd.grad((found.sum() + (weights * weights).sum() + after.square().sum()), given)
            assert all(part.isfinite().all() for part in (found, after, *slopes))


def test_batch_in_threads_is_the_batch():
    raw = normal(40, numbers(WIDTH, 1, 1, 3)).float()
    given = raw, simplex(40, 2, SLOTS).float(), normal(40, WIDTH, SLOTS).float()
    once = step(*given, 1)
    count = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        again = step(*given, 1)
    finally:
        torch.set_num_threads(count)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


def test_plain_where_it_must_be():
    given = raw_for(1, 1), simplex(BATCH, 2, SLOTS), normal(BATCH, WIDTH, SLOTS)
    assert all(torch.equal(a, b) for a, b in zip(step(*given, 1), plain(*given, 1), strict=True))
    assert told(given[0], 2, 1, WIDTH).key.shape == (BATCH, 2, WIDTH)
