"""A symbol of training of a Stack-RNN with 40 units and 10 stacks of depth 200, on aⁿbⁿ with n below 15.

The original is the authors' program (github facebookarchive/Stack-RNN): where LAMINA_STACK_RNN names the folder of its
sources, its network is compiled with the options of its makefile and called without its printing and testing, in its
numbers, which are of double precision. It takes a step after every symbol and goes back through 50. lamina does the
same in the row "every symbol", by `fit`, in float32; in the others it goes back after 25 or 50 symbols through as many
before, in batches of 2,000. "torch" is lamina's own loop in torch's operations. `nats` is the mean loss of 2,000
symbols from the same weights on, 49 after the text begins: the original leaves out a part of one gradient, and cuts at
more places.
"""

import ctypes
import os
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.results import Result, Row, Target, timed
from benchmarks.trainer import ticking
from benchmarks.turns import Turn, Variant, compare

FOLDER = "LAMINA_STACK_RNN"
HIDDEN, STACKS, DEPTH, RATE, COUNT = 40, 10, 200, 0.1, 2000
FORMS = {"every symbol": (1, 49, 500), "every 25": (25, 25, 2000), "every 50": (50, 50, 2000)}  # steps, context, window
BASE = {True: "original, every symbol", False: "torch, every symbol"}
OPTIONS = ("-std=c++11", "-O3", "-march=native", "-funroll-loops", "-ffast-math", "-w", "-shared", "-fPIC")
DRIVER = """
#include "StackRNN.h"
using namespace rnn;
extern "C" void* make(int symbols, int hidden, int stacks, int depth, int back, const double* w) {
  StackRNN* net = new StackRNN(symbols, hidden, stacks, depth, symbols, back, 1, 1, false, 2, 0);
  for (int v = 0; v < symbols; v++) for (int i = 0; i < hidden; i++) net->_in2hidTranspose._data(v, i) = *w++;
  for (int s = 0; s < stacks; s++) for (int k = 0; k < 2; k++) for (int i = 0; i < hidden; i++)
    net->_stack2hid[s]._data(i, k) = *w++;
  for (int s = 0; s < stacks; s++) for (int a = 0; a < 2; a++) for (int i = 0; i < hidden; i++)
    net->_hid2act[s]._data(a, i) = *w++;
  for (int s = 0; s < stacks; s++) for (int i = 0; i < hidden; i++) net->_hid2stack[s]._data(0, i) = *w++;
  for (int v = 0; v < symbols; v++) for (int i = 0; i < hidden; i++) net->_hid2out._data(v, i) = *w++;
  return net;
}
extern "C" double learn(void* made, const long* tokens, const long* targets, long count, double rate) {
  StackRNN& net = *(StackRNN*)made;
  double nll = 0;
  for (long t = 0; t < count; t++) {
    net.forward(tokens[t], targets[t]);
    nll -= log(net.eval(targets[t]));
    net.backward();
    net.update(rate);
  }
  return nll;
}
"""


def measure(quick: bool) -> Result:
    """Compare the time that a symbol takes, and say what is learned."""
    with tempfile.TemporaryDirectory() as place:
        library = built(Path(place))
        variants: dict[str, Variant] = {"original, every symbol": partial(by_original, library)}
        variants |= {f"lamina, {name}": partial(by_fit, True, *form) for name, form in FORMS.items()}
        variants |= {
            "torch, every symbol": partial(by_fit, False, 1, 49, 20),
            "torch, every 25": partial(by_fit, False, 25, 25, 25),
        }
        costs = compare(variants, rounds=2 if quick else 15)
        for cost in costs.values():
            cost.cpu, cost.wall = ([each / cost.notes["symbols"] for each in times] for times in (cost.cpu, cost.wall))
        there = not costs["original, every symbol"].trouble
        rows = timed(costs, BASE[there], unit=1e-6, name="µs")
        losses = {"lamina, every symbol": fitted()} | ({"original, every symbol": told(library)} if there else {})
    rows = [
        Row(row.name, {**row.values, **({"nats": losses[row.name]} if row.name in losses else {})}, row.note)
        for row in rows
    ]
    bounds = {"lamina, every symbol": 1 / 14, "lamina, every 25": 1 / 150}
    targets = [Target(name, "ratio", "<=", bound) for name, bound in bounds.items() if there]
    return Result(rows, targets, {"hidden": HIDDEN, "stacks": STACKS, "depth": DEPTH})


def built(place: Path) -> str:
    """Return the path of the original's network as a library, or nothing where its sources are not."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return ""
    (place / "driver.cpp").write_text(DRIVER)
    command = ["g++", *OPTIONS, f"-I{folder}", str(place / "driver.cpp"), "-o", str(place / "stack.so")]
    subprocess.run(command, check=True, capture_output=True)
    return str(place / "stack.so")


def source(context: int, window: int) -> Any:
    """Return batches of the strings."""
    from lamina.data.patterns import Curriculum, patterns

    return Curriculum(patterns("anbn", repeats=1).train, 1, window, 100_000 // window, context, first=12)


def network(compiled: bool, every: int, window: int) -> Any:
    """Return a network of lamina's."""
    import torch

    from lamina.systems.memory.stack_rnn import StackRNN
    from lamina.systems.memory.unrolled import UnrolledStackRNN

    torch.manual_seed(0)
    kind = StackRNN if compiled else UnrolledStackRNN
    return kind(4, HIDDEN, STACKS, depth=DEPTH, every=every, rate=RATE * window)


class Original:
    """The authors' network, with the weights that lamina's begins with, along the text."""

    def __init__(self, library: str) -> None:
        import numpy as np

        if not library:
            raise ImportError(f"{FOLDER} does not name the folder of its sources")
        self.code = ctypes.CDLL(library)
        self.code.make.restype, self.code.learn.restype = ctypes.c_void_p, ctypes.c_double
        net = network(True, 1, COUNT)
        flat = np.concatenate([w.detach().double().numpy().ravel() for w in (net.U, net.P, net.A, net.D, net.V)])
        batch = next(iter(source(49, COUNT).epoch(0)))
        self.tokens = batch["tokens"][0].contiguous().numpy()
        self.targets = np.concatenate([self.tokens[1:], batch["targets"][0, -1:].numpy()])
        self.net = ctypes.c_void_p(self.code.make(4, HIDDEN, STACKS, DEPTH, 50, ctypes.c_void_p(flat.ctypes.data)))

    def learn(self, begin: int, end: int, rate: float) -> float:
        """Go along the symbols from one place to another; return the sum of their losses."""
        part = [ctypes.c_void_p(row.ctypes.data + row.itemsize * begin) for row in (self.tokens, self.targets)]
        return float(self.code.learn(self.net, *part, ctypes.c_long(end - begin), ctypes.c_double(rate)))


def by_original(library: str, turn: Turn) -> None:
    """Train the original, 200 symbols a turn."""
    original = Original(library)
    turn.notes["symbols"] = 200
    while True:
        for begin in range(0, COUNT, 200):
            original.learn(begin, begin + 200, RATE)
            turn()


def told(library: str) -> float:
    """Return the original's mean loss."""
    original = Original(library)
    original.learn(0, 49, 0.0)
    return original.learn(49, 49 + COUNT, RATE) / COUNT


def by_fit(compiled: bool, every: int, context: int, window: int, turn: Turn) -> None:
    """Train lamina's network."""
    import torch

    from lamina.core import Run
    from lamina.train.fit import fit

    turn.notes["symbols"] = window
    sgd = partial(torch.optim.SGD, lr=RATE * window, fused=True)
    fit(Run(network(compiled, every, window), source(context, window), sgd, epochs=1000), display=ticking(turn))


def fitted() -> float:
    """Return lamina's mean loss."""
    return float(network(True, 1, COUNT).loss(**next(iter(source(49, COUNT).epoch(0))))["nll"].detach())
