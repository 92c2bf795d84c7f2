"""Learn features without labels on some classes, and from few labels on others: with the features, and without.

python examples/transfer.py mnist                    # learns on digits 0 to 4, and classifies 5 to 9
python examples/transfer.py mnist --source fashion   # learns on clothes, and classifies digits
"""

import argparse

import lamina
from lamina.core import Encodes
from lamina.recipes import named
from lamina.recipes.transfer import halves, linear_errors, markdown, raw
from lamina.train.fit import fit

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("target", help="data set to classify; learns on the first half of its classes without --source")
parser.add_argument("--source", help="data set to learn features on")
parser.add_argument("--recipe", default="vae", help="what learns them: any recipe whose system encodes")
parser.add_argument("--epochs", type=int, default=10, help="passes over the source")
parser.add_argument("--each", type=int, nargs="+", default=[1, 2, 5, 10, 50], help="labels a class")
parser.add_argument("--draws", type=int, default=5, help="draws of the labelled examples, of which the mean is taken")
chosen = parser.parse_args()

target = lamina.load_data(chosen.target)
if chosen.source:
    source = lamina.load_data(chosen.source)
else:
    source, target = halves(target)
run = named(chosen.recipe)(source, epochs=chosen.epochs)
fit(run)
if not isinstance(run.system, Encodes):
    raise SystemExit(f"{chosen.recipe} does not encode: choose another recipe")
counts, seeds = [target.labels() * each for each in chosen.each], range(chosen.draws)
features = {chosen.recipe: run.system.encode, "none": raw}
print(markdown({name: linear_errors(encode, target, counts, seeds) for name, encode in features.items()}))
