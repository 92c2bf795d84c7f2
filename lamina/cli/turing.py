"""`lamina turing`: a page on which people tell real from generated images, and what their answers come to."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import tyro

from lamina.analysis.pictures import as_images
from lamina.analysis.turing import Share, fooled, read_answers, turing_page
from lamina.cli.options import parse
from lamina.cli.use import made_to_fit, part
from lamina.core import Samples
from lamina.data.standard import load as load_data
from lamina.recipes.saved import load
from lamina.train.folder import Folder, write_text


@dataclass(kw_only=True)
class Turing:
    """A page on which people tell real from generated images, or what their answers come to.

    Args:
        run: folder of a run that makes images.
        out: page to write (.html).
        answers: files that the page saved; gives the shares of images taken for real.
        n: real and as many generated images on the page.
        data: a standard data set or the path of your own for the real images; the run's own if not given.
        split: which part of the data.
        seed: of the choice of images and of the generated ones.
    """

    run: Annotated[Path | None, tyro.conf.Positional] = None
    out: Path = Path("turing.html")
    answers: tuple[Path, ...] = ()
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 100
    data: str | None = None
    split: str = "test"
    seed: int = 0


def turing_command(line: list[str]) -> int:
    """Write the page of a run, or print what answers come to.

    Raises:
        ValueError: neither a run nor answers, or both.
    """
    options = parse(Turing, line, "lamina turing")
    if (options.run is None) != bool(options.answers):
        raise ValueError("lamina turing needs either the folder of a run or --answers with files that its page saved")
    if options.run is None:
        tell(options.answers)
    else:
        write(options.run, options)
    return 0


def write(run: Path, options: Turing) -> None:
    """Write a page with real and generated images.

    Raises:
        ValueError: the run makes no images, or the data has none.
    """
    if options.n < 1:
        raise ValueError(f"-n must be at least 1, got {options.n}")
    system, description = load(run), Folder(run).description()
    outline = description["data"]
    if not isinstance(system, Samples):
        raise ValueError(f"{run} holds a {type(system).__name__}, which makes no samples")
    shape = tuple(outline["fields"].get("x", [""])[1:])
    if len(shape) != 3:
        raise ValueError(f"{run} was trained on what are no images, and only images can be looked at")
    data = load_data(options.data or outline["name"], seed=description["seed"])
    examples = made_to_fit(part(data, options.split), data, outline)
    torch.manual_seed(options.seed)
    real = examples.fetch(torch.randperm(len(examples))[: options.n].sort().values)["x"]
    generated = as_images(system.sample(len(real)), shape)
    assert generated is not None
    title = f"{description['recipe']} on {outline['name']}"
    write_text(options.out, turing_page(real, generated, title, options.seed))
    print(f"{options.out}  {len(real)} real and {len(generated)} generated images")
    print("open it in a browser, save the answers, then: lamina turing --answers answers.json")


def tell(files: tuple[Path, ...]) -> None:
    """Print the shares of images that were taken for real, by exposure and over all."""
    answers = [answer for file in files for answer in read_answers(file)]
    print(f"{len(answers)} answers; images taken for real, with the 95 % interval of their share")
    print(f"{'exposure':>10}  {'generated':<36}  real")
    lines = [(f"{exposure:g} ms", kinds) for exposure, kinds in fooled(answers).items()]
    (overall,) = fooled(replace(answer, exposure=0.0) for answer in answers).values()
    for name, kinds in [*lines, ("all", overall)]:
        print(f"{name:>10}  {words(kinds['generated']):<36}  {words(kinds['real'])}")


def words(share: Share) -> str:
    """Return a share in words.

    >>> words(Share(4, 10, 0.168, 0.687))
    '4 of 10, 40.0 % (16.8 to 68.7 %)'
    """
    if not share.count:
        return "none seen"
    told = f"{share.taken} of {share.count}, {share.taken / share.count:.1%}".replace("%", " %")
    return f"{told} ({100 * share.low:.1f} to {100 * share.high:.1f} %)"
