"""Sparse coding and PSD against finite differences, limits, planted atoms; recipes on patches, images and rows."""

import dataclasses
import itertools
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from lamina.analysis.pictures import centered, grid
from lamina.core import Encodes
from lamina.data.dataset import Data
from lamina.data.examples import Arrays
from lamina.modules.lista import LISTA, TanhEncoder
from lamina.modules.whitening import Whitening
from lamina.optim.fista import fista
from lamina.optim.wrappers import projected
from lamina.recipes.dictionaries import drawn
from lamina.recipes.sparse import psd, sparse_coding
from lamina.systems.autoencoder.sparse import PSD, Dictionary, SparseCoding, unit_atoms
from lamina.train.evaluate import evaluate
from lamina.train.trainer import Trainer, Update

LAMBDA = 0.3


def plain(features):
    """Return the identity."""
    one = torch.ones(()).double()
    return Whitening((features,), torch.zeros(features).double(), one, one, torch.zeros(1, 1), torch.ones(1, 1))


def made(kind="sparse", alpha=0.7, codes=9, features=6):
    torch.manual_seed(0)
    dictionary = Dictionary(plain(features), codes, LAMBDA).double()
    if kind == "sparse":
        return SparseCoding(dictionary, steps=3000).double()
    encoder = TanhEncoder(features, codes) if kind == "tanh" else LISTA(dictionary.B, LAMBDA, 2)
    return PSD(dictionary, encoder, alpha, steps=3000).double()


def examples(count=7, features=6):
    return 1.5 * torch.randn(count, features, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("kind", ["sparse", "tanh", "lista"])
def test_gradient_is_that_of_the_least_energy(kind):
    """Codes are inferred anew at every finite difference, although the loss holds them fixed."""
    system, x = made(kind), examples()
    sum(system.loss(x).values()).backward()
    for name, parameter in system.named_parameters():
        for index in itertools.islice(itertools.product(*map(range, parameter.shape)), 12):
            values, step = [], 1e-5
            for sign in (1, -1):
                with torch.no_grad():
                    parameter[index] += sign * step
                    values.append(float(system.energy(x, system.infer(x, 5000, 1e-11)).mean()))
                    parameter[index] -= sign * step
            assert abs((values[0] - values[1]) / (2 * step) - float(parameter.grad[index])) < 1e-7, name


@pytest.mark.parametrize("kind", ["tanh", "lista"])
@pytest.mark.parametrize("alpha", [0.0, 0.1, 10.0])
def test_inference_never_raises_the_energy_of_the_prediction(kind, alpha):
    system, x = made(kind, alpha), examples(50)
    prediction = system.encode(x)
    first = system.energy(x, prediction)
    for steps in (1, 2, 5, 20, 100):
        z = system.infer(x, steps, 0.0)
        assert bool((system.energy(x, z) <= first + 1e-12).all())
    best = system.energy(x, z)
    assert float((first - best).mean()) > 0.05 / (1 + alpha)
    for _ in range(20):  # E is convex: nothing near its minimum is lower
        assert bool((system.energy(x, z + 0.01 * torch.randn_like(z)) > best).all())


def test_much_alpha_gives_the_prediction_and_none_the_codes_of_sparse_coding():
    x = examples()
    near = made("tanh", alpha=1e7)
    torch.testing.assert_close(near.infer(x), near.encode(x), rtol=0, atol=1e-6)
    free = made("tanh", alpha=0.0)
    B = free.dictionary.B.detach()
    expected = fista(B @ B.t(), x @ B.t(), LAMBDA, steps=20_000, tolerance=1e-9)
    torch.testing.assert_close(free.infer(x, 20_000, 1e-9), expected, rtol=0, atol=1e-7)
    assert not torch.allclose(free.encode(x), expected, atol=0.1)


def test_the_quadratic_pull_is_a_larger_dictionary():
    """α |z - F|² is the error of the example (x, √(2α) F) under the atoms (B, √(2α) I)."""
    system, x = made("tanh", alpha=0.7), examples()
    B, prediction, root = system.dictionary.B.detach(), system.encode(x), 1.4**0.5
    B, x_ = torch.cat([B, root * torch.eye(9).double()], 1), torch.cat([x, root * prediction], 1)
    expected = fista(B @ B.t(), x_ @ B.t(), LAMBDA, steps=5000, tolerance=1e-10)
    torch.testing.assert_close(system.infer(x, 5000, 1e-10), expected, rtol=0, atol=1e-9)
    energy = (x_ - expected @ B).square().sum(1) / 2 + LAMBDA * expected.abs().sum(1)
    torch.testing.assert_close(system.energy(x, expected), energy, rtol=0, atol=1e-12)


def test_terms_add_up_to_the_energy():
    x = examples()
    for kind in ("sparse", "tanh"):
        system = made(kind)
        energy = system.energy(x, system.infer(x, 3000, 0.0)).mean()
        torch.testing.assert_close(sum(system.loss(x).values()).detach(), energy, rtol=0, atol=1e-12)
        torch.testing.assert_close(system.metrics(x)["energy"].detach(), energy, rtol=0, atol=1e-12)
    parts = system.metrics(x)
    prediction = system.encode(x)
    assert torch.allclose(parts["predicted"], made().energy(x, prediction).mean())
    assert torch.allclose(parts["coding"], made().energy(x, system.infer(x, 3000, 0.0)).mean())


@pytest.mark.parametrize("recipe", [sparse_coding, partial(psd, encoder="tanh"), partial(psd, encoder="lista")])
def test_atoms_have_norm_one_after_every_update(recipe):
    torch.manual_seed(0)
    run = recipe(Data("toy", Arrays(x=torch.rand(40, 5))), hidden=7, batch=10, epochs=2, lr=0.1, sparsity=0.3)
    before = {name: value.clone() for name, value in run.system.state_dict().items()}
    for _ in Trainer(run):
        norms = run.system.dictionary.B.detach().norm(dim=1)
        torch.testing.assert_close(norms, torch.ones(7), rtol=0, atol=1e-6)
    run.system.requires_grad_(False)
    for name, parameter in run.system.named_parameters():
        assert float((parameter - before[name]).abs().max()) > 0.01, name
    if recipe is not sparse_coding:
        other = next(p for n, p in run.system.encoder.named_parameters() if p.ndim > 1)
        assert float((other.norm(dim=1) - 1).abs().max()) > 0.01


@pytest.mark.parametrize("orthonormal", [True, False])
@pytest.mark.parametrize("kind", ["sparse", "lista"])
def test_planted_atoms_are_recovered(orthonormal, kind):
    """16 orthonormal or 24 random atoms in 16 dimensions, about 2.5 of them in each of 4,000 examples with noise of
    0.02 (seed 0); 600 updates of 200 from random atoms. Found: |cosine| > 0.95, of at least 90 % of the atoms."""
    generator = torch.Generator().manual_seed(0)
    count = 16 if orthonormal else 24
    atoms = F.normalize(torch.randn(count, 16, generator=generator), dim=1)
    atoms = torch.linalg.qr(atoms).Q if orthonormal else atoms
    used = torch.rand(4000, count, generator=generator) < 2.5 / count
    x = (used * torch.randn(4000, count, generator=generator)) @ atoms
    x += 0.02 * torch.randn(4000, 16, generator=generator)
    torch.manual_seed(1)
    dictionary = Dictionary(plain(16).float(), count, 0.1)
    encoder = LISTA(dictionary.B, 0.1, 3)
    system = SparseCoding(dictionary, 30) if kind == "sparse" else PSD(dictionary, encoder, 0.5, 20)
    make = projected(partial(torch.optim.Adam, lr=0.02, fused=True), unit_atoms(dictionary))
    optimizer = make(system.parameters())
    for update in range(600):
        optimizer.param_groups[0]["lr"] = 0.02 * (1 - update / 600)
        optimizer.zero_grad()
        sum(system.loss(x[torch.randint(4000, (200,), generator=generator)]).values()).backward()
        optimizer.step()
    cosines = (atoms @ dictionary.B.detach().t()).abs()
    best, which = cosines.max(1)
    found = best > 0.95
    assert float(found.float().mean()) >= 0.9
    assert len(which[found].unique()) == int(found.sum())


def images(count=40, channels=3):
    return torch.rand(count, channels, 8, 9, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("recipe", [sparse_coding, psd])
@pytest.mark.parametrize(
    ("x", "settings"),
    [
        (images(), {}),
        (images(), {"patch": 4, "patches": 60, "whitening": "zca", "contrast": 1e-3}),
        (images(channels=1), {"patch": 5, "patches": 60, "whitening": "pca", "components": 10}),
        (torch.randn(40, 5) * 100, {"whitening": "pca"}),
    ],
)
def test_verbs_on_images_patches_and_rows(recipe, x, settings):
    data = Data("toy", Arrays(x=x), Arrays(x=x[:20]), Arrays(x=x[:20]))
    run = recipe(data, hidden=7, sparsity=0.1, **settings)
    system, raw = run.system, next(run.train.epoch(0))["x"][:6]
    assert isinstance(system, Encodes)
    z = system.encode(raw)
    assert z.shape == system.infer(raw).shape == (6, 7)
    assert system.decode(z).shape == system.reconstruct(raw).shape == raw.shape
    assert system.energy(raw, z).shape == (6,)
    assert bool((system.energy(raw, system.infer(raw)) <= system.energy(raw, z) + 1e-3).all())
    assert system.dictionary.pictures().shape == (7, *raw.shape[1:])
    if raw.ndim == 4:
        grid(centered(system.dictionary.pictures()))
    assert evaluate(system, run.test)["energy"] > 0
    again = recipe(Data.blank(data.outline()), hidden=7, sparsity=0.1, **settings).system
    again.load_state_dict(system.state_dict())
    assert torch.equal(again.encode(raw), z)


@pytest.mark.parametrize("recipe", [sparse_coding, partial(psd, encoder="lista"), psd])
def test_half_precision_trains_with_codes_in_full(recipe):
    run = recipe(Data("toy", Arrays(x=images())), hidden=7, sparsity=0.1, epochs=1, batch=10)
    run = dataclasses.replace(run, precision="bf16")
    assert all(torch.isfinite(sum(event.terms.values())) for event in Trainer(run) if isinstance(event, Update))


def test_enough_atoms_restore_what_was_given():
    """With as many atoms as numbers and little sparsity, what comes back is what went in, contrast included."""
    x = images(300, 1)[:, :, :4, :4]
    for settings in ({}, {"contrast": 1e-3, "whitening": "zca", "floor": 0.01}):
        system = sparse_coding(Data("toy", Arrays(x=x)), hidden=40, sparsity=1e-4, steps=2000, **settings).system
        torch.testing.assert_close(system.reconstruct(x), x, rtol=0, atol=1e-2)


def test_patches_are_parts_of_the_images():
    x = torch.arange(2 * 3 * 5 * 6.0).reshape(2, 3, 5, 6)
    patches = drawn(Arrays(x=x), 3, 300, seed=0)
    assert patches.shape == (2 * 3 * 4, 3, 3, 3)  # as many as there are places
    whole = x.unfold(2, 3, 1).unfold(3, 3, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, 3, 3)
    assert all(any(torch.equal(patch, other) for other in whole) for patch in patches)
    many = drawn(Arrays(x=x.expand(200, 2, 3, 5, 6).reshape(400, 3, 5, 6)), 3, 2000, seed=0)
    assert len(many.flatten(1).unique(dim=0)) == 24
    assert torch.equal(patches, drawn(Arrays(x=x), 3, 300, seed=0))
    assert not torch.equal(patches, drawn(Arrays(x=x), 3, 300, seed=1))


def test_refuses_what_does_not_fit():
    rows, pictures = Data("toy", Arrays(x=torch.rand(9, 4))), Data("toy", Arrays(x=images()))
    for build, message in (
        (lambda: sparse_coding(rows, patch=2), "leave patch at 0"),
        (lambda: psd(pictures, patch=9), r"patches must be within \(8, 9\) pixels"),
        (lambda: sparse_coding(rows, hidden=0), "at least 1 atom"),
        (lambda: sparse_coding(rows, sparsity=-1.0), "sparsity at least 0"),
        (lambda: sparse_coding(rows, steps=0), "steps must be at least 1"),
        (lambda: psd(rows, alpha=-1.0), "alpha must be at least 0"),
        (lambda: psd(rows, encoder="lista", layers=0), "layers must be at least 1"),
        (lambda: sparse_coding(rows, components=3), "choose pca or zca"),
        (lambda: psd(Data("toy", Arrays(tokens=torch.arange(9)))), "where pictures or rows are needed"),
    ):
        with pytest.raises(ValueError, match=message):
            build()
