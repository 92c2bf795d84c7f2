"""`lamina turing`: from a run to a page, and from answers to figures."""

import json

import pytest
from toys import pictures, table

from lamina.cli import main

QUICK = ["--epochs", "1", "--quiet", "--threads", "1", "--hidden", "4"]


@pytest.fixture
def refused(capsys):
    """Run the command line, expect exit 2 and one clear line, and return it."""

    def run(*words):
        status = main([str(word) for word in words])
        err = capsys.readouterr().err
        assert status == 2, err
        assert len(err.splitlines()) == 1, err
        return err

    return run


def answers(path, count=10):
    kinds = ("real", "generated")
    rows = [
        {"image": i, "truth": kinds[i % 2], "answer": "real", "exposure": 100 + 100 * (i > 5), "reaction": 321}
        for i in range(count)
    ]
    path.write_text(json.dumps({"page": "toy", "answers": rows}))
    return path


def test_a_page_from_a_run(told, tmp_path):
    run = tmp_path / "run"
    told("train", "rbm", *QUICK, "--data", pictures(tmp_path / "pets"), "--out", run)
    out = told("turing", run, "-n", "3", "--split", "train", "--out", tmp_path / "page.html")
    assert "3 real and 3 generated images" in out
    page = (tmp_path / "page.html").read_text()
    assert "rbm on" in page
    told("turing", run, "-n", "3", "--split", "train", "--out", tmp_path / "again.html")
    assert page == (tmp_path / "again.html").read_text()
    told("turing", run, "-n", "3", "--split", "train", "--seed", "1", "--out", tmp_path / "other.html")
    assert page != (tmp_path / "other.html").read_text()


def test_answers_of_several_files(told, tmp_path):
    out = told("turing", "--answers", answers(tmp_path / "a.json"), answers(tmp_path / "b.json", 4)).splitlines()
    assert out[0].startswith("14 answers")
    assert [line.split()[0] for line in out[1:]] == ["exposure", "100", "200", "all"]
    assert "5 of 5" in out[2]
    assert "7 of 7" in out[4]


def test_bad_input(refused, told, tmp_path):
    rows, empty = tmp_path / "rows", tmp_path / "empty.json"
    told("train", "rbm", *QUICK, "--visible", "gaussian", "--data", table(tmp_path / "rows.csv"), "--out", rows)
    nets = tmp_path / "nets"
    told("train", "mlp", *QUICK, "--data", tmp_path / "rows.csv", "--out", nets)
    empty.write_text("")
    assert "no file of answers" in refused("turing", "--answers", empty)
    assert "no file of answers" in refused("turing", "--answers", tmp_path / "rows.csv")
    assert "nowhere.json" in refused("turing", "--answers", tmp_path / "nowhere.json")
    assert "needs either" in refused("turing")
    assert "needs either" in refused("turing", rows, "--answers", answers(tmp_path / "a.json"))
    assert "holds no run" in refused("turing", tmp_path / "nowhere")
    assert "no images" in refused("turing", rows, "--out", tmp_path / "page.html")
    assert "makes no samples" in refused("turing", nets, "--out", tmp_path / "page.html")
    assert "-n must be at least 1" in refused("turing", rows, "-n", "0")
    assert "did you mean '--answers'" in refused("turing", "--answer", empty)
    assert not (tmp_path / "page.html").exists()
