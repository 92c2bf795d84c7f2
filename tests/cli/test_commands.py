"""What the commands print and write, on the user's own data."""

import json

import numpy as np
import pytest
from PIL import Image
from toys import pictures, table

from lamina.cli import main


def width(path):
    with Image.open(path) as image:
        return image.size[0]


QUICK = ["--epochs", "2", "--quiet", "--threads", "1"]


def test_a_folder_of_pictures_from_training_to_prediction(told, tmp_path):
    folder, run = pictures(tmp_path / "pets", count=10), tmp_path / "run"
    out = told("train", "lenet5", *QUICK, "--data", folder, "--out", run)
    assert out.startswith("test  error ")
    assert f"report {run}/report.html" in out
    page = (run / "report.html").read_text()
    assert "lamina train lenet5" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "error" in told("evaluate", run, "--split", "valid")
    image = folder / "cat" / "0.png"
    line = told("predict", run, image, "--top", "2").split()
    assert line[0] == str(image)
    assert {line[1], line[3]} == {"cat", "dog"}
    assert float(line[2]) + float(line[4]) == pytest.approx(1, abs=1e-3)


def test_a_table_from_training_to_prediction(told, tmp_path):
    data, run = table(tmp_path / "rows.csv", 200), tmp_path / "run"
    told("train", "mlp", "--data", data, "--out", run, "--hidden", "8", "--epochs", "20", "--quiet")
    new = tmp_path / "new.csv"
    new.write_text("height,width\n3,0\n-3,0\n")
    lines = told("predict", run, new).splitlines()
    assert [line.split()[:2] for line in lines] == [[f"{new}:1", "yes"], [f"{new}:2", "no"]]


def test_patterns_are_evaluated_as_in_training(told, tmp_path):
    run, small = (
        tmp_path / "run",
        ["--hidden", "4", "--stacks", "1", "--restarts", "1", "--windows", "4", "--depth", "30"],
    )
    told("train", "stack_rnn", *QUICK, *small, "--data", "patterns:anbn", "--out", run)
    epochs = [json.loads(line).get("valid") for line in (run / "log.jsonl").read_text().splitlines()]
    least = min(valid["wrong"] for valid in epochs if valid)
    found = told("evaluate", run, "--split", "valid").split()
    assert float(found[found.index("wrong") + 1]) == pytest.approx(least, rel=1e-3)
    assert "wrong" in told("evaluate", run, "--data", "patterns:anbncn")  # with a symbol that the run has never seen


def test_training_goes_on_where_it_was(told, tmp_path):
    run = tmp_path / "run"
    told("train", "mlp", *QUICK, "--data", table(tmp_path / "rows.csv"), "--out", run, "--tensorboard")
    assert "trained 2 epochs" in told("train", "--resume", run, "--quiet")
    assert list(run.glob("events.out.tfevents*"))
    described = json.loads((run / "recipe.json").read_text())
    assert described["recipe"] == "mlp"
    assert described["arguments"]["epochs"] == 2
    assert described["data"]["hashes"]


def test_samples_as_a_picture_and_as_an_array(told, tmp_path):
    run = tmp_path / "run"
    told("train", "rbm", *QUICK, "--hidden", "4", "--data", pictures(tmp_path / "pets"), "--out", run)
    told("sample", run, "-n", "6", "--out", tmp_path / "grid.png")
    assert width(tmp_path / "grid.png") > 9
    told("sample", run, "-n", "6", "--out", tmp_path / "samples.npy")
    assert np.load(tmp_path / "samples.npy").shape == (6, 1, 9, 9)


def test_lists(told):
    listed = told("list")
    for name in ("lenet5", "mlp_dropout", "rbm", "gan", "ladder", "char_lm"):
        assert name in listed
    assert "mnist" in told("data")
    assert "10 classes: '0', '1'" in told("data", "digits")


def test_reproduce_writes_records_and_a_table_of_them(told, tmp_path):
    words = ["--data", str(table(tmp_path / "rows.csv")), "--records", str(tmp_path / "records"), "--quiet"]
    for seed in ("0", "1"):
        told("reproduce", "mlp", "--seeds", seed, *words, "--runs", tmp_path / "runs")
    records = [json.loads(path.read_text()) for path in sorted((tmp_path / "records").glob("*.json"))]
    assert [record["seed"] for record in records] == [0, 1]
    assert all(0 <= record["figures"]["error"] <= 1 and record["commit"] is not None for record in records)
    told("reproduce", "--table", tmp_path / "results.md", "--records", tmp_path / "records")
    page = (tmp_path / "results.md").read_text()
    assert "| mlp | full |" in page
    assert "| 0, 1 |" in page


def test_a_record_names_where_a_run_began_and_where_it_ended(told, tmp_path):
    words = ["--data", str(table(tmp_path / "rows.csv")), "--records", str(tmp_path / "records"), "--quiet"]
    told("reproduce", "mlp", *words, "--runs", tmp_path / "runs")
    kept = tmp_path / "records" / "mlp-full-rows-0.json"
    first = json.loads(kept.read_text())
    assert "ended" not in first
    begun = next((tmp_path / "runs").glob("*/recipe.json"))
    begun.write_text(json.dumps(json.loads(begun.read_text()) | {"commit": "0123456789ab", "gpu": "a card"}))
    told("reproduce", "mlp", *words, "--runs", tmp_path / "runs")
    again = json.loads(kept.read_text())
    assert again["figures"] == first["figures"]
    assert (again["commit"], again["ended"]["commit"]) == ("0123456789ab", first["commit"])
    told("reproduce", "--table", tmp_path / "results.md", "--records", tmp_path / "records")
    page = (tmp_path / "results.md").read_text()
    assert f"| 0123456789ab, {first['commit']} | a card, {first['machine']} |" in page


def test_learning_rates_are_tested(told, tmp_path):
    out = told("range", "mlp", "--data", table(tmp_path / "rows.csv"), "--out", tmp_path / "range.png", "--quiet")
    assert "suggested learning rate" in out
    assert width(tmp_path / "range.png") > 100


def test_help_and_version(told, capsys):
    assert "reproduce" in told("--help")
    assert told("--version").startswith("lamina 0.")
    with pytest.raises(SystemExit, match="0"):
        main(["train", "mlp", "--help"])
    assert "--hidden" in capsys.readouterr().out
