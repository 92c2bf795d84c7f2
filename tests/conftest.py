"""Shapes are checked while the tests run; one thread makes every figure repeatable."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from jaxtyping import install_import_hook

torch.set_num_threads(1)
install_import_hook("lamina", "beartype.beartype")
