"""The training loop, as an iterator of events.

`for event in Trainer(run): ...` yields an `Update` after every update and an `Epoch` after every pass over the data.
What should happen in between, such as a progress bar, a checkpoint or an early stop, is the body of that loop. At every
event the trainer's state is whole: `state_dict` and `load_state_dict` go on exactly from there, within an epoch too.
"""

import difflib
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lamina.core import Batch, Objective, Run, System, Terms, fields, select
from lamina.train.evaluate import evaluate, formats, moved
from lamina.train.products import quick_products

CHECK_EVERY = 50  # updates between looks at the loss on devices where a look makes the host wait


@dataclass(frozen=True)
class Update:
    """One update was made: its number, from 1, and the loss terms before it."""

    step: int
    terms: Terms


@dataclass(frozen=True)
class Epoch:
    """One pass over the data ended: its number, from 1, and the metrics on the validation data."""

    number: int
    valid: dict[str, float]


class NotFinite(ArithmeticError):
    """A loss or a gradient became NaN or infinite; the message names the update, the term and the tensor."""


class Player:
    """One objective with its optimizer."""

    def __init__(self, objective: Objective, run: Run) -> None:
        self.name, self.every = objective.name, objective.every
        self.fields = fields(objective.loss)
        self.loss: Callable[..., Terms] = torch.compile(objective.loss) if run.compile else objective.loss
        named = [(name, p) for name, p in objective.trains.named_parameters() if p.requires_grad]
        if gaps := [name for name, p in named if not dense(p)]:
            raise ValueError(f"parameter '{gaps[0]}' is a part of a larger tensor; fused optimizers need a copy of it")
        self.parameters = [p for _, p in named]
        self.optimizer = run.optimizer(self.parameters)


class Trainer:
    """Trains the system of a run.

    The order of an update: schedules, batch, gradient of each objective, clipping, optimizer step, weight average.
    Results repeat bit for bit with the same seed, versions and number of threads on a CPU; on a GPU, as far as
    torch's kernels do.
    """

    def __init__(self, run: Run) -> None:
        torch.manual_seed(run.seed)
        self.run = run
        self.system: System = run.system.to(run.device)
        self.players = [Player(objective, run) for objective in self.system.objectives()]
        self.updates = math.ceil(len(run.train) / run.accumulate)  # in an epoch
        self.step = self.epoch = self.batch = 0  # updates made, epochs ended, batches used in this epoch
        self.examples = 0  # training examples seen
        self.setters = [(self.setter(name), schedule) for name, schedule in run.schedules.items()]
        self.scaler = torch.amp.GradScaler(run.device) if run.precision == "fp16" else None
        self.averaged = (
            AveragedModel(self.system, multi_avg_fn=get_ema_multi_avg_fn(run.average))  # type: ignore[no-untyped-call]
            if run.average
            else None
        )
        self.looks = 1 if torch.device(run.device).type == "cpu" else CHECK_EVERY

    @property
    def model(self) -> System:
        """The system to evaluate and to save: with averaged weights if the run averages them."""
        if self.averaged is None:
            return self.system
        assert isinstance(self.averaged.module, System)
        return self.averaged.module

    def __iter__(self) -> Iterator[Update | Epoch]:
        self.system.train()
        while self.epoch < self.run.epochs:
            batches = self.run.train.epoch(self.epoch, self.batch)
            while group := list(itertools.islice(batches, self.run.accumulate)):
                with quick_products(self.run.device):
                    terms = self.update([moved(batch, self.run.device) for batch in group])
                self.batch += len(group)
                self.examples += sum(len(next(iter(batch.values()))) for batch in group)
                yield Update(self.step, terms)
            self.epoch, self.batch = self.epoch + 1, 0
            yield Epoch(self.epoch, self.validate())

    def update(self, batches: list[Batch]) -> Terms:
        """Take one step of every objective whose turn it is; return their terms, averaged over the batches."""
        progress = self.step / (self.updates * self.run.epochs)
        for setter, schedule in self.setters:
            setter(schedule(progress))
        terms: Terms = {}
        for player in self.players:
            if self.step % player.every == 0:
                terms |= self.play(player, batches)
        if self.averaged is not None:
            self.averaged.update_parameters(self.system)
        self.step += 1
        return terms

    def play(self, player: Player, batches: list[Batch]) -> Terms:
        """Take one step of one objective."""
        terms: Terms = {}

        def gradient() -> float | Tensor:
            nonlocal terms
            for parameter in player.parameters:
                parameter.grad = None
            terms = self.gradient(player, batches)
            return self.checked(player, terms)

        if self.scaler is None:
            player.optimizer.step(gradient)  # type: ignore[arg-type]  # a closure may return a tensor as well
        else:
            gradient()
            self.scaler.step(player.optimizer)
            self.scaler.update()
            if self.scaler.get_scale() < 1e-3:
                raise NotFinite(f"update {self.step + 1}: gradients of '{player.name}' overflow fp16 at any loss scale")
        return terms

    def gradient(self, player: Player, batches: list[Batch]) -> Terms:
        """Leave the gradient, averaged over the batches and clipped, in the parameters; return the detached terms."""
        several = player.parameters if len(self.players) > 1 else None
        mean: Terms = {}
        for batch in batches:
            with formats(self.run.precision, self.run.device):
                terms = player.loss(**select(batch, player.fields))
                total = sum_of(terms)
            if len(batches) > 1:
                total = total / len(batches)
            scaled = total if self.scaler is None else self.scaler.scale(total)
            torch.autograd.backward(scaled, inputs=several)
            terms = {name: term.detach() for name, term in terms.items()}
            mean = terms if len(batches) == 1 else {n: mean.get(n, 0) + t / len(batches) for n, t in terms.items()}
        if self.scaler is not None:
            self.scaler.unscale_(player.optimizer)
        if self.run.clip is not None:
            norm = nn.utils.clip_grad_norm_(player.parameters, self.run.clip)
            if self.scaler is None and self.step % self.looks == 0 and not math.isfinite(norm):
                raise NotFinite(self.diagnosis(player, mean))
        return mean

    def checked(self, player: Player, terms: Terms) -> Tensor:
        """Return the sum of the terms.

        Raises:
            NotFinite: it is not a finite number.
        """
        total = sum_of(terms)
        if self.scaler is None and self.step % self.looks == 0 and not math.isfinite(total):
            raise NotFinite(self.diagnosis(player, terms))
        return total

    def check_weights(self) -> None:
        """Raise NotFinite if a weight is not a finite number, as before a checkpoint."""
        if bad := first_bad(self.system.named_parameters()):
            raise NotFinite(f"update {self.step}: weight '{bad}' is not finite")

    def diagnosis(self, player: Player, terms: Terms) -> str:
        """Return which term and which tensor first went wrong."""
        found = [f"term '{name}' is {float(term)}" for name, term in terms.items() if not math.isfinite(term)]
        if weight := first_bad(self.system.named_parameters()):
            found.append(f"weight '{weight}' is not finite since update {self.step}")
        elif slope := first_bad((n, p.grad) for n, p in self.system.named_parameters()):
            found.append(f"the gradient of '{slope}' is not finite")
        return f"update {self.step + 1}, objective '{player.name}': " + "; ".join(found)

    def validate(self) -> dict[str, float]:
        """Return the metrics on the validation data, or none if the run has none."""
        if self.run.valid is None:
            return {}
        return evaluate(self.model, self.run.valid, self.run.device, self.run.precision)

    def setter(self, name: str) -> Callable[[float], None]:
        """Return what sets a scheduled number.

        Raises:
            ValueError: nothing has that name.
        """
        head, _, rest = name.rpartition(".")
        if head == "system" or head.startswith("system."):
            owner: Any = self.system.get_submodule(head.removeprefix("system").removeprefix("."))
            if rest not in vars(owner):
                raise unknown("schedule", name, [f"{head}.{n}" for n, v in vars(owner).items() if isinstance(v, float)])
            return lambda value: setattr(owner, rest, value)
        players = [player for player in self.players if head in ("", player.name)]
        if not players or any(rest not in group for player in players for group in player.optimizer.param_groups):
            known = sorted(self.players[0].optimizer.param_groups[0].keys() - {"params"})
            raise unknown("schedule", name, known + [f"{p.name}.{k}" for p in self.players for k in known])

        def set_groups(value: float) -> None:
            for player in players:
                for group in player.optimizer.param_groups:  # looked up anew: loading a state replaces the groups
                    group[rest] = value

        return set_groups

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the rest of the run depends on, as tensors and plain data."""
        return {
            "system": self.system.state_dict(),
            "optimizers": {player.name: player.optimizer.state_dict() for player in self.players},
            "averaged": self.averaged.state_dict() if self.averaged is not None else None,
            "scaler": self.scaler.state_dict() if self.scaler is not None else None,
            "counters": [self.step, self.epoch, self.batch, self.examples],
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        self.system.load_state_dict(state["system"])
        for player in self.players:
            player.optimizer.load_state_dict(state["optimizers"][player.name])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        if self.scaler is not None:
            self.scaler.load_state_dict(state["scaler"])
        self.step, self.epoch, self.batch, self.examples = state["counters"]
        torch.set_rng_state(state["random"])
        if state["random_cuda"]:
            torch.cuda.set_rng_state_all(state["random_cuda"])


def sum_of(terms: Terms) -> Tensor:
    """Return the sum of some terms, which are never empty."""
    first, *others = terms.values()
    for term in others:
        first = first + term
    return first


def dense(parameter: Tensor) -> bool:
    """Return whether a parameter fills its memory without gaps, into which torch's fused optimizers would write."""
    ends = (stride * (size - 1) for size, stride in zip(parameter.shape, parameter.stride(), strict=True))
    return not parameter.numel() or sum(ends) + 1 == parameter.numel()


def first_bad(named: Any) -> str | None:
    """Return the name of the first tensor that holds NaN or infinity."""
    return next((name for name, tensor in named if tensor is not None and not bool(tensor.isfinite().all())), None)


def unknown(what: str, name: str, known: list[str]) -> ValueError:
    """Return the error for a name that nothing has, with the nearest name that something has."""
    near = difflib.get_close_matches(name, known, 1)
    return ValueError(f"unknown {what} '{name}'" + (f"; did you mean '{near[0]}'?" if near else f"; known: {known}"))
