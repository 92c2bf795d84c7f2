"""Train DRAW on pictures of yours, and write how it draws new ones.

python examples/draw.py mnist|photos/|pictures.npz drawing.gif [--glimpses 10] [--epochs 15]
"""

import argparse
import sys
from pathlib import Path

import lamina
from lamina.analysis.drawing import write_drawing
from lamina.cli import guarded
from lamina.recipes.draw import draw


def main() -> int:
    """Train and write the animation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="standard set, folder of pictures or .npz file")
    parser.add_argument("out", type=Path, help="animation to write (.gif)")
    parser.add_argument("--glimpses", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=15, help="passes over the data")
    chosen = parser.parse_args()
    if chosen.out.suffix != ".gif" or not chosen.out.parent.is_dir():
        raise ValueError(f"cannot write {chosen.out}: name a .gif file in a folder that is there")
    data = lamina.load_data(chosen.data)
    run = draw(data, glimpses=chosen.glimpses, epochs=chosen.epochs)
    lamina.fit(run)
    write_drawing(run.system, chosen.out, count=25)
    bound = lamina.evaluate(run.system, run.test)
    print(f"{chosen.out}: {chosen.glimpses} glimpses of 25 new pictures; on the test data, {bound}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
