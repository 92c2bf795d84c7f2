"""What happens at update time: penalties added to the gradient, and constraints that weights are projected onto.

Each function takes the maker of an optimizer and returns another, so that they nest:
`projected(regularized(partial(SGD, lr=0.1), l1=1e-5), max_norm(3.5))`.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

Maker = Callable[[Iterable[nn.Parameter]], Optimizer]


def projected(make: Maker, project: Callable[[Tensor], None]) -> Maker:
    """Apply `project`, which changes a tensor in place, to every weight matrix after each update."""

    def build(parameters: Iterable[nn.Parameter]) -> Optimizer:
        optimizer = make(parameters)

        @torch.no_grad()
        def after(changed: Optimizer, args: Any, kwargs: Any) -> None:
            for group in changed.param_groups:
                for weight in group["params"]:
                    if weight.ndim > 1:
                        project(weight)

        optimizer.register_step_post_hook(after)
        return optimizer

    return build


def max_norm(limit: float) -> Callable[[Tensor], None]:
    """Shrink a unit's incoming weights to norm `limit` where they are longer.

    Srebro & Shraibman (2005); Srivastava et al. (2014), Dropout, section 5.1. The incoming weights of a unit are a row
    of torch's (out, in, ...) layout; the papers call them columns.
    """

    def project(weight: Tensor) -> None:
        norms = torch.linalg.vector_norm(weight, dim=tuple(range(1, weight.ndim)), keepdim=True)
        weight.mul_(limit / norms.clamp_min(limit))

    return project


def regularized(make: Maker, l1: float = 0.0, l2: float = 0.0) -> Maker:
    """Add `l1 * sign(w) + l2 * w` to the gradient of every weight matrix before each update; biases are left free.

    Both become fields of the optimizer's groups, so schedules "l1" and "l2" can start them late.
    """

    def build(parameters: Iterable[nn.Parameter]) -> Optimizer:
        optimizer = make(parameters)
        for group in optimizer.param_groups:
            group["l1"], group["l2"] = l1, l2
        step = optimizer.step

        @torch.no_grad()
        def penalize() -> None:
            for group in optimizer.param_groups:
                for weight in group["params"]:
                    if weight.ndim > 1 and weight.grad is not None:
                        if group["l1"]:
                            weight.grad.add_(weight.sign(), alpha=group["l1"])
                        if group["l2"]:
                            weight.grad.add_(weight, alpha=group["l2"])

        def penalized(closure: Callable[[], Any] | None = None) -> Any:
            def gradient() -> Any:
                assert closure is not None
                with torch.enable_grad():
                    total = closure()
                penalize()
                return total

            if closure is None:
                penalize()
                return step()
            return step(gradient)

        optimizer.step = penalized  # type: ignore[method-assign]
        return optimizer

    return build
