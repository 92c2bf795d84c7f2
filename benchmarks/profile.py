"""Where the time of an update goes, and how near its products are to the machine's limit, for systems of sequences.

The limit is the product of two 1024x1024 matrices of float32 on one thread, as in `gemm`. An update's operations are
the multiplications and additions of its matrix products, forward and backward: torch's counted by `FlopCounterMode`,
to which the products in place and oneDNN's LSTM are told here. What compiled kernels multiply themselves is not
counted (the hops of a MemN2N, the heads of a memory), but for a Stack-RNN, which has no other products: two
operations forward and four backward for each weight but those of the input, which are looked up, and each symbol that
they are computed for. Times are torch's profile of some updates: `products` are those of torch, `kernels` the
compiled loops (what is inside lamina's own autograd functions), `optimizer` its step, `other` all other operations of
torch, and `Python` what passes outside of any operation. The profiler slows small operations.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from benchmarks.gemm import PRODUCTS, product, row
from benchmarks.inputs import available
from benchmarks.results import Result, Row
from benchmarks.turns import Turn, compare, quartiles

UPDATES = 10
PRODUCT = ("mm", "addmm", "addmm_", "bmm", "baddbmm")  # the names of operations that are products,
WITHIN = ("mkldnn_rnn_layer", "_linear_pointwise", "convolution")  # and parts of such names
PARTS = ("products", "kernels", "optimizer", "other", "Python")


def measure(quick: bool) -> Result:
    """Compare the updates of recipes for sequences with the limit, and take them apart."""
    available()
    products = {f"product, {name}": partial(product, multiplication) for name, multiplication in PRODUCTS.items()}
    costs = compare(products | {name: partial(recipe, name) for name in RECIPES}, rounds=3 if quick else 30)
    limit = min((costs[name] for name in products if not costs[name].trouble), key=lambda cost: quartiles(cost.cpu)[1])
    rows = [row(name, cost, limit) for name, cost in costs.items()]
    whole = [Row(made.name, dict(made.values) | parts(costs[made.name].notes), made.note) for made in rows]
    return Result(whole, settings={"updates profiled": UPDATES})


def parts(notes: dict[str, float]) -> dict[str, float]:
    """Return the shares of the parts that were noted."""
    return {part: notes[part] for part in PARTS if part in notes}


def recipe(name: str, turn: Turn) -> None:
    """Train a recipe; count the operations of its second update, and profile the next."""
    from lamina.train.trainer import Trainer, Update

    run = RECIPES[name]()
    updates = (event for event in Trainer(run) if isinstance(event, Update))
    next(updates)
    turn.notes["flops"] = stack_operations(run) if name == "stack_rnn" else operations(updates)
    turn.notes |= shares(updates)
    for _ in updates:
        turn()


def operations(updates: Iterator[Any]) -> int:
    """Return the operations in the products of the next update."""
    from torch import ops
    from torch.utils.flop_counter import FlopCounterMode

    def added(c: Any, a: Any, b: Any, **options: Any) -> int:
        return int(2 * a[0] * a[1] * b[1])

    def layer(x: Any, w: Any, u: Any, *rest: Any, **options: Any) -> int:  # all of them are shapes
        return int(2 * x[0] * x[1] * (w[0] * w[1] + u[0] * u[1]))

    def layer_back(x: Any, w: Any, u: Any, *rest: Any, **options: Any) -> int:
        return 2 * layer(x, w, u)  # as many for what enters, and for the weights

    aten = ops.aten
    told = {aten.addmm_: added, aten.mkldnn_rnn_layer: layer, aten.mkldnn_rnn_layer_backward: layer_back}
    with FlopCounterMode(display=False, custom_mapping=told) as counter:
        next(updates)
    return int(counter.get_total_flops())


def shares(updates: Iterator[Any]) -> dict[str, float]:
    """Return the share of each part in the time of the next updates."""
    import time

    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        began = time.perf_counter()
        for _ in range(UPDATES):
            next(updates)
        passed = 1e6 * (time.perf_counter() - began)
    spent = dict.fromkeys(PARTS, 0.0)
    for average in profiled.key_averages():
        spent[part_of(average.key)] += average.self_cpu_time_total
    spent["Python"] = max(0.0, passed - sum(spent.values()))
    return {name: time / sum(spent.values()) for name, time in spent.items()}


def part_of(name: str) -> str:
    """Return which part an operation of torch's profile belongs to."""
    if name.rpartition("::")[2] in PRODUCT or any(some in name for some in WITHIN):
        return "products"
    if name.startswith("Optimizer") or "_fused_" in name:
        return "optimizer"
    return "other" if "::" in name or name[-1].isdigit() else "kernels"  # torch numbers its own backward functions


def stack_operations(run: Any) -> int:
    """Return the operations of an update of a Stack-RNN, which goes back through the context of each step as well."""
    net, source = run.system, run.train
    weights = sum(part.numel() for part in net.parameters()) - net.U.numel()
    return int(weights * source.rows * source.window * (2 + 4 * (source.context + net.every) / net.every))


def made(name: str, data: str, **arguments: Any) -> Any:
    """Return a run of a recipe that does not end."""
    from lamina.data.standard import load
    from lamina.recipes import named

    return named(name)(load(data), epochs=10**6, **arguments)


RECIPES: dict[str, Callable[[], Any]] = {
    "char_lm, quick": partial(made, "char_lm", "english", hidden=256),
    "word_lm, quick": partial(made, "word_lm", "byword:english", hidden=200, dropout=0.0),
    "sequence, LSTM": partial(made, "sequence", "adding:100", cell="lstm"),
    "sequence, RNN": partial(made, "sequence", "adding:100", cell="rnn"),
    "ntm": partial(made, "ntm", "tape:copy"),
    "sam": partial(made, "sam", "tape:copy"),
    "memn2n": partial(made, "memn2n", "babi:1"),
    "memn2n_lm": partial(made, "memn2n_lm", "english"),
    "stack_rnn": partial(made, "stack_rnn", "patterns:anbn", restarts=1),
}
