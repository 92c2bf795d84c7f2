"""The folder of a run: what it was, its best weights, and what it takes to go on. Every file is written atomically."""

import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lamina.core import Run, System


class FolderError(ValueError):
    """A run folder that cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Folder:
    """Paths and readers of one run's folder."""

    path: Path

    @property
    def recipe(self) -> Path:
        """What the run was: recipe, arguments, seed, versions, commit, data hashes."""
        return self.path / "recipe.json"

    @property
    def weights(self) -> Path:
        """The best weights so far."""
        return self.path / "weights.safetensors"

    @property
    def resume(self) -> Path:
        """All that the rest of the run depends on."""
        return self.path / "resume.pt"

    @property
    def log(self) -> Path:
        """Training terms and held-out metrics, one JSON object a line."""
        return self.path / "log.jsonl"

    @property
    def report(self) -> Path:
        """The page that shows the run."""
        return self.path / "report.html"

    def begin(self, run: Run) -> None:
        """Create the folder and write what the run is.

        Raises:
            FolderError: it holds a run already.
        """
        if self.recipe.exists():
            raise FolderError(
                f"{self.path} holds a run already: go on with --resume {self.path}, or choose another folder"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.recipe, describe(run))

    def description(self) -> dict[str, Any]:
        """Return what `begin` wrote.

        Raises:
            FolderError: the folder holds no run.
        """
        try:
            found: dict[str, Any] = json.loads(self.recipe.read_text())
        except FileNotFoundError:
            raise FolderError(f"{self.path} holds no run: {self.recipe.name} is missing") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise FolderError(f"{self.recipe} is damaged: {error}") from None
        return found

    def save_weights(self, state: Mapping[str, Tensor]) -> None:
        """Write weights as safetensors; tensors that share memory are written once each."""
        plain = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
        atomically(self.weights, lambda file: save_file(plain, file))

    def load_weights(self, system: System) -> None:
        """Put the best weights into a system of the same recipe.

        Raises:
            FolderError: no such file, a damaged one, or weights of another recipe.
        """
        try:
            state = load_file(self.weights)
        except FileNotFoundError:
            raise FolderError(f"{self.path} has no weights yet: {self.weights.name} is missing") from None
        except (SafetensorError, OSError) as error:
            raise FolderError(f"{self.weights} is damaged or not a safetensors file: {error}") from None
        if misfit := difference(system.state_dict(), state):
            raise FolderError(f"{self.weights} belongs to another recipe or data: {misfit}")
        system.load_state_dict(state)

    def save_resume(self, state: dict[str, Any]) -> None:
        """Write the state to go on from."""
        atomically(self.resume, lambda file: torch.save(state, file))

    def load_resume(self) -> dict[str, Any] | None:
        """Return the state to go on from, or None where no checkpoint was reached.

        Raises:
            FolderError: a damaged file, or one that holds more than tensors and plain data.
        """
        if not self.resume.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(self.resume, weights_only=True, map_location="cpu")
        except Exception as error:  # torch raises many kinds for a damaged file
            first = str(error).split(". ")[0].splitlines()[0]
            raise FolderError(f"{self.resume} is damaged or unsafe, and was not loaded: {first}") from None
        return state

    def records(self) -> list[dict[str, Any]]:
        """Return the lines of the log; a line cut short by a crash is left out."""
        found = []
        for line in self.log.read_text().splitlines() if self.log.exists() else []:
            with contextlib.suppress(json.JSONDecodeError):
                found.append(json.loads(line))
        return found

    def rewind(self, step: int) -> None:
        """Drop the log's lines after update `step`, which a resumed run will write again."""
        kept = [json.dumps(record) + "\n" for record in self.records() if record["step"] <= step]
        write_text(self.log, "".join(kept))


def atomically(path: Path, write: Callable[[str], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it; on an error `path` stays as it was."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        if isinstance(error, OSError | RuntimeError | SafetensorError):  # torch and safetensors wrap a full disk
            raise OSError(f"cannot write {path}: {error}; what was there before is whole") from error
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    atomically(path, lambda file: Path(file).write_text(text))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def describe(run: Run) -> dict[str, Any]:
    """Return, as plain data, what a run is and where it is made."""
    names = ("precision", "compile", "device", "accumulate", "average", "clip", "patience", "patience_examples")
    return {
        **run.origin,
        "seed": run.seed,
        "epochs": run.epochs,
        "settings": {name: getattr(run, name) for name in names},
        **surroundings(),
        "gpu": torch.cuda.get_device_name(run.device) if run.device.startswith("cuda") else None,
        "command": " ".join(sys.argv) if sys.argv[0].endswith("lamina") else None,
    }


def surroundings() -> dict[str, Any]:
    """Return versions, commit, machine and time: what a figure must carry so that another can repeat it."""
    return {
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("lamina", "torch", "numpy")},
        "commit": commit(),
        "machine": f"{processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {platform.system()}",
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def commit() -> str | None:
    """Return the commit of the source tree, with a plus sign if it has changes, or None outside a repository."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != here.parents[1]:
            return None
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "--", ":/lamina") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def processor() -> str:
    """Return the processor's name."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.processor() or platform.machine()


def difference(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    """Return the first way in which two states differ in names or shapes."""
    for name in wanted.keys() | found.keys():
        if name not in found:
            return f"'{name}' is missing"
        if name not in wanted:
            return f"'{name}' is not part of the system"
        if wanted[name].shape != found[name].shape:
            return f"'{name}' has shape {tuple(found[name].shape)}, the system needs {tuple(wanted[name].shape)}"
    return None


@contextlib.contextmanager
def appending(path: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Give a function that appends one JSON line and flushes it."""
    with open(path, "a") as file:

        def append(record: dict[str, Any]) -> None:
            file.write(json.dumps(record) + "\n")
            file.flush()

        yield append
