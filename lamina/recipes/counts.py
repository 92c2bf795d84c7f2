"""Topic models of word counts."""

import math
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from lamina.core import Run
from lamina.data.batches import Batches, in_order
from lamina.data.dataset import Data
from lamina.optim.schedules import linear_to_zero
from lamina.optim.wrappers import regularized
from lamina.recipes.inputs import gather, rows
from lamina.recipes.registry import recipe
from lamina.sampling.enumerate import log_partition
from lamina.systems.energy.replicated_softmax import ReplicatedSoftmax, counts, log_partitions
from lamina.train.evaluate import seeded

HELD = 500  # test documents that the perplexity is a mean over
FEW = 12  # topics up to which log Z is summed exactly


@torch.no_grad()
def perplexity(run: Run) -> dict[str, float]:
    """Return perplexities of a word of up to 500 test documents: the model's, and of yardsticks on the same ones.

    A perplexity is the exponential of the mean over documents of -log p(document) / words in it. All log Z_D come from
    one run of annealed importance sampling, or exactly with at most 12 topics. `unigram` knows only the frequencies of
    the words; `lda` is scikit-learn's latent Dirichlet allocation with as many topics, where that is installed.

    Raises:
        ValueError: the run has no test data.
    """
    if run.test is None:
        raise ValueError("the test perplexity needs test data, and this data set has none")
    model = run.system
    assert isinstance(model, ReplicatedSoftmax)
    with seeded(run.device):
        test, train = (counts(gather(source, None, run.device)["x"]) for source in (run.test, run.train))
        test = test[test.sum(1) > 0]
        test = test[torch.linspace(0, len(test) - 1, min(len(test), HELD)).round().long()]
        figures = perplexities(model, test) | {"unigram": of_words(test @ frequencies(train), test)}
    other = allocation(train.cpu(), test.cpu(), len(model.b))
    return figures if other is None else figures | {"lda": of_words(other, test.cpu())}


def perplexities(model: ReplicatedSoftmax, x: Float[Tensor, "documents vocabulary"]) -> dict[str, float]:
    """Return the perplexity of documents, and the mean standard error of log Z_D in nats a word."""
    lengths, which = torch.unique(x.sum(1).long(), return_inverse=True)
    if len(model.b) <= FEW:
        exact = x.new_tensor([log_partition(model.of_length(length)) for length in lengths.tolist()])
        return {"perplexity": of_words(model.score(x) - exact[which], x)}
    found = x.new_tensor(log_partitions(model, lengths))  # values and errors
    error = (found[which, 1] / x.sum(1)).mean()
    return {"perplexity": of_words(model.score(x) - found[which, 0], x), "error": float(error)}


def of_words(log_p: Float[Tensor, "documents"], x: Float[Tensor, "documents vocabulary"]) -> float:
    """Return the perplexity of a word, given the log-probabilities of documents."""
    return math.exp(-float((log_p / x.sum(1)).mean()))


def frequencies(x: Float[Tensor, "documents vocabulary"]) -> Float[Tensor, "vocabulary"]:
    """Return the log of each word's share, where all are counted once more than they come."""
    total = x.sum(0) + 1
    return (total / total.sum()).log()


def allocation(
    train: Float[Tensor, "examples vocabulary"],
    x: Float[Tensor, "documents vocabulary"],
    topics: int,
    draws: int = 200,
) -> Float[Tensor, "documents"] | None:
    """Return log p(document) by latent Dirichlet allocation, or None without scikit-learn.

    The topics are the means of scikit-learn's posterior; shares of topics θ are integrated out by importance sampling
    from its posterior given the document, mixed with the prior (scikit-learn's own bound charges all topics to x).
    """
    try:
        from sklearn.decomposition import LatentDirichletAllocation
    except ImportError:
        return None
    lda = LatentDirichletAllocation(topics, learning_method="online", batch_size=256, max_iter=20, random_state=0)
    lda.fit(train.numpy())
    words = torch.from_numpy(lda.components_ / lda.components_.sum(1, keepdims=True)).to(x)
    after = torch.distributions.Dirichlet(torch.from_numpy(lda.transform(x.numpy(), normalize=False)).to(x))
    before = torch.distributions.Dirichlet(torch.full_like(after.concentration, 1 / topics))
    with seeded("cpu"):
        theta = torch.cat([after.sample((draws,)), before.sample((draws,))])
    log_before: Tensor = before.log_prob(theta)  # type: ignore[no-untyped-call]
    log_after: Tensor = after.log_prob(theta)  # type: ignore[no-untyped-call]
    proposal = torch.logaddexp(log_after, log_before) - math.log(2)
    likely = torch.stack([((shares @ words).log() * x).sum(1) for shares in theta])
    return (likely + log_before - proposal).logsumexp(0) - math.log(2 * draws)


@recipe(
    paper="Salakhutdinov & Hinton (2009), Replicated softmax: an undirected topic model, section 4.2 (20 newsgroups,"
    " 50 topics; other text here)",
    figure="perplexity",
    unit="perplexity",
    data="words",
    measure=perplexity,
)
def replicated_softmax(
    data: Data,
    seed: int = 0,
    hidden: int = 50,
    k: int = 5,
    persistent: bool = False,
    chains: int = 100,
    lr: float = 0.01,
    batch: int = 100,
    epochs: int = 15,
    decay: float = 0.0,
) -> Run:
    """Train a replicated softmax on counts of words, by Adam with a learning rate that falls linearly to zero.

    The words' biases start at the logs of their frequencies. No validation data chooses the epoch, as perplexities take
    annealed importance sampling; the last weights are kept.

    Args:
        data: counts, one row a document and one column a word.
        seed: of the initial weights, chains, order of the examples and Gibbs sampling.
        hidden: topics.
        k: Gibbs steps an update.
        persistent: let chains run on from update to update (PCD); otherwise start them at the batch (CD), as the paper.
        chains: persistent chains.
        lr: first learning rate.
        batch: documents in an update.
        epochs: passes over the training data.
        decay: weight of the L2 penalty on W.

    Raises:
        ValueError: the data is no table of counts.
    """
    x = documents(data)
    lengths = x.sum(1).quantile(torch.linspace(0, 1, chains + 1)[1:] - 0.5 / chains, interpolation="nearest")
    adam = partial(torch.optim.Adam, lr=lr, fused=True)
    return Run(
        system=ReplicatedSoftmax(x.shape[1], hidden, lengths, frequencies(x), k, persistent),
        train=Batches(data.train, batch, seed=seed),
        valid=in_order(data.valid),
        test=in_order(data.test),
        optimizer=regularized(adam, l2=decay) if decay else adam,
        epochs=epochs,
        schedules={"lr": linear_to_zero(lr)},
        keep="last",
    )


def documents(data: Data) -> Float[Tensor, "documents vocabulary"]:
    """Return the counts of words in the training data.

    Raises:
        ValueError: it is no table of whole numbers of at least 0.
    """
    x = rows(data)
    if x.ndim != 2:
        raise ValueError(f"{data.name} holds pictures; replicated_softmax needs counts, a row for each document")
    found = counts(x)
    off = torch.minimum((x - found).abs(), (255 * x - found).abs()) > 1e-3
    if bool(off.any()) or float(x.min()) < 0:
        worst = float(x[off][0]) if bool(off.any()) else float(x.min())
        raise ValueError(f"{data.name} holds {worst:g}; give counts of words, whole numbers of at least 0")
    return found
