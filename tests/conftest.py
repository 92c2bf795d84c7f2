"""Shapes are checked while the tests run; one thread makes every figure repeatable."""

import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from jaxtyping import install_import_hook

torch.set_num_threads(1)
parts = [path.stem for path in (Path(__file__).parents[1] / "lamina").glob("[a-z]*")]
install_import_hook(
    [f"lamina.{part}" for part in parts if part != "kernels"], "beartype.beartype"
)  # numba checks those
