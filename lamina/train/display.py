"""Progress of a training run: a bar on a terminal, plain lines elsewhere, or nothing."""

import sys
import time
from types import TracebackType
from typing import Any, TextIO

LINE_EVERY = 10.0  # seconds between plain lines within an epoch
BAR_EVERY = 0.1  # seconds between looks of the bar


class Display:
    """Shows nothing; what the other displays have in common."""

    def __enter__(self) -> "Display":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stage(self, number: int) -> None:
        """Take note that a run of several begins."""

    def start(self, total: int, step: int, epoch: int) -> None:
        """Begin at update `step` of `total`, with `epoch` updates in an epoch."""

    def show(self, record: dict[str, Any]) -> None:
        """Take a line of the log."""

    def tick(self, step: int) -> None:
        """Take note that `step` updates were made; called after each, so it must be quick."""

    def stop(self) -> None:
        """Leave the terminal as it was."""


class Lines(Display):
    """A plain line for every epoch, and one now and then within long ones."""

    def __init__(self, file: TextIO | None = None) -> None:
        self.file, self.shown = file or sys.stderr, time.perf_counter()

    def stage(self, number: int) -> None:
        print(f"stage {number}", file=self.file, flush=True)

    def start(self, total: int, step: int, epoch: int) -> None:
        self.total, self.first, self.began = total, step, time.perf_counter()

    def show(self, record: dict[str, Any]) -> None:
        now = time.perf_counter()
        if "epoch" not in record and now - self.shown < LINE_EVERY:
            return
        self.shown = now
        rate = (record["step"] - self.first) / max(now - self.began, 1e-9)
        left = (self.total - record["step"]) / rate if rate else 0.0
        head = f"epoch {record['epoch']}" if "epoch" in record else f"update {record['step']}/{self.total}"
        told = record.get("valid") or record.get("terms") or {}
        print(f"{head}  {numbers(told)}  {rate:.0f} updates/s, {clock(left)} left", file=self.file, flush=True)


class Bar(Display):
    """A bar with rate, time left and the last terms, under a line for every epoch."""

    def stage(self, number: int) -> None:
        print(f"stage {number}", file=sys.stderr)

    def start(self, total: int, step: int, epoch: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        rate = TextColumn("{task.fields[rate]:.0f}/s")
        told = TextColumn("{task.fields[told]}")
        self.progress = Progress(
            BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn(), told, console=Console(stderr=True)
        )
        self.task = self.progress.add_task("", total=total, completed=step, rate=0.0, told="")
        self.first, self.began, self.looked = step, time.perf_counter(), 0.0
        self.progress.start()

    def show(self, record: dict[str, Any]) -> None:
        if "epoch" in record:
            self.progress.console.print(f"epoch {record['epoch']}  {numbers(record['valid'])}", highlight=False)
        else:
            self.progress.update(self.task, told=numbers(record["terms"]))

    def tick(self, step: int) -> None:
        now = time.perf_counter()
        if now - self.looked > BAR_EVERY:
            self.looked = now
            self.progress.update(self.task, completed=step, rate=(step - self.first) / max(now - self.began, 1e-9))

    def stop(self) -> None:
        self.progress.stop()


def fitting(quiet: bool = False) -> Display:
    """Return the display that fits: nothing if `quiet`, a bar on a terminal, lines elsewhere."""
    if quiet:
        return Display()
    return Bar() if sys.stderr.isatty() else Lines()


def numbers(values: dict[str, float]) -> str:
    """Return names and values in four digits.

    >>> numbers({"error": 0.01234567, "nll": 2.0})
    'error 0.01235  nll 2'
    """
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())


def clock(seconds: float) -> str:
    """Return a time as minutes and seconds.

    >>> clock(83.2)
    '1:23'
    """
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"
