"""Arithmetic with codes: on an orthogonal linear system it is arithmetic with pixels, which is checked exactly."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lamina.analysis import latent
from lamina.analysis.attributes import Marked, by_class, with_attributes
from lamina.analysis.latent import (
    Decodes,
    analogies,
    analogy,
    arc,
    codes,
    decodes,
    direction,
    interpolate,
    leading,
    line,
    manifold,
    move,
    write_grid,
)
from lamina.data.dataset import Data
from lamina.data.examples import Arrays
from lamina.recipes.autoencoder import walkback
from lamina.recipes.energy import rbm
from lamina.recipes.semisupervised import m2
from lamina.recipes.variational import vae

SHAPE = (1, 3, 4)


class Rotation:
    """Codes that are the pixels turned by an orthogonal matrix, so that every step in code space is one in pixels."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.q = torch.linalg.qr(torch.randn(12, 12, generator=generator, dtype=torch.float64))[0]

    def encode(self, x):
        return x.flatten(1) @ self.q

    def decode(self, z):
        return (z @ self.q.t()).reshape(-1, *SHAPE)


@pytest.fixture
def system():
    return Rotation()


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Encode and decode in several parts, the last one smaller."""
    monkeypatch.setattr(latent, "ROWS", 7)


def some(count, seed=1):
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_protocol_is_met_by_systems_that_encode_and_decode(system):
    data = Data("toy", Arrays(x=torch.rand(20, *SHAPE)), Arrays(x=torch.rand(5, *SHAPE)))
    small = vae(data, hidden=(4,), latent=2, batch=5, epochs=1)
    assert isinstance(system, Decodes)
    assert isinstance(small.system, Decodes)
    assert isinstance(walkback(data, hidden=4, batch=5, epochs=1).system, Decodes)
    assert not isinstance(rbm(data, hidden=4, batch=5, epochs=1).system, Decodes)
    classified = Data("toy", Arrays(x=torch.rand(20, *SHAPE), y=torch.arange(20) % 2), classes=("a", "b"))
    other = m2(classified, labels=4, hidden=(4,), latent=2, batch=4, epochs=1).system
    assert isinstance(other, Decodes)  # by its names alone
    assert [decodes(found) for found in (small.system, system, other, torch.nn.Flatten())] == [True, True, False, False]
    made = manifold(small.system, torch.zeros(2), side=3)
    assert made.shape == (3, 3, *SHAPE)
    assert not made.requires_grad


def test_analogy_is_arithmetic_with_mean_pictures(system):
    a, b, c = some(9, 1), some(4, 2), some(1, 3)
    close(codes(system, a), system.encode(a))
    close(analogy(system, a, b, c), (a.mean(0) - b.mean(0) + c.mean(0))[None])


def test_analogies_beside_their_examples(system):
    a, b, c = some(9, 1), some(2, 2), some(4, 3)
    table = analogies(system, a, b, c, 3)
    close(table[:, 0], a[:3])
    close(table[:, 1], b[[0, 1, 0]])
    close(table[:, 2], c[:3])
    for row, example in zip(table, c, strict=False):
        close(row[3], analogy(system, a, b, example[None])[0])
    assert len(analogies(system, a, b, c, 9)) == 4


def test_directions_from_words_and_lists(system):
    z, y = codes(system, some(12)), torch.arange(12) % 3
    words = [["cat", "dog", "cow"][k] for k in y.tolist()]
    expected = direction(z, y, 2)
    for labels, value in ((words, "cow"), (np.array(words), "cow"), (y.tolist(), 2), (y.numpy() == 2, 1)):
        close(direction(z, labels, value), expected)
    for labels, value in ((words, "glasses"), (words, 2), (y, "cow")):
        with pytest.raises(ValueError, match=f"with label {value} and without it, got 0 of 12"):
            direction(z, labels, value)
    for labels in (y[:5], words[:5], [*words, "cat"]):
        with pytest.raises(ValueError, match=f"got {len(labels)} labels for 12 codes"):
            direction(z, labels)


def test_directions_are_differences_of_class_means(system):
    x, y = some(30), torch.arange(30) % 3
    for labels, value in ((y, 1), (y == 1, 1), (y, 0)):
        has = labels == value
        along = direction(codes(system, x), labels, value)
        close(system.decode(along[None])[0], x[has].mean(0) - x[~has].mean(0))
    moved = move(system, x[:2], direction(codes(system, x), y), (0.0, 1.0, -0.5))
    apart = x[y == 1].mean(0) - x[y != 1].mean(0)
    close(moved, torch.stack([x[:2], x[:2] + apart, x[:2] - 0.5 * apart], 1))
    for labels in (torch.zeros(30), torch.ones(30)):
        with pytest.raises(ValueError, match="with label 1 and without"):
            direction(codes(system, x), labels.long())


def test_logistic_direction_is_the_normal_that_scikit_learn_finds():
    """The pipeline's logit is linear in the code: its slope, by differences, is the direction up to length. Of two
    numbers that go together, of which one alone is the attribute, it leaves out the other; class means do not."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(400, 3, generator=generator, dtype=torch.float64)
    z[:, 1] = 0.8 * z[:, 0] + 0.6 * z[:, 1]
    z[:, 2] *= 5
    has = z[:, 0] + 0.1 * torch.randn(400, generator=generator, dtype=torch.float64) > 0
    along = direction(z, has, logistic=True)
    theirs = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(z.numpy(), has.numpy())
    slope = theirs.decision_function(np.eye(3)) - theirs.decision_function(np.zeros((3, 3)))
    close_enough = torch.nn.functional.cosine_similarity(along, torch.from_numpy(slope), dim=0)
    assert float(close_enough) == pytest.approx(1, abs=1e-4)  # their deviations are with n, ours with n - 1
    means = direction(z, has)
    assert float(along @ means / along.norm()) == pytest.approx(float(along.norm()))  # as long as the means lie apart
    assert float(along[1] / along[0]) < 0.3 < 0.7 < float(means[1] / means[0])


def test_linear_paths_are_mixtures_of_pictures(system):
    first, last = some(3, 1), some(3, 2)
    way = interpolate(system, first, last, 5)
    t = torch.linspace(0, 1, 5, dtype=torch.float64)[:, None, None, None]
    close(way, (1 - t) * first[:, None] + t * last[:, None])


def test_spherical_paths_turn_evenly_and_hit_both_ends(system):
    first, last = some(3, 1) - 0.5, 3 * (some(3, 2) - 0.5)
    way = interpolate(system, first, last, 6, spherical=True)
    close(way[:, 0], first)
    close(way[:, -1], last)
    flat = way.flatten(2)
    shares = torch.linspace(0, 1, 6, dtype=torch.float64)
    close(flat.norm(dim=2), torch.lerp(flat[:, :1].norm(dim=2), flat[:, -1:].norm(dim=2), shares))
    unit = flat / flat.norm(dim=2, keepdim=True)
    turns = (unit[:, 1:] * unit[:, :-1]).sum(2).arccos()
    close(turns, turns[:, :1].expand(-1, 5))
    whole = (unit[:, 0] * unit[:, -1]).sum(1).arccos()
    close(turns.sum(1), whole)


def test_spherical_paths_on_the_circle():
    """A quarter of the unit circle, by its closed form; equal and nearly equal codes; opposite ones are refused."""
    t = torch.linspace(0, 1, 5, dtype=torch.float64)
    east, north = torch.eye(2, dtype=torch.float64)[:, None]
    close(arc(east, north, t)[0], torch.stack([(t * math.pi / 2).cos(), (t * math.pi / 2).sin()], 1))
    for step in (0, 1e-9, 1e-5, 1e-3):
        near = torch.tensor([[math.cos(step), math.sin(step)]], dtype=torch.float64)
        found = arc(east, near, t)[0]
        torch.testing.assert_close(found, torch.stack([(t * step).cos(), (t * step).sin()], 1), rtol=0, atol=1e-9)
    torch.testing.assert_close(arc(0 * east, north, t)[:, [0, -1]], line(0 * east, north, t)[:, [0, -1]])
    with pytest.raises(ValueError, match="interpolate linearly"):
        arc(east, -2 * east, t)


def test_manifold_has_equal_probability_between_its_points():
    """Codes of a system that decodes to the code itself: Φ of them, by erf, is the lattice of midpoints."""

    class Plain(Rotation):
        def decode(self, z):
            return z

    mean, scale = torch.arange(3.0, dtype=torch.float64), torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    z = manifold(Plain(), mean, scale, side=4, axes=(2, 0))
    phi = 0.5 * (1 + torch.erf((z - mean) / scale / math.sqrt(2)))
    middles = torch.tensor([0.125, 0.375, 0.625, 0.875], dtype=torch.float64)
    close(phi[..., 2], middles[:, None].expand(4, 4))
    close(phi[..., 0], middles.expand(4, 4))
    close(z[..., 1], torch.ones(4, 4, dtype=torch.float64))
    close(mean, torch.arange(3.0, dtype=torch.float64))  # what was given is left as it was
    for axes in ((0, 0), (0, 3), (-1, 0)):
        with pytest.raises(ValueError, match="two different axes below 3"):
            manifold(Plain(), mean, axes=axes)


def test_leading_numbers_of_a_code_change_most():
    """Pixels are numbers of the code times 1 to 12: what tells is deviation times that."""

    class Scaled(Rotation):
        def decode(self, z):
            return (z * torch.arange(1, 13)).reshape(-1, *SHAPE)

    deviations = torch.tensor([5.0] * 3 + [2.0] * 5 + [0.1] * 4, dtype=torch.float64)
    z = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None] * deviations + 3
    assert leading(Scaled(), z) == [7, 2, 6, 5, 1, 4, 3, 0, 11, 10, 9, 8]
    assert leading(Scaled(), z, among=3) == [2, 1, 0]


def test_tables_become_pictures(system, tmp_path):
    x = some(6).float().reshape(2, 3, *SHAPE)
    write_grid(x, SHAPE, tmp_path / "grid.png")
    flat = x.flatten(2)
    write_grid(flat, SHAPE, tmp_path / "flat.png")
    sheet, same = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("grid", "flat"))
    assert (sheet == same).all()
    scale = 14  # 56 / 4
    assert sheet.shape == (2 * 3 * scale + scale, 3 * 4 * scale + 2 * scale)
    corner = round(255 * float(x[1, 2, 0, -1, -1]))
    assert sheet[-1, -1] == corner
    with pytest.raises(ValueError, match="no pictures"):
        write_grid(torch.rand(2, 3, 5), (5,), tmp_path / "rows.png")


def test_examples_by_what_they_have(tmp_path):
    """All combinations of two classes and two attributes, once each; the attributes from tables of two forms."""
    every = torch.cartesian_prod(*[torch.arange(2)] * 3)
    x = every[:, :, None, None].float()
    known = by_class(Arrays(x=x, y=every[:, 0]), ("man", "woman"))
    (tmp_path / "numbers.csv").write_text("\n".join(["hat,tall", *(f"{2 * b - 1},{c}" for _, b, c in every.tolist())]))
    (tmp_path / "words.csv").write_text("\n".join(["on,is", *(f"{'-h'[b]},{'st'[c]}" for _, b, c in every.tolist())]))
    marked = with_attributes(known, tmp_path / "numbers.csv", tmp_path)
    assert list(marked.marks) == ["man", "woman", "hat", "tall"]
    assert marked.having("man+hat").tolist() == ((every[:, 0] == 0) & (every[:, 1] == 1)).tolist()
    words = with_attributes(known, tmp_path / "words.csv", tmp_path)
    assert list(words.marks) == ["man", "woman", "-", "h", "s", "t"]
    for name, other in (("hat", "h"), ("tall", "t")):
        assert torch.equal(marked.having(name), words.having(other))
    found = marked.apart(["man+hat", "man", "woman"])
    assert [part[:, :2, 0, 0].unique(dim=0).tolist() for part in found] == [[[0, 1]], [[0, 0]], [[1, 0]]]
    assert [len(part) for part in found] == [2, 2, 2]  # whether they are tall is not asked
    some = marked.ordered(torch.tensor([7, 0]))
    assert some.x.flatten(1).tolist() == [[1, 1, 1], [0, 0, 0]]
    assert some.having("woman+hat+tall").tolist() == [True, False]
    plus = Marked(x, {"a+b": every[:, 0] == 0})
    assert torch.equal(plus.having("a+b"), every[:, 0] == 0)
    with pytest.raises(ValueError, match="these examples have none"):
        Marked(x, {}).having("man")


def test_attributes_of_pictures_that_a_table_names(tmp_path):
    levels = {"cat/a.png": 0, "cat/b.png": 51, "dog/a.png": 255}
    for name, level in levels.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((3, 4), level, np.uint8)).save(tmp_path / name)
    table = tmp_path / "table.csv"
    table.write_text("picture,old\ndog/a.png,1\ncat/b.png,0\n")
    known = by_class(Arrays(x=torch.zeros(2, *SHAPE), y=torch.arange(2)), ("cat", "dog"))
    for source in (tmp_path, Path("mnist")):  # in the folder, or beside the table
        marked = with_attributes(known, table, source)
        assert marked.x[:, 0, 0, 0].tolist() == pytest.approx([1.0, 0.2])
        assert {name: has.tolist() for name, has in marked.marks.items()} == {
            "cat": [False, True],
            "dog": [True, False],
            "old": [True, False],
        }
