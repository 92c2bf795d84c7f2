"""The RBMs of several libraries, trained by persistent contrastive divergence with one step and as many chains as rows.

learnergy has no persistent chains; its are begun at the rows of the batch.

Each function trains on binary rows (examples, 784) of float32 and returns the weights (784, hidden) and the visible and
hidden biases.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Weights = tuple[Rows, Rows, Rows]
Way = Callable[[Rows, int, int, int, Callable[[], None]], Weights]
"""From the rows, the number of hidden units, rows in a batch, epochs, and what to call after every update."""

LR = 0.05


def sklearn(form: str, x: Rows, hidden: int, batch: int, epochs: int, turn: Callable[[], None]) -> Weights:
    """Train scikit-learn's `BernoulliRBM` on rows of another form, "float64" or "float32"."""
    from sklearn.neural_network import BernoulliRBM

    class Turning(BernoulliRBM):
        def _fit(self, v_pos: Any, rng: Any) -> None:
            super()._fit(v_pos, rng)
            turn()

    model = Turning(hidden, learning_rate=LR, batch_size=batch, n_iter=epochs, random_state=0).fit(x.astype(form))
    return model.components_.T, model.intercept_visible_, model.intercept_hidden_


def lamina(
    decay: bool, binarize: bool, x: Rows, hidden: int, batch: int, epochs: int, turn: Callable[[], None]
) -> Weights:
    """Train lamina's recipe: a learning rate that falls to zero, or a constant one; new bits every time, or `x`."""
    from dataclasses import replace

    from lamina.data.dataset import Data
    from lamina.data.examples import Arrays
    from lamina.recipes.energy import rbm
    from lamina.train.trainer import Trainer, Update

    data = Data("mnist", Arrays(x=x))
    run = rbm(data, hidden=hidden, chains=batch, lr=LR, batch=batch, epochs=epochs, binarize=binarize)
    for event in Trainer(run if decay else replace(run, schedules={})):
        if isinstance(event, Update):
            turn()
    model: Any = run.system
    return model.W.detach().numpy(), model.a.detach().numpy(), model.b.detach().numpy()


def ebmkit(chains: int, x: Rows, hidden: int, batch: int, epochs: int, turn: Callable[[], None]) -> Weights:
    """Train ebmkit's RBM with its trainer and a buffer of chains, of which an update moves `batch`."""
    import torch
    from ebm import ContrastiveDivergence, GibbsSampler, ReplayBuffer, Trainer
    from ebm.nets import RBM

    torch.manual_seed(0)
    model = RBM(x.shape[1], hidden)
    buffer = ReplayBuffer(chains, (x.shape[1],), reinit_prob=0.0, init_fn=lambda shape: torch.rand(shape).round())
    loss, sgd = ContrastiveDivergence(GibbsSampler(1), buffer), torch.optim.SGD(model.parameters(), lr=LR)
    trainer = Trainer(model, loss, sgd, device="cpu", callback=lambda step, out: turn())
    trainer.fit(torch.from_numpy(x), steps=epochs * len(x) // batch, batch_size=batch, verbose=False)
    return model.W.detach().numpy().T, model.b.detach().numpy(), model.c.detach().numpy()


def rbms(x: Rows, hidden: int, batch: int, epochs: int, turn: Callable[[], None]) -> Weights:
    """Train rbms' RBM with its gradient, which is centered and scaled to length 1, and its default learning rate.

    Its own loop does the same, and writes a file after every update.
    """
    import torch
    from rbms.bernoulli_bernoulli.classes import BBRBM
    from rbms.bernoulli_bernoulli.implement import _init_parameters
    from rbms.training.pcd import fit_batch_pcd

    torch.manual_seed(0)
    data, weights = torch.from_numpy(x), torch.ones(batch)
    a, b, W = _init_parameters(hidden, data, torch.device("cpu"), torch.float32)
    model = BBRBM(W, a, b)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, maximize=True)
    model.init_grad()
    chains = model.init_chains(batch)
    with torch.no_grad():
        for _ in range(epochs * len(x) // batch):
            rows = torch.randperm(len(x))[:batch]
            optimizer.zero_grad(set_to_none=False)
            chains, _ = fit_batch_pcd((data[rows], weights), chains, model, gibbs_steps=1, beta=1.0)
            optimizer.step()
            turn()
    return W.numpy(), a.numpy(), b.numpy()


def learnergy(x: Rows, hidden: int, batch: int, epochs: int, turn: Callable[[], None]) -> Weights:
    """Train learnergy's RBM with its own `fit`, which loads rows one by one and reports two figures of every batch."""
    import logging

    import torch
    from learnergy.models.bernoulli import RBM
    from torch.utils.data import TensorDataset

    class Turning(RBM):  # type: ignore[misc]
        def pseudo_likelihood(self, samples: torch.Tensor) -> torch.Tensor:
            turn()
            likely: torch.Tensor = super().pseudo_likelihood(samples)
            return likely

    logging.disable(logging.INFO)
    torch.manual_seed(0)
    model: Any = Turning(x.shape[1], hidden, learning_rate=LR)
    model.fit(TensorDataset(torch.from_numpy(x), torch.zeros(len(x))), batch, epochs)
    return model.W.detach().numpy(), model.a.detach().numpy(), model.b.detach().numpy()
