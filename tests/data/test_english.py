"""Readers of packaged English against packages that the tests make; nothing is downloaded."""

import gzip
import hashlib
import io
import struct
import tarfile
import zlib

import pytest

from lamina.data import english as module
from lamina.data.english import PIECES, SOURCES, USUAL, Package, ascii_of, english, is_prose, pages, plain, scripture
from lamina.data.examples import whole
from lamina.data.fetch import Debian, FetchError, fetch
from lamina.data.text import UNKNOWN


def deb(path, content):
    """Write a Debian package with the given files; return its sha256."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as tar:
        for name, body in content.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    parts = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": data.getvalue()}
    archive = b"!<arch>\n"
    for name, body in parts.items():
        archive += f"{name:<16}{0:<12}{0:<6}{0:<6}{644:<8}{len(body):<10}`\n".encode() + body + b"\n" * (len(body) % 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(archive)
    return hashlib.sha256(archive).hexdigest()


def prose(kind, count):
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    return [
        f"The {kind} has the word {words[k % 10]}, and {words[k // 10 % 10]}, and so on to the end {k}."
        for k in range(count)
    ]


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Put two small packages in the place of the real ones."""
    monkeypatch.setenv("LAMINA_DATA", str(tmp_path))
    monkeypatch.setenv("LAMINA_OFFLINE", "1")
    made = {}
    for name, paragraphs in (("first", prose("first", 200)), ("second", prose("first", 20) + prose("second", 300))):
        text = "\n\n".join(
            ["Title", *paragraphs, paragraphs[0], "x = {a: 1, b: 2}; y = [3, 4, 5]; z = 77 * (x - y) // 12;"]
        )
        body = {f"usr/share/{name}.txt.gz": gzip.compress(text.encode()), "usr/share/other.gz": b"not for us"}
        digest = deb(tmp_path / "english" / f"{name}_1.0-1_all.deb", body)
        made[name] = Package(f"f/{name}/{name}_1.0-1_all.deb", digest, rf"usr/share/{name}\.txt\.gz", plain)
    monkeypatch.setattr(module, "SOURCES", made)
    return made


def lines(part, symbols):
    return "".join(symbols[token] for token in whole(part)["tokens"].tolist()).splitlines()


def test_parts_are_whole_disjoint_and_spread(packages):
    data = english(("first", "second"))
    parts = [lines(part, data.classes) for part in (data.train, data.valid, data.test)]
    expected = prose("first", 200) + prose("second", 300)  # what comes twice, also from another source, counts once
    assert sorted(line for part in parts for line in part) == sorted(expected)
    assert [len(part) for part in parts] == [450, 25, 25]
    for kind, count in (("first", 10), ("second", 15)):
        assert [sum(f"The {kind}" in line for line in part) for part in parts[1:]] == [count, count]
    places = [expected.index(line) for line in parts[2][:10]]
    assert places == [k for k in range(200) if k * PIECES // 200 % 20 == 10]
    assert data.hashes == {f"english/{name}_1.0-1_all.deb": package.sha256 for name, package in packages.items()}


def test_seed_chooses_the_validation_pieces(packages):
    found = [english(("second",), seed) for seed in (1, 1, 2)]
    valid, test = ([lines(getattr(data, part), data.classes) for data in found] for part in ("valid", "test"))
    assert valid[0] == valid[1] != valid[2]
    assert test[0] == test[2]
    assert found[0].name == "english:second"


def test_unknown_sources_are_one_line(packages):
    with pytest.raises(ValueError, match="unknown source of english text 'frist'; did you mean 'first'"):
        english(("frist",))
    with pytest.raises(ValueError, match="known: first, second"):
        english(("news",))
    with pytest.raises(ValueError, match="needs a source: first, second"):
        english(())


def test_a_package_that_is_not_there_says_what_was_tried(packages, tmp_path):
    (tmp_path / "english" / "first_1.0-1_all.deb").unlink()
    with pytest.raises(FetchError, match=r"first_1\.0-1_all\.deb is not there"):
        english(("first",))


def test_dictionaries_lose_their_braces():
    assert plain({"a": gzip.compress(b"Compare {DS0} and\n{kilo-bit}.")}) == "Compare DS0 and\nkilo-bit."


def test_pages_become_paragraphs():
    page = b"""<html><head><title>no</title></head><body><!-- <p>no --><h1>Head</h1>
    <p>One <b>bold</b>&amp;<i>sloped</i>
    line.<br>Two.</p><script>no()</script><td>Three&#8217;s.</td></body></html>"""
    assert [part.strip() for part in pages({"a": page}).split("\n\n") if part.strip()] == [
        "Head",
        "One bold&sloped line.",
        "Two.",
        "Three’s.",
    ]


def test_scripture_is_read_from_its_streams():
    books = [
        '<div osisID="Gen"/><title>no</title><div sID="a" type="x-p"/><w lemma="strong:H1">In</w> <w>the</w>'
        '<note placement="foot">no</note> beginning<div eID="a" type="x-p"/>Then.',
        '<lg sID="b"/><l level="1" sID="c"/>He leads,<l eID="c"/><l sID="d"/>I go &amp; come.<l eID="d"/><lg eID="b"/>',
    ]
    packed = [zlib.compress(book.encode()) for book in books]
    index = b"".join(
        struct.pack("<III", 3 + sum(map(len, packed[:k])), len(packed[k]), len(books[k])) for k in range(2)
    )
    text = scripture({"x/nt.bzs": index, "x/nt.bzz": b"..." + b"".join(packed)})
    assert [" ".join(part.split()) for part in text.split("\n\n") if part.strip()] == [
        "In the beginning",
        "Then.",
        "He leads, I go & come.",
    ]


def test_paragraphs_are_ascii_on_one_line():
    assert ascii_of("  “Æther” – naïve…\n  ﬁt — ‘Zoë’ 静\u00a0x ") == "\"ther\" - naive... fit - 'Zoe' x"


@pytest.mark.parametrize(
    ("paragraph", "good"),
    [
        ("He said that the weather would be fine again, and so it was in the end.", True),
        ("Too short.", False),
        ("A heading that goes on for quite a while but does not come to an end at all", False),
        ("for (i = 0; i < 10; i++) { a[i] = b[i] + c[i]; d[i] = 2 * a[i] - 7; f(); }.", False),
    ],
)
def test_prose_is_told_from_code_and_headings(paragraph, good):
    assert is_prose(paragraph) == good


def test_every_source_names_its_package():
    for package in SOURCES.values():
        file = package.file()
        debian, *web = file.mirrors
        assert isinstance(debian, Debian)
        assert file.name == f"english/{debian.spec.replace('=', '_')}_all.deb"
        assert all(mirror.url.endswith(package.package) for mirror in web)
        assert len(package.sha256) == 64
    assert set(USUAL) <= SOURCES.keys()


def test_real_packages_if_they_are_there(monkeypatch):
    """Sizes as docs/text.md has them; looks into the cache only, and downloads nothing."""
    monkeypatch.setenv("LAMINA_OFFLINE", "1")
    try:
        for name in USUAL:
            fetch(SOURCES[name].file())
    except FetchError:
        pytest.skip("the packages are not in the cache; lamina data english brings them")
    data = english()
    assert [round(len(part), -4) for part in (data.train, data.valid, data.test)] == [8650000, 470000, 440000]
    assert len(data.classes) == 96
    assert UNKNOWN not in lines(data.test, data.classes)
