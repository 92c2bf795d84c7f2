"""Shape an energy over the plane in many ways: a picture of the surfaces, and a table of held-out likelihoods.

python examples/strategies.py mixture|moons|spiral|points.csv folder [epochs]
"""

import argparse
import sys
from pathlib import Path

import lamina
from lamina.analysis.energy_plane import plot_energies, tempered
from lamina.cli import guarded
from lamina.data.examples import whole
from lamina.recipes.comparison import compare
from lamina.train.folder import surroundings


def main() -> int:
    """Train all strategies, and write the picture and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="mixture, moons, spiral, or a table of two columns")
    parser.add_argument("folder", type=Path)
    parser.add_argument("epochs", type=int, nargs="?", default=40)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    last = f"{chosen.epochs} epochs, seed {chosen.seed}; {made()}."  # of the source as it is now
    data = lamina.load_data(chosen.data, seed=chosen.seed)
    scores, nll = compare(data, seed=chosen.seed, epochs=chosen.epochs)
    valid, test = whole(data.valid)["x"].flatten(1), whole(data.test)["x"].flatten(1)
    plane = {name: tempered(score, valid, test) for name, score in scores.items()}
    known = {name: f"{value:.3f}" for name, value in nll.items()}
    titles = {name: f"{name}\n{known[name]} nats" if name in known else name for name in scores}
    lines = ["| model | test nll in nats | at the best temperature, over the plane |", "| --- | --- | --- |"]
    lines += [f"| {name} | {known.get(name, '–')} | {plane[name]:.3f} |" for name in scores]
    lines += [f"| truth | {known['truth']} | – |"] if "truth" in known else []
    lines += ["", last]
    chosen.folder.mkdir(parents=True, exist_ok=True)
    page = chosen.folder / f"{Path(data.name).stem}.md"
    plot_energies(scores, test, page.with_suffix(".png"), titles)
    page.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    return 0


def made() -> str:
    """Return with what, where and when the table is made, for its last line."""
    found = surroundings()
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    return f"commit {found['commit']}; {versions}; {found['machine']}; {found['started'][:10]}"


if __name__ == "__main__":
    sys.exit(guarded(main))
