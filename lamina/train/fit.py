"""Train a run to its end: keep the best weights, stop early, save, resume, report progress."""

import contextlib
import copy
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from lamina.core import Run
from lamina.train.display import Display
from lamina.train.folder import Folder, appending
from lamina.train.trainer import Epoch, Trainer, Update

LOG_POINTS = 500  # training terms are logged about this many times in a run

Record = dict[str, Any]
"""A line of the log: `step`, `seconds`, and either `terms` or `epoch` with `valid`."""


class Interrupted(KeyboardInterrupt):
    """Training was asked to stop by a signal, and its state was saved; carries a message and the signal's number."""


@dataclass
class Result:
    """What training came to.

    Args:
        best: held-out metrics of the epoch whose weights were kept.
        epoch: its number; 0 before the first.
        epochs: epochs that were trained.
        examples: training examples seen up to the best epoch.
        seconds: time spent training, over all resumed parts and the runs before.
        complete: whether training came to its end.
    """

    best: dict[str, float] = field(default_factory=dict)
    epoch: int = 0
    epochs: int = 0
    examples: int = 0
    seconds: float = 0.0
    complete: bool = False


class Keeper:
    """Keeps the best weights of a run, and saves what it takes to go on."""

    def __init__(self, trainer: Trainer, folder: Folder | None, save_every: float) -> None:
        self.trainer, self.folder, self.save_every = trainer, folder, save_every
        self.result, self.best = Result(), dict[str, Tensor]()
        self.started = self.saved = time.perf_counter()

    def restore(self, folder: Folder) -> None:
        """Go on from the folder's checkpoint, or from the beginning if none was reached."""
        state = folder.load_resume()
        if state is not None:
            self.trainer.load_state_dict(state["trainer"])
            self.result = Result(**state["result"])
            self.best = load_file(folder.weights) if self.result.epoch else {}
        self.started = time.perf_counter() - self.result.seconds
        folder.rewind(self.trainer.step)

    def seconds(self) -> float:
        """Return the time spent training so far."""
        return time.perf_counter() - self.started

    def epoch(self, event: Epoch) -> None:
        """Take note of an epoch; the last is the best without validation data, or if the run keeps the last."""
        self.trainer.check_weights()
        result, first = self.result, next(iter(event.valid), None)
        result.epochs, result.seconds = event.number, self.seconds()
        last = self.trainer.run.keep == "last" or not result.epoch
        if first is None or last or event.valid[first] < result.best[first]:
            result.best, result.epoch, result.examples = event.valid, event.number, self.trainer.examples
            self.best = copy.deepcopy(self.trainer.model.state_dict())
        run = self.trainer.run
        result.complete = (
            event.number >= run.epochs
            or (run.patience is not None and event.number - result.epoch >= run.patience)
            or (run.patience_examples is not None and self.trainer.examples - result.examples >= run.patience_examples)
        )

    def save(self, force: bool = False) -> None:
        """Write best weights and state, if the last time is long enough ago or `force`."""
        if self.folder is None or not (force or time.perf_counter() - self.saved > self.save_every):
            return
        self.trainer.check_weights()
        self.result.seconds = self.seconds()
        if self.best:
            self.folder.save_weights(self.best)
        self.folder.save_resume({"trainer": self.trainer.state_dict(), "result": asdict(self.result)})
        self.saved = time.perf_counter()


def fit(
    run: Run,
    folder: str | Path | None = None,
    resume: bool = False,
    display: Display | None = None,
    listeners: Sequence[Callable[[Record], None]] = (),
    save_every: float = 30.0,
) -> Result:
    """Train a run, after those that come before it, and leave its best weights in `run.system`, in evaluation mode.

    Args:
        run: what to train.
        folder: where weights, log and the state to resume from are kept; nothing is written without one.
        resume: go on from the folder's last checkpoint, exactly as if there had been no stop.
        display: shows progress; see `lamina.train.display`.
        listeners: called with every line of the log.
        save_every: seconds between checkpoints; one is also written at the end, at SIGINT and at SIGTERM.

    Raises:
        FolderError: the folder cannot be used.
        Interrupted: a signal came, and the state was saved.
        NotFinite: a loss or a gradient became NaN or infinite.
        OSError: a file could not be written; the earlier checkpoint is whole.
    """
    kept = Folder(Path(folder)) if folder is not None else None
    if kept is not None and not resume:
        kept.begin(run)
    earlier = pretrain(run, run.before(), kept, resume, display, save_every) if run.before is not None else 0.0
    keeper = Keeper(Trainer(run), kept, save_every)
    with contextlib.ExitStack() as stack:
        hears = list(listeners)
        caught: list[int] = []
        if kept is not None:
            if resume:
                keeper.restore(kept)
            hears.append(stack.enter_context(appending(kept.log)))
            caught = stack.enter_context(signals())
        if not keeper.result.complete:
            follow(keeper, stack.enter_context(display or Display()), hears, caught)
    run.system.load_state_dict(keeper.best)
    run.system.eval()
    return replace(keeper.result, seconds=keeper.result.seconds + earlier)


def pretrain(
    run: Run, before: Iterable[Run], folder: Folder | None, resume: bool, display: Display | None, save_every: float
) -> float:
    """Train the runs before a run, each in a folder of its own, or go on with them; return the seconds it took.

    They compute where and how `run` does. Those that have ended give their weights back.
    """
    stages, number, seconds = iter(before), 0, 0.0
    while True:
        number += 1
        torch.manual_seed(run.seed + number)  # what the recipe draws in between is the same after a resume
        stage = next(stages, None)
        if stage is None:
            return seconds
        stage = replace(stage, seed=run.seed, device=run.device, precision=run.precision, compile=run.compile)
        place = Folder(folder.path / f"stage-{number}") if folder is not None else None
        if display is not None:
            display.stage(number)
        try:
            begun = resume and place is not None and place.recipe.exists()
            seconds += fit(stage, place.path if place else None, begun, display, save_every=save_every).seconds
        except Interrupted as stop:
            assert folder is not None
            message = f"stopped in stage {number}; go on with: lamina train --resume {folder.path}"
            raise Interrupted(message, stop.args[1]) from None


def follow(keeper: Keeper, display: Display, hears: list[Callable[[Record], None]], caught: list[int]) -> None:
    """Consume the trainer's events until the run is complete or a signal was caught."""
    trainer, result = keeper.trainer, keeper.result
    total = trainer.updates * trainer.run.epochs
    point = max(1, total // LOG_POINTS)
    display.start(total, trainer.step, trainer.updates)
    for event in trainer:
        record: Record = {}
        if isinstance(event, Update):
            if event.step % point == 0:
                record = {"step": event.step, "terms": {name: float(term) for name, term in event.terms.items()}}
        else:
            keeper.epoch(event)
            record = {"step": trainer.step, "epoch": event.number, "valid": event.valid}
        if record:
            record["seconds"] = round(keeper.seconds(), 3)
            for hear in (display.show, *hears):
                hear(record)
        display.tick(trainer.step)
        keeper.save(force=result.complete or bool(caught))
        if result.complete:
            return
        if caught:
            assert keeper.folder is not None
            go_on = f"stopped at update {trainer.step}; go on with: lamina train --resume {keeper.folder.path}"
            raise Interrupted(go_on, caught[0])


@contextlib.contextmanager
def signals() -> Iterator[list[int]]:
    """Give a list that the first SIGINT or SIGTERM is put in; a second one acts as usual."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield caught
        return
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def catch(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        for each, handler in usual.items():
            signal.signal(each, handler)

    for number in usual:
        signal.signal(number, catch)
    try:
        yield caught
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
