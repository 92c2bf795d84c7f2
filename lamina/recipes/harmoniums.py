"""Likelihood of restricted and deep Boltzmann machines and of deep belief networks, by annealed importance sampling."""

import torch
from jaxtyping import Float
from torch import Tensor

from lamina.core import Run
from lamina.recipes.greedy import EXAMPLES, log_odds
from lamina.recipes.inputs import gather
from lamina.sampling.ais import Path, ais, paper_betas, reverse_ais
from lamina.sampling.enumerate import LARGEST, log_partition
from lamina.systems.energy.dbm import DBM, Bipartite
from lamina.systems.energy.dbn import DBN
from lamina.systems.energy.rbm import RBM
from lamina.train.evaluate import seeded

RUNS, STEPS = 100, 1000  # chains, and Gibbs steps before those backward begin


@torch.no_grad()
def likelihood(run: Run) -> dict[str, float]:
    """Return mean log-likelihoods in nats per example, or lower bounds of deep models, with log Z estimated.

    Grey pixels are drawn as binary ones once, from seed 0 (own binarization), so figures compare only up to that draw.
    Beside them are those of `normalization`. Where log Z comes out too small, as it does on average, the model looks
    better than it is. With few hidden units an RBM's log Z is summed exactly as well.

    Raises:
        ValueError: the run has no test data.
    """
    if run.test is None:
        raise ValueError("the test log-likelihood needs test data, and this data set has none")
    model = run.system
    assert isinstance(model, RBM | DBM | DBN)
    log_p = model.log_prob if isinstance(model, RBM) else model.bound
    units = model.visible
    with seeded(run.device):
        test, train = (
            units.restored(units.observed(gather(source, count, run.device)["x"]))
            for source, count in ((run.test, None), (run.train, EXAMPLES))
        )
        machine, v = harmonium(model, units.standard(train))
        known = normalization(machine, v)
        log_Z = known["log_partition"]
        figures = {
            "log_likelihood": float(log_p(test, log_Z).mean()),
            "train_log_likelihood": float(log_p(train, log_Z).mean()),
        }
        if isinstance(model, RBM) and len(model.b) <= LARGEST:
            figures["exact_log_likelihood"] = float(model.log_prob(test, log_partition(model)).mean())
    return figures | known


def harmonium(
    model: RBM | DBM | DBN, v: Float[Tensor, "examples visible"]
) -> tuple[RBM | Bipartite, Float[Tensor, "examples units"]]:
    """Return the part of a model that needs log Z, and the means of its visible side given data."""
    if isinstance(model, DBN):
        return model.top, model.ascend(v)[-1]
    if isinstance(model, DBM):
        means = model.infer(v, model.steps)
        return model.harmonium(), torch.cat([means[i] for i in model.even], 1)
    return model, v


def normalization(model: RBM | Bipartite, v: Float[Tensor, "examples visible"]) -> dict[str, float]:
    """Return log Z estimated both ways, in nats, by 100 runs each of 14,500 temperatures.

    They go from a base-rate model with the means of the given states, in both layers. `log_partition` errs on the low
    side on average, and `log_partition_reverse` on the high side, if chains of 1,000 Gibbs steps from those states have
    come to stand for the model; `error` and `error_reverse` are their standard errors. Where the two are farther apart
    than a few of these, neither is to be trusted.
    """
    base, h = model.visible.matching(v.mean(0), len(v)), torch.addmm(model.b, v, model.W).sigmoid_()
    path = Path(base, log_odds(h), model)
    there = ais(model, path.a, RUNS, paper_betas(), path.b)
    states = v[torch.arange(RUNS) % len(v)]
    for _ in range(STEPS):
        states = path.move(torch.addmm(model.b, states, model.W), 1.0)
    back = reverse_ais(model, states, path.a, paper_betas(), path.b)
    return {
        "log_partition": there.value,
        "error": there.error,
        "log_partition_reverse": back.value,
        "error_reverse": back.error,
    }
