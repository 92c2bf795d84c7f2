"""Data larger than memory, against the same data in memory."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lamina.data.batches import Batches, ahead
from lamina.data.examples import Arrays, Mapped, in_memory, subset
from lamina.data.standard import load
from lamina.data.stream import ImageFolder, Labelled, OnDisk


def same(left, right):
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].dtype == right[name].dtype
        torch.testing.assert_close(left[name], right[name], rtol=0, atol=0)


@pytest.fixture
def saved(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"x": rng.random((50, 3), np.float32), "y": rng.integers(0, 4, 50), "tokens": rng.integers(0, 9, (50, 7))}
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    return tmp_path, arrays


@pytest.mark.parametrize("indices", [[3, 1, 1, 49, 0], [4, 5, 6], [7], []])
def test_stored_examples_are_those_in_memory(saved, indices):
    folder, arrays = saved
    rows = torch.tensor(indices, dtype=torch.int64)
    stored = OnDisk(folder)
    assert len(stored) == 50
    same(stored.fetch(rows), dict(sorted(Arrays(**arrays).fetch(rows).items())))


def test_stored_batches_are_those_in_memory(saved):
    folder, arrays = saved
    stored, held = (Batches(found, 8, seed=2) for found in (OnDisk(folder), Arrays(**arrays)))
    for left, right in zip(stored.epoch(3), held.epoch(3), strict=True):
        same(left, right)


@pytest.mark.parametrize("shape", [(9, 5, 6), (9, 5, 6, 3), (9, 3, 5, 6), (9, 12)])
@pytest.mark.parametrize("kind", [np.uint8, ">f4", np.float64])
def test_stored_pictures_are_in_the_librarys_form(tmp_path, shape, kind):
    x = np.random.default_rng(0).integers(0, 256, shape).astype(kind)
    np.save(tmp_path / "x.npy", x)
    batch = OnDisk({"x": tmp_path / "x.npy"}).fetch(torch.tensor([8, 2]))
    picked = torch.from_numpy(x[[8, 2]].astype(np.float32) / (255 if kind == np.uint8 else 1))
    if len(shape) == 3:
        picked = picked[:, None]
    if shape[-1] == 3:
        picked = picked.permute(0, 3, 1, 2)
    torch.testing.assert_close(batch["x"], picked)


def test_long_runs_and_files_that_shrink(tmp_path):
    x = np.arange(5000.0)[:, None] * [1, 2]
    np.save(tmp_path / "x.npy", x)
    stored = OnDisk(tmp_path)
    rows = torch.arange(4200).flip(0)
    assert torch.equal(stored.fetch(rows)["x"], torch.from_numpy(x).float()[rows])
    with (tmp_path / "x.npy").open("rb+") as file:
        file.truncate(1000)
    with pytest.raises(ValueError, match="has become shorter"):
        stored.fetch(rows)


def test_bad_arrays_are_one_line(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((5, 2)))
    np.save(tmp_path / "y.npy", np.zeros(4))
    with pytest.raises(ValueError, match=r"differ in length: \{'x': 5, 'y': 4\}"):
        OnDisk(tmp_path)
    with pytest.raises(ValueError, match=r"no \.npy file"):
        OnDisk(tmp_path / "nowhere")
    (tmp_path / "y.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"cannot read .*y\.npy"):
        OnDisk(tmp_path)
    np.save(tmp_path / "y.npy", np.array(["a", "b"], dtype=object))
    with pytest.raises(ValueError, match=r"y\.npy"):
        OnDisk(tmp_path)
    np.save(tmp_path / "y.npy", np.asfortranarray(np.zeros((5, 2))))
    with pytest.raises(ValueError, match="column by column"):
        OnDisk(tmp_path)


def test_pictures_are_decoded_as_they_are_fetched(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4, 5), dtype=np.uint8)
    paths = [tmp_path / f"{i}.png" for i in range(6)]
    for path, picture in zip(paths, pixels, strict=True):
        Image.fromarray(picture).save(path)
    examples = Labelled(ImageFolder(paths, (1, 4, 5)), torch.arange(6))
    batch = examples.fetch(torch.tensor([4, 4, 1]))
    assert torch.equal(batch["x"][:, 0], torch.from_numpy(pixels[[4, 4, 1]]).float() / 255)
    assert batch["y"].tolist() == [4, 4, 1]
    paths[4].write_bytes(paths[4].read_bytes()[:60])
    with pytest.raises(ValueError, match=r"cannot read the picture .*4\.png"):
        examples.fetch(torch.tensor([4]))


@pytest.mark.parametrize("depth", [1, 2, 50])
@pytest.mark.parametrize("start", [0, 3, 7])
def test_reading_ahead_changes_nothing(depth, start):
    source = Batches(Arrays(x=torch.rand(50, 3)), 8)
    for k in (0, 1, 0):
        for left, right in zip(ahead(source.epoch(k, start), depth), source.epoch(k, start), strict=True):
            same(left, right)


def test_what_is_not_in_memory_is_read_ahead(saved):
    folder, arrays = saved
    stored, held = OnDisk(folder), Arrays(**arrays)
    assert in_memory(subset(held, torch.arange(9)))
    assert in_memory(Mapped(held, dict))
    assert not in_memory(subset(stored, torch.arange(9)))
    before = threading.active_count()
    batches = Batches(stored, 8).epoch(0)
    next(batches)
    assert threading.active_count() == before + 1
    batches.close()


class Slow:
    """Batches that take their time, and can fail."""

    def __init__(self, wait=0.0, fail_at=None):
        self.wait, self.fail_at, self.read = wait, fail_at, 0

    def __iter__(self):
        for i in range(10):
            if i == self.fail_at:
                raise ValueError(f"batch {i} cannot be read")
            time.sleep(self.wait)
            self.read += 1
            yield {"x": torch.tensor([i])}


def test_batches_are_read_in_advance_but_not_too_many():
    source = Slow()
    batches = ahead(iter(source), 3)
    next(batches)
    for _ in range(100):
        if source.read == 4:
            break
        time.sleep(0.01)
    time.sleep(0.05)
    assert source.read == 4  # the one given out and three in advance
    batches.close()


def test_a_failure_comes_in_its_batchs_turn():
    batches = ahead(iter(Slow(fail_at=4)))
    assert [int(next(batches)["x"]) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="batch 4 cannot be read"):
        next(batches)


def test_the_thread_ends_with_the_iterator():
    before = threading.active_count()
    batches = ahead(iter(Slow(wait=0.01)))
    next(batches)
    assert threading.active_count() == before + 1
    del batches
    assert threading.active_count() == before
    list(ahead(iter(Slow())))
    assert threading.active_count() == before


def test_a_folder_of_arrays_is_a_data_set(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (100, 6, 6), dtype=np.uint8), np.repeat(["cat", "dog"], 50)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    data = load(tmp_path)
    assert (len(data.train), len(data.valid), len(data.test)) == (80, 10, 10)
    assert data.classes == ("cat", "dog")
    assert data.shape == (1, 6, 6)
    batch = data.test.fetch(torch.arange(10))
    where = {row.tobytes(): i for i, row in enumerate(x)}
    rows = [where[(row * 255).round().byte().numpy().tobytes()] for row in batch["x"]]
    assert [data.classes[i] for i in batch["y"]] == y[rows].tolist()


@pytest.mark.slow
def test_twenty_gigabytes_fit_into_two():
    """One pass in random order over a sparse file of 20 GB; the process's own peak of resident memory is read."""
    command = [sys.executable, "-m", "benchmarks.memory", "--sparse", "20"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert float(told.stdout.split("peak")[1].split()[0]) < 2.0
