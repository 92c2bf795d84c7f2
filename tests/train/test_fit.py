"""What training leaves behind: best weights, exact resumption, whole files whatever happens."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial

import pytest
import torch
from toys import Small, examples, run_of, weights

from lamina.core import System
from lamina.data.batches import Batches
from lamina.train.display import Lines
from lamina.train.fit import Interrupted, fit
from lamina.train.folder import Folder, FolderError, atomically


def test_keeps_the_best_epoch():
    run = run_of(epochs=8)
    seen = []
    result = fit(run, listeners=[lambda record: seen.append(record["valid"]["error"]) if "epoch" in record else None])
    assert len(seen) == result.epochs == 8
    assert result.best["error"] == min(seen)
    assert result.epoch == seen.index(min(seen)) + 1
    assert not any(module.training for module in run.system.modules())


def test_patience_counts_epochs_or_examples():
    for limit in ({"patience": 3}, {"patience_examples": 120}):  # 50 examples an epoch
        run = run_of(optimizer=partial(torch.optim.SGD, lr=0.0), epochs=50, **limit)
        run.system.net[1].momentum = 0.0  # nothing changes from epoch to epoch
        assert fit(run).epochs == 4


@pytest.mark.parametrize("stop", [3, 7, 15])
def test_resume_equals_no_stop(tmp_path, stop):
    whole = run_of(average=0.5)
    expected = fit(whole, tmp_path / "whole")

    def interrupt(record):
        if record["step"] == stop:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match="go on with: lamina train --resume"):
        fit(run_of(average=0.5), tmp_path / "part", listeners=[interrupt])
    again = run_of(seed=3, average=0.5)
    result = fit(again, tmp_path / "part", resume=True)
    assert torch.equal(weights(whole), weights(again))
    assert (result.best, result.epoch, result.epochs) == (expected.best, expected.epoch, expected.epochs)

    def plain(name):
        return [{k: v for k, v in r.items() if k != "seconds"} for r in Folder(tmp_path / name).records()]

    assert plain("part") == plain("whole")


def test_resume_after_the_end_changes_nothing(tmp_path):
    run = run_of()
    first = fit(run, tmp_path / "a")
    again = run_of(seed=9)
    assert fit(again, tmp_path / "a", resume=True) == first
    assert torch.equal(weights(run), weights(again))


KILLED = """
    import sys, torch
    sys.path.insert(0, {tests!r})
    from toys import run_of
    from lamina.train.fit import fit
    torch.set_num_threads(1)
    import time
    fit(run_of(epochs=400), {folder!r}, resume={resume}, save_every=0.05, listeners=[lambda r: time.sleep(0.0005)])
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_survives_a_kill(tmp_path, number):
    def start(resume):
        code = textwrap.dedent(
            KILLED.format(tests=os.path.dirname(os.path.dirname(__file__)), folder=str(tmp_path / "a"), resume=resume)
        )
        return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)

    process = start(False)
    while not (tmp_path / "a" / "resume.pt").exists():
        assert process.poll() is None, process.stderr.read().decode()
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait() != 0
    process.stderr.close()
    assert not (Folder(tmp_path / "a").load_resume()["result"]["complete"])
    whole, again = run_of(epochs=400), run_of(seed=4, epochs=400)
    fit(whole)
    fit(again, tmp_path / "a", resume=True)
    assert torch.equal(weights(whole), weights(again))


def test_a_failed_write_leaves_the_file_whole(tmp_path):
    target = tmp_path / "file"
    target.write_text("whole")

    def fill(path):
        with open(path, "w") as file:
            file.write("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left on device; what was there before is whole"):
        atomically(target, fill)
    assert target.read_text() == "whole"
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_is_not_overwritten(tmp_path):
    fit(run_of(epochs=1), tmp_path)
    with pytest.raises(FolderError, match="holds a run already"):
        fit(run_of(epochs=1), tmp_path)


def test_damaged_files_are_named(tmp_path):
    fit(run_of(epochs=1), tmp_path)
    folder = Folder(tmp_path)
    folder.weights.write_bytes(folder.weights.read_bytes()[:100])
    with pytest.raises(FolderError, match=r"weights.safetensors is damaged"):
        folder.load_weights(Small())
    folder.resume.write_bytes(b"nothing")
    with pytest.raises(FolderError, match=r"resume.pt is damaged or unsafe"):
        folder.load_resume()
    folder.recipe.write_text("{")
    with pytest.raises(FolderError, match=r"recipe.json is damaged"):
        folder.description()


def test_a_pickle_is_never_executed(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    folder = Folder(tmp_path)
    torch.save({"trainer": Trap()}, folder.resume)
    torch.save({"trainer": Trap()}, folder.weights)
    with pytest.raises(FolderError, match="unsafe"):
        folder.load_resume()
    with pytest.raises(FolderError, match="not a safetensors file"):
        folder.load_weights(Small())
    assert not (tmp_path / "sprung").exists()


def test_description_and_log_are_plain_data(tmp_path, capsys):
    fit(run_of(), tmp_path, display=Lines())
    described = json.loads((tmp_path / "recipe.json").read_text())
    assert described["seed"] == 0
    assert set(described["versions"]) >= {"lamina", "torch", "numpy", "python"}
    assert [r["epoch"] for r in Folder(tmp_path).records() if "epoch" in r] == [1, 2, 3]
    assert "epoch 3  error" in capsys.readouterr().err


def test_without_validation_the_last_epoch_is_kept():
    result = fit(run_of(valid=None))
    assert (result.epoch, result.best) == (3, {})


class Other(System):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))


def test_weights_of_another_system_are_refused(tmp_path):
    fit(run_of(epochs=1), tmp_path)
    with pytest.raises(FolderError, match="belongs to another recipe"):
        Folder(tmp_path).load_weights(Other())


def test_batches_larger_than_the_set_are_one_batch():
    assert len(Batches(examples(5), 100)) == 1
