"""Measure how far single numbers of a code stand for known factors, and write the table in docs/latent.md.

python examples/latent.py [--betas 1 2 4] [--seeds 0 1 2] [--set epochs=25 ...]

Each row is a VAE on `factors` with a weight of its KL term, or as a control as many principal components of the pixels.
What has a record is not trained again.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import lamina
from lamina.analysis.disentangling import disentangling, figures, principal_components
from lamina.analysis.latent import codes
from lamina.cli import guarded
from lamina.cli.reproduce import changes
from lamina.data.dataset import Data
from lamina.data.examples import whole
from lamina.data.factors import FACTORS
from lamina.recipes.records import PLACE, line, load_records, record_name, renewed, summary
from lamina.recipes.variational import vae
from lamina.train.folder import describe, surroundings, write_json

SHORT = ("hidden=200,200", "latent=10", "binarize=False", "lr=0.002", "epochs=25")
CONTROLS = {"the factors themselves": "of itself", "codes of other pictures": "permuted"}


def measured(encode: Callable[[Tensor], Tensor], data: Data) -> dict[str, float]:
    """Return the figures of a code."""
    train, test = whole(data.train), whole(data.test)
    pairs = [(torch.cat([encode(x) for x in part["x"].split(1000)]), part["factors"]) for part in (train, test)]
    return figures(disentangling(*pairs), FACTORS)


def cell(beta: float | None, seed: int, words: list[str], records: Path) -> None:
    """Measure a VAE, or without beta the principal components, unless its record is there."""
    arguments = changes(vae, (*SHORT, *words)) | {"seed": seed}
    form = " ".join((*SHORT, *words, f"beta={beta:g}")) if beta is not None else f"latent={arguments['latent']}"
    name = "vae" if beta is not None else "principal_components"
    path = records / f"{record_name(name, form, 'factors', seed)}.json"
    if path.exists():
        return
    data, begun, spent = lamina.load_data("factors", seed=seed), time.perf_counter(), time.process_time()
    if beta is None:
        record = {"recipe": name, "arguments": {"latent": arguments["latent"]}, "data": data.outline(), "seed": seed}
        encode = principal_components(whole(data.train)["x"], arguments["latent"])
        record |= surroundings()
    else:
        run = vae(data, **arguments, beta=beta)
        lamina.fit(run)
        record, encode = describe(run), lambda x: codes(run.system, x)
    times = {"seconds": time.perf_counter() - begun, "cpu_seconds": time.process_time() - spent}
    records.mkdir(parents=True, exist_ok=True)
    write_json(path, record | {"form": form, "figures": measured(encode, data)} | times)


def title(record: dict[str, Any]) -> str:
    """Return the row that a record belongs to."""
    if record["recipe"] != "vae":
        return f"{record['arguments']['latent']} principal components"
    changed = [word for word in record["form"].split() if word not in SHORT and not word.startswith("beta=")]
    return " ".join([f"VAE, β = {record['arguments']['beta']:g}", *changed])


def table(records: list[dict[str, Any]]) -> str:
    """Return MIG and the probes of every code, over the seeds, and of the controls."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        rows.setdefault(title(record), []).append(record)
    lines = [line("code", "MIG", *(f"probe: {name}" for name in FACTORS), "seeds", "minutes each")]
    lines.append(line(*["---"] * (4 + len(FACTORS))))
    for row, found in rows.items():
        seeds = ", ".join(str(record["seed"]) for record in found)
        minutes = statistics.mean(record["cpu_seconds"] for record in found) / 60
        lines.append(line(row, *cells_of(found, ""), seeds, f"{minutes:.1f}"))
    for row, kind in CONTROLS.items():
        lines.append(line(row, *cells_of(records, f" {kind}"), "all", "–"))
    return "".join(lines)


def cells_of(records: list[dict[str, Any]], kind: str) -> list[str]:
    """Return mean and deviation of MIG and of each probe."""
    names = [f"MIG{kind}", *(f"probe{kind} {name}" for name in FACTORS)]
    texts = [summary([record["figures"][name] for record in records], "").strip() for name in names]
    return [text.replace("-0.00", "0.00") for text in texts]


def cells() -> int:
    """Measure what has no record yet, and renew the page after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--betas", nargs="+", type=float, default=[1, 2, 4], help="weights of the KL term")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--set", nargs="*", default=[], help="other arguments of all VAEs, as epochs=2")
    parser.add_argument("--records", type=Path, default=PLACE / "disentangling")
    parser.add_argument("--page", type=Path, default=Path(__file__).parents[1] / "docs" / "latent.md")
    chosen = parser.parse_args()
    for seed in chosen.seeds:
        for beta in (None, *chosen.betas):
            cell(beta, seed, chosen.set, chosen.records)
            renewed(chosen.page, table(load_records(chosen.records)))
    return 0


if __name__ == "__main__":
    sys.exit(guarded(cells))
