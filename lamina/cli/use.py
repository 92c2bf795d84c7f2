"""`lamina evaluate`, `lamina predict` and `lamina sample`: what a trained run is for."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from torch import Tensor

from lamina.cli.answer import reply
from lamina.cli.options import parse
from lamina.core import Answers, Completes, Predicts, Samples, Source, System, metric_fields
from lamina.data import byword, stories
from lamina.data.batches import Batches
from lamina.data.dataset import Data
from lamina.data.examples import Examples, whole
from lamina.data.files import fit_to, read_image, relabel
from lamina.data.patterns import Rows
from lamina.data.standard import load as load_data
from lamina.data.text import UNKNOWN, Windows, recoded
from lamina.recipes.saved import load
from lamina.train.display import numbers
from lamina.train.evaluate import evaluate
from lamina.train.folder import Folder

PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff")

Folder_ = Annotated[Path, tyro.conf.Positional]


@dataclass(kw_only=True)
class Evaluate:
    """Held-out figures of a trained run.

    Args:
        run: folder of the run.
        data: a standard data set or the path of your own; the run's own if not given.
        split: which part of the data.
    """

    run: Folder_
    data: str | None = None
    split: str = "test"


@dataclass(kw_only=True)
class Predict:
    """What a trained run says of pictures or rows, or answers to a question on a story.

    Args:
        run: folder of the run.
        files: pictures, or files of rows (.csv, .npz, .parquet).
        top: classes or answers to tell for each.
        invert: swap dark and bright first, as for dark ink on white paper.
        story: a text, or the path of one, that a question is about.
        question: to answer.
    """

    run: Folder_
    files: Annotated[tuple[Path, ...], tyro.conf.Positional]
    top: int = 1
    invert: bool = False
    story: str | None = None
    question: str | None = None


@dataclass(kw_only=True)
class Sample:
    """New examples from a trained run: a picture of them, or text.

    Args:
        run: folder of the run.
        n: how many.
        out: picture (.png) or array (.npy) to write; text is printed if not given.
        length: symbols in each text.
        temperature: below 1 makes text more likely, above 1 more surprising.
        prompt: what each text begins with.
        beam: in place of drawing, search for the most probable texts, and keep so many at each symbol.
        seed: of the random numbers.
    """

    run: Folder_
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 64
    out: Path | None = None
    length: int = 200
    temperature: float = 1.0
    prompt: str = ""
    beam: int | None = None
    seed: int = 0


def evaluate_command(words: list[str]) -> int:
    """Print each metric of a run on a split."""
    options = parse(Evaluate, words, "lamina evaluate")
    system, description = load(options.run), Folder(options.run).description()
    outline = description["data"]
    data = load_data(options.data or outline["name"], seed=description["seed"])
    examples = part(data, options.split)
    source = source_of(examples, data, outline)
    if needed := set(metric_fields(system)) - set(next(source.epoch(0))):
        raise ValueError(f"{data.name} lacks {sorted(needed)}, which this run is evaluated with")
    figures = evaluate(system, source)
    if "tokens" in outline["fields"] and byword.are_words(outline["classes"]):
        figures["perplexity"] = math.exp(figures["nll"])
    print(f"{data.name} {options.split}, {len(examples)} examples  {numbers(figures)}")
    return 0


def predict_command(words: list[str]) -> int:
    """Print the most probable classes of each picture or row, or the answer to a question."""
    options = parse(Predict, words, "lamina predict")
    asked = options.story is not None or options.question is not None
    if not options.files and not asked:
        raise ValueError("lamina predict needs a picture or a file of rows after the run, or --story and --question")
    system, outline = load(options.run), Folder(options.run).description()["data"]
    if asked or isinstance(system, Answers):
        return answer_command(system, outline, options)
    if not isinstance(system, Predicts):
        raise ValueError(f"{options.run} holds a {type(system).__name__}, which predicts no classes")
    classes = outline["classes"]
    for file in options.files:
        names, x = inputs(file, outline["fields"]["x"][1:], options.invert)
        best = system.predict(x).topk(min(options.top, len(classes)))
        for name, likely, which in zip(names, best.values.tolist(), best.indices.tolist(), strict=True):
            print(name, *(f"{classes[k]} {p:.4f}" for k, p in zip(which, likely, strict=True)), sep="  ")
    return 0


def answer_command(system: System, outline: dict[str, Any], options: Predict) -> int:
    """Print the answer to a question, and the statements that it comes from."""
    if not isinstance(system, Answers):
        raise ValueError(f"{options.run} holds a {type(system).__name__}, which answers no questions on stories")
    if options.files or options.story is None or options.question is None:
        raise ValueError(f"{options.run} answers questions: give it --story and --question, and no other file")
    print(*reply(system, outline["classes"], options.story, options.question, options.top), sep="\n")
    return 0


def sample_command(words: list[str]) -> int:
    """Write or print new examples."""
    options = parse(Sample, words, "lamina sample")
    if options.n < 1:
        raise ValueError(f"-n must be at least 1, got {options.n}")
    system, outline = load(options.run), Folder(options.run).description()["data"]
    if not isinstance(system, Samples):
        raise ValueError(f"{options.run} holds a {type(system).__name__}, which makes no samples")
    torch.manual_seed(options.seed)
    if "tokens" in outline["fields"]:
        return say(system, outline["classes"], options)
    if options.out is None:
        raise ValueError("samples need a file: --out grid.png or --out samples.npy")
    return show(system.sample(options.n), outline["fields"]["x"][1:], options.out)


def say(system: Any, symbols: list[str], options: Sample) -> int:
    """Print or write texts."""
    prompt = byword.read(options.prompt, symbols)
    if options.beam is None:
        tokens: Tensor = system.sample(options.n, options.length, options.temperature, prompt)
    elif isinstance(system, Completes):
        unknown = tuple(number for number, symbol in enumerate(symbols) if symbol == UNKNOWN)
        tokens = system.complete(prompt, options.length, options.beam, unknown)[: options.n]
    else:
        raise ValueError(f"{options.run} holds a {type(system).__name__}, which has no --beam")
    text = "\n".join(byword.written(row, symbols) for row in tokens.tolist())
    if options.out is None:
        print(text)
    else:
        options.out.write_text(text + "\n")
        print(options.out)
    return 0


def show(x: Tensor, shape: list[int], out: Path) -> int:
    """Write samples as a grid of pictures or as an array."""
    if out.suffix == ".npy":
        import numpy as np

        np.save(out, x.numpy())
    elif len(shape) != 3:
        raise ValueError(f"these samples are rows of {shape[0]} numbers: write them with --out samples.npy")
    else:
        from lamina.analysis.pictures import grid

        grid(x.reshape(-1, *shape)).save(out)
    print(out)
    return 0


def part(data: Data, split: str) -> Examples:
    """Return a split of the data.

    Raises:
        ValueError: the data has no such split.
    """
    found: Examples | None = getattr(data, split, None) if split in ("train", "valid", "test") else None
    if found is None:
        there = [name for name in ("train", "valid", "test") if getattr(data, name) is not None]
        raise ValueError(f"{data.name} has no split '{split}'; it has {', '.join(there)}")
    return found


def source_of(examples: Examples, data: Data, outline: dict[str, Any]) -> Source:
    """Return what to evaluate on: the windows of a text in order, or batches of examples made to fit the run.

    Strings of patterns are read as in training's validation, where only symbols count that are sure.

    Raises:
        ValueError: the run answers questions, and the data has none.
    """
    if "tokens" in outline["fields"]:
        text = recoded(examples, data.classes, outline["classes"])
        return Rows(text) if "n" in data.outline()["fields"] else Windows(text, 16, 50)
    if "story" in outline["fields"]:
        return Batches(stories.recoded(examples, data.classes, outline["classes"]), 500, shuffle=False)
    return Batches(made_to_fit(examples, data, outline), 500, shuffle=False)


def made_to_fit(examples: Examples, data: Data, outline: dict[str, Any]) -> Examples:
    """Return examples in the shape and with the class numbers that a run was trained on, and say what was changed."""
    if "x" in outline["fields"]:
        examples = fit_to(examples, tuple(outline["fields"]["x"][1:]))
    return relabel(examples, data.classes, tuple(outline["classes"]))


def inputs(file: Path, shape: list[int], invert: bool) -> tuple[list[str], Tensor]:
    """Return names and raw inputs of a picture or of each row of a file."""
    if file.suffix.lower() in PICTURES:
        names, x = [str(file)], read_image(file, tuple(shape))[None]
    else:
        from lamina.data.files import read_rows

        x = whole(fit_to(read_rows(file, shape[0] if len(shape) == 1 else None), tuple(shape)))["x"]
        names = [f"{file}:{i + 1}" for i in range(len(x))]
    return names, 1 - x if invert else x
