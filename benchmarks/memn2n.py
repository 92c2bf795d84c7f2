"""An epoch of an end-to-end memory network on 900 questions: lamina beside numpy and plain torch.

Three hops of 20 numbers with position encoding, random noise of times, and batches of 32, on generated stories of
bAbI's task 1 (at most 10 statements) and task 2 (at most 50). `numpy` has no loop over examples: each hop looks up its
input and output vectors, and the gradient of a table is a product with vectors of one 1. `numpy, as the port` adds up
the gradient of a table word by word, and multiplies memories and vectors example by example, as a public port of the
authors' program does. `torch` is the same by `nn.Embedding` and autograd. lamina trains by its `Trainer`, once with its
compiled kernel and once with torch's operations. Targets: at most 0.4 of numpy's time, and 0.1 of the port's.
"""

import math
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import numpy as np

from benchmarks.results import Result, Row, Target, timed
from benchmarks.turns import compare

TASKS = (1, 2)
BATCH, HIDDEN, HOPS, NOISE, RATE = 32, 20, 3, 0.1, 0.005


def measure(quick: bool) -> Result:
    """Compare the time of an epoch on both tasks."""
    rows, targets = list[Row](), list[Target]()
    for task in TASKS:
        variants = {f"task {task}: {name}": partial(way, task) for name, way in WAYS.items()}
        costs = compare(variants, rounds=2 if quick else 20)
        found = timed(costs, f"task {task}: numpy", len(batches(task)), 1e-3, "ms")
        port = timed(costs, f"task {task}: numpy, as the port", len(batches(task)), 1e-3, "ms")
        for row, other in zip(found, port, strict=True):
            more = {"of the port": other.values["ratio"]} if "ratio" in other.values else {}
            rows.append(Row(row.name, {**row.values, **more}, row.note))
        targets.append(Target(f"task {task}: lamina", "ratio", "<=", 0.4))
        targets.append(Target(f"task {task}: lamina", "of the port", "<=", 0.1))
    return Result(rows, targets, {"batch": BATCH, "hidden": HIDDEN, "hops": HOPS})


@cache
def given(task: int) -> Any:
    """Return the questions of a task."""
    from lamina.data.babi import babi

    return babi((task,))


def batches(task: int) -> Any:
    """Return the batches of training questions."""
    from lamina.data.batches import Batches

    return Batches(given(task).train, BATCH, tail=False)


def network(task: int, noise: float) -> Any:
    """Return lamina's network before training, the same at every call."""
    import torch

    from lamina.systems.memory.memn2n import MemN2N

    torch.manual_seed(0)
    _, memory, words = given(task).outline()["fields"]["story"]
    return MemN2N(given(task).labels(), memory, words, HIDDEN, HOPS, noise=noise)


def endless(task: int, updates: float) -> Iterator[Any]:
    """Yield batches, epoch after epoch, up to so many."""
    source, made = batches(task), 0
    while True:
        for batch in source.epoch(made // len(source)):
            if made >= updates:
                return
            made += 1
            yield batch


def by_lamina(
    task: int, turn: Callable[[], None], updates: float = math.inf, noise: float = NOISE, kernel: bool = True
) -> Any:
    """Train lamina's network; return its tables of words and of times."""
    import torch

    from lamina.core import Run
    from lamina.systems.memory import memn2n
    from lamina.train.trainer import Trainer, Update

    if not kernel:
        memn2n.compiled = lambda weight: False
    net, made = network(task, noise), 0
    sgd = partial(torch.optim.SGD, lr=RATE * BATCH, fused=True)
    for event in Trainer(Run(net, batches(task), sgd, epochs=10**6, clip=40 / BATCH)):
        if isinstance(event, Update):
            made += 1
            turn()
            if made >= updates:
                break
    return net.words.detach().numpy(), net.times.detach().numpy()


def by_torch(task: int, turn: Callable[[], None], updates: float = math.inf, noise: float = NOISE) -> Any:
    """Train the same network, written in the plain way; return its tables of words and of times."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    first = network(task, noise)
    tables = first.words.detach().unbind(1), first.times.detach().unbind(1)
    words = [nn.Embedding.from_pretrained(table.clone(), freeze=False, padding_idx=0) for table in tables[0]]
    times = [nn.Embedding.from_pretrained(table.clone(), freeze=False) for table in tables[1]]
    parameters = [table.weight for table in (*words, *times)]
    optimizer = torch.optim.SGD(parameters, lr=RATE * BATCH)
    memory = len(first.times)
    encoded = torch.from_numpy(encoding(given(task).outline()["fields"]["story"][2]))
    rng = np.random.default_rng(0)
    for batch in endless(task, updates):
        story, there = batch["story"], batch["story"][:, :, 0] != 0
        ages = torch.from_numpy(jittered(there.numpy(), memory, noise, rng))
        u = (words[0](batch["question"]) * encoded).sum(1)
        for hop in range(HOPS):
            m = ((words[hop](story) * encoded).sum(2) + times[hop](ages)) * there[..., None]
            c = ((words[hop + 1](story) * encoded).sum(2) + times[hop + 1](ages)) * there[..., None]
            p = (m * u[:, None]).sum(2).masked_fill(~there, 0).softmax(1)
            u = u + (p[..., None] * c).sum(1)
        loss = F.cross_entropy(u @ words[HOPS].weight[1:].T, batch["y"] - 1)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 40 / BATCH)
        optimizer.step()
        turn()
    return tuple(np.stack([table.weight.detach().numpy() for table in part], 1) for part in (words, times))


def by_numpy(
    task: int, turn: Callable[[], None], updates: float = math.inf, noise: float = NOISE, port: bool = False
) -> Any:
    """Train the same network in numpy; return its tables of words and of times."""
    add, product = (by_word, by_example) if port else (by_ones, np.einsum)
    first = network(task, noise)
    words, times = (list(table.detach().numpy().transpose(1, 0, 2).copy()) for table in (first.words, first.times))
    encoded = encoding(given(task).outline()["fields"]["story"][2])
    rng = np.random.default_rng(0)
    for batch in endless(task, updates):
        story, question, y = (batch[name].numpy() for name in ("story", "question", "y"))
        there = story[:, :, 0] != 0
        ages = jittered(there, len(times[0]), noise, rng)
        u, looks = (words[0][question] * encoded).sum(1), []
        for hop in range(HOPS):
            m, c = (
                ((words[table][story] * encoded).sum(2) + times[table][ages]) * there[..., None]
                for table in (hop, hop + 1)
            )
            p = softmax(np.where(there, product("bmd,bd->bm", m, u), 0)) * there
            looks.append((m, c, p, u))
            u = u + product("bm,bmd->bd", p, c)
        slope = softmax(u @ words[HOPS][1:].T)
        slope[np.arange(len(y)), y - 1] -= 1
        slope /= len(y)
        dwords, dtimes = ([np.zeros_like(table) for table in tables] for tables in (words, times))
        dwords[HOPS][1:] += slope.T @ u
        du = slope @ words[HOPS][1:]
        for hop, (m, c, p, before) in reversed(list(enumerate(looks))):
            dp = product("bmd,bd->bm", c, du)
            ds = p * (dp - (p * dp).sum(1, keepdims=True))
            for table, cells in ((hop + 1, p[..., None] * du[:, None]), (hop, ds[..., None] * before[:, None])):
                spread = cells[:, :, None] * encoded * (story != 0)[..., None]
                add(dwords[table], story, spread)
                add(dtimes[table], ages, cells)
            du = du + product("bm,bmd->bd", ds, m)
        spread = du[:, None] * encoded * (question != 0)[..., None]
        add(dwords[0], question, spread)
        norm = math.sqrt(sum(float((table**2).sum()) for table in (*dwords, *dtimes)))
        for whole, gradient in zip((*words, *times), (*dwords, *dtimes), strict=True):
            np.subtract(whole, RATE * BATCH * min(1, 40 / BATCH / norm) * gradient, out=whole)
        turn()
    return np.stack(words, 1), np.stack(times, 1)


def encoding(words: int) -> Any:
    """Return the position encoding (words, hidden)."""
    j, k = np.arange(1, words + 1)[:, None], np.arange(1, HIDDEN + 1)
    return (1 + 4 * (k - (HIDDEN + 1) / 2) * (j - (words + 1) / 2) / (HIDDEN * words)).astype(np.float32)


def by_ones(table: Any, numbers: Any, slopes: Any) -> None:
    """Add slopes to the rows of a table that have these numbers, as a product of matrices."""
    ones = np.eye(len(table), dtype=np.float32)[numbers.reshape(-1)]
    table += ones.T @ slopes.reshape(-1, HIDDEN)


def by_word(table: Any, numbers: Any, slopes: Any) -> None:
    """Add slopes to the rows of a table that have these numbers, one row after the other."""
    for number in np.unique(numbers):
        table[number] += slopes[numbers == number].sum(0)


def by_example(form: str, a: Any, b: Any) -> Any:
    """Multiply matrices and vectors, one example after the other."""
    short = form.replace("b", "")
    return np.stack([np.einsum(short, one, other) for one, other in zip(a, b, strict=True)])


def softmax(scores: Any) -> Any:
    """Return the softmax of each row."""
    found = np.exp(scores - scores.max(1, keepdims=True))
    return found / found.sum(1, keepdims=True)


def jittered(there: Any, memory: int, noise: float, rng: np.random.Generator) -> Any:
    """Return the times of statements, with blanks between them."""
    ages = np.tile(np.arange(there.shape[1]), (len(there), 1))
    for row, count in zip(ages, there.sum(1), strict=True):
        blanks = rng.integers(math.ceil(noise * count) + 1)
        row[:count] = np.sort(rng.permutation(count + blanks)[:count])
    return ages.clip(max=memory - 1)


WAYS: dict[str, Any] = {
    "numpy": by_numpy,
    "numpy, as the port": partial(by_numpy, port=True),
    "torch": by_torch,
    "lamina": by_lamina,
    "lamina, torch's operations": partial(by_lamina, kernel=False),
}
