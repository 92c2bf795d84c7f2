"""The parts of a self-contained HTML page. What is not `Html` is escaped."""

import base64
import html
import io
from collections.abc import Iterable, Sequence

from PIL import Image
from torch import Tensor

NUMBERS = 10  # of a row of a table that are shown
HEAVY = 8_000  # bytes from which a PNG gives way to a JPEG

CSS = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1d2430; --soft: #667085; --line: #e3e6eb; --wash: #f6f7f9;
  --accent: #1f5fbf; --warm: #c2410c; --train: #8a94a6; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171c; --ink: #e4e7ec; --soft: #98a2b3; --line: #2b313b;
  --wash: #1c2027; --accent: #78aaff; --warm: #ff9466; --train: #7d889b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 3rem 1.5rem 4rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .25rem; letter-spacing: -.01em; }
h2 { font-size: 1.2rem; margin: 3rem 0 .5rem; } h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
p { margin: .25rem 0 1rem; max-width: 46rem; }
.verdict { font-size: 1.1rem; }
.key { max-width: none; } .note, figcaption, caption { color: var(--soft); font-size: .875rem; text-align: left; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: .75rem; margin: 1.5rem 0 0; }
.tiles div { background: var(--wash); border-radius: .5rem; padding: .75rem 1rem; overflow-wrap: anywhere; }
.tiles dt { color: var(--soft); font-size: .8rem; } .tiles dd { margin: 0; font-size: 1.2rem; font-weight: 600; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(18rem, 1fr)); gap: 1.25rem; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(6rem, 1fr)); gap: 1rem .75rem; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, 3.25rem); gap: .5rem; }
.beside { display: flex; flex-wrap: wrap; gap: 0 3rem; } .beside > * { min-width: 0; }
figure { margin: 0; } .charts figcaption { color: var(--ink); font-weight: 600; }
figure svg { display: block; width: 100%; height: auto; } svg text { font-family: inherit !important; }
img { display: block; max-width: 100%; height: auto; image-rendering: pixelated; border-radius: .25rem; }
.pictures img, .gallery img { width: 100%; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; margin: .25rem 0 1rem; }
th, td { padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top;
  overflow-wrap: anywhere; }
th { color: var(--soft); font-weight: 500; } thead th { white-space: nowrap; }
.matrix th, .matrix td { padding: .3rem .45rem; text-align: right; min-width: 2.4rem; border: 1px solid var(--paper);
  overflow-wrap: normal; }
.matrix td { background: color-mix(in srgb, var(--warm) var(--share), var(--wash)); }
.matrix td.right { background: color-mix(in srgb, var(--accent) var(--share), var(--wash)); }
pre { background: var(--wash); border-radius: .5rem; padding: .75rem 1rem; margin: .5rem 0 1rem; font-size: .85rem;
  white-space: pre-wrap; overflow-wrap: anywhere; }
code, .facts td { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: .825rem; }
.facts th { min-width: 9rem; } .held { color: var(--accent); } .train { color: var(--train); }
"""


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: object) -> Html:
    """Return anything as HTML: escaped, unless it is HTML.

    >>> text("a < b")
    'a &lt; b'
    """
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def element(tag: str, *parts: object, **attributes: str) -> Html:
    """Return an element of some parts; `class_` stands for the attribute `class`.

    >>> element("p", "1 < 2 ", element("b", "so"), class_="note")
    '<p class="note">1 &lt; 2 <b>so</b></p>'
    """
    told = "".join(f' {name.rstrip("_").replace("_", "-")}="{text(value)}"' for name, value in attributes.items())
    return Html(f"<{tag}{told}>{joined(parts)}</{tag}>")


def joined(parts: Iterable[object]) -> Html:
    """Return parts one after the other."""
    return Html("".join(text(part) for part in parts))


def section(title: str, *parts: object) -> Html:
    """Return a part of the page under a heading."""
    return element("section", element("h2", title), *parts)


def table(head: Sequence[object], rows: Iterable[Sequence[object]], caption: str) -> Html:
    """Return a table with a row of titles; the first cell of every row is its name."""
    titles = element("thead", element("tr", *(element("th", cell, scope="col") for cell in head)))
    body = element("tbody", *(line(row) for row in rows))
    return element("div", element("table", element("caption", caption), titles, body), class_="scroll")


def facts(pairs: Iterable[tuple[object, object]]) -> Html:
    """Return a table of names and values."""
    return element("div", element("table", *(line(pair) for pair in pairs), class_="facts"), class_="scroll")


def line(cells: Sequence[object]) -> Html:
    """Return a row of a table."""
    first, *others = cells
    return element("tr", element("th", first, scope="row"), *(element("td", cell) for cell in others))


def tiles(pairs: Iterable[tuple[str, str]]) -> Html:
    """Return a row of large values under their names."""
    return element("dl", *(element("div", element("dt", n), element("dd", v)) for n, v in pairs), class_="tiles")


def picture(image: Image.Image, alt: str) -> Html:
    """Return a picture as an element that holds its data: a PNG, or a JPEG where that would be heavy."""
    kind, data = "png", encoded(image, "PNG")
    if len(data) > HEAVY:
        kind, data = "jpeg", encoded(image, "JPEG")
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return Html(f'<img src="{source}" width="{image.width}" height="{image.height}" alt="{text(alt)}">')


def gallery(images: Iterable[Image.Image], alt: str) -> Html:
    """Return pictures beside each other that are told of as one."""
    return element("div", *(picture(image, "") for image in images), class_="gallery", role="img", aria_label=alt)


def encoded(image: Image.Image, form: str) -> bytes:
    """Return a picture as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, form, optimize=True)
    return buffer.getvalue()


def shown(value: float, unit: str = "") -> str:
    """Return a figure with its unit; fractions in percent.

    >>> shown(0.0123, "fraction"), shown(-86.341, "nats")
    ('1.23 %', '-86.34 nats')
    """
    return f"{100 * value:.2f} %" if unit == "fraction" else f"{value:.4g} {unit}".strip()


def spoken(name: str) -> str:
    """Return an identifier as words."""
    return name.replace("_", " ")


def numbers(row: Tensor) -> str:
    """Return the first numbers of a row."""
    told = ", ".join(f"{value:.4g}" for value in row.flatten()[:NUMBERS].tolist())
    return told + (", \u2026" if row.numel() > NUMBERS else "")


def page(title: str, *parts: object) -> str:
    """Return a whole page in ASCII, so that it reads the same in every encoding."""
    head = [Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">')]
    head += [element("title", title), element("style", Html(CSS))]
    body = element("body", element("main", *parts))
    whole = f'<!doctype html>\n<html lang="en">{element("head", *head)}{body}</html>\n'
    return whole.encode("ascii", "xmlcharrefreplace").decode()
