"""An update of a recurrent layer, forward and backward: lamina's cells, a plain loop, and torch's own layers.

Sequences of 100 steps of 16 numbers, 50 in a batch, 64 units, float32, one thread; the loss is the square of all
outputs. A plain loop has each operation of the equations by itself, in every step, as they are usually written: linear
layers for input and state, and autograd; for LSTM and GRU it is nn.LSTMCell and nn.GRUCell. lamina's row runs the cell
in `Unfold`; torch's row is nn.RNN, nn.LSTM or nn.GRU. The ragged rows are GRUs on sequences of 10, 20, ... 100 steps,
five of each: torch's with packing, the plain loop with a mask on the state.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.results import Result, Target, timed
from benchmarks.turns import Turn, Variant, compare

TIME, BATCH, INPUTS, HIDDEN = 100, 50, 16, 64
TIMES = (1, 2, 4, 8)  # delays and periods
LAYERS = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}
KINDS = ("rnn", "leaky", "delayed", "clockwork", "deep", "lstm", "gru")


def measure(quick: bool) -> Result:
    """Compare an update of each."""
    rows, targets = [], []
    for kind in (*KINDS, "ragged"):
        base = f"{kind}, plain loop"
        variants: dict[str, Variant] = {
            base: partial(forever, plain, kind),
            f"{kind}, lamina": partial(forever, ours, kind),
        }
        if kind in LAYERS or kind == "ragged":
            variants[f"{kind}, torch"] = partial(forever, theirs, kind)
        rows += timed(compare(variants, rounds=2 if quick else 20, seconds=0.5), base, unit=1e-3, name="ms")
        targets.append(Target(f"{kind}, lamina", "ratio", "<=", 1.0))
    return Result(rows, targets, {"time": TIME, "batch": BATCH, "inputs": INPUTS, "hidden": HIDDEN})


def forever(make: Callable[[str], tuple[Any, Any]], kind: str, turn: Turn) -> None:
    """Compute loss and gradients again and again."""
    import torch

    torch.manual_seed(0)
    network, run = make(kind)
    x = torch.randn(TIME, BATCH, INPUTS)
    while True:
        network.zero_grad()
        run(x).square().sum().backward()
        turn()


def ours(kind: str) -> tuple[Any, Any]:
    """Return a cell of lamina, and what runs it."""
    from lamina.modules.cells import Unfold
    from lamina.recipes.sequences import cell_of

    unfold = Unfold(cell_of("gru" if kind == "ragged" else kind, INPUTS, HIDDEN, times=TIMES))  # type: ignore[arg-type]
    ends = lengths() if kind == "ragged" else None
    return unfold, lambda x: unfold(x, lengths=ends)[0]


def theirs(kind: str) -> tuple[Any, Any]:
    """Return torch's layer, and what runs it."""
    from torch import nn
    from torch.nn.utils import rnn

    layer = getattr(nn, LAYERS.get(kind, "GRU"))(INPUTS, HIDDEN)
    if kind != "ragged":
        return layer, lambda x: layer(x)[0]

    def run(x: Any) -> Any:
        packed = rnn.pack_padded_sequence(x, lengths(), enforce_sorted=False)
        return rnn.pad_packed_sequence(layer(packed)[0], total_length=TIME)[0]

    return layer, run


def lengths() -> Any:
    """Return lengths of sequences."""
    import torch

    return torch.arange(10, TIME + 1, 10).repeat(5)


def plain(kind: str) -> tuple[Any, Any]:
    """Return the layers of a plain loop, and the loop."""
    import torch
    from torch import nn

    gated = {"lstm": nn.LSTMCell, "gru": nn.GRUCell, "ragged": nn.GRUCell}
    if kind in gated:
        layers: Any = nn.ModuleDict({"cell": gated[kind](INPUTS, HIDDEN)})
    else:
        layers = nn.ModuleDict({"enter": nn.Linear(INPUTS, HIDDEN), "across": nn.Linear(HIDDEN, HIDDEN)})
        layers.update(
            {"above": nn.Linear(HIDDEN, HIDDEN), "around": nn.Linear(HIDDEN, HIDDEN)} if kind == "deep" else {}
        )
    step = partial(STEPS.get(kind, gated_step), layers)
    ends = lengths() if kind == "ragged" else None

    def run(x: Any) -> Any:
        past = [x.new_zeros(BATCH, HIDDEN)] * max(TIMES)  # outputs so far, after zeros
        memory = past[0]
        for t, x_t in enumerate(x):
            h, memory = step(x_t, past, memory, t)
            if ends is not None:
                h = torch.where((t < ends)[:, None], h, past[-1])
            past.append(h)
        outputs = torch.stack(past[max(TIMES) :])
        return outputs if ends is None else outputs * (torch.arange(TIME)[:, None] < ends)[:, :, None]

    return layers, run


def gated_step(layers: Any, x: Any, past: list[Any], memory: Any, t: int) -> tuple[Any, Any]:
    """Return h and c of an LSTM, or h of a GRU."""
    from torch import nn

    cell = layers["cell"]
    return cell(x, (past[-1], memory)) if isinstance(cell, nn.LSTMCell) else (cell(x, past[-1]), memory)


def rnn_step(layers: Any, x: Any, past: list[Any], memory: Any, t: int) -> tuple[Any, Any]:
    """Return h of a plain cell."""
    return (layers["enter"](x) + layers["across"](past[-1])).tanh(), memory


def leaky_step(layers: Any, x: Any, past: list[Any], memory: Any, t: int) -> tuple[Any, Any]:
    """Return h of a leaky cell."""
    import torch

    alpha = 1 / torch.logspace(0, 1, HIDDEN)
    return (1 - alpha) * past[-1] + alpha * rnn_step(layers, x, past, memory, t)[0], memory


def delayed_step(layers: Any, x: Any, past: list[Any], memory: Any, t: int) -> tuple[Any, Any]:
    """Return h of a cell of several delays."""
    import torch
    import torch.nn.functional as F

    across = layers["across"]
    parts = zip(across.weight.tensor_split(len(TIMES)), across.bias.tensor_split(len(TIMES)), TIMES, strict=True)
    return (layers["enter"](x) + torch.cat([F.linear(past[-d], w, b) for w, b, d in parts], 1)).tanh(), memory


def clockwork_step(layers: Any, x: Any, past: list[Any], memory: Any, t: int) -> tuple[Any, Any]:
    """Return h of a cell of several periods."""
    import torch
    import torch.nn.functional as F

    period = torch.tensor(TIMES).repeat_interleave(HIDDEN // len(TIMES))
    sees = period[:, None] <= period
    across = layers["across"]
    new = (layers["enter"](x) + F.linear(past[-1], across.weight * sees, across.bias)).tanh()
    return torch.where(t % period == 0, new, past[-1]), memory


def deep_step(layers: Any, x: Any, past: list[Any], memory: Any, t: int) -> tuple[Any, Any]:
    """Return h of a cell of two layers with a shortcut."""
    z = rnn_step(layers, x, past, memory, t)[0]
    return (layers["above"](z) + layers["around"](past[-1])).tanh(), memory


STEPS: dict[str, Any] = {
    "rnn": rnn_step,
    "leaky": leaky_step,
    "delayed": delayed_step,
    "clockwork": clockwork_step,
    "deep": deep_step,
}
