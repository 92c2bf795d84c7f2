"""The standard sets: formats against hand-made files, contents by hash and by published counts."""

import hashlib

import numpy as np
import pytest
import torch

from lamina.data import standard
from lamina.data.examples import whole
from lamina.data.fetch import FetchError, File, cache, fetch
from lamina.data.standard import load, read_idx


def idx(array):
    head = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return head + array.astype(np.uint8).tobytes()


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Put a tiny set in MNIST's place."""
    monkeypatch.setenv("LAMINA_DATA", str(tmp_path))
    monkeypatch.setenv("LAMINA_OFFLINE", "1")
    rng, hashes = np.random.default_rng(0), {}
    (tmp_path / "mnist").mkdir()
    made = {"train": (rng.integers(0, 256, (40, 28, 28)), np.arange(40) % 10)}
    made["t10k"] = (rng.integers(0, 256, (20, 28, 28)), np.arange(20) % 10)
    for part, arrays in made.items():
        for name, array in zip((standard.IMAGES, standard.LABELS), arrays, strict=True):
            body = idx(array)
            (tmp_path / "mnist" / name.format(part)).write_bytes(body)
            hashes[name.format(part)] = hashlib.sha256(body).hexdigest()
    monkeypatch.setattr(standard, "MNIST", hashes)
    return made


def test_idx_files_become_examples(small):
    data = standard.mnist(seed=3, held=10)
    assert (len(data.train), len(data.valid), len(data.test)) == (30, 10, 20)
    assert data.shape == (1, 28, 28)
    images, labels = small["t10k"]
    test = whole(data.test)
    assert torch.equal(test["x"][:, 0], torch.from_numpy(images).float() / 255)
    assert test["y"].tolist() == labels.tolist()
    assert data.classes == tuple("0123456789")
    assert data.hashes == standard.MNIST
    both = torch.cat([whole(data.train)["x"], whole(data.valid)["x"]]).flatten(1).sum(1).sort().values
    given = torch.from_numpy(small["train"][0]).float().div(255).flatten(1).sum(1).sort().values
    torch.testing.assert_close(both, given)  # the two splits are the training set, and nothing twice


def test_the_seed_chooses_the_validation_examples(small):
    first, again, other = (whole(standard.mnist(seed, 10).valid)["x"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_bad_idx_files_are_one_line(tmp_path):
    path = tmp_path / "file"
    for body, told in ((b"", "no idx"), (b"\0\0\x0d\1....", "no idx"), (idx(np.zeros((3, 4)))[:-1], "11 bytes where")):
        path.write_bytes(body)
        with pytest.raises(ValueError, match=told):
            read_idx(path)


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    data = load("digits", seed=5)
    parts = [whole(part) for part in (data.train, data.valid, data.test)]
    assert [len(part["y"]) for part in parts] == [1197, 200, 400]
    assert data.shape == (1, 8, 8)
    images, labels = load_digits(return_X_y=True)
    rows = torch.cat([torch.cat([16 * part["x"].flatten(1), part["y"][:, None].float()], 1) for part in parts])
    given = np.concatenate([images, labels[:, None]], 1)
    assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, given.tolist()))
    assert torch.equal(parts[2]["x"], whole(load("digits", seed=6).test)["x"])
    assert not torch.equal(parts[1]["x"], whole(load("digits", seed=6).valid)["x"])


def test_unknown_names_are_one_line():
    with pytest.raises(ValueError, match=r"no data set or file 'mnits'; did you mean 'mnist'\?"):
        load("mnits")
    with pytest.raises(ValueError, match="give a path that exists or one of mnist, fashion"):
        load("/no/such/file.csv")
    with pytest.raises(ValueError, match="no data set or file ''"):
        load("")


def test_every_set_says_what_it_is():
    assert all((make.__doc__ or "").splitlines()[0].endswith(".") for make in standard.STANDARD.values())


@pytest.mark.parametrize("name", ["mnist", "fashion"])
def test_real_files_if_they_are_there(name, monkeypatch):
    """Published counts; looks into the cache only, and downloads nothing."""
    monkeypatch.setenv("LAMINA_OFFLINE", "1")
    try:
        for file, digest in {"mnist": standard.MNIST, "fashion": standard.FASHION}[name].items():
            fetch(File(f"{name}/{file}", digest, ()))
    except FetchError:
        pytest.skip(f"{name} is not in {cache()}; lamina data {name} brings it")
    data = load(name)
    y = torch.cat([whole(data.train)["y"], whole(data.valid)["y"]]).bincount().tolist()
    mnist = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert y == (mnist if name == "mnist" else [6000] * 10)
    x = torch.cat([whole(data.train)["x"], whole(data.valid)["x"]])
    mean, std = (0.1307, 0.3081) if name == "mnist" else (0.2860, 0.3530)
    assert abs(float(x.mean()) - mean) < 1e-4
    assert abs(float(x.std()) - std) < 1e-4
