"""Train DRAW on pictures of yours, and write how it draws new ones.

python examples/draw.py mnist|photos/|pictures.npz drawing.gif [glimpses] [epochs]
"""

import sys
from pathlib import Path

import lamina
from lamina.analysis.drawing import write_drawing
from lamina.recipes.draw import draw

name, path = sys.argv[1], Path(sys.argv[2])
glimpses, epochs = int(sys.argv[3]) if len(sys.argv) > 3 else 10, int(sys.argv[4]) if len(sys.argv) > 4 else 15
data = lamina.load_data(name)
run = draw(data, glimpses=glimpses, epochs=epochs)
lamina.fit(run)
write_drawing(run.system, path, count=25)
print(f"{path}: {glimpses} glimpses of 25 new pictures; on the test data, {lamina.evaluate(run.system, run.test)}")
