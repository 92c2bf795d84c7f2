"""Downloads against faked mirrors: a web server on the loopback, and clients that are scripts in PATH."""

import gzip
import hashlib
import http.server
import io
import multiprocessing
import os
import socket
import tarfile
import threading
import time
import zipfile
from typing import ClassVar

import pytest

from lamina.data import fetch as fetching
from lamina.data.fetch import Debian, FetchError, File, Https, Npm, PyPI, deb_members, fetch
from lamina.data.packages import members, run

BODY = b"the content of a file " * 1000
DIGEST = hashlib.sha256(BODY).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    """Serves BODY, whole or spoiled as the path says."""

    asked: ClassVar[list[str]] = []

    def do_GET(self):
        self.asked.append(self.path)
        self.send_response(404 if "missing" in self.path else 302 if "moved" in self.path else 200)
        body = gzip.compress(BODY) if self.path.endswith(".gz") else BODY
        if "moved" in self.path:
            self.send_header("Location", "/whole")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if "slow" in self.path:
            time.sleep(0.5)
        if "cut" in self.path:
            body = body[: len(body) // 2]
        if "wrong" in self.path:
            body = body[:-1] + b"?"
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMINA_DATA", str(tmp_path / "cache"))
    monkeypatch.delenv("LAMINA_OFFLINE", raising=False)
    Server.asked = []
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def client(tmp_path, monkeypatch, name, script):
    """Put a script into PATH in place of a package client; it appends its arguments to `calls`."""
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n{script}\n')
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("LAMINA_DATA", str(tmp_path / "cache"))
    return lambda: (tmp_path / "calls").read_text().splitlines()


def tgz(path, content, **odd):
    with tarfile.open(path, "w:gz") as tar:
        for name, body in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
        for name, target in odd.items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
    return path


def left_over(folder):
    return [path for path in folder.rglob("*") if path.name.endswith(".part") or path.name == "content"]


def test_a_file_is_downloaded_once_and_verified(server):
    file = File("set/data.bin", DIGEST, (Https(f"{server}/whole"),))
    path = fetch(file)
    assert path.read_bytes() == BODY
    assert fetch(file) == path
    assert Server.asked == ["/whole"]
    assert not left_over(fetching.cache())


def test_redirects_are_followed_and_gzip_is_unpacked(server):
    assert fetch(File("moved.bin", DIGEST, (Https(f"{server}/moved"),))).read_bytes() == BODY
    assert fetch(File("plain.bin", DIGEST, (Https(f"{server}/data.gz"),))).read_bytes() == BODY
    assert gzip.decompress(fetch(File("kept.gz", None, (Https(f"{server}/data.gz"),))).read_bytes()) == BODY


def test_bad_mirrors_are_passed_over(server):
    bad = tuple(Https(f"{server}/{kind}") for kind in ("missing", "cut", "wrong", "cut.gz", "wrong.gz"))
    assert fetch(File("data.bin", DIGEST, (*bad, Https(f"{server}/whole")))).read_bytes() == BODY
    assert Server.asked == ["/missing", "/cut", "/wrong", "/cut.gz", "/wrong.gz", "/whole"]


def test_one_error_tells_of_every_mirror_and_where_to_put_the_file(server, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}/data"
    mirrors = tuple(Https(url) for url in (dead, f"{server}/missing", f"{server}/cut", f"{server}/wrong"))
    with pytest.raises(FetchError) as caught:
        fetch(File("set/data.bin", DIGEST, mirrors))
    head, *lines = str(caught.value).splitlines()
    assert str(tmp_path / "cache/set/data.bin") in head
    assert [line.strip().split(": ", 1)[0] for line in lines] == [mirror.url for mirror in mirrors]
    for line, reason in zip(lines, ("refused", "404", "broke off after 11000 of 22000 bytes", "sha256"), strict=True):
        assert reason in line
    assert not (tmp_path / "cache/set/data.bin").exists()
    assert not left_over(tmp_path)


def test_a_dead_host_is_asked_once(server, monkeypatch):
    asked = []

    def connect(address, timeout):
        asked.append(address)
        raise TimeoutError("timed out")

    monkeypatch.setattr(fetching.socket, "create_connection", connect)
    monkeypatch.setattr(fetching.time, "monotonic", lambda: 7200.0)
    mirrors = tuple(Https(f"https://dead.example/{i}") for i in range(3))
    with pytest.raises(FetchError, match="timed out"):
        fetch(File("data.bin", None, mirrors))
    assert asked == [("dead.example", 443)]
    monkeypatch.setattr(fetching.time, "monotonic", lambda: 7260.0)
    with pytest.raises(FetchError, match="timed out"):
        fetch(File("data.bin", None, mirrors))
    assert len(asked) == 2


def test_truncation_is_noticed_without_a_known_hash(server):
    with pytest.raises(FetchError, match="broke off"):
        fetch(File("data.bin", None, (Https(f"{server}/cut"),)))


@pytest.mark.parametrize("digest", [DIGEST, None])
@pytest.mark.parametrize("spoil", [lambda body: body[:-5], lambda body: b"?" + body[1:]], ids=["cut", "changed"])
def test_damage_in_the_cache_is_noticed_and_mended(server, capsys, digest, spoil):
    file = File("data.bin", digest, (Https(f"{server}/whole"),))
    path = fetch(file)
    path.write_bytes(spoil(BODY))
    os.utime(path, ns=(1, 1))
    assert fetch(file).read_bytes() == BODY
    assert capsys.readouterr().err.splitlines() == [f"{path} is damaged and is fetched again"]


def test_a_file_is_hashed_anew_only_if_it_was_touched(server, monkeypatch):
    file = File("data.bin", DIGEST, (Https(f"{server}/whole"),))
    path = fetch(file)
    hashed = []
    real = fetching.sha256_of
    monkeypatch.setattr(fetching, "sha256_of", lambda path: hashed.append(path) or real(path))
    fetch(file)
    assert not hashed
    os.utime(path)
    fetch(file)
    fetch(file)
    assert hashed == [path]
    assert Server.asked == ["/whole"]


def test_a_damaged_note_does_no_harm(server):
    file = File("data.bin", DIGEST, (Https(f"{server}/whole"),))
    fetching.note_of(fetch(file)).write_text("{")
    assert fetch(file).read_bytes() == BODY
    assert Server.asked == ["/whole"]


def test_a_file_put_by_hand_serves_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMINA_DATA", str(tmp_path))
    monkeypatch.setenv("LAMINA_OFFLINE", "1")
    file = File("set/data.bin", DIGEST, (Https("http://127.0.0.1:1/never"),))
    with pytest.raises(FetchError, match=r"LAMINA_OFFLINE forbids downloads; put it at .*/set/data.bin"):
        fetch(file)
    (tmp_path / "set/data.bin").write_bytes(BODY)
    assert fetch(file).read_bytes() == BODY
    (tmp_path / "set/data.bin").write_bytes(b"something else")
    with pytest.raises(FetchError, match="LAMINA_OFFLINE"):
        fetch(file)


def test_the_cache_is_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.delenv("LAMINA_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert fetching.cache() == tmp_path / "lamina"
    monkeypatch.setenv("LAMINA_DATA", str(tmp_path / "own"))
    assert fetching.cache() == tmp_path / "own"


def test_an_unusable_cache_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LAMINA_DATA", str(tmp_path / "file"))
    with pytest.raises(FetchError, match=r"cannot write to .*set LAMINA_DATA to another folder"):
        fetch(File("set/data.bin", DIGEST, (Https("http://127.0.0.1:1/never"),)))


def race(server, start, results):
    start.wait()
    results.put(fetch(File("data.bin", DIGEST, (Https(f"{server}/slow"),))).read_bytes() == BODY)


def test_two_processes_download_once(server):
    context = multiprocessing.get_context("fork")
    start, results = context.Event(), context.Queue()
    racers = [context.Process(target=race, args=(server, start, results)) for _ in range(3)]
    for racer in racers:
        racer.start()
    start.set()
    assert all(results.get(timeout=10) for _ in racers)
    for racer in racers:
        racer.join()
    assert Server.asked == ["/slow"]


def test_what_a_killed_process_left_is_no_obstacle(server):
    part = fetching.cache() / ".data.bin.part"
    part.mkdir(parents=True)
    (part / "content").write_bytes(b"half")
    assert fetch(File("data.bin", DIGEST, (Https(f"{server}/whole"),))).read_bytes() == BODY


def test_members_of_a_package_share_one_download(tmp_path, monkeypatch):
    tgz(tmp_path / "made.tgz", {"package/a": BODY, "package/b.gz": gzip.compress(BODY)})
    calls = client(tmp_path, monkeypatch, "npm", f"cp {tmp_path}/made.tgz .; echo made.tgz")
    assert fetch(File("a", DIGEST, (Npm("made@1", "package/a"),))).read_bytes() == BODY
    assert fetch(File("b", DIGEST, (Npm("made@1", "package/b.gz"),))).read_bytes() == BODY
    with pytest.raises(FetchError, match="npm made@1: the package has no file package/c"):
        fetch(File("c", None, (Npm("made@1", "package/c"),)))
    assert len(calls()) == 1
    assert calls()[0].startswith("pack --ignore-scripts")
    assert calls()[0].endswith("made@1")


def test_a_damaged_package_is_brought_again(tmp_path, monkeypatch, capsys):
    tgz(tmp_path / "made.tgz", {"a": BODY, "b": BODY})
    calls = client(tmp_path, monkeypatch, "npm", f"cp {tmp_path}/made.tgz .")
    fetch(File("a", DIGEST, (Npm("made@1", "a"),)))
    (tmp_path / "cache/packages/npm_made@1").write_bytes(b"spoiled")
    assert fetch(File("b", DIGEST, (Npm("made@1", "b"),))).read_bytes() == BODY
    assert len(calls()) == 2
    assert "damaged" in capsys.readouterr().err


def test_a_client_that_fails_is_one_line(tmp_path, monkeypatch):
    client(tmp_path, monkeypatch, "npm", "echo npm error code E404 >&2; echo npm error Not here >&2; exit 1")
    with pytest.raises(FetchError, match=r"npm none@1: npm: Not here$"):
        fetch(File("a", None, (Npm("none@1", "a"),)))
    client(tmp_path, monkeypatch, "npm", "exit 0")
    with pytest.raises(FetchError, match="npm none@1: the client brought no file"):
        fetch(File("a", None, (Npm("none@1", "a"),)))


def test_a_client_that_is_not_there_or_hangs(tmp_path, monkeypatch):
    with pytest.raises(ChildProcessError, match="this machine has no no-such-client"):
        run(["no-such-client", "get"], tmp_path)
    began = time.perf_counter()
    with pytest.raises(ChildProcessError, match="sh did not end within"):
        run(["sh", "-c", "sleep 60 & sleep 60"], tmp_path, limit=0.2)
    assert time.perf_counter() - began < 5


def deb(path, content, name="data.tar.xz"):
    """Write a Debian package by hand: an ar archive whose entries are padded to even lengths."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:xz") as tar:
        for member, body in content.items():
            info = tarfile.TarInfo(member)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    ar = b"!<arch>\n"
    for entry, body in (("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), (name, inner.getvalue())):
        ar += f"{entry:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(body):<10}`\n".encode() + body + b"\n" * (len(body) % 2)
    path.write_bytes(ar)
    return path


def test_debian_packages_are_read(tmp_path):
    content = {"./usr/share/a": BODY, "./usr/share/b": b""}
    made = deb(tmp_path / "made.deb", content)
    assert dict(deb_members(made)) == {name[2:]: body for name, body in content.items()}
    with pytest.raises(ValueError, match="zstd"):
        dict(deb_members(deb(tmp_path / "new.deb", content, "data.tar.zst")))


def test_apt_falls_back_on_lists_of_its_own(tmp_path, monkeypatch):
    deb(tmp_path / "made.deb", {"./usr/a": BODY})
    own = tmp_path / "cache/packages/.apt/updated"
    script = f"""case "$*" in
*update*) touch {own};;
*) test -e {own} && cp {tmp_path}/made.deb . && exit 0; echo "E: Unable to locate package made" >&2; exit 100;;
esac"""
    calls = client(tmp_path, monkeypatch, "apt-get", script)
    assert fetch(File("a", DIGEST, (Debian("made=1-1", "usr/a"),))).read_bytes() == BODY
    kinds = [("update" if "update" in call else "download", "Dir::State::Lists" in call) for call in calls()]
    assert kinds == [("download", False), ("download", True), ("update", True), ("download", True)]


def test_pip_brings_wheels_and_refuses_source_packages(tmp_path, monkeypatch):
    index = tmp_path / "index"
    index.mkdir()
    with zipfile.ZipFile(index / "made-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("made/data.txt", BODY)
        wheel.writestr("made-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: made\nVersion: 1.0\n")
        wheel.writestr("made-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    tgz(index / "rogue-1.0.tar.gz", {"rogue-1.0/setup.py": f"open({str(tmp_path / 'ran')!r}, 'w')".encode()})
    for name, value in (("LAMINA_DATA", tmp_path / "cache"), ("PIP_NO_INDEX", 1), ("PIP_FIND_LINKS", index)):
        monkeypatch.setenv(name, str(value))
    assert fetch(File("a", DIGEST, (PyPI("made==1.0", "made/data.txt"),))).read_bytes() == BODY
    with pytest.raises(FetchError, match=r"PyPI rogue==1.0: pip: "):
        fetch(File("b", None, (PyPI("rogue==1.0", "x"),)))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "..\\evil"])
def test_names_that_lead_out_are_refused(tmp_path, name):
    evil = tgz(tmp_path / "evil.tgz", {name: b"x"})
    with evil.open("rb") as archive, pytest.raises(ValueError, match="would lead out"):
        list(members(archive))
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as packed:
        packed.writestr(name, b"x")
    with (tmp_path / "evil.zip").open("rb") as archive, pytest.raises(ValueError, match="would lead out"):
        list(members(archive))


def test_links_are_left_out(tmp_path):
    made = tgz(tmp_path / "links.tgz", {"a": b"1"}, out="/etc/passwd")
    assert dict(deb_members(made)) == {"a": b"1"}


def test_what_is_no_archive_is_said(tmp_path):
    (tmp_path / "text").write_text("no archive at all")
    with pytest.raises(ValueError, match="no tar, zip or Debian package"):
        dict(deb_members(tmp_path / "text"))
