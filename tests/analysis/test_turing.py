import base64
import csv
import html.parser
import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from lamina.analysis.turing import EXPOSURES, fooled, read_answers, turing_page, wilson

FIELDS = ("image", "truth", "answer", "exposure", "reaction")


def page_of(real=12, generated=9, title="toy", seed=0):
    """A page on which real images are bright and generated ones dark."""
    shape = (1, 5, 4)
    return turing_page(0.6 + 0.4 * torch.rand(real, *shape), 0.4 * torch.rand(generated, *shape), title, seed)


def facts_of(page):
    return json.loads(re.search(r'<script id="facts" type="application/json">(.*?)</script>', page, re.DOTALL)[1])


def truths(facts):
    """The truth as the page's script reads it."""
    return ["generated" if a ^ b else "real" for a, b in zip(facts["marks"], facts["mask"], strict=True)]


def row(truth="real", answer="real", exposure=100, image=0, reaction=500):
    return {"image": image, "truth": truth, "answer": answer, "exposure": exposure, "reaction": reaction}


def write_json(path, rows):
    path.write_text(json.dumps({"page": "toy", "answers": rows}))
    return path


def write_csv(path, rows):
    told = io.StringIO()
    writer = csv.DictWriter(told, FIELDS)
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(told.getvalue())
    return path


def test_every_image_has_its_truth():
    facts = facts_of(page_of())
    means = [np.asarray(Image.open(io.BytesIO(base64.b64decode(image)))).mean() / 255 for image in facts["images"]]
    assert [("real" if mean > 0.5 else "generated") for mean in means] == truths(facts)
    assert truths(facts).count("real") == 12
    assert facts["exposures"] == list(EXPOSURES)


def test_the_truth_is_neither_in_the_order_nor_in_the_marks():
    """200 images of each kind: each share lies within 5 standard deviations of 1/2, here and over the seed."""
    facts = facts_of(page_of(200, 200))
    kinds = np.array(truths(facts)) == "real"
    marks = np.array(facts["marks"])
    assert abs(kinds[:200].mean() - 0.5) < 5 * 0.5 / 200**0.5
    assert abs((kinds == marks).mean() - 0.5) < 5 * 0.5 / 400**0.5
    assert truths(facts) != truths(facts_of(page_of(200, 200, seed=1)))


def test_the_page_is_one_file_in_ascii_that_no_title_breaks():
    page = page_of(title="a </script><b>é")
    assert page.isascii()
    assert "http" not in page
    assert facts_of(page)["name"] == "a </script><b>é"
    tags = []

    class Reader(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            tags.append((tag, dict(attributes)))

    Reader().feed(page)
    assert [tag for tag, _ in tags].count("script") == 2
    assert not any("src" in attributes or "href" in attributes for _, attributes in tags)
    ids = {attributes["id"] for _, attributes in tags if "id" in attributes}
    assert set(re.findall(r'get\("(\w+)"\)', page)) <= ids  # the script finds all that it asks for


def test_images_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        turing_page(torch.zeros(2, 1, 4, 4), torch.zeros(2, 3, 4, 4), "toy")


def test_the_interval_solves_the_equation_of_the_score_test():
    """Wilson's ends are the p at which (k/n − p)² = z² p(1 − p)/n, here as roots of the quadratic in p."""
    z = 1.959963984540054
    for taken, count in ((4, 10), (1, 7), (37, 60)):
        share = taken / count
        roots = np.roots([1 + z**2 / count, -2 * share - z**2 / count, share**2])
        assert wilson(taken, count) == pytest.approx(sorted(roots), abs=1e-12)
    assert wilson(0, 5)[0] == 0
    assert wilson(5, 5)[1] == 1
    assert wilson(0, 0) == (0, 1)


def test_the_interval_covers_the_share():
    """All outcomes of 30 images, by the binomial distribution: the interval holds p in 92 % to 98 % of them."""
    from scipy.stats import binom

    for p in (0.1, 0.4, 0.5, 0.9):
        inside = [k for k in range(31) if wilson(k, 30)[0] <= p <= wilson(k, 30)[1]]
        assert 0.92 < binom.pmf(inside, 30, p).sum() < 0.98


@pytest.mark.parametrize(("write", "name"), [(write_json, "a.json"), (write_csv, "a.csv")])
def test_answers_are_counted_by_exposure_and_truth(tmp_path, write, name):
    rows = [row("generated", "real", 50), row("generated", "generated", 50), row("generated", "real", 2000)]
    rows += [row("real", "real", 50), row("real", "generated", 2000)]
    answers = read_answers(write(tmp_path / name, rows))
    found = fooled(answers)
    assert list(found) == [50, 2000]
    counts = {time: {kind: (s.taken, s.count) for kind, s in kinds.items()} for time, kinds in found.items()}
    assert counts[50] == {"generated": (1, 2), "real": (1, 1)}
    assert counts[2000] == {"generated": (1, 1), "real": (0, 1)}
    assert found[50]["generated"].low == wilson(1, 2)[0]
    assert answers[0].reaction == 500


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is no file of answers"),
        ("{", "is no file of answers"),
        ("[1, 2]", "is no file of answers"),
        ('{"answers": 3}', "is no file of answers"),
        ('{"answers": [{"image": 1}]}', "is no file of answers"),
        ('{"answers": []}', "holds no answer"),
        (json.dumps({"answers": [row(), row(truth="fake")]}), "answer 2: truth and answer must be"),
        (json.dumps({"answers": [row(exposure=0)]}), "exposure must be a time above 0 ms, got 0"),
        (json.dumps({"answers": [row(reaction="soon")]}), "must be numbers"),
        (json.dumps({"answers": [row(image=None)]}), "must be numbers"),
    ],
)
def test_what_holds_no_answers_is_refused(tmp_path, text, told):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=told) as error:
        read_answers(tmp_path / "a.json")
    assert "a.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_picture_or_a_table_of_something_else_is_refused(tmp_path):
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    (tmp_path / "a.csv").write_text("height,width\n1,2\n")
    (tmp_path / "b.csv").write_text("")
    for name in ("a.png", "a.csv", "b.csv"):
        with pytest.raises(ValueError, match=name):
            read_answers(tmp_path / name)
