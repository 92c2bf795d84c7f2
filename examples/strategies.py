"""Shape an energy over the plane in many ways: a picture of the surfaces, and a table of held-out likelihoods.

python examples/strategies.py mixture|moons|spiral|points.csv folder [epochs]
"""

import sys
from pathlib import Path

import lamina
from lamina.analysis.energy_plane import plot_energies, tempered
from lamina.data.examples import whole
from lamina.recipes.comparison import compare

name, folder = sys.argv[1], Path(sys.argv[2])
data = lamina.load_data(name)
scores, nll = compare(data, epochs=int(sys.argv[3]) if len(sys.argv) > 3 else 40)
valid, test = whole(data.valid)["x"], whole(data.test)["x"]
plane = {name: tempered(score, valid, test) for name, score in scores.items()}

known = {name: f"{value:.3f}" for name, value in nll.items()}
titles = {name: f"{name}\n{known[name]} nats" if name in known else name for name in scores}
lines = ["| model | test nll in nats | at the best temperature, over the plane |", "| --- | --- | --- |"]
lines += [f"| {name} | {known.get(name, '–')} | {plane[name]:.3f} |" for name in scores]
lines += [f"| truth | {known['truth']} | – |"] if "truth" in known else []
folder.mkdir(parents=True, exist_ok=True)
plot_energies(scores, test, folder / f"{Path(data.name).stem}.png", titles)
(folder / f"{Path(data.name).stem}.md").write_text("\n".join(lines) + "\n")
print("\n".join(lines))
