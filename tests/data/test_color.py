"""Sets of color images: formats against hand-made files, the photographs against a hand-made package."""

import hashlib
import io
import struct
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from lamina.data import color, photos
from lamina.data.examples import whole
from lamina.data.fetch import FetchError, File, fetch
from lamina.data.standard import load

RNG = np.random.default_rng(0)


def archive(path, files):
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, body in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_cifar10_binary_files_become_examples(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMINA_DATA", str(tmp_path))
    monkeypatch.setenv("LAMINA_OFFLINE", "1")
    names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    rows = {name: np.concatenate([np.arange(4)[:, None], RNG.integers(0, 256, (4, 3072))], 1) for name in names}
    files = {f"cifar-10-batches-bin/{name}": row.astype(np.uint8).tobytes() for name, row in rows.items()}
    digest = archive(tmp_path / "cifar10" / "cifar-10-binary.tar.gz", files)
    monkeypatch.setattr(color, "CIFAR10", {"cifar-10-binary.tar.gz": digest})
    data = color.cifar10(held=5)
    assert (len(data.train), len(data.valid), len(data.test), data.shape) == (15, 5, 4, (3, 32, 32))
    test = whole(data.test)
    assert test["y"].tolist() == [0, 1, 2, 3]
    pixels = rows["test_batch.bin"][2, 1:].reshape(3, 32, 32)
    assert np.allclose(test["x"][2], pixels / 255)


def test_house_numbers_are_read_from_matlabs_format(tmp_path, monkeypatch):
    from scipy.io import savemat

    monkeypatch.setenv("LAMINA_DATA", str(tmp_path))
    monkeypatch.setenv("LAMINA_OFFLINE", "1")
    (tmp_path / "svhn").mkdir()
    x, y, hashes = RNG.integers(0, 256, (32, 32, 3, 12), dtype=np.uint8), 1 + np.arange(12) % 10, {}
    for name in color.SVHN:
        path = tmp_path / "svhn" / name
        savemat(path, {"X": x, "y": y[:, None]})
        hashes[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(color, "SVHN", hashes)
    test = whole(color.svhn(held=2).test)
    assert test["y"].tolist() == (y % 10).tolist()
    assert np.allclose(test["x"][5], x[:, :, :, 5].transpose(2, 0, 1) / 255)


def webp(pixels):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "WEBP", lossless=True)
    return out.getvalue()


def rcc(files):
    """Return a Qt resource file with an empty tree and no names."""
    data = b"".join(struct.pack(">I", len(body)) + body for body in files)
    return b"qres" + struct.pack(">IIII", 3, 24 + len(data), 24, 24 + len(data)) + bytes(4) + data + b"tree"


def test_photographs_are_told_from_other_pictures(tmp_path):
    noise = RNG.integers(0, 256, (130, 200, 3), dtype=np.uint8)
    other = RNG.integers(0, 256, (150, 140, 3), dtype=np.uint8)
    cut_out = np.dstack([other, np.where(np.arange(140) < 70, 255, 0)[None].repeat(150, 0)]).astype(np.uint8)
    files = [b"not a picture", webp(noise), webp(noise // 128), webp(cut_out), webp(noise[:60]), webp(other)]
    assert list(photos.blobs(rcc(files))) == files
    archive(tmp_path / "p" / "package.tgz", {"a/erase.rcc": rcc(files), "a/unused.rcc": rcc([webp(noise)])})
    found = [np.asarray(photo) for photo in photos.photographs(tmp_path / "p" / "package.tgz")]
    assert len(found) == 2
    assert np.array_equal(found[0], noise)
    assert np.array_equal(found[1], other)


def test_a_photograph_that_is_there_twice_counts_once():
    small = Image.fromarray(RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8)).resize((160, 160))
    large, other = small.resize((320, 320)), Image.fromarray(RNG.integers(0, 256, (160, 160, 3), dtype=np.uint8))
    assert [photo.size for photo in photos.distinct([small, other, large])] == [(320, 320), (160, 160)]


def test_tiles_cover_each_size_once():
    pixels = RNG.integers(0, 256, (64, 96, 3), dtype=np.uint8)
    tiles = list(photos.cut(Image.fromarray(pixels)))
    assert len(tiles) == 1 + 6  # short sides of 32 and 64
    assert np.array_equal(tiles[1], pixels[:32, :32])
    assert np.array_equal(tiles[-1], pixels[32:, 64:])
    pixels[:32, :32] = 100  # no contrast
    assert len(list(photos.cut(Image.fromarray(pixels)))) == 1 + 5


def test_real_photographs_if_they_are_there(monkeypatch):
    """Looks into the cache only; no tile of one split may be in another."""
    monkeypatch.setenv("LAMINA_OFFLINE", "1")
    try:
        fetch(File(photos.FILE.name, photos.SHA256, ()))
    except FetchError:
        pytest.skip("lamina data photos brings them")
    data, other = load("photos"), load("photos", seed=1)
    parts = [whole(part)["x"] for part in (data.train, data.valid, data.test)]
    assert sum(map(len, parts)) == 58_338
    assert torch.equal(parts[2], whole(other.test)["x"])
    assert len(parts[1]) != len(other.valid)
    assert data.classes == ()
