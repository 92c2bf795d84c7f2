"""DRAW against the VAE, torch's own cells, torch.distributions, a step-by-step form, and finite differences."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli as Coin
from torch.distributions import Normal, kl_divergence

from lamina.analysis.drawing import boxes, drawing, write_drawing
from lamina.core import Encodes, Samples, Scores
from lamina.data.dataset import Data
from lamina.data.examples import Arrays
from lamina.modules.attention_window import Windows
from lamina.modules.glimpse import Attention, Whole
from lamina.recipes.draw import draw, draw_no_attention
from lamina.recipes.variational import bounds
from lamina.sampling.enumerate import states
from lamina.sampling.importance import importance_bound
from lamina.systems.autoencoder.draw import DRAW
from lamina.systems.autoencoder.vae import VAE
from lamina.systems.energy.units import Bernoulli, Gaussian

HIDDEN, LATENT, GLIMPSES = 5, 2, 3
SHAPE = (2, 4, 3)
SEEN = math.prod(SHAPE)


def model(attention: bool, glimpses: int = GLIMPSES, shape: tuple[int, ...] = SHAPE, gaussian: bool = False) -> DRAW:
    """Return a float64 DRAW with random weights, whose windows are moved by its state."""
    torch.manual_seed(0)
    seen = math.prod(shape)
    units = Gaussian(torch.randn(shape), torch.rand(shape) + 0.5) if gaussian else Bernoulli(shape, binarize=False)
    view = Attention(shape, HIDDEN, 2, 3) if attention else Whole(seen, HIDDEN)
    system = DRAW(view, units, 0.3 * torch.randn(seen), HIDDEN, LATENT, glimpses).double()
    with torch.no_grad():
        system.start.normal_()
        for weight in (view.head.weight, system.moments.weight):
            weight.normal_(std=0.5)
    return system


def examples(count: int, gaussian: bool = False) -> Tensor:
    x = torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return x if gaussian else (x > 0).double()


def cell_of(weight: Tensor, bias: Tensor, inputs: int) -> nn.LSTMCell:
    """Return torch's cell with the weights of ours, whose gates are i, f, o, g and not i, f, g, o."""
    cell = nn.LSTMCell(inputs, HIDDEN).double()
    order = torch.arange(4 * HIDDEN).view(4, HIDDEN)[[0, 1, 3, 2]].flatten()
    with torch.no_grad():
        cell.weight_ih.copy_(weight[order, :inputs])
        cell.weight_hh.copy_(weight[order, inputs:])
        cell.bias_ih.copy_(bias[order])
        cell.bias_hh.zero_()
    return cell


def cells(system: DRAW) -> tuple[nn.LSTMCell, nn.LSTMCell]:
    """Return encoder and decoder; the encoder takes all that is read, then the decoder's state."""
    weight = (
        system.encoder.weight if system.first is None else torch.cat([system.first.weight, system.encoder.weight], 1)
    )
    inputs = weight.shape[1] - HIDDEN
    decoder = cell_of(system.decoder.weight, system.decoder.bias, LATENT)
    return cell_of(weight, system.encoder.bias, inputs), decoder


def plainly(system: DRAW, v: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return log p(x | c_T), the KL terms' sum, and log w, op by op as the paper has it."""
    encoder, decoder = cells(system)
    batch, view = len(v), system.view
    encoder_state, decoder_state = (tuple(s.expand(batch, -1) for s in pair) for pair in system.start.split(2))
    canvas, divergence, ratio = system.canvas.expand(batch, -1), 0.0, 0.0

    def filters(h: Tensor, kind: int) -> tuple[Tensor, Tensor, Tensor]:
        numbers = view.head(h)[:, :10].view(-1, 5, 2)[:, :, kind : kind + 1]
        rows, columns, gain = Windows(*SHAPE[1:], (2 + kind,)).double()(numbers)[0]
        return rows[:, None], columns[:, None], gain[:, None, None, None]

    for draws in noise:
        error = v - system.visible.mean(canvas)
        seen = [v, error]
        if isinstance(view, Attention):
            rows, columns, gain = filters(decoder_state[0], 0)
            patches = [gain * rows @ image.view(batch, *SHAPE) @ columns.transpose(2, 3) for image in seen]
            seen = [torch.stack(patches, 1).permute(0, 3, 1, 2, 4).flatten(1)]  # (N, 2, channels, N)
        encoder_state = encoder(torch.cat([*seen, decoder_state[0]], 1), encoder_state)
        mean, log_scale = system.moments(encoder_state[0]).chunk(2, 1)
        q = Normal(mean, log_scale.exp())
        z = mean + log_scale.exp() * draws
        divergence = divergence + kl_divergence(q, Normal(0, 1)).sum(1)
        ratio = ratio + (Normal(0, 1).log_prob(z) - q.log_prob(z)).sum(1)
        decoder_state = decoder(z, decoder_state)
        if isinstance(view, Attention):
            rows, columns, gain = filters(decoder_state[0], 1)
            patch = view.head(decoder_state[0])[:, 10:].view(batch, 3, SHAPE[0], 3).transpose(1, 2)
            canvas = canvas + (rows.transpose(2, 3) @ patch @ columns / gain).flatten(1)
        else:
            canvas = canvas + view.head(decoder_state[0])
    if system.visible.binary:
        likelihood = Coin(logits=canvas).log_prob(v).sum(1)
    else:
        units = system.visible
        scale = units.scale.flatten()
        raw = Normal(canvas * scale + units.shift.flatten(), system.log_noise.exp() * scale)
        likelihood = raw.log_prob(units.restored(v).flatten(1)).sum(1)
    return likelihood, divergence, likelihood + ratio


@pytest.mark.parametrize("gaussian", [False, True])
@pytest.mark.parametrize("attention", [False, True])
def test_bound_weights_and_gradient_by_torch_s_cells_and_distributions(attention, gaussian):
    """To 1e-9 in float64, with the same noise: both terms, log w, and the slopes of every shared parameter."""
    system, x = model(attention, gaussian=gaussian), examples(4, gaussian)
    v = system.visible.standard(x)
    noise = torch.randn(GLIMPSES, 4, LATENT, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    likelihood, divergence, weights = plainly(system, v, noise)
    system.noise = lambda count: noise
    found = system.parts(v)
    torch.testing.assert_close(found[0], -likelihood, rtol=0, atol=1e-9)
    torch.testing.assert_close(found[1], divergence, rtol=0, atol=1e-9)
    torch.testing.assert_close(system.log_weights(x, 1)[0], weights, rtol=0, atol=1e-9)
    shared = [system.start, system.canvas, *system.moments.parameters(), *system.view.head.parameters()]
    ours = torch.autograd.grad(sum(system.loss(x).values()), shared)
    theirs = torch.autograd.grad((divergence - likelihood).mean(), shared)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)


class Before(nn.Module):
    """The encoder of DRAW at its one glimpse, as a network of x."""

    def __init__(self, system: DRAW) -> None:
        super().__init__()
        self.system, self.cell = system, cells(system)[0]

    def forward(self, v: Tensor) -> Tensor:
        h_enc, c_enc, h_dec, _ = self.system.start.expand(len(v), 4, HIDDEN).unbind(1)
        error = v - self.system.canvas.sigmoid()
        return self.system.moments(self.cell(torch.cat([v, error, h_dec], 1), (h_enc, c_enc))[0])


class After(nn.Module):
    """The decoder of DRAW at its one glimpse, as a network of z."""

    def __init__(self, system: DRAW) -> None:
        super().__init__()
        self.system, self.cell = system, cells(system)[1]

    def forward(self, z: Tensor) -> Tensor:
        _, _, h_dec, c_dec = self.system.start.expand(len(z), 4, HIDDEN).unbind(1)
        return self.system.canvas + self.system.view.head(self.cell(z, (h_dec, c_dec))[0])


def test_one_glimpse_without_attention_is_a_vae():
    """Both terms of the bound, score, code and reconstruction to 1e-9, with the same weights and the same noise."""
    system, x = model(False, glimpses=1), examples(6)
    vae = VAE(Before(system), After(system), LATENT, system.visible).double()
    for verb in (lambda m: torch.stack(m.parts(x.flatten(1))), lambda m: m.score(x, 5), lambda m: m.log_weights(x, 3)):
        torch.manual_seed(3)
        ours = verb(system)
        torch.manual_seed(3)
        torch.testing.assert_close(ours, verb(vae), rtol=0, atol=1e-9)
    torch.testing.assert_close(system.encode(x), vae.encode(x), rtol=0, atol=1e-9)
    torch.testing.assert_close(system.reconstruct(x), vae.reconstruct(x), rtol=0, atol=1e-9)


@pytest.mark.parametrize("gaussian", [False, True])
@pytest.mark.parametrize("attention", [False, True])
def test_gradient_by_finite_differences(attention, gaussian):
    """In float64, the noise fixed by its seed, along a random direction of all parameters at once."""
    system, x = model(attention, gaussian=gaussian), examples(5, gaussian)
    parameters = list(system.parameters())
    direction = [torch.randn_like(parameter) for parameter in parameters]

    def total() -> Tensor:
        torch.manual_seed(4)
        return sum(system.loss(x).values())

    @torch.no_grad()
    def moved(step: float) -> float:
        for parameter, part in zip(parameters, direction, strict=True):
            parameter.add_(part, alpha=step)
        return float(total())

    slopes = torch.autograd.grad(total(), parameters)
    assert all(bool(slope.abs().sum() > 0) for slope in slopes)
    slope = sum(float((a * b).sum()) for a, b in zip(slopes, direction, strict=True))
    difference = (moved(1e-5) - moved(-2e-5)) / 2e-5  # the second call begins where the first has ended
    assert abs(slope - difference) < 1e-6 * (1 + abs(slope))


@pytest.mark.parametrize("attention", [False, True])
def test_bound_rises_with_draws(attention):
    """The mean of 100 bounds for each of 4 examples, seed 5; a fall would need 4 standard errors of a difference."""
    system, x = model(attention), examples(4)
    torch.manual_seed(5)
    found = [torch.stack([importance_bound(system, x, k) for _ in range(100)]).mean(1) for k in (1, 5, 25)]
    for low, high in pairwise(found):
        rise = high - low
        assert float(rise.mean()) > -4 * float(rise.std()) / 10
    assert float(found[2].mean()) > float(found[0].mean())


@pytest.mark.parametrize("attention", [False, True])
def test_estimates_of_the_likelihood_and_samples_agree(attention):
    """For all 2^6 images of 6 pixels, p(x) by q against p(x) by draws of z from the prior, in 5 standard errors.

    Seed 6, 2,000 and 20,000 draws; q is wider than the prior, so that weights have a finite variance. The frequencies
    of 20,000 samples lie within a total variation of 0.03 (64 states: sqrt(64 / 20,000) / 2 = 0.028 at the most).
    """
    system = model(attention, shape=(1, 2, 3))
    x = torch.cat(list(states(6))).double().view(64, 1, 2, 3)
    with torch.no_grad():
        system.moments.weight.mul_(0.2)
        system.moments.bias[LATENT:].fill_(0.3)
        torch.manual_seed(6)
        logits = system.last(system.noise(20_000))
        given = (logits @ x.flatten(1).t() - nn.functional.softplus(logits).sum(1, keepdim=True)).exp()
        weights = system.log_weights(x, 2_000).exp()
        drawn = system.sample(20_000).flatten(1)
    exact, estimate = given.mean(0), weights.mean(0)
    error = (given.var(0) / len(given) + weights.var(0) / len(weights)).sqrt()
    assert bool(((estimate - exact).abs() < 5 * error).all())
    assert float((error / exact).max()) < 0.1  # the errors are small enough to tell
    places = 2.0 ** torch.arange(5, -1, -1).double()
    counts = (drawn @ places).long().bincount(minlength=64) / len(drawn)
    assert float((counts - exact[(x.flatten(1) @ places).long().argsort()]).abs().sum()) / 2 < 0.03


@pytest.mark.parametrize("attention", [False, True])
def test_verbs_keep_the_form_of_the_data(attention):
    system = model(attention)
    assert isinstance(system, Samples)
    assert isinstance(system, Scores)
    assert isinstance(system, Encodes)
    x = examples(3)
    codes = system.encode(x)
    assert codes.shape == (3, GLIMPSES * LATENT)
    assert system.decode(codes).shape == system.sample(3).shape == system.reconstruct(x).shape == x.shape
    assert system.score(x, 2).shape == (3,)
    assert torch.equal(system.sample(3).unique(), torch.tensor([0.0, 1.0]).double())


def test_frames_end_with_the_means_and_boxes_follow_the_window(tmp_path):
    system, x = model(True), examples(3)
    frames, places = drawing(system, x)
    assert frames.shape == (GLIMPSES + 1, 3, *SHAPE)
    torch.testing.assert_close(frames[-1], system.reconstruct(x))
    torch.testing.assert_close(frames[0, 0], system.canvas.sigmoid().view(SHAPE))
    assert places is not None
    assert places.shape == (GLIMPSES, 3, 4)
    numbers = torch.tensor([0.0, 0.2, -1.0, -1.0, 0.0]).view(1, 5, 1)  # in the middle, a bit down
    left, top, right, bottom = boxes(Windows(21, 21, (5,))(numbers)[0])[0].tolist()
    half = 2 * 20 / 4 * math.exp(-1) + math.exp(-0.5)  # from the center to the outer filters, and their σ
    np.testing.assert_allclose([left, right], [10 - half, 10 + half], atol=0.01)  # pixels counted from 0
    np.testing.assert_allclose([top, bottom], [12.2 - half, 12.2 + half], atol=0.01)
    write_drawing(system, tmp_path / "samples.gif", count=4, shape=(1, 8, 3))
    with pytest.raises(ValueError, match="no pictures"):
        write_drawing(system, tmp_path / "samples.gif", count=4, shape=(7,))


def data_of(x: np.ndarray) -> Data:
    return Data("mine", *(Arrays(x=x[i::3].astype("float32")) for i in range(3)))


def test_recipes_take_colors_rows_and_any_values_and_refuse_the_rest():
    rng = np.random.default_rng(0)
    colors = data_of(rng.random((30, 3, 6, 9)))
    small = {"hidden": 4, "latent": 2, "glimpses": 2}
    assert draw(colors, writing=3, **small).system.sample(2).shape == (2, 3, 6, 9)
    table = data_of(3 + 2 * rng.standard_normal((30, 7)))
    run = draw_no_attention(table, visible="gaussian", **small)
    assert run.system.sample(2).shape == (2, 7)
    assert set(bounds(run)) == {"negative_elbo", "nll", "reconstruction", "kl"}
    with pytest.raises(ValueError, match="use draw_no_attention"):
        draw(table, **small)
    with pytest.raises(ValueError, match="visible=gaussian"):
        draw_no_attention(table, **small)
    with pytest.raises(ValueError, match="sides of"):
        draw(colors, writing=10, **small)
    with pytest.raises(ValueError, match="at least 1"):
        draw(colors, hidden=0)
    more = Data("half", colors.train, colors.valid, unlabelled=Arrays(x=rng.random((50, 3, 6, 9)).astype("float32")))
    assert len(draw(more, batch=10, **small).train) == 6
