"""Codes of 100 images over 256 atoms: lamina's and scikit-learn's solvers, with the energies they reach.

The atoms are images of MNIST of norm 1, the images are centered, float64. `excess` is the energy of an image above the
least one, which FISTA finds in 20,000 steps, in millionths of it. lamina has coordinate descent (`lasso`) at a
tolerance of 0.001, and FISTA on all at once in 50, 200 and 1,000 steps; scikit-learn its coordinate descent
(`lasso_cd`) at its default tolerance, and exact least angles (`lasso_lars`). At λ = 2 a code has about four atoms, at
λ = 0.1 about fifty.
"""

from functools import cache, partial
from typing import Any

import numpy as np

from benchmarks.inputs import available, images
from benchmarks.results import Result, Row, Target, timed
from benchmarks.turns import Turn, Variant, compare

COUNT, ATOMS = 100, 256
SPARSITIES = (2.0, 0.1)


def measure(quick: bool) -> Result:
    """Compare the time for all codes, and say how good they are."""
    available()
    rows, targets = list[Row](), list[Target]()
    for sparsity in SPARSITIES:
        best = energy(by_steps(20_000, sparsity), sparsity)
        names = {f"λ {sparsity:g}: {name}": partial(code, sparsity) for name, code in CODES.items()}
        excess = {name: 1e6 * (energy(code(), sparsity) / best - 1) for name, code in names.items()}
        variants: dict[str, Variant] = {name: partial(forever, code) for name, code in names.items()}
        base = f"λ {sparsity:g}: lasso_cd"
        found = timed(compare(variants, rounds=2 if quick else 20), base, unit=1e-3, name="ms")
        rows += [Row(row.name, {**row.values, "excess": excess[row.name]}, row.note) for row in found]
        targets.append(Target(f"λ {sparsity:g}: lamina", "ratio", "<=", 1.0))
    return Result(rows, targets, {"images": COUNT, "atoms": ATOMS})


@cache
def given() -> tuple[Any, Any]:
    """Return images (count, 784) and atoms (atoms, 784)."""
    x = images(COUNT + ATOMS)[0].reshape(-1, 784) / 255
    x = x - x.mean(0)
    return x[:COUNT], x[COUNT:] / np.linalg.norm(x[COUNT:], axis=1, keepdims=True)


def energy(z: Any, sparsity: float) -> float:
    """Return the mean energy of codes."""
    x, atoms = given()
    return float((0.5 * np.square(x - z @ atoms).sum(1) + sparsity * np.abs(z).sum(1)).mean())


def by_descent(sparsity: float) -> Any:
    """Return lamina's codes by coordinate descent."""
    import torch

    from lamina.optim.lasso import lasso

    x, atoms = (torch.from_numpy(part) for part in given())
    return lasso(atoms @ atoms.t(), x @ atoms.t(), sparsity, tolerance=1e-3).numpy()


def by_steps(steps: int, sparsity: float) -> Any:
    """Return lamina's codes by steps of FISTA."""
    import torch

    from lamina.optim.fista import fista

    x, atoms = (torch.from_numpy(part) for part in given())
    return fista(atoms @ atoms.t(), x @ atoms.t(), sparsity, None, steps, 0.0).numpy()


def by_sklearn(algorithm: str, sparsity: float) -> Any:
    """Return scikit-learn's codes; its alpha is the same λ."""
    from sklearn.decomposition import sparse_encode

    x, atoms = given()
    return sparse_encode(x, atoms, algorithm=algorithm, alpha=sparsity)


def forever(code: Any, turn: Turn) -> None:
    """Code again and again."""
    while True:
        code()
        turn()


CODES: dict[str, Any] = {
    "lasso_cd": partial(by_sklearn, "lasso_cd"),
    "lasso_lars": partial(by_sklearn, "lasso_lars"),
    "lamina": by_descent,
    **{f"lamina, {steps} steps": partial(by_steps, steps) for steps in (50, 200, 1000)},
}
