"""Filter banks against the paper's formulas written out in NumPy, identities, and finite differences."""

import numpy as np
import pytest
import torch

from lamina.modules.attention_window import NUMBERS, Window, Windows, read, write
from lamina.modules.glimpse import Attention, Whole

HEIGHT, WIDTH, BATCH, SIDES = 7, 10, 3, (2, 4)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_formula(numbers, side):
    """Return F_Y, F_X and γ of one window, loop by loop as equations 19 to 26 have them."""
    horizontal, vertical, log_variance, log_spacing, log_gain = numbers
    delta = (max(WIDTH, HEIGHT) - 1) / max(side - 1, 1) * np.exp(log_spacing)
    banks = []
    for g, size in ((vertical, HEIGHT), (horizontal, WIDTH)):
        center = (size + 1) / 2 * (g + 1)
        bank = np.zeros((side, size))
        for i in range(1, side + 1):
            for a in range(1, size + 1):
                mu = center + (i - side / 2 - 0.5) * delta
                bank[i - 1, a - 1] = np.exp(-((a - mu) ** 2) / (2 * np.exp(log_variance)))
        banks.append(bank / bank.sum(1, keepdims=True))
    return *banks, np.exp(log_gain)


def exact(side, size):
    """Return windows of a kind whose filters are one pixel each."""
    numbers = torch.zeros(BATCH, NUMBERS, 1, dtype=torch.float64)
    numbers[:, 2] = -20.0  # δ̃ = 1 gives δ = 1 where N is the size of the image
    return Windows(size, size, (side,)).double()(numbers)[0]


def test_filters_by_the_paper_s_formulas():
    numbers = 0.5 * random(BATCH, NUMBERS, len(SIDES))
    windows = Windows(HEIGHT, WIDTH, SIDES).double()(numbers)
    for kind, side in enumerate(SIDES):
        for example in range(BATCH):
            rows, columns, gain = by_formula(numbers[example, :, kind].numpy(), side)
            np.testing.assert_allclose(windows[kind].rows[example], rows, rtol=0, atol=1e-12)
            np.testing.assert_allclose(windows[kind].columns[example], columns, rtol=0, atol=1e-12)
            np.testing.assert_allclose(windows[kind].gain[example], gain, rtol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_rows_sum_to_one_wherever_the_window_lies(scale):
    numbers = scale * random(50, NUMBERS, len(SIDES)).clamp(-1, 1)
    for window in Windows(HEIGHT, WIDTH, SIDES).double()(numbers):
        for bank in window[:2]:
            torch.testing.assert_close(bank.sum(2), torch.ones_like(bank[:, :, 0]), rtol=0, atol=1e-12)


def test_sharp_filters_of_every_pixel_read_and_write_the_identity():
    """N = A = B, δ = 1, σ = exp(-10)."""
    window, images = exact(6, 6), random(BATCH, 6, 3, 6)
    identity = torch.eye(6, dtype=torch.float64).expand(BATCH, 6, 6)
    torch.testing.assert_close(window.rows, identity, rtol=0, atol=1e-12)
    torch.testing.assert_close(window.columns, identity, rtol=0, atol=1e-12)
    torch.testing.assert_close(read(images, window), images, rtol=0, atol=1e-12)
    torch.testing.assert_close(write(images, images, window), 2 * images, rtol=0, atol=1e-12)


def test_read_and_write_by_einsum():
    numbers = 0.5 * random(BATCH, NUMBERS, len(SIDES))
    images, patch = random(BATCH, HEIGHT, 3, WIDTH, seed=1), random(BATCH, 4, 3, 4, seed=2)
    reading, writing = Windows(HEIGHT, WIDTH, SIDES).double()(numbers)
    seen = torch.einsum("b,biy,bycx,bjx->bicj", reading.gain, reading.rows, images, reading.columns)
    torch.testing.assert_close(read(images, reading), seen, rtol=0, atol=1e-12)
    written = torch.einsum("b,biy,bicj,bjx->bycx", 1 / writing.gain, writing.rows, patch, writing.columns)
    torch.testing.assert_close(write(images, patch, writing), images + written, rtol=0, atol=1e-12)


def test_attention_reads_and_writes_channel_by_channel():
    """A color image is read and written as its channels are, each as a grey image through the same window."""
    torch.manual_seed(0)
    view = Attention((3, HEIGHT, WIDTH), 5, *SIDES).double()
    x, error, canvas = (view.laid(random(BATCH, 3 * HEIGHT * WIDTH, seed=seed)) for seed in range(3))
    look = view.opened(view.head(random(BATCH, 5, seed=3)))
    seen, drawn = view.read(x, error, look), view.written(canvas, look)
    torch.testing.assert_close(view.laid(view.flat(x)), x, rtol=0, atol=0)
    for channel in range(3):
        part = slice(channel, channel + 1)
        patches = [read(view.image(v)[:, :, part], look.reading) for v in (x, error)]
        found = seen.view(BATCH, SIDES[0], 2, 3, SIDES[0])[:, :, :, part]
        torch.testing.assert_close(found, torch.stack(patches, 2), rtol=0, atol=1e-12)
        alone = write(view.image(canvas)[:, :, part], look.patch[:, :, part], look.writing)
        torch.testing.assert_close(view.image(drawn)[:, :, part], alone, rtol=0, atol=1e-12)


def test_windows_begin_as_tiles_of_the_image():
    """A patch of ones writes ones on average, 0.4 to 1.7 on a pixel; what is read of noise has a variance of 0.3 to 3.

    With all five numbers at zero, filters of σ = 1 lie 6.75 pixels apart, and some pixels are all but out of reach.
    """
    view = Attention((1, 28, 28), 8, 2, 5).double()
    start = view.head.bias.detach().double()[None]
    blank, ones = torch.zeros(1, 28, 1, 28).double(), torch.ones(1, 5, 1, 5).double()
    look = view.opened(start)
    drawn = write(blank, ones, look.writing)
    assert abs(float(drawn.mean()) - 1) < 1e-6
    assert 0.4 < float(drawn.min()) < float(drawn.max()) < 1.7
    assert float(write(blank, ones, view.opened(0 * start).writing).min()) < 1e-4
    seen = read(random(1, 28, 1000, 28), look.reading)  # 1,000 images as channels, seed 0
    assert 0.3 < float(seen.var()) < 3


def test_gradient_of_windows_by_finite_differences():
    numbers = (0.3 * random(BATCH, NUMBERS, len(SIDES))).requires_grad_()
    images, patch = random(BATCH, HEIGHT, 2, WIDTH, seed=1), random(BATCH, 4, 2, 4, seed=2).requires_grad_()
    windows = Windows(HEIGHT, WIDTH, SIDES).double()

    def both(numbers, patch):
        reading, writing = windows(numbers)
        return read(images, reading), write(images, patch, writing)

    assert torch.autograd.gradcheck(both, (numbers, patch))


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match=r"sides of 1\.\.10"):
        Windows(HEIGHT, WIDTH, (11,))
    with pytest.raises(ValueError, match="use draw_no_attention"):
        Attention((7,), 5, 2, 5)
    assert Windows(HEIGHT, WIDTH, (1,)).span(1) == WIDTH - 1
    assert Whole(7, 5).seen == 7
    assert Window._fields == ("rows", "columns", "gain")
