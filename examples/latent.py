"""Train a VAE, and look at its code: pictures of interpolation, arithmetic and manifold, a table of disentangling.

python examples/latent.py factors|photos/ folder [latent] [epochs]

The table needs data with known factors, as `factors` has; directions need labels.
"""

import sys
from pathlib import Path

import numpy as np
import torch

import lamina
from lamina.analysis.disentangling import disentangling, markdown
from lamina.analysis.latent import analogy, codes, direction, interpolate, manifold, move, write_grid
from lamina.data.examples import spread
from lamina.data.factors import FACTORS, draw
from lamina.recipes.variational import vae

name, folder = sys.argv[1], Path(sys.argv[2])
latent, epochs = int(sys.argv[3]) if len(sys.argv) > 3 else 10, int(sys.argv[4]) if len(sys.argv) > 4 else 60
data = lamina.load_data(name)
run = vae(data, hidden=(400, 200), latent=latent, beta=2.0, binarize=False, lr=2e-3, epochs=epochs)
lamina.fit(run, folder / "run")

system, train, held = run.system, spread(data.train), spread(data.test)
z = codes(system, train["x"])
x = held["x"]
write_grid(interpolate(system, x[:6], x[6:12], 11), data.shape, folder / "linear.png")
write_grid(interpolate(system, x[:6], x[6:12], 11, spherical=True), data.shape, folder / "spherical.png")
widest = z.var(0).topk(2).indices.tolist()  # the numbers of the code that are used most
write_grid(
    manifold(system, torch.zeros(latent), side=12, axes=(widest[0], widest[1])), data.shape, folder / "manifold.png"
)

if "y" in train:
    along = direction(z, train["y"], value=1)
    others = x[held["y"] != 1][:6]
    write_grid(move(system, others, along, torch.linspace(0, 3, 7).tolist()), data.shape, folder / "direction.png")

if "factors" in train:

    def pictures(shape: int, size: float, x: float) -> torch.Tensor:
        """Return three pictures of a bright shape in the middle of the height, at slightly different angles."""
        return torch.from_numpy(draw(np.array([[shape, size, angle, x, 0.5, 0.9] for angle in (0, 5, 10)])))

    rows = []
    moved, grown = ((0.16, 0.6), (0.16, 0.4)), ((0.19, 0.5), (0.13, 0.5))  # size and x, after and before
    for shape, other in ((0, 2), (2, 0), (1, 2)):
        for after, before in (moved, grown):
            sets = pictures(shape, *after), pictures(shape, *before), pictures(other, *before)
            row = [*(part[1:2] for part in sets), analogy(system, *sets), pictures(other, *after)[1:2]]
            rows.append(torch.cat(row))  # the last one is what the one before it should be
    write_grid(torch.stack(rows), data.shape, folder / "arithmetic.png")
    found = disentangling((z, train["factors"]), (codes(system, x), held["factors"]))
    (folder / "disentangling.md").write_text(markdown(found, FACTORS))
    print(markdown(found, FACTORS))
