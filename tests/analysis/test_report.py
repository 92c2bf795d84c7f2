"""The report says what scikit-learn says, stands alone, escapes what it is given, and works with parts missing."""

import base64
import io
import re
import shlex
from functools import partial
from html.parser import HTMLParser

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix
from torch import nn
from torch.nn import functional as F
from toys import Small, run_of, weights

from lamina.analysis.mistakes import Predictions, predictions
from lamina.analysis.report import write_report
from lamina.core import Run, System
from lamina.data.batches import Batches
from lamina.data.dataset import Data
from lamina.data.examples import Arrays
from lamina.train.evaluate import evaluate
from lamina.train.fit import Result, fit
from lamina.train.folder import Folder, FolderError

VOID = {"meta", "img", "br"}
SGD = partial(torch.optim.SGD, lr=0.05, momentum=0.9)


class Page(HTMLParser):
    """Reads a page: its tags are balanced, and its links, text, tables and alternative texts are kept."""

    def __init__(self, source):
        super().__init__()
        self.open, self.links, self.images, self.tables, self.words = [], [], [], [], []
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.links += [attrs[name] for name in ("src", "href", "xlink:href") if name in attrs]
        self.images += [attrs] if tag == "img" else []
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("th", "td"):
            self.tables[-1][-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "title"):
            self.words.append(data)
        if self.open and self.open[-1] in ("th", "td"):
            self.tables[-1][-1][-1] += data

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


class Net(System):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def predict(self, x):
        return self.net(x).softmax(1).detach()

    def loss(self, x, y):
        return {"nll": F.cross_entropy(self.net(x), y)}

    def metrics(self, x, y):
        return {"error": (self.net(x).argmax(1) != y).float().mean()} | self.loss(x, y)


class Sampler(Net):
    def sample(self, count):
        return torch.rand(count, 64)


class Text(System):
    """A text sampler without memory."""

    def __init__(self, symbols):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(symbols))

    def loss(self, tokens):
        return {"nats": -self.logits.log_softmax(0)[tokens].mean()}

    def sample(self, count):
        return self.logits.softmax(0).multinomial(count * 50, replacement=True).reshape(count, 50).detach()


def digits(shape=(1, 8, 8), classes=tuple("0123456789")):
    x, y = load_digits(return_X_y=True)
    x = (x / 16).reshape(-1, *shape)
    parts = [Arrays(x=x[a:b], y=y[a:b]) for a, b in ((0, 600), (600, 800), (800, 1797))]
    return Data("digits", *parts, classes=classes, hashes={"digits.csv": "0" * 64})


def trained(folder, data, system, origin=None, **changes):
    run = Run(system, Batches(data.train, 20), SGD, 3, **changes)
    run.origin = {**origin, "data": data.outline()} if origin else {}
    return run, Folder(folder), fit(run, folder)


def report_of(folder, data, run, kept, result, figures, **told):
    path = write_report(run, kept, result, data, figures, **told)
    assert path == kept.report
    source = path.read_text()
    assert source.isascii()
    assert len(source) < 2e6
    page = Page(source)
    assert all(link.startswith(("data:image/", "#")) for link in page.links)
    assert not re.search(r"url\((?!#)|@import|<script", source)
    return page


def classifier(tmp_path, data=None, system=None, **told):
    data = data or digits()
    torch.manual_seed(0)
    if system is None:
        system = Sampler(nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10)))
    origin = {"recipe": "net", "arguments": {"seed": 0, "lr": 0.05, "fast": False, "sizes": (8, 9), "name": "a b"}}
    run, kept, result = trained(tmp_path / "a", data, system, origin, valid=Batches(data.valid, 100), patience=7)
    figures = evaluate(run.system, Batches(data.test, 500))
    return run, report_of(tmp_path, data, run, kept, result, figures, **told), figures


def test_report_of_a_classifier(tmp_path):
    told = {"paper": "LeCun <1998>", "figure": "error", "published": 0.0095, "unit": "fraction", "on": "mnist"}
    run, page, figures = classifier(tmp_path, **told)
    test = digits().test.fields
    said = run.system.predict(test["x"])
    expected = confusion_matrix(test["y"], said.argmax(1))
    matrix = next(table for table in page.tables if table[0] == ["", *"0123456789"])
    found = [[int(cell or 0) for cell in row[1:]] for row in matrix[1:]]
    assert found == expected.tolist()
    assert f"Final error {100 * figures['error']:.2f} %; published error on mnist 0.95 %." in page.text
    assert "LeCun <1998>" in page.text
    assert re.search("epoch [123], whose weights were kept", page.text)

    wrong = said.argmax(1) != test["y"]
    surest = int(torch.where(wrong, said.amax(1), 0).argmax())
    shots = [image for image in page.images if "taken for" in image["alt"]]
    true, false, p = int(test["y"][surest]), int(said[surest].argmax()), 100 * float(said[surest].max())
    assert shots[0]["alt"] == f"test picture of {true}, taken for {false} with probability {p:.2f} %"
    assert len(shots) == min(24, int(wrong.sum()))
    shot = Image.open(io.BytesIO(base64.b64decode(shots[0]["src"].split(",")[1])))
    pixels = torch.frombuffer(bytearray(shot.resize((8, 8), Image.Resampling.NEAREST).tobytes()), dtype=torch.uint8)
    assert torch.equal(pixels, (test["x"][surest] * 255).round().byte().flatten())
    assert len(page.images) == len(shots) + 8 + 64  # filters and samples
    assert all("alt" in image for image in page.images)
    for word in ("nll", "error", "net.0.weight", "digits: 600 train, 200 valid, 997 test", "0" * 64):
        assert word in page.text


def test_the_command_carries_every_argument(tmp_path):
    _, page, _ = classifier(tmp_path)
    words = shlex.split(re.search(r"lamina train .*? --out runs/net", page.text)[0])
    assert words[:5] == ["lamina", "train", "net", "--data", "digits"]
    told = " ".join(words[5:])
    assert told == "--seed 0 --lr 0.05 --no-fast --sizes 8 9 --name a b --patience 7 --device cpu --out runs/net"
    assert "a b" in words


def test_a_report_changes_nothing_and_repeats(tmp_path):
    data = digits()
    run, kept, result = trained(tmp_path / "a", data, Sampler(nn.Sequential(nn.Flatten(), nn.Linear(64, 10))))
    before, state = weights(run), torch.get_rng_state()
    run.system.train()
    first = write_report(run, kept, result, data, {}).read_bytes()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(weights(run), before)
    assert run.system.training
    assert write_report(run, kept, result, data, {}).read_bytes() == first


def test_systems_speak_in_evaluation_mode(tmp_path):
    class Moody(Sampler):
        def predict(self, x):
            assert not self.training
            return super().predict(x)

        def sample(self, count):
            assert not self.training
            return super().sample(count)

    data = digits()
    run, kept, result = trained(tmp_path / "a", data, Moody(nn.Sequential(nn.Flatten(), nn.Linear(64, 10))))
    run.system.train()
    assert "Confusion" in report_of(tmp_path, data, run, kept, result, {}).text


def test_what_users_give_is_escaped(tmp_path):
    evil = "<script>alert('1')</script>&amp;\"é"
    data = digits(classes=tuple(f"{evil}{k}" for k in range(10)))
    data = Data(evil, data.train, data.valid, data.test, data.classes, {evil: "0"})

    class Evil(Net):
        def metrics(self, x, y):
            return {f'"><b>{evil}': self.loss(x, y)["nll"]}

    system = Evil(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))
    _, page, _ = classifier(tmp_path, data, system, paper=evil, figure=evil, published=1.0, unit=evil, on=evil)
    assert evil in page.text
    assert f"{evil}3" in "".join(image["alt"] for image in page.images)


def test_rows_instead_of_pictures(tmp_path):
    _, page, _ = classifier(tmp_path, digits((64,)), Sampler(nn.Linear(64, 10)))
    assert not page.images
    worst = next(table for table in page.tables if table[0] == ["example", "true", "predicted", "probability", "x"])
    row = worst[1]
    example = digits((64,)).test.fields["x"][int(row[0])]
    assert [float(value) for value in row[4].split(", ")[:10]] == pytest.approx(example[:10].tolist(), abs=1e-4)
    assert sum(table[0] == ["sample", "x"] for table in page.tables) == 1


def test_many_classes_and_large_noisy_pictures_stay_small(tmp_path):
    generator = torch.Generator().manual_seed(0)

    class Noise(Net):
        def sample(self, count):
            return torch.rand(count, 3, 128, 128)

    x, y = torch.rand(120, 3, 128, 128, generator=generator), torch.arange(120)
    examples = Arrays(x=x, y=y)
    data = Data("noise", examples, examples, examples, tuple(f"the class with number {k}" for k in range(120)))
    system = Noise(nn.Sequential(nn.Conv2d(3, 64, 11, 16), nn.Flatten(), nn.Linear(4096, 120)))
    kept = Folder(tmp_path / "a")
    run = Run(system, Batches(examples, 60), SGD, 1)
    kept.begin(run)
    page = report_of(tmp_path, data, run, kept, Result(), {})
    assert "Confusion of 120 classes" in [image["alt"] for image in page.images]
    assert "Errors in each class, the worst 20" in page.text
    assert len(page.images) == 1 + 24 + 64 + 64


def test_report_of_texts(tmp_path):
    symbols = tuple("ab<& \n")
    data = Data("text", Arrays(tokens=torch.randint(6, (30, 10))), classes=symbols)
    run, kept, result = trained(tmp_path / "a", data, Text(6))
    page = report_of(tmp_path, data, run, kept, result, {})
    assert re.search(r"Samples [ab<& ]{100,} Repeat", page.text)
    assert "no command repeats it" in page.text
    words = Data("words", data.train, classes=("one", "two", "three", "four", "five", "<end>"))
    page = report_of(tmp_path, words, run, kept, result, {})
    assert re.search(r"Samples ((one|two|three|four|five|<end>) ){200} ?Repeat", page.text)


def test_report_of_almost_nothing(tmp_path):
    """No log, no epoch, no labels, no held-out data, no recipe, no prediction, no image."""
    run = run_of(valid=None)
    data = Data("none", Arrays(x=torch.zeros(3, 4)))
    kept = Folder(tmp_path / "a")
    with pytest.raises(FolderError, match="holds no run"):
        write_report(run, kept, Result(), data, {})
    kept.begin(run)
    page = report_of(tmp_path, data, run, kept, Result(), {}, figure="error", published=0.1)
    assert "Kept epoch 0 of 0. Training was stopped after 0 epochs." in page.text
    assert "published error 0.1" in page.text
    kept.log.write_text('{"step": 1, "seconds": 0.1, "terms": {"nll": NaN, "other": 1.0}}\n')
    page = report_of(tmp_path, data, run, kept, Result(), {})
    assert "other" in page.text
    assert "nll" not in page.text


def test_a_perfect_classifier_has_no_mistakes(tmp_path):
    class Perfect(Small):
        def predict(self, x):
            return F.one_hot(x[:, 0].long(), 3).float()

    y = torch.arange(30) % 3
    data = Data("easy", Arrays(x=y[:, None].expand(30, 4).float(), y=y), classes=("a", "b", "c"))
    data = Data("easy", data.train, data.train, data.train, data.classes)
    run, kept, result = trained(tmp_path / "a", data, Perfect())
    page = report_of(tmp_path, data, run, kept, result, {})
    assert "0 of 30 test examples are wrong (0.00 %)" in page.text
    assert "No test example is wrong." in page.text


def test_predictions_need_labels_and_classes():
    system = Sampler(nn.Linear(4, 3))
    assert predictions(system, Arrays(x=torch.zeros(5, 4)), "cpu") is None
    assert predictions(system, Arrays(x=torch.zeros(5, 4), y=torch.zeros(5, 2)), "cpu") is None
    assert predictions(Small(), Arrays(x=torch.zeros(5, 4), y=torch.zeros(5, dtype=torch.int64)), "cpu") is None
    found = predictions(
        system, Arrays(x=torch.zeros(1200, 4), y=torch.zeros(1200, dtype=torch.int64)), "cpu", most=1100
    )
    assert found.probabilities.shape == (1100, 3)


def test_worst_mistakes_by_hand():
    probabilities = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.0, 1.0]])
    found = Predictions(torch.tensor([1, 1, 1, 0]), probabilities)
    assert found.worst(2).tolist() == [3, 0]
    assert found.worst(9).tolist() == [3, 0, 2]
    assert found.confusion().tolist() == [[0, 1], [2, 1]]
    unseen = Predictions(torch.tensor([2]), torch.tensor([[1.0, 0.0]]))
    assert unseen.confusion().tolist() == [[0, 0, 0], [0, 0, 0], [1, 0, 0]]
