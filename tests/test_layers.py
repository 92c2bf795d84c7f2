"""Imports go one way; every recipe has a paper; help is quick."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lamina

ROOT = Path(lamina.__file__).parent

# Each line may import the lines above it and itself; packages side by side do not import each other.
LAYERS = [
    {"core", "kernels"},
    {"modules", "losses", "data", "optim"},
    {"sampling", "decoding"},
    {"systems"},
    {"train"},
    {"analysis"},
    {"recipes"},
    {"estimator"},
    {"cli"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (name.split(".")[1] for name in names if name and name.startswith("lamina."))


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    package = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if package == "__init__":
        return  # the public surface imports lazily
    assert package in RANK, f"declare the layer of {package} in LAYERS"
    for other in imports(path):
        assert other in RANK, f"declare the layer of {other} in LAYERS"
        assert other == package or RANK[other] < RANK[package], f"{package} must not import {other}"


def test_files_are_short():
    long = {str(p.relative_to(ROOT)): n for p in ROOT.rglob("*.py") if (n := len(p.read_text().splitlines())) > 300}
    assert not long


def test_help_does_not_import_torch():
    code = "import sys, lamina.cli; lamina.cli.main(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_public_names_exist():
    for name in lamina.__all__:
        assert getattr(lamina, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        getattr(lamina, "nothing")  # noqa: B009
