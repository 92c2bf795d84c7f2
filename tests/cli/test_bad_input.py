"""Bad input through the command line: one line, exit 2, no traceback, nothing lost."""

import hashlib
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toys import pictures, table

from lamina.cli import main
from lamina.recipes import RECIPES

TRAIN = ["--epochs", "2", "--batch", "8", "--quiet", "--threads", "1"]
MLP = ["train", "mlp", *TRAIN, "--hidden", "4"]


@pytest.fixture
def refused(capsys):
    """Run the command line, expect exit 2 and one clear line, and return it."""

    def run(*words):
        status = main([str(word) for word in words])
        err = capsys.readouterr().err
        lines = [line for line in err.splitlines() if line.startswith("lamina: ")]
        assert status == 2, err
        assert len(lines) == 1, err
        assert err.splitlines()[-1] == lines[0]
        assert "Traceback" not in err
        return lines[0]

    return run


@pytest.fixture
def trained(tmp_path, told):
    """A folder with a run of the perceptron on rows."""
    told(*MLP, "--data", table(tmp_path / "rows.csv"), "--out", tmp_path / "run")
    return tmp_path / "run"


def test_empty_folder(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "empty" in refused(*MLP, "--data", tmp_path / "empty", "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_empty_file(refused, tmp_path):
    for name in ("rows.csv", "rows.npz", "rows.parquet", "text.txt", "text.jsonl"):
        (tmp_path / name).write_bytes(b"")
        assert name in refused(*MLP, "--data", tmp_path / name, "--out", tmp_path / "run")


def test_one_unreadable_image(refused, tmp_path):
    folder = pictures(tmp_path / "pictures")
    (folder / "dog" / "3.png").write_bytes(b"no picture")
    assert "3.png" in refused(*MLP, "--data", folder, "--out", tmp_path / "run")


def test_labels_of_wrong_length(refused, tmp_path):
    np.savez(tmp_path / "rows.npz", x=np.zeros((9, 3)), y=np.arange(8))
    line = refused(*MLP, "--data", tmp_path / "rows.npz", "--out", tmp_path / "run")
    assert "9" in line
    assert "8" in line


def test_nan_in_a_table_names_row_and_column(refused, tmp_path):
    path = table(tmp_path / "rows.csv")
    lines = path.read_text().splitlines()
    lines[5] = "1.0,nan,yes"
    path.write_text("\n".join(lines))
    line = refused(*MLP, "--data", path, "--out", tmp_path / "run")
    assert "width" in line
    assert "row 5" in line or "line 6" in line


def test_class_seen_only_at_test_time(refused, tmp_path):
    x, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    np.savez(tmp_path / "rows.npz", x=x, y=y, x_test=x, y_test=np.arange(20) % 3)
    assert "class '2'" in refused(*MLP, "--data", tmp_path / "rows.npz", "--out", tmp_path / "run")


def test_class_that_a_run_has_not_seen(refused, trained, tmp_path):
    other = table(tmp_path / "other.csv")
    other.write_text(other.read_text().replace("yes", "perhaps"))
    assert "perhaps" in refused("evaluate", trained, "--data", other)


def test_checkpoint_of_another_recipe(refused, trained, tmp_path, told):
    told("train", "mlp", *TRAIN, "--hidden", "5", "--data", tmp_path / "rows.csv", "--out", tmp_path / "other")
    (trained / "weights.safetensors").write_bytes((tmp_path / "other" / "weights.safetensors").read_bytes())
    assert "another recipe" in refused("evaluate", trained)


def test_truncated_weights(refused, trained):
    weights = trained / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-40])
    assert "damaged" in refused("evaluate", trained)
    weights.write_bytes(b"")
    assert "damaged" in refused("evaluate", trained)


class Bomb:
    """Unpickling this would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_where_weights_belong_is_not_executed(refused, trained, tmp_path):
    mark = tmp_path / "executed"
    (trained / "weights.safetensors").write_bytes(pickle.dumps(Bomb(mark)))
    assert "damaged" in refused("evaluate", trained)
    for save in (torch.save, lambda bomb, path: path.write_bytes(pickle.dumps(bomb))):
        save(Bomb(mark), trained / "resume.pt")
        assert "unsafe" in refused("train", "--resume", trained)
    assert not mark.exists()


def test_damaged_description(refused, trained):
    (trained / "recipe.json").write_text("{")
    assert "recipe.json is damaged" in refused("evaluate", trained)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["train", "mlp", "--hiden", "4"], "did you mean '--hidden'"),
        (["train", "mpl"], "did you mean 'mlp'"),
        (["trian", "mlp"], "did you mean 'train'"),
        (["train"], "needs a recipe"),
        (["train", "mlp", "--data", "mnits"], "did you mean 'mnist'"),
        (["train", "mlp", "--data", "nowhere.csv"], "no data set or file 'nowhere.csv'"),
        (["train", "mlp", "--epochs", "many"], "epochs"),
        (["train", "mlp", "--device", "cuda"], "no cuda device"),
        (["evaluate", "nowhere"], "holds no run"),
        (["predict", "nowhere"], "needs a picture"),
        (["predict", "nowhere", "a.png"], "holds no run"),
        (["train", "--resume", "nowhere"], "holds no run"),
        (["reproduce", "mpl"], "did you mean 'mlp'"),
    ],
)
def test_what_does_not_exist(refused, words, told):
    if "cuda" in words and torch.cuda.is_available():
        pytest.skip("there is one")
    assert told in refused(*words)


TEXT = ("char_lm", "word_lm", "stack_rnn", "pattern_lm", "memn2n_lm")


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name not in TEXT])
def test_a_text_for_a_recipe_of_arrays(refused, recipe, tmp_path):
    (tmp_path / "novel.txt").write_text("It was a dark and stormy night. " * 20)
    assert "tokens" in refused("train", recipe, "--data", tmp_path / "novel.txt", "--out", tmp_path / "run")


def test_arrays_for_a_recipe_of_text(refused, tmp_path):
    line = refused("train", "char_lm", "--data", table(tmp_path / "rows.csv"), "--out", tmp_path / "run")
    assert "char_lm needs a text" in line


def test_zero_epochs(refused, tmp_path):
    words = ["train", "mlp", "--epochs", "0", "--data", table(tmp_path / "rows.csv"), "--out", tmp_path / "run"]
    assert "epochs must be at least 1" in refused(*words)
    assert not (tmp_path / "run").exists()


def test_zero_batch(refused, tmp_path):
    words = ["train", "mlp", "--batch", "0", "--data", table(tmp_path / "rows.csv"), "--out", tmp_path / "run"]
    assert "at least 1 example" in refused(*words)


@pytest.mark.parametrize("recipe", ["mlp", "rbm", "ladder"])
def test_batch_larger_than_the_set(told, recipe, tmp_path):
    np.savez(tmp_path / "rows.npz", x=np.random.default_rng(0).random((30, 5)), y=np.arange(30) % 2)
    small = {"mlp": ["--hidden", "4"], "rbm": ["--hidden", "4"], "ladder": ["--hidden", "4", "--costs", "1", "1", "1"]}
    words = ["train", recipe, "--batch", "1000", "--epochs", "1", "--quiet", *small[recipe]]
    told(*words, "--data", tmp_path / "rows.npz", "--out", tmp_path / "run")


def test_a_folder_that_holds_a_run_is_not_overwritten(refused, trained, tmp_path):
    before = (trained / "weights.safetensors").read_bytes()
    assert "--resume" in refused(*MLP, "--data", tmp_path / "rows.csv", "--out", trained)
    assert (trained / "weights.safetensors").read_bytes() == before


def test_data_that_has_changed_since(refused, trained, tmp_path):
    (tmp_path / "rows.csv").write_text((tmp_path / "rows.csv").read_text() + "1,2,no\n")
    assert "has changed" in refused("train", "--resume", trained)


def test_rows_of_another_width(refused, trained, tmp_path):
    np.savez(tmp_path / "wide.npz", x=np.zeros((3, 7)))
    assert "7" in refused("predict", trained, tmp_path / "wide.npz")


def test_a_picture_for_a_run_on_rows(refused, trained, tmp_path):
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    refused("predict", trained, tmp_path / "a.png")


def test_asking_for_what_a_system_cannot_do(refused, trained, tmp_path):
    assert "makes no samples" in refused("sample", trained, "--out", tmp_path / "grid.png")


def test_read_only_folder(refused, tmp_path):
    refused(*MLP, "--data", table(tmp_path / "rows.csv"), "--out", "/sys/kernel/lamina")


def test_a_loss_that_is_not_finite_names_update_and_term(refused, tmp_path):
    words = [*MLP, "--lr", "1e30", "--data", table(tmp_path / "rows.csv"), "--out", tmp_path / "run"]
    line = refused(*words)
    assert "update" in line
    assert "nll" in line or "weight" in line


def test_full_disk_while_saving_leaves_the_earlier_checkpoint_whole(tmp_path):
    run, data = tmp_path / "run", table(tmp_path / "rows.csv")
    words = [sys.executable, "-c", "import sys; from lamina.cli import main; sys.exit(main())", "train"]
    settings = ["--epochs", "1000000", "--save-every", "0", "--quiet", "--threads", "1"]
    begun = subprocess.Popen([*words, "mlp", *settings, "--hidden", "4", "--data", str(data), "--out", str(run)])
    while not (run / "resume.pt").exists():
        assert begun.poll() is None
        time.sleep(0.05)
    begun.send_signal(signal.SIGTERM)
    assert begun.wait() == 128 + signal.SIGTERM

    def full():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        size = (run / "log.jsonl").stat().st_size + 500
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    def digest():
        return hashlib.sha256((run / "resume.pt").read_bytes()).hexdigest()

    (run / "log.jsonl").write_text("")  # the smallest file on the full disk
    before = digest()
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    stopped = subprocess.run(
        [*words, "--resume", str(run), "--save-every", "0", "--quiet"],
        preexec_fn=full,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert stopped.returncode == 2, stopped.stderr
    assert stopped.stderr.splitlines()[-1].startswith("lamina: cannot write")
    assert "Traceback" not in stopped.stderr
    assert digest() == before
    assert not list(run.glob(".*"))  # no half-written file
