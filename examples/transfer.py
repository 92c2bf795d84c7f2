"""Learn features without labels on some classes, and from few labels on others: with the features, and without.

python examples/transfer.py mnist                    # learns on digits 0 to 4, and classifies 5 to 9
python examples/transfer.py mnist --source fashion   # learns on clothes, and classifies digits
python examples/transfer.py --table                  # measures what docs/few_labels.md shows and has no record yet
"""

import argparse
import re
import sys
import time
from pathlib import Path
from typing import Any

from lamina.cli import guarded
from lamina.cli.reproduce import changes
from lamina.core import Encodes
from lamina.data.dataset import Data
from lamina.data.standard import load
from lamina.recipes import named
from lamina.recipes.records import PLACE, load_records, record_name
from lamina.recipes.transfer import check, halves, linear_errors, markdown, of_shape, raw
from lamina.train.fit import fit
from lamina.train.folder import describe, surroundings, write_json, write_text

METHODS = {"none": (), "vae": (), "rbm": (), "walkback": ("steps=1", "hidden=500")}  # a recipe, and what differs
PAIRS = (("mnist", None, 30), ("mnist", "fashion", 15))  # target, source if it is not half of that, and passes over it
TABLE = re.compile("(?<=<!-- transfer -->\n).*(?=<!-- /transfer -->)", re.DOTALL)


def domains(target: str, source: str | None) -> tuple[Data, Data]:
    """Return what features are learned on and what is classified, in the shape of the latter."""
    data = load(target)
    return halves(data) if source is None else (of_shape(load(source), data.shape), data)


def measured(name: str, words: list[str], source: Data, target: Data, chosen: argparse.Namespace) -> dict[str, Any]:
    """Return the record of the features of one recipe, or of none: the errors with each number of labels.

    Raises:
        ValueError: there is no such recipe, its system does not encode, or the data does not fit.
    """
    counts = [target.labels() * each for each in chosen.each]
    check(target, counts)
    record: dict[str, Any] = {"features": name, "form": " ".join(words), "target": target.outline()}
    if name == "none":
        record |= {"seed": chosen.seed, **surroundings()}
        encode = raw
    else:
        recipe = named(name)
        run = recipe(source, **changes(recipe, tuple(words)), seed=chosen.seed)
        if not isinstance(run.system, Encodes):
            raise ValueError(f"{name} does not encode: choose another recipe")
        record |= describe(run)
        spent = time.process_time()
        fit(run)
        record["cpu_seconds"] = time.process_time() - spent
        encode = run.system.encode
    return record | {"errors": linear_errors(encode, target, counts, range(chosen.draws))}


def cells(chosen: argparse.Namespace) -> None:
    """Measure what has no record yet, and renew the page after each."""
    for target, source, passes in PAIRS:
        domain = None
        for name, changed in METHODS.items():
            words = [] if name == "none" else [*changed, f"epochs={passes}"]
            path = (
                chosen.records / f"{record_name(name, ' '.join((*words, source or 'half')), target, chosen.seed)}.json"
            )
            if not path.exists():
                domain = domain or domains(target, source)
                record = measured(name, words, *domain, chosen) | {"source": domain[0].outline()}
                chosen.records.mkdir(parents=True, exist_ok=True)
                write_json(path, record)
            text = tables(load_records(chosen.records))
            write_text(chosen.page, TABLE.sub(lambda _, text=text: text, chosen.page.read_text()))


def tables(records: list[dict[str, Any]]) -> str:
    """Return a table for each pair of source and target."""
    parts: dict[str, dict[str, dict[int, list[float]]]] = {}
    for record in records:
        title = f"Features of {extent(record['source'])}; test error on {extent(record['target'])}:\n\n"
        errors = {int(count): values for count, values in record["errors"].items()}
        parts.setdefault(title, {})[" ".join((record["features"], record["form"])).strip()] = errors
    return "\n".join(title + markdown(rows) for title, rows in parts.items())


def extent(outline: dict[str, Any]) -> str:
    """Return which classes of which data these are."""
    return f"{outline['name']} ({outline['classes'][0]} to {outline['classes'][-1]})"


def main() -> int:
    """Print the errors on the user's data, or measure the page's tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", nargs="?", help="data to classify; learns on half of its classes without --source")
    parser.add_argument("--source", help="data to learn features on; pictures are made to fit the target's shape")
    parser.add_argument("--recipe", default="vae", help="what learns them: any recipe whose system encodes")
    parser.add_argument("--epochs", type=int, default=10, help="passes over the source")
    parser.add_argument("--set", nargs="*", default=[], help="other arguments of the recipe, as hidden=400")
    parser.add_argument("--each", type=int, nargs="+", default=[1, 2, 5, 10, 50], help="labels a class")
    parser.add_argument("--draws", type=int, default=10, help="draws of the labelled examples")
    parser.add_argument("--seed", type=int, default=0, help="of the features")
    parser.add_argument("--table", action="store_true", help="measure what the page shows and has no record yet")
    parser.add_argument("--records", type=Path, default=PLACE / "transfer")
    parser.add_argument("--page", type=Path, default=Path(__file__).parents[1] / "docs" / "few_labels.md")
    chosen = parser.parse_args()
    if chosen.table:
        cells(chosen)
        return 0
    if chosen.target is None:
        raise ValueError("give the data to classify, as in: python examples/transfer.py mnist")
    named(chosen.recipe)
    pair = domains(chosen.target, chosen.source)
    forms = {chosen.recipe: [f"epochs={chosen.epochs}", *chosen.set], "none": []}
    print(markdown({name: measured(name, words, *pair, chosen)["errors"] for name, words in forms.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
