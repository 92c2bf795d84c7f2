"""Replicated softmax against enumeration of all sequences of words, an RBM with one softmax unit, and annealing."""

import math
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import lamina
from lamina.core import Encodes, Samples, Scores
from lamina.data.dataset import Data
from lamina.data.examples import Arrays, whole
from lamina.data.words import column_names, counted, documents
from lamina.recipes.counts import frequencies, of_words, perplexities, perplexity, replicated_softmax
from lamina.sampling.ais import ais
from lamina.sampling.enumerate import log_partition, states
from lamina.systems.energy.replicated_softmax import ReplicatedSoftmax, counts, draw, log_partitions

WORDS, TOPICS = 4, 3


def machine(chains: int = 0, k: int = 1, seed: int = 0, words: int = WORDS, topics: int = TOPICS) -> ReplicatedSoftmax:
    """Return a float64 machine with large random parameters."""
    torch.manual_seed(seed)
    lengths = torch.full((max(chains, 1),), 3.0)
    model = ReplicatedSoftmax(words, topics, lengths, k=k, persistent=chains > 0).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.7)
    return model


def sequences(length: int) -> Tensor:
    """Return every sequence of words as one-hot rows (sequences, length, words)."""
    return nn.functional.one_hot(torch.tensor(list(product(range(WORDS), repeat=length))), WORDS).double()


def every(units: int) -> Tensor:
    return torch.cat(list(states(units)))


def joint(model: ReplicatedSoftmax, V: Tensor) -> Tensor:
    """Return -E(V, h) of all sequences and all h, as in the paper's eq. 1: each position has its own softmax unit."""
    h, length = every(len(model.b)), V.shape[1]
    visible = torch.einsum("sik,k->s", V, model.a)
    coupled = torch.einsum("sik,kj,hj->sh", V, model.W, h)
    return visible[:, None] + coupled + length * (h @ model.b)


def gradients(model: nn.Module, value: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(value, parameters), strict=True))


@pytest.mark.parametrize("length", [1, 2, 5])
def test_free_energy_partition_and_topics_by_enumeration_of_all_sequences(length):
    model, V = machine(), sequences(length)
    log_joint, v = joint(model, V), V.sum(1)
    torch.testing.assert_close(-model.free_energy(v), log_joint.logsumexp(1), rtol=0, atol=1e-12)
    exact = float(log_joint.logsumexp((0, 1)).detach())
    assert abs(log_partition(model.of_length(length)) - exact) < 1e-12
    assert abs(float((model.score(v) - exact).exp().sum()) - 1) < 1e-12
    torch.testing.assert_close(model.encode(v), log_joint.softmax(1) @ every(TOPICS), rtol=0, atol=1e-12)
    means = log_joint.detach().softmax(0).t() @ v  # counts given h
    torch.testing.assert_close(length * model.down(every(TOPICS)).softmax(-1), means, rtol=0, atol=1e-12)


def test_one_word_is_a_restricted_boltzmann_machine_with_one_softmax_unit():
    model = machine()
    h, one = every(TOPICS), torch.eye(WORDS).double()
    weights = (one @ model.a)[:, None] + one @ model.W @ h.t() + h @ model.b
    torch.testing.assert_close(model.encode(one), (model.W + model.b).sigmoid(), rtol=0, atol=1e-12)
    p = (model.score(one) - log_partition(model.of_length(1))).exp()
    torch.testing.assert_close(p, weights.flatten(1).logsumexp(1).softmax(0), rtol=0, atol=1e-12)


def test_without_couplings_words_are_independent():
    model = machine()
    with torch.no_grad():
        model.W.zero_()
    v = sequences(4).sum(1)
    log_p = model.score(v) - log_partition(model.of_length(4))
    torch.testing.assert_close(log_p, v @ model.a.log_softmax(0), rtol=0, atol=1e-12)


def test_permuting_the_vocabulary_changes_nothing():
    model, order = machine(), torch.tensor([2, 0, 3, 1])
    other = machine()
    with torch.no_grad():
        other.W.copy_(model.W[order])
        other.a.copy_(model.a[order])
    v = sequences(3).sum(1)
    torch.testing.assert_close(other.score(v[:, order]), model.score(v), rtol=0, atol=1e-12)
    torch.testing.assert_close(other.encode(v[:, order]), model.encode(v), rtol=0, atol=1e-12)
    assert abs(log_partition(other.of_length(7)) - log_partition(model.of_length(7))) < 1e-12


def test_chains_from_the_model_give_the_gradient_of_the_likelihood():
    """200,000 exact chains of 3 words, seed 2: deviations a word are below 0.45; bound 5 standard errors of 0.001."""
    model, V = machine(chains=200_000), sequences(3)
    data = V.sum(1)[torch.tensor([0, 5, 5, 17, 40, 63])]
    torch.manual_seed(2)
    weights = joint(model, V).detach().logsumexp(0).softmax(0)
    model.chains.copy_(every(TOPICS)[weights.multinomial(200_000, replacement=True)])
    estimate = gradients(model, model.loss(data)["divergence"])
    exact = gradients(model, (model.free_energy(data).mean() + joint(model, V).logsumexp((0, 1))) / 3)  # nats a word
    for name, value in exact.items():
        assert float((estimate[name] - value).abs().max()) < 0.005
    assert float((model.chains.mean(0) - weights @ every(TOPICS)).abs().max()) < 0.006  # they stay where they should


@pytest.mark.parametrize("k", [1, 3])
def test_contrastive_divergence_by_powers_of_the_transition_matrix(k):
    """200,000 documents of 3 words, seed 3; bound 5 standard errors, below 0.001 each as divided by 3 words."""
    model, V = machine(k=k), sequences(3)
    v, log_joint = V.sum(1), joint(model, V)
    step = (log_joint.softmax(1) @ log_joint.softmax(0).t()).detach()
    torch.manual_seed(3)
    start = torch.rand(len(V)).softmax(0).double()
    drawn = start.multinomial(200_000, replacement=True)
    begun = torch.bincount(drawn, minlength=len(V)).double() / 200_000

    def divergence(steps: int) -> dict[str, Tensor]:
        ended = begun @ torch.linalg.matrix_power(step, steps)
        return gradients(model, (begun - ended) @ model.free_energy(v) / 3)

    estimate = gradients(model, model.loss(v[drawn])["divergence"])
    for name, value in divergence(k).items():
        assert float((estimate[name] - value).abs().max()) < 0.005
    exact = gradients(model, (begun @ model.free_energy(v) + joint(model, V).logsumexp((0, 1))) / 3)
    for name, value in divergence(2000).items():
        torch.testing.assert_close(value, exact[name], rtol=0, atol=1e-10)


def test_surrogate_has_the_gradient_of_the_free_energy_difference_for_documents_of_any_length():
    model = machine(k=2)
    x = torch.tensor([[3.0, 0, 1, 0], [0, 0, 0, 1], [2, 2, 5, 1], [0, 0, 0, 0]]).double()
    torch.manual_seed(1)
    surrogate = gradients(model, model.loss(x)["divergence"])
    torch.manual_seed(1)
    negative = model.gibbs(x, 2).detach()
    assert torch.equal(negative.sum(1), x.sum(1))
    expected = gradients(model, (model.free_energy(x).mean() - model.free_energy(negative).mean()) / 3.75)
    for name, value in expected.items():
        torch.testing.assert_close(surrogate[name], value, rtol=0, atol=1e-12)


def test_drawn_words_have_their_probabilities():
    """100,000 documents a length, seed 4: standard errors below 1.3 / sqrt(100,000) = 0.004, bound 5 of them."""
    torch.manual_seed(4)
    theta = torch.randn(WORDS).double()
    length = torch.tensor([0.0, 1.0, 6.0]).repeat(100_000)
    drawn = draw(theta.expand(300_000, -1), length.double())
    assert torch.equal(drawn.sum(1), length.double())
    p = theta.softmax(0)
    for place, size in enumerate((0, 1, 6)):
        found = drawn[place::3]
        assert float((found.mean(0) - size * p).abs().max()) < 0.02
        assert float((found.var(0) - size * p * (1 - p)).abs().max()) < 0.05  # multinomial


def test_annealing_through_lengths_and_at_one_length_against_enumeration():
    """Log Z of five lengths, 4,000 chains, seed 5: within 5 standard errors, which are small."""
    model = machine(words=8, topics=6, seed=1)
    lengths = torch.tensor([1, 4, 13, 40, 4])
    exact = [log_partition(model.of_length(length)) for length in lengths.tolist()]
    torch.manual_seed(5)
    found = log_partitions(model, lengths, runs=4000)
    assert found[1] == found[4]
    for estimate, value in zip(found, exact, strict=True):
        assert estimate.error < 0.05
        assert abs(estimate.value - value) < 5 * estimate.error + 1e-9
    at_one = ais(model.of_length(13), betas=torch.linspace(0, 1, 501))
    assert abs(at_one.value - exact[2]) < 5 * at_one.error
    coarse = log_partitions(model, lengths, runs=2000, steps=10)  # passes through fewer lengths
    assert all(abs(e.value - value) < 5 * e.error + 1e-9 for e, value in zip(coarse, exact, strict=True))


def test_sampling_has_the_stationary_distribution():
    """50,000 documents of 2 words, seed 6: total variation over 16 sequences is about 0.5 * 16 * 0.0011 = 0.009."""
    model, V = machine(), sequences(2)
    model.lengths = torch.full((1,), 2.0).double()
    place = 3.0 ** torch.arange(WORDS).double()
    expected = joint(model, V).logsumexp(1).softmax(0).detach()
    torch.manual_seed(6)
    seen = model.sample(50_000, steps=60)
    for v in V.sum(1).unique(dim=0):
        share = float((seen @ place == v @ place).double().mean())
        assert abs(share - float(expected[(V.sum(1) @ place) == v @ place].sum())) < 0.012


def test_the_metric_is_the_conditional_of_a_word_by_enumeration():
    """20,000 documents (a, a, c), seed 7: a mean of three conditionals, bound 5 standard errors of the draws."""
    model = machine()
    v = torch.tensor([[2.0, 0, 1, 0]]).double()

    def conditional(word: int) -> float:
        rest = v - torch.eye(WORDS)[word]
        return float(model.score(rest + torch.eye(WORDS).double()).log_softmax(0)[word])

    found = [conditional(word) for word in (0, 0, 2)]
    torch.manual_seed(7)
    with torch.no_grad():
        value = float(model.metrics(v.expand(20_000, -1))["pseudo_likelihood"])
    assert abs(value + np.mean(found)) < 5 * np.std(found) / 20_000**0.5
    assert float(model.metrics(torch.zeros(2, WORDS).double())["pseudo_likelihood"]) == 0


def test_counts_come_back_after_a_table_was_taken_for_pictures():
    rng = np.random.default_rng(0)
    x = rng.poisson(0.7, (50, 80)).astype("float32")
    x[0, 0] = 9
    data = lamina.from_arrays(x)
    found = torch.cat([whole(part)["x"] for part in (data.train, data.valid, data.test)])
    assert float(found.max()) < 0.1  # they were divided
    assert torch.equal(counts(found).flatten().sort().values, torch.from_numpy(x).flatten().sort().values)
    assert torch.equal(counts(torch.tensor([[3.0, 0], [1, 1]])), torch.tensor([[3.0, 0], [1, 1]]))


def toy(count: int, seed: int) -> Arrays:
    """Documents of 10 to 30 words, of the first or of the last three words with 9 in 10."""
    rng = np.random.default_rng(seed)
    p = np.array([[0.3] * 3 + [0.1 / 3] * 3, [0.1 / 3] * 3 + [0.3] * 3])
    return Arrays(x=np.stack([rng.multinomial(rng.integers(10, 31), p[i % 2]) for i in range(count)]).astype("float32"))


def test_recipe_finds_two_topics_and_measures():
    """The likelihood of the true mixture is the mark; 400 documents, 30 epochs, exact log Z."""
    data = Data("toy", toy(400, 0), toy(50, 1), toy(200, 2), ("a", "b", "c", "d", "e", "f"))
    run = replicated_softmax(data, hidden=2, epochs=30, lr=0.05, batch=50)  # CD-5
    lamina.fit(run)
    model, test = run.system, whole(data.test)["x"]
    assert isinstance(model, Encodes)
    assert isinstance(model, Samples)
    assert isinstance(model, Scores)
    p = torch.tensor([[0.3] * 3 + [0.1 / 3] * 3, [0.1 / 3] * 3 + [0.3] * 3])
    best = of_words((test @ p.log().t()).logsumexp(1) - math.log(2), test)
    figures = perplexity(run)
    assert figures["perplexity"] < 1.02 * best
    assert figures["unigram"] > 1.2 * best
    assert best < figures["lda"] < 1.1 * best
    assert abs(figures["unigram"] - of_words(test @ frequencies(whole(data.train)["x"]), test)) < 1e-4
    kinds = {frozenset(topic) for topic in model.topics(column_names(data), 3)}
    assert kinds <= {frozenset("abc"), frozenset("def")}
    sampled = model.sample(20, steps=5)
    assert sampled.shape == (20, 6)
    assert float(sampled.sum(1).min()) >= 10
    torch.testing.assert_close(model.reconstruct(test).sum(1), test.sum(1))


def test_perplexities_by_annealing_are_near_the_exact_ones(monkeypatch):
    model, x = machine(words=6, topics=5), whole(toy(40, 3))["x"].double()
    exact = perplexities(model, x)["perplexity"]
    monkeypatch.setattr("lamina.recipes.counts.FEW", 0)
    torch.manual_seed(8)
    found = perplexities(model, x)
    assert abs(math.log(found["perplexity"] / exact)) < 5 * found["error"] + 1e-6


def test_words_are_counted():
    text = "The cat, the DOG.\nA cat again\nno dog here\nend"
    found = documents(text, 4)
    assert found == [["the", "cat", "the", "dog"], ["cat", "again", "dog", "here"], ["end"]]
    assert counted(found, {"cat": 0, "the": 1}).tolist() == [[1, 2], [1, 0], [0, 0]]


def test_names_of_columns(tmp_path):
    path = tmp_path / "counts.csv"
    lines = [f"{i % 3},{i % 4},{i % 2},{i % 2}" for i in range(40)]
    path.write_text("\n".join(["apple,pear,plum,label", *lines]))
    assert column_names(lamina.load_data(str(path))) == ("apple", "pear", "plum")
    assert column_names(Data("toy", toy(4, 0))) == ("1", "2", "3", "4", "5", "6")


def test_recipe_refuses_what_does_not_fit():
    build = partial(replicated_softmax, hidden=3)
    for x in (torch.rand(9, 4), -torch.ones(9, 4)):
        with pytest.raises(ValueError, match="whole numbers of at least 0"):
            build(Data("toy", Arrays(x=x)))
    with pytest.raises(ValueError, match="pictures"):
        build(Data("toy", Arrays(x=torch.ones(9, 1, 4, 4))))
    with pytest.raises(ValueError, match="at least 1"):
        replicated_softmax(Data("toy", toy(9, 0)), k=0)
    with pytest.raises(ValueError, match="test data"):
        perplexity(build(Data("toy", toy(9, 0))))
    with pytest.raises(ValueError, match="vocabulary"):
        machine().topics(("a", "b"))
