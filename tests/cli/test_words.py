"""A text as words, from training to samples, through the command line."""

import json

from lamina.cli import main

TEXT = "The cat sat on the mat, and the dog (a big one) sat on the log.\n" * 60
SMALL = ["--hidden", "8", "--embedding", "4", "--batch", "4", "--window", "10", "--epochs", "2", "--quiet"]


def test_words_from_training_to_samples(told, tmp_path):
    path, run = tmp_path / "pets.txt", tmp_path / "run"
    path.write_text(TEXT)
    out = told("train", "char_lm", *SMALL, "--threads", "1", "--data", f"byword:{path}", "--out", run)
    assert "bits" in out
    assert json.loads((run / "recipe.json").read_text())["data"]["name"] == f"byword:{path}"
    assert "trained 2 epochs" in told("train", "--resume", run, "--quiet")
    found = told("evaluate", run, "--split", "valid")
    assert f"byword:{path} valid" in found
    assert "perplexity " in found
    lines = told("sample", run, "-n", "2", "--length", "12", "--prompt", "The cat").splitlines()
    assert lines[0].startswith("the cat")
    page = (run / "report.html").read_text()
    assert "Samples" in page
    assert " ," not in page.split("Samples")[1].split("<h2")[0]  # marks stand where they belong
    words = ["sample", run, "--length", "6", "--prompt", "The cat"]
    best = told(*words, "--beam", "3").splitlines()
    assert 1 <= len(best) <= 3
    assert all(line.startswith("the cat") for line in best if line)
    assert told(*words, "--beam", "3") == told(*words, "--beam", "3", "--seed", "1")  # nothing is drawn
    assert told(*words, "-n", "1", "--beam", "1") == told(*words, "-n", "1", "--temperature", "0")


def test_beams_that_cannot_be(told, tmp_path, capsys):
    path, run = tmp_path / "pets.txt", tmp_path / "run"
    path.write_text(TEXT)
    told("train", "char_lm", *SMALL, "--threads", "1", "--data", path, "--out", run)
    assert main(["sample", str(run), "--beam", "0"]) == 2
    assert "needs a length, a width and a beginning, got 200, 0" in capsys.readouterr().err
