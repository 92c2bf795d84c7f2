"""Draw how far back recurrent networks reach, before training and after: docs/pictures/gradients_through_time.png.

python examples/gradients_through_time.py [PICTURE] [--data temporal_order:50] [--cells rnn leaky ...] [--epochs 1]
"""

import argparse
from pathlib import Path

import torch

import lamina
from lamina.analysis.gradients_through_time import Reach, plot_reach, reach
from lamina.recipes.sequences import sequence
from lamina.systems.sequence.model import SequenceModel
from lamina.train.trainer import Epoch, Trainer

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("picture", nargs="?", type=Path, default="docs/pictures/gradients_through_time.png")
parser.add_argument("--data", default="temporal_order:50")
parser.add_argument("--cells", nargs="+", default=["rnn", "leaky", "delayed", "clockwork", "lstm", "gru"])
parser.add_argument("--hidden", type=int, default=32)
parser.add_argument("--epochs", type=int, default=1)
chosen = parser.parse_args()

data = lamina.load_data(chosen.data)
assert data.valid is not None
shown = data.valid.fetch(torch.arange(8))
curves: dict[str, dict[str, Reach]] = {}
for cell in chosen.cells:
    run = sequence(data, cell=cell, hidden=chosen.hidden, start_as="uniform", epochs=chosen.epochs)
    system = run.system
    assert isinstance(system, SequenceModel)
    curves[cell] = {"before": reach(system, shown["x"], shown["y"])}
    for event in Trainer(run):
        if isinstance(event, Epoch):
            print(cell, {name: round(float(value), 4) for name, value in event.valid.items()}, flush=True)
            curves[cell]["after" if event.number == run.epochs else f"epoch {event.number}"] = reach(
                system, shown["x"], shown["y"]
            )
plot_reach(curves, chosen.picture)
