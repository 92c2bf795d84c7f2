"""What a recurrent network keeps of the past: Jacobians through time, and how far back errors reach.

    J_t = ∂s_t / ∂s_{t−1},   J_T ⋯ J_{T−d+1} = ∂s_T / ∂s_{T−d}        for a linear network U, the d-th power Uᵈ
    |∂E/∂s_{T−d}| ≤ |∂E/∂s_T| σ_max(J_T ⋯ J_{T−d+1})

Where the largest singular value of the product falls with the distance d, gradients vanish; where it grows, they may
explode. Small values beside large ones say that only few directions of the state are kept. s is the whole state, of an
LSTM h and c. Hochreiter (1991), Untersuchungen zu dynamischen neuronalen Netzen; Bengio, Simard & Frasconi (1994),
Learning long-term dependencies with gradient descent is difficult; Pascanu, Mikolov & Bengio (2013), On the difficulty
of training recurrent neural networks, section 2.

Plots need matplotlib (`lamina[report]`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from lamina.modules.cells import Cell, State, Unfold
from lamina.systems.sequence.model import Reader, as_sequences

FLOOR = 1e-12  # below it nothing is drawn


@dataclass(frozen=True)
class Reach:
    """How a network's past reaches its present, by distance.

    Args:
        stretch: singular values of the product of d Jacobians back from the last step, largest first, the geometric
            mean over sequences, (distances, values); d = 0 has ones.
        gradient: norm of the gradient of the error d steps before the last, mean over sequences, (distances,).
    """

    stretch: Float[Tensor, "distances values"]
    gradient: Float[Tensor, " distances"]


def reach(system: Reader, x: Float[Tensor, "batch *shape"], y: Tensor) -> Reach:
    """Return how far back the errors of a network reach on some sequences.

    Args:
        system: with a cell in one direction.
        x: sequences of one length, as the system takes them; eight of them serve.
        y: their answers.

    Raises:
        ValueError: a network that reads in both directions.
    """
    if not isinstance(system.unfold, Unfold):
        raise ValueError("a network that reads from both ends has no one direction of time")
    cell, inputs = system.unfold.cell, as_sequences(system.inputs(x))
    values = singular_values(jacobians(cell, inputs).double())  # else small values are the rounding of large ones

    def error(outputs: Tensor) -> Tensor:
        return system.told(outputs, outputs[-1], y, None)[0] * len(y)

    gradient = gradient_norms(cell, inputs, error).mean(1).flip(0)
    return Reach(values.clamp_min(torch.finfo(values.dtype).tiny).log().mean(1).exp(), gradient)


def jacobians(
    cell: Cell, x: Float[Tensor, "time batch inputs"], state: State | None = None
) -> Float[Tensor, "time batch after before"]:
    """Return J_t of every step and sequence.

    Args:
        cell: a cell.
        x: sequences.
        state: to begin with; the cell's own if none is given.
    """
    prepared, befores = trace(cell, x, state)

    def after(flat: Tensor, rest: State, prepared: Tensor) -> Tensor:
        given = tuple(part[None] for part in unflat(flat, rest))
        return flattened(cell(prepared[None], given))[0]

    both = torch.func.vmap(torch.func.vmap(torch.func.jacrev(after)))
    parts = tuple(torch.stack(parts).detach() for parts in zip(*befores, strict=True))
    flat = torch.stack([flattened(before) for before in befores]).detach()
    found: Tensor = both(flat, parts, prepared.detach())
    return found


def singular_values(
    jacobians: Float[Tensor, "time batch after before"],
) -> Float[Tensor, "distances batch values"]:
    """Return the singular values of the product of the last d Jacobians, d = 0 to all."""
    product = torch.eye(jacobians.shape[2], dtype=jacobians.dtype, device=jacobians.device).expand_as(jacobians[0])
    found = [torch.linalg.svdvals(product)]
    for jacobian in jacobians.flip(0):
        product = product @ jacobian
        found.append(torch.linalg.svdvals(product))
    return torch.stack(found)


def gradient_norms(
    cell: Cell, x: Float[Tensor, "time batch inputs"], error: Callable[[Tensor], Tensor]
) -> Float[Tensor, "states batch"]:
    """Return |∂E/∂s_t| for t = 0 to T.

    Args:
        cell: a cell.
        x: sequences.
        error: from the outputs (time, batch, width) to E, a sum over the sequences.
    """
    states = [tuple(part.detach().requires_grad_(part.is_floating_point()) for part in cell.initial(x.shape[1]))]
    for prepared in cell.prepare(x):
        states.append(tuple(part.clone() for part in cell(prepared, states[-1])))  # parts made of each other come apart
    E = error(torch.stack([state[0] for state in states[1:]]))
    parts = [part for state in states for part in state if part.is_floating_point()]
    slopes = torch.autograd.grad(E, parts, allow_unused=True, materialize_grads=True)
    squares = torch.stack([slope.flatten(1).square().sum(1) for slope in slopes])
    return squares.view(len(states), -1, x.shape[1]).sum(1).sqrt()


@torch.no_grad()
def trace(cell: Cell, x: Tensor, state: State | None) -> tuple[Tensor, list[State]]:
    """Return the prepared input, and the state before each step."""
    prepared = cell.prepare(x)
    states = [cell.initial(x.shape[1]) if state is None else state]
    for step in prepared[:-1]:
        states.append(cell(step, states[-1]))
    return prepared, states


def flattened(state: State) -> Float[Tensor, "batch numbers"]:
    """Return all real numbers of a state beside each other."""
    return torch.cat([part.flatten(1) for part in state if part.is_floating_point()], 1)


def unflat(flat: Float[Tensor, " numbers"], like: State) -> State:
    """Return the state of one sequence whose real numbers are given; others are those of `like`."""
    real = [part.numel() for part in like if part.is_floating_point()]
    pieces = iter(torch.split(flat, real))
    return tuple(next(pieces).view_as(part) if part.is_floating_point() else part for part in like)


def plot_reach(curves: Mapping[str, Mapping[str, Reach]], path: Path) -> None:
    """Write a picture of how far back networks reach, as PNG, SVG or PDF by the file's name.

    A column for each network. Above, the singular values of the products of Jacobians: the largest as a line, the
    upper half as a band below it. Under that, the norm of the gradient, as a share of that at the last step.

    Args:
        curves: by the network's name, and within it by the moment, such as "before" and "after".
        path: of the picture.

    Raises:
        ValueError: there is nothing to draw.
    """
    from matplotlib.figure import Figure

    if not curves:
        raise ValueError("there is nothing to draw: give at least one network")
    figure = Figure(figsize=(2.5 * len(curves) + 0.6, 4.6), layout="constrained")
    panels = figure.subplots(2, len(curves), squeeze=False, sharex=True, sharey="row")
    for (name, moments), above, below in zip(curves.items(), *panels, strict=True):
        for place, (moment, found) in enumerate(moments.items()):
            stretch = found.stretch.detach().cpu().clamp_min(FLOOR)
            distance = torch.arange(len(stretch))
            middle = stretch[:, stretch.shape[1] // 2]
            above.fill_between(distance, middle, stretch[:, 0], color=f"C{place}", alpha=0.15, linewidth=0)
            above.plot(distance, stretch[:, 0], color=f"C{place}", label=moment)
            share = found.gradient / found.gradient[0]
            below.plot(distance, share.detach().cpu().clamp_min(FLOOR), color=f"C{place}")
        above.set_title(name, fontsize=10)
        for panel in (above, below):
            panel.set_yscale("log")
            panel.axhline(1, color="0.7", linewidth=0.8, zorder=0)
        below.set_xlabel("steps back")
    panels[0, 0].set_ylabel("singular values")
    panels[1, 0].set_ylabel("gradient")
    panels[0, 0].legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=120)
