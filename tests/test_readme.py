"""The example in the README runs as it stands."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert "tensor" in capsys.readouterr().out
    assert (tmp_path / "runs" / "disk" / "weights.safetensors").exists()


def test_every_page_that_is_named_exists():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for name in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / name).exists(), f"{page.name} names {name}"
