"""Convolutional dictionaries against matrices, plain dictionaries and optimality conditions; their recipes."""

import dataclasses
import itertools
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lamina.analysis.pictures import centered, filters, grid
from lamina.core import Encodes, Predicts, Scores
from lamina.data.dataset import Data
from lamina.data.examples import Arrays
from lamina.modules.contrast import LocalContrast
from lamina.modules.conv_encoder import ConvEncoder
from lamina.modules.lista import TanhEncoder
from lamina.modules.whitening import Whitening
from lamina.optim.fista import fista
from lamina.optim.wrappers import projected
from lamina.recipes.filters import conv_psd, predictive, psd_convnet
from lamina.systems.autoencoder.conv_dictionary import ConvDictionary
from lamina.systems.autoencoder.sparse import PSD, Dictionary, SparseCoding, unit_atoms
from lamina.train.fit import fit
from lamina.train.trainer import Trainer

LAMBDA = 0.3
SIZES = [((1, 7, 6), 3, 0), ((2, 6, 5), 3, 1), ((3, 5, 5), 4, 3)]  # of the image, of the atoms, padding


def identity(shape):
    return Whitening.fitted(torch.zeros(1, *shape, dtype=torch.float64))


def made(shape=(2, 6, 5), side=3, padding=1, codes=4):
    torch.manual_seed(0)
    return ConvDictionary(identity(shape), codes, side, LAMBDA, padding).double()


def examples(shape, count=5):
    generator = torch.Generator().manual_seed(1)
    return 1.5 * torch.randn(count, *shape, generator=generator, dtype=torch.float64)


def matrix(dictionary):
    """Return the dictionary as a matrix with a row for each code."""
    return dictionary.combined(torch.eye(torch.Size(dictionary.places).numel(), dtype=torch.float64)).detach()


@pytest.mark.parametrize(("shape", "side", "padding"), SIZES)
def test_codes_are_laid_over_each_other_as_loops_do(shape, side, padding):
    dictionary = made(shape, side, padding)
    z = torch.randn(1, *dictionary.places, dtype=torch.float64)
    canvas = torch.zeros(shape[0], *(length + 2 * padding for length in shape[1:]), dtype=torch.float64)
    for k, i, j in itertools.product(*map(range, dictionary.places)):
        canvas[:, i : i + side, j : j + side] += z[0, k, i, j] * dictionary.B[k].detach()
    expected = canvas[:, padding : padding + shape[1], padding : padding + shape[2]]
    torch.testing.assert_close(dictionary.combined(z.flatten(1)).detach()[0], expected.flatten(), rtol=0, atol=1e-12)
    x = examples(shape).flatten(1)
    torch.testing.assert_close(dictionary.correlated(x), x @ matrix(dictionary).t(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("shape", "side", "padding"), SIZES)
def test_curvature_is_a_close_bound(shape, side, padding):
    """At least the largest eigenvalue, and for random atoms no more than 1.3 times that."""
    dictionary = made(shape, side, padding)
    largest = float(torch.linalg.matrix_norm(matrix(dictionary), 2).square())
    assert largest <= float(dictionary.curvature().detach()) <= 1.3 * largest


@pytest.mark.parametrize("alpha", [0.0, 0.7])
@pytest.mark.parametrize(("shape", "side", "padding"), SIZES)
def test_codes_fulfil_the_optimality_conditions(shape, side, padding, alpha):
    """0 ∈ ∂E(z): the slope of the smooth part is -λ sign(z) where z is not zero, and within ±λ elsewhere."""
    dictionary, x = made(shape, side, padding), examples(shape).flatten(1)
    F_x = torch.randn(len(x), torch.Size(dictionary.places).numel(), dtype=torch.float64)
    z = dictionary.infer(x, 20_000, 1e-9, F_x, alpha)
    D = matrix(dictionary)
    slope = (z @ D - x) @ D.t() + 2 * alpha * (z - F_x)
    used = z != 0
    assert 0.05 < float(used.double().mean()) < 0.95
    torch.testing.assert_close(slope[used], -LAMBDA * z[used].sign(), rtol=0, atol=1e-7)
    assert float(slope[~used].abs().max()) <= LAMBDA + 1e-7
    gram, correlation = D @ D.t() + 2 * alpha * torch.eye(len(D)), x @ D.t() + 2 * alpha * F_x
    other = fista(gram, correlation, LAMBDA, F_x, 20_000, 1e-9)
    energy = dictionary.error(x, z) + dictionary.cost(z) + alpha * (z - F_x).square().sum(1)
    expected = dictionary.error(x, other) + dictionary.cost(other) + alpha * (other - F_x).square().sum(1)
    torch.testing.assert_close(energy, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", [(3, 4, 4), (6, 1, 1)])
def test_atoms_as_large_as_the_image_are_the_plain_dictionary(shape):
    """Codes, losses and gradients of sparse coding and of PSD with a tanh encoder."""
    size, x = torch.Size(shape).numel(), examples(shape)
    conv = made(shape, shape[1], 0, codes=5)
    plain = Dictionary(identity(shape), 5, LAMBDA).double()
    dense, encoder = TanhEncoder(size, 5).double(), ConvEncoder(shape[0], 5, shape[1]).double()
    with torch.no_grad():
        plain.B.copy_(conv.B.flatten(1))
        dense.linear.weight.copy_(encoder.conv.weight.flatten(1))
        dense.linear.bias.copy_(encoder.conv.bias)
    network = nn.Sequential(nn.Unflatten(1, shape), encoder, nn.Flatten())
    pairs = (
        (SparseCoding(conv, 3000), SparseCoding(plain, 3000)),
        (PSD(conv, network, 0.7, 3000), PSD(plain, dense, 0.7, 3000)),
    )
    for system, other in pairs:
        torch.testing.assert_close(system.infer(x, 5000, 1e-11), other.infer(x, 5000, 1e-11), rtol=0, atol=1e-9)
        torch.testing.assert_close(system.encode(x), other.encode(x), rtol=0, atol=1e-9)
        found, expected = system.loss(x), other.loss(x)
        assert found.keys() == expected.keys()
        for name, term in found.items():
            torch.testing.assert_close(term, expected[name], rtol=0, atol=1e-9)
        sum(found.values()).backward()
        sum(expected.values()).backward()
        torch.testing.assert_close(conv.B.grad.flatten(1), plain.B.grad, rtol=0, atol=1e-9)
        conv.B.grad = plain.B.grad = None
    torch.testing.assert_close(encoder.conv.weight.grad.flatten(1), dense.linear.weight.grad, rtol=0, atol=1e-9)


def test_gradient_is_that_of_the_least_energy():
    """Codes are inferred anew at every finite difference, although the loss holds them fixed."""
    dictionary = made()
    system, x = PSD(dictionary, identity_encoder(dictionary), 0.7, steps=3000).double(), examples((2, 6, 5))
    sum(system.loss(x).values()).backward()
    for name, parameter in system.named_parameters():
        for index in itertools.islice(itertools.product(*map(range, parameter.shape)), 3):
            values, step = [], 1e-5
            for sign in (1, -1):
                with torch.no_grad():
                    parameter[index] += sign * step
                    values.append(float(system.energy(x, system.infer(x, 5000, 1e-11)).mean()))
                    parameter[index] -= sign * step
            assert abs((values[0] - values[1]) / (2 * step) - float(parameter.grad[index])) < 1e-6, name


def identity_encoder(dictionary):
    encoder = ConvEncoder(2, 4, 3, padding=1, squash="shrink").double()
    return nn.Sequential(nn.Unflatten(1, dictionary.inputs.shape), encoder, nn.Flatten())


def test_the_shrinkage_encoder_begins_as_a_step_of_ista():
    dictionary, x = made(), examples((2, 6, 5))
    system = predictive(dictionary, ConvEncoder(2, 4, 3, padding=1, squash="shrink").double(), 0.5, 10)
    torch.testing.assert_close(system.encode(x), dictionary.infer(x.flatten(1), 1), rtol=0, atol=1e-12)


def test_planted_atoms_are_recovered():
    """4 atoms of 4x4 pixels at 1 % of the places of 12x12 images, noise 0.02, seed 0; 200 updates of 50 from random
    atoms. Found: |cosine| > 0.95 with an atom, of all 4, one each."""
    generator = torch.Generator().manual_seed(0)
    atoms = F.normalize(torch.randn(4, 16, generator=generator), dim=1).view(4, 1, 4, 4)
    torch.manual_seed(1)
    dictionary = ConvDictionary(Whitening.fitted(torch.zeros(1, 1, 12, 12)), 4, 4, 0.05)
    system = SparseCoding(dictionary, 20)
    make = projected(partial(torch.optim.Adam, lr=0.05, fused=True), unit_atoms(dictionary))
    optimizer = make(system.parameters())
    for update in range(200):
        z = torch.randn(50, 4, 9, 9, generator=generator) * (torch.rand(50, 4, 9, 9, generator=generator) < 0.01)
        x = F.conv_transpose2d(z, atoms) + 0.02 * torch.randn(50, 1, 12, 12, generator=generator)
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - update / 200)
        optimizer.zero_grad()
        sum(system.loss(x).values()).backward()
        optimizer.step()
    torch.testing.assert_close(dictionary.B.detach().flatten(1).norm(dim=1), torch.ones(4), rtol=0, atol=1e-6)
    best, which = (atoms.flatten(1) @ dictionary.B.detach().flatten(1).t()).abs().max(1)
    assert float(best.min()) > 0.95
    assert len(which.unique()) == 4


def images(count=40, channels=3, seed=0):
    return torch.rand(count, channels, 10, 9, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("settings", [{}, {"window": 0, "padding": 2}, {"patch": 6, "patches": 50, "encoder": "tanh"}])
def test_verbs_of_the_recipe(settings):
    data = Data("toy", Arrays(x=images()), Arrays(x=images(20)), Arrays(x=images(20)))
    run = conv_psd(data, hidden=5, side=3, batch=10, **settings)
    system, raw = run.system, next(run.train.epoch(0))["x"][:6]
    assert isinstance(system, Encodes)
    assert isinstance(system, Scores)
    for _ in Trainer(run):
        pass
    z, best = system.encode(raw), system.infer(raw)
    assert z.shape == best.shape == (6, torch.Size(system.dictionary.places).numel())
    assert bool((system.energy(raw, best) <= system.energy(raw, z) + 1e-3).all())
    torch.testing.assert_close(system.score(raw), -system.energy(raw, best))
    assert system.decode(z).shape == system.reconstruct(raw).shape == raw.shape
    assert system.dictionary.pictures().shape == (5, 3, 3, 3)
    grid(centered(system.dictionary.pictures()))
    assert filters(system, raw.shape[1:])[0] == "dictionary.B"
    again = conv_psd(Data.blank(data.outline()), hidden=5, side=3, **settings).system
    again.load_state_dict(system.state_dict())
    assert torch.equal(again.encode(raw), z)


def test_enough_atoms_restore_what_was_given():
    """With atoms of every direction and little sparsity, what comes back is what went in, contrast included."""
    x = images(10, 1)
    for window in (0, 5):
        inputs = LocalContrast((1, 10, 9), window) if window else Whitening.fitted(x)
        system = SparseCoding(ConvDictionary(inputs, 30, 3, 1e-4, padding=2), steps=2000)
        torch.testing.assert_close(system.reconstruct(x), x, rtol=0, atol=1e-2)


SMALL = {"filters": (4, 3), "sides": (3, 2), "pools": (2, 1), "window": 3, "batch": 8}


@pytest.mark.parametrize("learned_stages", [1, 2])
def test_network_begins_with_filters_that_were_learned_without_labels(tmp_path, learned_stages):
    y = torch.arange(40) % 2
    data = Data("toy", Arrays(x=images(), y=y), Arrays(x=images(seed=1), y=y), None, ("a", "b"))
    data = dataclasses.replace(data, unlabelled=Arrays(x=images(25, seed=2)))
    form = SMALL | {"learned_stages": learned_stages}
    run = psd_convnet(data, labels=4, epochs=1, **form)
    assert len(next(run.train.epoch(0))["y"]) == 4
    before = [p.clone() for p in run.system.network.parameters()]
    encoders = [run.system.network[depth][0] for depth in range(2)]
    random, stages = [encoder.conv.weight.clone() for encoder in encoders], []
    for depth, first in enumerate(run.before()):
        assert len(first.train.examples) == 65  # those without a label too
        fit(first)
        learned = first.system.encoder[1]
        assert learned is encoders[depth]
        assert not torch.equal(learned.g, torch.ones_like(learned.g))
        assert first.system.dictionary.places[0] == SMALL["filters"][depth]
        stages.append(learned.conv.weight.clone())
    after = list(run.system.network.parameters())
    assert len(stages) == learned_stages
    for encoder, weight in zip(encoders, [*stages, random[1]], strict=False):
        assert torch.equal(encoder.conv.weight, weight)
        assert torch.equal(encoder.g, torch.ones_like(encoder.g))
        assert torch.equal(encoder.theta, torch.full_like(encoder.theta, 0.1))
    assert not torch.equal(stages[0], random[0])
    assert torch.equal(before[-1], after[-1])  # the head has learned nothing yet
    fit(psd_convnet(data, labels=4, epochs=1, **form), tmp_path / "run")
    assert isinstance(run.system, Predicts)
    assert run.system.predict(images()).shape == (40, 2)
    assert psd_convnet(data, pretraining=0, labels=4, **SMALL).before is None


def test_refuses_what_does_not_fit():
    rows, pictures = Data("toy", Arrays(x=torch.rand(9, 4))), Data("toy", Arrays(x=images()))
    labelled = Data("toy", Arrays(x=images(), y=torch.arange(40) % 2), classes=("a", "b"))
    for build, message in (
        (lambda: conv_psd(rows), "leave it out"),
        (lambda: conv_psd(rows, window=0), "for rows use psd"),
        (lambda: conv_psd(pictures, side=10), "atoms must be within 10x9 pixels"),
        (lambda: conv_psd(pictures, side=3, padding=3), "padding below their side"),
        (lambda: conv_psd(pictures, side=3, hidden=0), "at least 1 atom"),
        (lambda: conv_psd(pictures, side=3, window=4), "odd side"),
        (lambda: conv_psd(Data("toy", Arrays(tokens=torch.arange(9)))), "where pictures or rows are needed"),
        (lambda: psd_convnet(pictures), "no labels"),
        (lambda: psd_convnet(labelled, labels=1), "cannot cover"),
        (lambda: psd_convnet(labelled, labels=4, **SMALL | {"pools": (2,)}), "each stage needs"),
        (lambda: psd_convnet(labelled, labels=4, **SMALL | {"pools": (9, 1)}), "leave nothing"),
    ):
        with pytest.raises(ValueError, match=message):
            build()
