"""Shape an energy over the plane in many ways: a picture of the surfaces, and a table of held-out likelihoods.

python examples/strategies.py mixture|moons|spiral|points.csv folder
"""

import sys
from pathlib import Path

import lamina
from lamina.analysis.energy_plane import plot_energies
from lamina.data.examples import whole
from lamina.recipes.strategies import compare

name, folder = sys.argv[1], Path(sys.argv[2])
data = lamina.load_data(name)
scores, nll = compare(data)

titles = {name: f"{name}\n{nll[name]:.3f} nats" if name in nll else name for name in scores}
lines = ["| model | test nll in nats |", "| --- | --- |"]
lines += [f"| {name} | {nll[name]:.3f} |" if name in nll else f"| {name} | – |" for name in [*scores, "truth"]]
folder.mkdir(parents=True, exist_ok=True)
plot_energies(scores, whole(data.test)["x"], folder / f"{data.name}.png", titles)
(folder / f"{data.name}.md").write_text("\n".join(lines) + "\n")
print("\n".join(lines))
