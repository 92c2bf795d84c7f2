"""Codes of 100 images over 256 atoms: FISTA on all at once, and scikit-learn's solvers, with the energies they reach.

The atoms are images of MNIST of norm 1, the images are centered, λ = 2, float64. `excess` is the energy of an image
above the least one, which FISTA finds in 20,000 steps, in millionths of it. lamina has 50, 200 and 1,000 steps;
scikit-learn its coordinate descent (`lasso_cd`) at its default tolerance, and exact least angles (`lasso_lars`).
"""

from functools import cache, partial
from typing import Any

import numpy as np

from benchmarks.inputs import available, images
from benchmarks.results import Result, Row, timed
from benchmarks.turns import Turn, Variant, compare

COUNT, ATOMS, SPARSITY = 100, 256, 2.0


def measure(quick: bool) -> Result:
    """Compare the time for all codes, and say how good they are."""
    available()
    best = energy(by_steps(20_000))
    excess = {name: 1e6 * (energy(CODES[name]()) / best - 1) for name in CODES}
    costs = compare(VARIANTS, rounds=2 if quick else 20)
    rows = timed(costs, "lasso_cd", unit=1e-3, name="ms")
    rows = [Row(row.name, {**row.values, "excess": excess[row.name]}, row.note) for row in rows]
    return Result(rows, [], {"images": COUNT, "atoms": ATOMS, "sparsity": SPARSITY})


@cache
def given() -> tuple[Any, Any]:
    """Return images (count, 784) and atoms (atoms, 784)."""
    x = images(COUNT + ATOMS)[0].reshape(-1, 784) / 255
    x = x - x.mean(0)
    return x[:COUNT], x[COUNT:] / np.linalg.norm(x[COUNT:], axis=1, keepdims=True)


def energy(z: Any) -> float:
    """Return the mean energy of codes."""
    x, atoms = given()
    return float((0.5 * np.square(x - z @ atoms).sum(1) + SPARSITY * np.abs(z).sum(1)).mean())


def by_steps(steps: int) -> Any:
    """Return lamina's codes."""
    import torch

    from lamina.optim.fista import fista

    x, atoms = (torch.from_numpy(part) for part in given())
    return fista(atoms @ atoms.t(), x @ atoms.t(), SPARSITY, None, steps, 0.0).numpy()


def by_sklearn(algorithm: str) -> Any:
    """Return scikit-learn's codes; its alpha is the same λ."""
    from sklearn.decomposition import sparse_encode

    x, atoms = given()
    return sparse_encode(x, atoms, algorithm=algorithm, alpha=SPARSITY)


def forever(code: Any, turn: Turn) -> None:
    """Code again and again."""
    while True:
        code()
        turn()


CODES: dict[str, Any] = {
    "lasso_cd": partial(by_sklearn, "lasso_cd"),
    "lasso_lars": partial(by_sklearn, "lasso_lars"),
    "lamina, 50 steps": partial(by_steps, 50),
    "lamina, 200 steps": partial(by_steps, 200),
    "lamina, 1000 steps": partial(by_steps, 1000),
}
VARIANTS: dict[str, Variant] = {name: partial(forever, code) for name, code in CODES.items()}
