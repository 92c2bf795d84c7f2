"""`lamina latent`: from a run, and what is known of its pictures, to pictures of arithmetic with its codes."""

import numpy as np
import pytest
from PIL import Image
from toys import pictures, table

from lamina.cli import main

QUICK = ["--epochs", "1", "--quiet", "--threads", "1", "--batch", "20"]
VAE = ["train", "vae", *QUICK, "--hidden", "8", "--latent", "3"]
ALL = ("linear", "spherical", "manifold", "direction", "analogy")


@pytest.fixture
def refused(capsys):
    """Run the command line, expect exit 2 and one clear line, and return it."""

    def run(*words):
        status = main([str(word) for word in words])
        err = capsys.readouterr().err
        told = [line for line in err.splitlines() if line.startswith("lamina: ")]
        assert status == 2, err
        assert err.splitlines()[-1:] == told, err
        return told[0]

    return run


def picture(path):
    """Size and mode of a picture."""
    with Image.open(path) as found:
        return found.size, found.mode


@pytest.fixture
def people(tmp_path):
    """A folder of men and women, a third of each with glasses, and tables that say so in two ways."""
    folder = pictures(tmp_path / "people", ("man", "woman"), 12)
    names = [f"{kind}/{i}.png" for kind in ("man", "woman") for i in range(12)]
    lines = [f"{name},{int(i % 3 == 0)},{-1 + 2 * (i % 2)}" for i, name in enumerate(names)]
    (tmp_path / "attributes.csv").write_text("\n".join(["picture,glasses,hat", *lines]) + "\n")
    return folder


@pytest.fixture
def run(people, told, tmp_path):
    told(*VAE, "--data", people, "--out", tmp_path / "run")
    return tmp_path / "run"


def test_pictures_of_classes_and_attributes(told, run, tmp_path):
    words = ("--attributes", tmp_path / "attributes.csv", "--analogy", "man+glasses", "man", "woman", "--steps", "5")
    out = tmp_path / "out"
    told_paths = told("latent", run, "--out", out, *words, "--rows", "4", "--side", "3").split()
    assert told_paths == [str(out / f"{name}.png") for name in ALL]
    tile = 6 * 9  # pixels of a picture, beside a gap of 6
    widths = {"linear": 5, "spherical": 5, "manifold": 3, "direction": 5, "analogy": 4}
    for name, columns in widths.items():
        rows = 3 if name == "manifold" else 4
        assert picture(out / f"{name}.png")[0] == tuple((tile + 6) * count - 6 for count in (columns, rows))
    told("latent", run, "--out", tmp_path / "again", *words, "--rows", "4", "--side", "3")
    told("latent", run, "--out", tmp_path / "other", *words, "--rows", "4", "--side", "3", "--seed", "1")
    for name in ALL:
        first, again, other = ((tmp_path / folder / f"{name}.png").read_bytes() for folder in ("out", "again", "other"))
        assert first == again
        assert (first == other) == (name == "manifold")


def test_any_system_that_encodes_and_decodes(told, tmp_path):
    data = pictures(tmp_path / "pets", count=6)
    for recipe, *words in (("walkback", "--hidden", "4"), ("sparse_coding", "--hidden", "4"), ("psd", "--hidden", "4")):
        told("train", recipe, *QUICK, *words, "--data", data, "--out", tmp_path / recipe)
        assert len(told("latent", tmp_path / recipe, "--out", tmp_path / "out", "--direction", "dog").split()) == 4


def test_few_pictures_in_color_and_without_labels(told, tmp_path):
    generator = np.random.default_rng(0)
    (tmp_path / "mine").mkdir()
    for i in range(20):
        Image.fromarray(generator.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(tmp_path / "mine" / f"{i}.png")
    told(*VAE, "--data", tmp_path / "mine", "--out", tmp_path / "run")
    for split in ("train", "test"):
        told_paths = told("latent", tmp_path / "run", "--out", tmp_path / "out", "--split", split).split()
        assert [path.split("/")[-1] for path in told_paths] == ["linear.png", "spherical.png", "manifold.png"]
    assert picture(tmp_path / "out" / "linear.png")[1] == "RGB"


def test_attributes_of_classes_and_of_rows_in_order(told, tmp_path):
    generator = np.random.default_rng(0)
    np.savez(tmp_path / "digits.npz", x=generator.random((30, 6, 6)), y=np.arange(30) % 3)
    told(*VAE, "--data", tmp_path / "digits.npz", "--out", tmp_path / "run")
    (tmp_path / "classes.csv").write_text("class,round\n0,1\n2,0\n1,0\n")
    (tmp_path / "rows.csv").write_text("\n".join(["bright", *(str(i % 2) for i in range(30))]) + "\n")
    for file, name in (("classes", "round"), ("rows", "bright")):
        words = ("--attributes", tmp_path / f"{file}.csv", "--direction", name, "--out", tmp_path / file)
        assert "direction.png" in told("latent", tmp_path / "run", *words)


def test_bad_input(refused, told, run, people, tmp_path):
    rows, words = tmp_path / "rows", tmp_path / "words.csv"
    told(*VAE, "--visible", "gaussian", "--data", table(tmp_path / "rows.csv"), "--out", rows)
    told("train", "rbm", *QUICK, "--hidden", "4", "--data", people, "--out", tmp_path / "rbm")
    attributes = ("--attributes", tmp_path / "attributes.csv")
    assert "holds no run" in refused("latent", tmp_path / "nowhere")
    assert "no pictures" in refused("latent", rows)
    assert "rows of 2 numbers" in refused("latent", run, "--data", tmp_path / "rows.csv")
    assert "does not turn codes" in refused("latent", tmp_path / "rbm")
    assert "no data set or file" in refused("latent", run, "--data", "nowhere")
    assert "no split 'training'" in refused("latent", run, "--split", "training")
    assert "did you mean 'woman'" in refused("latent", run, "--direction", "wman")
    assert "known: man, woman" in refused("latent", run, "--direction", "glasses")
    assert "at least 1" in refused("latent", run, "--rows", "0")
    assert "no example is man and woman and not glasses" in refused(
        "latent", run, *attributes, "--analogy", "man+woman", "glasses", "man"
    )
    assert "nowhere.csv" in refused("latent", run, "--attributes", tmp_path / "nowhere.csv")
    for text, message in (
        ("picture,glasses\nman/7.png,1\nman/8.png,1\n", "with label man and without it, got 2 of 2"),
        ("", "no row"),
        ("picture,glasses\nman/77.png,1\n", "there is no picture"),
        ("picture,glasses\nman/7.png,5\n", "column 'glasses': 5 is neither"),
        ("picture\nman/7.png\nman/8.png\n", "no column of attributes"),
        ("glasses\n1\n0\n", "2 rows for 20 examples"),
    ):
        words.write_text(text)
        assert message in refused("latent", run, "--attributes", words, "--direction", "man")
    assert not (tmp_path / "latent").exists()
