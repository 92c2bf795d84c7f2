"""`lamina latent`: pictures of arithmetic with the codes of a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from torch import Tensor

from lamina.analysis.attributes import Marked, by_class, with_attributes
from lamina.analysis.latent import (
    Decodes,
    analogies,
    codes,
    decodes,
    direction,
    interpolate,
    leading,
    manifold,
    move,
    write_grid,
)
from lamina.cli.options import parse
from lamina.cli.use import part
from lamina.data.images import fit_to
from lamina.data.images import words as words_of
from lamina.data.standard import load as load_data
from lamina.recipes.saved import load
from lamina.train.folder import Folder

MANY = 10_000  # examples, drawn at random, that stand for a larger set
SPAN = 2.0  # pictures are moved by up to so many times a direction


@dataclass(kw_only=True)
class Latent:
    """Pictures of arithmetic with the codes of a run: interpolation, direction, analogy and manifold.

    Args:
        run: folder of a run that encodes and decodes pictures, as those of vae, walkback, sparse_coding, psd and draw.
        out: folder for the pictures.
        data: a standard data set or the path of your own; the run's own if not given.
        split: which part of the data.
        attributes: table (.csv) of the attributes of pictures, of classes, or of the examples in their order.
        direction: classes or attributes to move to, as glasses or man+glasses; one for each row if none is given.
        analogy: three such, a, b and c, for a - b + c, as man+glasses man woman.
        rows: of examples in a picture.
        steps: of each interpolation or move.
        side: of the manifold.
        seed: of the choice of examples.
    """

    run: Annotated[Path, tyro.conf.Positional]
    out: Path = Path("latent")
    data: str | None = None
    split: str = "train"
    attributes: Path | None = None
    direction: tuple[str, ...] = ()
    analogy: tuple[str, str, str] | None = None
    rows: int = 6
    steps: int = 9
    side: int = 12
    seed: int = 0


def latent_command(words: list[str]) -> int:
    """Write the pictures that the system and the data allow, and print their paths."""
    options = parse(Latent, words, "lamina latent")
    if min(options.rows, options.steps, options.side) < 1:
        raise ValueError("--rows, --steps and --side must be at least 1")
    system, shape, known = opened(options)
    known = known.ordered(torch.randperm(len(known.x), generator=torch.Generator().manual_seed(options.seed))[:MANY])
    made = drawn(system, known, options)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, x in made.items():
        write_grid(x, shape, path := options.out / f"{name}.png")
        print(path)
    return 0


def opened(options: Latent) -> tuple[Decodes, tuple[int, ...], Marked]:
    """Return the system of a run, the shape of its pictures, and examples with what is known of them.

    Raises:
        ValueError: the run does not encode and decode pictures, or the data or the table of attributes does not fit.
    """
    system, description = load(options.run), Folder(options.run).description()
    outline = description["data"]
    if not decodes(system):
        raise ValueError(f"{options.run} holds a {type(system).__name__}, which does not turn codes into pictures")
    shape = tuple(outline["fields"].get("x", [""])[1:])
    if len(shape) != 3:
        raise ValueError(f"{options.run} was trained on what are no pictures, and only pictures can be looked at")
    source = options.data or outline["name"]
    data = load_data(source, seed=description["seed"])
    if len(data.shape) != 3:
        raise ValueError(f"{data.name} holds rows of {data.shape[0]} numbers, where pictures are needed")
    known = by_class(fit_to(part(data, options.split), shape), data.classes)
    if options.attributes is not None:
        known = with_attributes(known, options.attributes, Path(source).expanduser())
    if len(known.x) < 2:
        raise ValueError(
            f"{source} has {len(known.x)} example here, and interpolation needs two: choose another --split"
        )
    try:
        codes(system, known.x[:1])
    except RuntimeError:
        raise ValueError(
            f"{options.run} does not encode whole {words_of(shape)}, as one that has learned patches"
        ) from None
    return system, shape, known


def drawn(system: Decodes, known: Marked, options: Latent) -> dict[str, Tensor]:
    """Return the tables of pictures by name."""
    first, last = known.x[: 2 * min(options.rows, len(known.x) // 2)].chunk(2)
    z, made = codes(system, known.x), dict[str, Tensor]()
    for name, around in (("linear", False), ("spherical", True)):
        made[name] = interpolate(system, first, last, options.steps, around)
    if z.shape[1] > 1:
        down, right, *_ = leading(system, z)
        made["manifold"] = manifold(system, z.mean(0), z.std(0), options.side, (down, right))
    some = tuple(name for name, has in known.marks.items() if has.any() and not has.all())
    if names := options.direction or some[: options.rows]:
        made["direction"] = torch.cat([moved(system, known, z, name, len(names), options) for name in names])
    if options.analogy is not None:
        a, b, c = known.apart(options.analogy)
        made["analogy"] = analogies(system, a, b, c, options.rows)
    return made


def moved(system: Decodes, known: Marked, z: Tensor, name: str, parts: int, options: Latent) -> Tensor:
    """Return examples without a class or attribute, moved to it and beyond, for one of so many parts of the picture."""
    has = known.having(name)
    along = direction(z, [name if own else "" for own in has.tolist()], name)
    lengths = torch.linspace(0, SPAN, options.steps).tolist()
    return move(system, known.x[~has][: max(1, options.rows // parts)], along, lengths)
