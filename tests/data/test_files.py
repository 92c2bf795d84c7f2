"""The user's own files: what is read, what is refused, and in which words."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from lamina.data import folders, tables
from lamina.data.examples import Arrays, whole
from lamina.data.files import fit_to, from_arrays, from_dataset, read_image, read_rows, relabel
from lamina.data.images import opaque
from lamina.data.standard import load
from lamina.data.stream import ImageFolder, Labelled

RNG = np.random.default_rng(0)


def parts(data):
    return {name: whole(getattr(data, name)) for name in ("train", "valid", "test")}


def picture(path, shape=(4, 5), value=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 256, shape, dtype=np.uint8) if value is None else np.full(shape, value, np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


# Splits


@pytest.mark.parametrize("counts", [(50, 30, 20), (8, 1, 1), (100, 3, 2), (5, 5, 5)])
def test_splits_are_disjoint_whole_and_class_by_class(counts):
    y = np.repeat(np.arange(len(counts)), counts)
    x = np.arange(len(y), dtype=np.float32)[:, None]
    data = from_arrays(x, y)
    found = parts(data)
    assert sorted(torch.cat([part["x"][:, 0] for part in found.values()]).tolist()) == list(range(len(y)))
    tenth = round(len(y) / 10)
    assert [len(part["y"]) for part in found.values()] == [len(y) - 2 * tenth, tenth, tenth]
    for part in ("valid", "test"):
        share = np.bincount(found[part]["y"].numpy(), minlength=len(counts))
        assert np.abs(share - tenth * np.array(counts) / len(y)).max() <= 1.5
    assert set(found["train"]["y"].tolist()) == set(range(len(counts)))
    for part in found.values():
        assert torch.equal(torch.from_numpy(y)[part["x"][:, 0].long()], part["y"])


def test_the_seed_moves_validation_but_not_test():
    x, y = RNG.random((60, 2)), np.arange(60) % 2
    one, again, other = (parts(from_arrays(x, y, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(one["valid"]["x"], again["valid"]["x"])
    assert not torch.equal(one["valid"]["x"], other["valid"]["x"])
    assert torch.equal(one["test"]["x"], other["test"]["x"])


def test_given_splits_are_kept():
    x, y = RNG.random((40, 2)), np.arange(40) % 2
    data = from_arrays(x[:30], y[:30], test=(x[30:], y[30:]))
    assert torch.equal(whole(data.test)["x"], torch.from_numpy(x[30:]).float())
    assert len(data.valid) == 3
    data = from_arrays(x[:20], y[:20], valid=(x[20:30], y[20:30]), test=(x[30:], y[30:]))
    assert [len(part["y"]) for part in parts(data).values()] == [20, 10, 10]


# Arrays


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        ([7, 3, 7, 3], ("3", "7")),
        (["dog", "cat", "dog", "cat"], ("cat", "dog")),
        ([2.0, 10.0, 2.0, 10.0], ("2", "10")),
        (["2", "10", "2", "10"], ("2", "10")),
        ([True, False, True, False], ("0", "1")),
        (torch.tensor([5, 4, 5, 4]), ("4", "5")),
    ],
)
def test_labels_become_class_numbers(y, classes):
    data = from_arrays(np.arange(4.0)[:, None], y, valid=([[4.0]], y[:1]), test=([[5.0]], y[1:2]))
    assert data.classes == classes
    number = [str(value).removesuffix(".0").replace("True", "1").replace("False", "0") for value in np.asarray(y)]
    assert [classes[i] for i in whole(data.train)["y"]] == number


@pytest.mark.parametrize("wrap", [np.asarray, torch.as_tensor])
def test_pictures_take_the_librarys_form(wrap, capsys):
    x, y = RNG.integers(0, 256, (30, 4, 5, 3), dtype=np.uint8), np.arange(30) % 2
    data = from_arrays(wrap(x), y)
    assert data.shape == (3, 4, 5)
    assert not capsys.readouterr().err
    same = from_arrays(wrap(x.transpose(0, 3, 1, 2).astype(np.float64)), y)
    assert "taken for pixels and divided by 255" in capsys.readouterr().err
    torch.testing.assert_close(whole(same.train)["x"], whole(data.train)["x"])
    assert from_arrays(wrap(x[..., 0]), y).shape == (1, 4, 5)
    assert float(whole(from_arrays(RNG.random((30, 4, 5)), y).train)["x"].max()) <= 1
    assert not capsys.readouterr().err.count("0..1")


def test_the_callers_array_is_left_alone():
    x = np.full((30, 2, 2), 200, np.float32)
    from_arrays(x, np.arange(30) % 2)
    assert x.max() == 200


def test_unlabelled_data():
    data = from_arrays(RNG.random((30, 3)))
    assert data.classes == ()
    assert list(whole(data.train)) == ["x"]
    assert [len(part["x"]) for part in parts(data).values()] == [24, 3, 3]


GOOD = (RNG.random((20, 3)), np.arange(20) % 2)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((GOOD[0], GOOD[1][:-1]), "arrays has 19 labels for 20 train examples"),
        ((GOOD[0], np.zeros(20)), "every training example of arrays has the label '0'"),
        ((GOOD[0][:0], GOOD[1][:0]), "arrays has no train example"),
        ((np.where(np.arange(60).reshape(20, 3) == 31, np.nan, 1.0), GOOD[1]), "train example 11 holds a value"),
        ((GOOD[0][:, 0], GOOD[1]), r"needs x as rows of numbers, got float64 of shape \(20,\)"),
        ((np.array([["a"]] * 20), GOOD[1]), "needs x as rows of numbers"),
        ((GOOD[0], np.linspace(0, 1, 20)), "labels such as 0.05.*; they must be classes, not quantities"),
        ((GOOD[0], GOOD[1], None, (GOOD[0], [None, *GOOD[1][1:]])), "row 21: the label is missing"),
        ((GOOD[0], np.eye(20)), r"labels of shape \(20, 20\)"),
        ((GOOD[0], GOOD[1], None, (GOOD[0], GOOD[1] * 5)), "class '5' among its test examples, but not in training"),
        ((GOOD[0], GOOD[1], None, (GOOD[0], None)), "no labels for its test examples"),
        ((GOOD[0][:3], [0, 1, 2]), "arrays has 3 examples, too few to hold 1 out"),
    ],
)
def test_what_cannot_be_used_is_one_line(arguments, told):
    with pytest.raises(ValueError, match=told) as caught:
        from_arrays(*arguments)
    assert len(str(caught.value).splitlines()) == 1


# torch datasets


class Pictures(torch.utils.data.Dataset):
    """Items as torchvision gives them without a transform: a PIL picture and a number."""

    def __init__(self, pixels, y):
        self.pixels, self.y, self.read = pixels, y, 0

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, i):
        self.read += 1
        return Image.fromarray(self.pixels[i]), self.y[i]


def test_torch_datasets_are_data_sets():
    x, y = RNG.integers(0, 256, (30, 4, 5), dtype=np.uint8), np.arange(30) % 3
    whole_at_once = parts(from_arrays(x, y))
    for dataset in (Pictures(x, y.tolist()), torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y))):
        data = from_dataset(dataset)
        assert data.classes == ("0", "1", "2")
        for name, part in parts(data).items():
            assert torch.equal(part["x"], whole_at_once[name]["x"])
            assert torch.equal(part["y"], whole_at_once[name]["y"])


def test_targets_spare_a_pass_over_the_items():
    dataset = Pictures(RNG.integers(0, 256, (30, 4, 5), dtype=np.uint8), [0, 1] * 15)
    dataset.targets = [0, 1] * 15
    from_dataset(dataset)
    assert dataset.read == 0


def test_torch_datasets_that_do_not_fit():
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(())

    with pytest.raises(ValueError, match="IterableDataset"):
        from_dataset(Stream())
    ragged = torch.utils.data.StackDataset([torch.zeros(i % 2 + 1) for i in range(30)], [0, 1] * 15)
    with pytest.raises(ValueError, match="differ in shape"):
        whole(from_dataset(ragged).train)


# npz


@pytest.mark.parametrize("names", [("x", "y"), ("X", "y"), ("images", "labels"), ("data", "target")])
def test_npz(tmp_path, names):
    x, y = RNG.random((30, 3)), np.arange(30) % 2
    np.savez(tmp_path / "d.npz", **dict(zip(names, (x, y), strict=True)))
    data, same = load(tmp_path / "d.npz", seed=4), from_arrays(x, y, seed=4)
    assert torch.equal(whole(data.train)["x"], whole(same.train)["x"])
    assert data.name == str(tmp_path / "d.npz")
    assert len(data.hashes["d.npz"]) == 64


def test_npz_with_splits(tmp_path):
    x, y = RNG.random((30, 3)), np.arange(30) % 2
    np.savez(tmp_path / "d.npz", x_train=x[:20], y_train=y[:20], x_test=x[20:], y_test=y[20:], note=np.zeros(3))
    data = load(tmp_path / "d.npz")
    assert torch.equal(whole(data.test)["x"], torch.from_numpy(x[20:]).float())
    assert len(data.train) + len(data.valid) == 20


def test_bad_npz(tmp_path):
    path = tmp_path / "d.npz"
    np.savez(path, RNG.random((30, 3)), np.arange(30) % 2)
    with pytest.raises(ValueError, match="holds arr_0, arr_1; it takes x and y"):
        load(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"cannot read .*d\.npz"):
        load(path)
    np.savez(path, x=np.array([{}, 1], dtype=object))
    with pytest.raises(ValueError, match=r"cannot read .*d\.npz"):
        load(path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match="it holds one array; save it with"):
        load(path)
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"cannot read .*d\.npz"):
        load(path)


# Tables


@pytest.fixture(params=["pandas", "csv"])
def reader(request, monkeypatch):
    """Read .csv with pandas, and as if it were not installed."""
    if request.param == "csv":
        monkeypatch.setattr(tables, "find_spec", lambda name: None)


def table(tmp_path, text):
    path = tmp_path / "data.csv"
    path.write_text(text)
    return path


ROWS = [f"{i}.5,{i * i},{'ab'[i % 2]}" for i in range(30)]


@pytest.mark.parametrize(
    "text",
    [
        "size,weight,kind\n" + "\n".join(ROWS),
        "\n".join(ROWS) + "\n",
        "\ufeffsize;weight;kind\r\n" + "\r\n".join(ROWS).replace(",", ";"),
        "size\tweight\tkind\n" + "\n\n".join(ROWS).replace(",", "\t"),
        "label,size,weight\n" + "\n".join(",".join(row.split(",")[i] for i in (2, 0, 1)) for row in ROWS),
    ],
    ids=["head", "no head", "semicolons", "tabs and blank lines", "label first"],
)
def test_csv(tmp_path, reader, text, capsys):
    if "\n".join(ROWS) + "\n" == text:
        text = "\n".join(row.replace("a", "0").replace("b", "1") for row in ROWS)
    data = load(table(tmp_path, text))
    found = parts(data)
    x = torch.cat([part["x"] for part in found.values()])
    x = x[x[:, 0].argsort()]
    assert torch.equal(x, torch.tensor([[i + 0.5, i * i] for i in range(30)]))
    assert data.classes in (("a", "b"), ("0", "1"))
    assert "is the label" in capsys.readouterr().err
    for part in found.values():
        assert torch.equal(part["y"], (part["x"][:, 0] - 0.5).long() % 2)


def test_csv_without_labels(tmp_path, reader, capsys):
    data = load(table(tmp_path, "a,b\n" + "\n".join(f"{i},{i / 7}" for i in range(30))))
    assert data.classes == ()
    assert data.shape == (2,)
    assert "no column is a label" in capsys.readouterr().err


def test_a_csv_of_pixels_is_scaled(tmp_path, reader, capsys):
    pixels = RNG.integers(0, 256, (30, 64))
    rows = [",".join(map(str, [i % 3, *row])) for i, row in enumerate(pixels)]
    data = load(table(tmp_path, "label," + ",".join(f"p{i}" for i in range(64)) + "\n" + "\n".join(rows)))
    assert float(whole(data.train)["x"].max()) <= 1
    assert "divided by 255" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: [*rows[:4], "4.5,,a", *rows[5:]], "row 5, column 'weight': the value is missing"),
        (lambda rows: [*rows[:4], "4.5,tall,a", *rows[5:]], "row 5, column 'weight': 'tall' is no number"),
        (lambda rows: [*rows[:4], "4.5,NA,a", *rows[5:]], "row 5, column 'weight': 'NA' is no number"),
        (lambda rows: [*rows[:4], "nan,1,a", *rows[5:]], "row 5, column 'size': "),
        (lambda rows: [*rows[:4], "inf,1,a", *rows[5:]], "row 5, column 'size': 'inf' is no number"),
        (lambda rows: [*rows[:4], "4.5,1,a,9", *rows[5:]], r"cannot read .*data\.csv: .*(4|5).*"),
        (lambda rows: [row + ",9" for row in rows], "the first row has 4 values under 3 names"),
        (lambda rows: [], "has no row"),
        (lambda rows: [row[:-1] + "a" for row in rows], "has the label 'a'"),
    ],
)
def test_bad_csv_names_row_and_column(tmp_path, reader, change, told):
    path = table(tmp_path, "\n".join(["size,weight,kind", *change(ROWS)]))
    with pytest.raises(ValueError, match=told) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "told"), [("", "has no row"), ("a,a\n1,2", "same name"), ("label\na\nb", "no column of features")]
)
def test_odd_csv(tmp_path, reader, text, told):
    with pytest.raises(ValueError, match=told):
        load(table(tmp_path, text))


def test_binary_junk_is_no_csv(tmp_path, reader):
    (tmp_path / "data.csv").write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match="cannot read"):
        load(tmp_path / "data.csv")


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"size": np.arange(30) / 2, "weight": np.arange(30) ** 2, "kind": ["a", "b"] * 15}
    parquet.write_table(pyarrow.table(columns), tmp_path / "d.parquet")
    data = load(tmp_path / "d.parquet")
    assert data.classes == ("a", "b")
    assert data.shape == (2,)
    parquet.write_table(pyarrow.table(columns | {"weight": [None, *range(29)]}), tmp_path / "d.parquet")
    with pytest.raises(ValueError, match="row 1, column 'weight': the value is missing"):
        load(tmp_path / "d.parquet")
    (tmp_path / "d.parquet").write_text("nothing")
    with pytest.raises(ValueError, match="cannot read"):
        load(tmp_path / "d.parquet")


@pytest.mark.parametrize("columns", ["size,weight,kind", "size,weight,label", "size,weight"])
def test_rows_to_predict(tmp_path, reader, columns):
    wide = columns.count(",") + 1
    path = table(tmp_path, "\n".join([columns, *(",".join(row.split(",")[:wide]) for row in ROWS)]))
    x = whole(read_rows(path))["x"]
    assert torch.equal(x, torch.tensor([[i + 0.5, i * i] for i in range(30)]))
    numbers = table(tmp_path, "a,b,c\n1,2,0\n3,4,1\n")
    assert whole(read_rows(numbers))["x"].shape == (2, 3)
    assert whole(read_rows(numbers, 2))["x"].shape == (2, 2)


# Pictures


def test_a_folder_for_each_class(tmp_path):
    made = {}
    for name in ("cat", "dog"):
        for i in range(15):
            made[(name, i)] = picture(tmp_path / name / f"{i:02}.png")
    data = load(tmp_path)
    assert data.classes == ("cat", "dog")
    assert data.shape == (1, 4, 5)
    assert [len(part["y"]) for part in parts(data).values()] == [24, 3, 3]
    given = {pixels.tobytes(): name for (name, _), pixels in made.items()}
    for part in parts(data).values():
        for x, y in zip(part["x"], part["y"], strict=True):
            assert given[(x[0] * 255).round().byte().numpy().tobytes()] == data.classes[y]
    [key] = data.hashes
    assert key == f"{tmp_path.name} (30 files)"
    picture(tmp_path / "cat" / "00.png")
    assert load(tmp_path).hashes[key] != data.hashes[key]


def test_training_pictures_beside_the_classes_have_no_label(tmp_path, capsys):
    for split, count in (("train", 10), ("test", 3)):
        picture(tmp_path / split / "loose.png", value=9)
        for name in ("cat", "dog"):
            for i in range(count):
                picture(tmp_path / split / name / f"{i}.png")
    data = load(tmp_path)
    assert data.classes == ("cat", "dog")
    assert [len(data.unlabelled), len(data.test)] == [1, 6]
    assert (whole(data.unlabelled)["x"] * 255).round().unique().tolist() == [9]
    told = capsys.readouterr().err
    assert "1 training examples have no label" in told
    assert "test: 1 pictures beside the folders of the classes are left out" in told


def test_subfolders_for_splits(tmp_path):
    for split, count in (("train", 10), ("test", 3), ("val", 2)):
        for name in ("cat", "dog"):
            for i in range(count):
                picture(tmp_path / split / name / f"{i}.png")
    assert [len(part["y"]) for part in parts(load(tmp_path)).values()] == [20, 4, 6]
    picture(tmp_path / "test" / "emu" / "0.png")
    with pytest.raises(ValueError, match="class 'emu' among its test examples, but not in training"):
        load(tmp_path)


def test_a_list_of_labels(tmp_path):
    for i in range(20):
        picture(tmp_path / f"{i}.png", value=i)
    rows = [f"{i}.png,{'even' if i % 2 == 0 else 'odd'}" for i in range(20)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *rows]))
    data = load(tmp_path)
    for part in parts(data).values():
        for x, y in zip(part["x"], part["y"], strict=True):
            assert data.classes[y] == ("even" if round(float(x[0, 0, 0]) * 255) % 2 == 0 else "odd")
    (tmp_path / "7.png").unlink()
    with pytest.raises(ValueError, match=r"labels\.csv, row 8: there is no picture .*7\.png"):
        load(tmp_path)


def test_unlabelled_pictures(tmp_path):
    for i in range(20):
        picture(tmp_path / f"{i}.png")
    assert load(tmp_path).classes == ()


def test_pictures_that_differ_are_made_to_fit_and_it_is_said(tmp_path, capsys):
    for i in range(20):
        picture(tmp_path / "ab"[i % 2] / f"{i}.png", (7, 9) if i == 3 else (4, 5, 3) if i == 4 else (4, 5))
    assert load(tmp_path).shape == (3, 4, 5)
    told = capsys.readouterr().err
    assert "1 of 20 looked at are not 5x4" in told
    assert "read at 5x4" in told


def test_large_pictures_are_shrunk_and_it_is_said(tmp_path, capsys):
    for i in range(12):
        picture(tmp_path / "ab"[i % 2] / f"{i}.jpg", (300, 600))
    assert load(tmp_path).shape == (1, 128, 256)
    assert "read at 256x128" in capsys.readouterr().err


def test_more_pictures_than_memory_are_decoded_as_they_are_fetched(tmp_path, monkeypatch):
    for i in range(20):
        picture(tmp_path / "ab"[i % 2] / f"{i:02}.png")
    held = load(tmp_path)
    monkeypatch.setattr(folders, "LARGE", 100)
    data = load(tmp_path)
    assert isinstance(data.train.examples, Labelled)
    assert isinstance(data.train.examples.examples, ImageFolder)
    assert list(data.hashes) == [f"{tmp_path.name} (names and sizes)"]
    for name, part in parts(data).items():
        assert torch.equal(part["x"], parts(held)[name]["x"])
        assert torch.equal(part["y"], parts(held)[name]["y"])


def test_bad_folders(tmp_path):
    with pytest.raises(ValueError, match="holds no picture"):
        load(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(ValueError, match="cat holds no picture; remove the folder or fill it"):
        load(tmp_path)
    for i in range(20):
        picture(tmp_path / "cat" / f"{i}.png")
    with pytest.raises(ValueError, match="has the label 'cat'"):
        load(tmp_path)
    for i in range(20):
        picture(tmp_path / "dog" / f"{i}.png")
    (tmp_path / "dog" / "7.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"cannot read the picture .*dog/7\.png: this is no picture"):
        load(tmp_path)


def test_unknown_kinds_of_file(tmp_path):
    (tmp_path / "a.docx").write_text("x")
    with pytest.raises(ValueError, match="of no kind that can be read"):
        load(tmp_path / "a.docx")
    with pytest.raises(ValueError, match="holds no rows"):
        read_rows(tmp_path / "a.docx")


# One picture, and what a system takes


def test_read_image(tmp_path):
    pixels = picture(tmp_path / "a.png", (4, 5, 3))
    color = read_image(tmp_path / "a.png", (3, 4, 5))
    assert torch.equal(color, torch.from_numpy(pixels).permute(2, 0, 1).float() / 255)
    gray = read_image(tmp_path / "a.png", (1, 4, 5))
    luma = (color * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0, keepdim=True)
    assert float((gray - luma).abs().max()) < 1.01 / 255
    assert read_image(tmp_path / "a.png", (1, 28, 28)).shape == (1, 28, 28)
    picture(tmp_path / "b.png", (40, 40), value=77)
    assert torch.equal(read_image(tmp_path / "b.png", (1, 28, 28)), torch.full((1, 28, 28), 77 / 255))
    with pytest.raises(ValueError, match="cannot become rows of 64 numbers"):
        read_image(tmp_path / "a.png", (64,))
    with pytest.raises(ValueError, match=r"none\.png: no such file or directory"):
        read_image(tmp_path / "none.png", (1, 4, 5))


def test_transparent_becomes_white_and_sixteen_bits_eight(tmp_path):
    Image.new("RGBA", (5, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert float(read_image(tmp_path / "clear.png", (1, 4, 5)).min()) == 1
    deep = Image.fromarray(np.array([[0, 257 * 100, 65535]], dtype=np.uint16))
    deep.save(tmp_path / "deep.png")
    assert (read_image(tmp_path / "deep.png", (1, 1, 3)) * 255).round().flatten().tolist() == [0, 100, 255]
    assert opaque(Image.new("L", (2, 2), 9)).getpixel((0, 0)) == 9


def test_phone_photos_are_turned_upright(tmp_path):
    photo = Image.fromarray(np.arange(20, dtype=np.uint8).reshape(4, 5) * 10)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to view
    photo.save(tmp_path / "p.png", exif=exif)
    turned = read_image(tmp_path / "p.png", (1, 5, 4))
    assert torch.equal(turned[0] * 255, torch.from_numpy(np.rot90(np.asarray(photo), -1).copy()).float())


def test_fit_to(capsys):
    x = torch.rand(6, 3, 8, 8)
    examples = Arrays(x=x, y=torch.arange(6))
    assert fit_to(examples, (3, 8, 8)) is examples
    assert not capsys.readouterr().err
    gray = whole(fit_to(examples, (1, 8, 8)))
    torch.testing.assert_close(gray["x"], (x * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True))
    assert gray["y"].tolist() == list(range(6))
    assert capsys.readouterr().err == "pictures of 3x8x8 are made to fit pictures of 1x8x8\n"
    halved = whole(fit_to(Arrays(x=torch.full((2, 1, 8, 8), 0.25)), (3, 4, 4)))["x"]
    assert torch.equal(halved, torch.full((2, 3, 4, 4), 0.25))
    resized = whole(fit_to(examples, (3, 4, 6)))["x"]
    pil = Image.fromarray((x[0, 0] * 255).byte().numpy()).resize((6, 4), Image.Resampling.BILINEAR)
    assert np.abs(resized[0, 0].numpy() * 255 - np.asarray(pil)).max() < 2  # the same filter as Pillow's
    assert torch.equal(whole(fit_to(examples, (192,)))["x"], x.flatten(1))
    with pytest.raises(ValueError, match=re.escape("pictures of 3x8x8 where the system needs rows of 10 numbers")):
        fit_to(examples, (10,))


def test_relabel():
    examples = Arrays(x=torch.zeros(3, 1), y=torch.tensor([0, 1, 1]))
    assert relabel(examples, ("a", "b"), ("a", "b")) is examples
    assert relabel(examples, (), ("a", "b")) is examples
    assert whole(relabel(examples, ("c", "a"), ("a", "b", "c")))["y"].tolist() == [2, 0, 0]
    with pytest.raises(ValueError, match="class 'b', which the system was not trained on"):
        relabel(examples, ("a", "b"), ("a", "c"))


def test_training_examples_without_a_label_are_set_aside(capsys):
    x, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
    for gap in (None, np.nan, ""):
        labels = [gap if i < 10 else (str(k) if gap == "" else k) for i, k in enumerate(y)]
        data = from_arrays(x, labels)
        assert np.allclose(whole(data.unlabelled)["x"], x[:10])
        assert len(data.train) + len(data.valid) + len(data.test) == 30
        assert data.classes == ("0", "1")
        assert "10 training examples have no label" in capsys.readouterr().err
    assert from_arrays(x, y).unlabelled is None


def test_minus_one_is_no_label_beside_classes_that_are_no_negative_numbers(capsys):
    x, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
    marked = np.where(np.arange(40) < 10, -1, y)
    for labels in (marked, [str(label) for label in marked], marked.astype(float)):
        data = from_arrays(x, labels)
        assert np.allclose(whole(data.unlabelled)["x"], x[:10])
        assert data.classes == ("0", "1")
        assert "10 training examples have the label -1, which is read as none" in capsys.readouterr().err
    words = np.array(["a", "b", "-c"])[np.arange(40) % 3].astype(object)
    words[:10] = "-1"
    assert from_arrays(x, words).classes == ("-c", "a", "b")
    assert "(if it is a class, give it a name or another number); only" in capsys.readouterr().err
    for classes in ([-1, 1], [-2, -1, 0, 1], ["-1", "a"]):  # -1 is one class of several
        data = from_arrays(x, np.array(classes)[np.arange(40) % len(classes)])
        assert data.unlabelled is None
        assert len(data.classes) == len(classes)


@pytest.mark.parametrize("label", [None, "", np.nan, -1, "-1"])
def test_where_no_training_example_has_a_label_there_are_none(label, capsys):
    data = from_arrays(np.ones((40, 3)), [label] * 40, None, (np.ones((5, 3)), ["a", "b", "a", "b", "a"]))
    assert data.classes == ()
    assert data.unlabelled is None
    assert len(data.test) == 5
    assert "no training example has a label" in capsys.readouterr().err


def test_rows_of_a_table_without_a_label_are_set_aside(tmp_path, reader):
    rows = [*ROWS[:4], "4.5,1,", *ROWS[5:]]
    data = load(table(tmp_path, "\n".join(["size,weight,kind", *rows])))
    assert whole(data.unlabelled)["x"].tolist() == [[4.5, 1.0]]
