import numpy as np
import pytest
import torch
from sklearn.neural_network import MLPClassifier
from torch import nn

from lamina.core import Encodes, Predicts
from lamina.data.dataset import Data
from lamina.data.examples import Arrays
from lamina.modules.mlp import mlp
from lamina.modules.standardize import Standardize
from lamina.recipes import named
from lamina.systems.vision.classifier import Classifier


def test_gradient_is_that_of_scikit_learn():
    """One hidden layer of rectified units: scikit-learn's written-out backpropagation against autograd."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 5)), np.arange(12) % 3
    network = mlp((5,), (4,), 3).double()
    system = Classifier(nn.Identity(), network)
    loss = system.loss(torch.from_numpy(x), torch.from_numpy(y))["nll"]
    loss.backward()
    theirs = MLPClassifier((4,), alpha=0.0, max_iter=1, random_state=0)
    with pytest.warns(match="Maximum iterations"):
        theirs.fit(x, y)
    layers = [network[1], network[3]]
    theirs.coefs_ = [layer.weight.detach().numpy().T for layer in layers]
    theirs.intercepts_ = [layer.bias.detach().numpy() for layer in layers]
    activations = [x, np.empty((12, 4)), np.empty((12, 3))]
    grads = [np.empty_like(c) for c in theirs.coefs_], [np.empty_like(b) for b in theirs.intercepts_]
    value, weights, biases = theirs._backprop(
        x, np.eye(3)[y], None, activations, [a.copy() for a in activations[1:]], *grads
    )
    assert float(loss.detach()) == pytest.approx(value, abs=1e-12)
    for layer, weight, bias in zip(layers, weights, biases, strict=True):
        np.testing.assert_allclose(layer.weight.grad.T, weight, atol=1e-12)
        np.testing.assert_allclose(layer.bias.grad, bias, atol=1e-12)


def test_the_rubbish_class_takes_its_share():
    """LeCun et al. (1998), eq. 9: mean of y_D + log(exp(-j) + sum of exp(-y_i))."""
    torch.manual_seed(0)
    penalties, y = torch.rand(6, 4, dtype=torch.float64) * 5, torch.arange(6) % 4
    system = Classifier(nn.Identity(), nn.Sequential(nn.Identity()), rubbish=0.1)
    expected = penalties.gather(1, y[:, None])[:, 0] + ((-penalties).exp().sum(1) + np.exp(-0.1)).log()
    torch.testing.assert_close(system.loss(-penalties, y)["nll"], expected.mean())


def test_predicts_probabilities_of_raw_input_and_encodes_what_the_last_layer_sees():
    torch.manual_seed(0)
    x = torch.randn(9, 6) * 7 + 3
    system = Classifier(Standardize.fitted(x), mlp((6,), (5,), 3)).eval()
    assert isinstance(system, Predicts)
    assert isinstance(system, Encodes)
    torch.testing.assert_close(system.predict(x).sum(1), torch.ones(9))
    assert system.encode(x).shape == (9, 5)
    torch.testing.assert_close(system.network[-1](system.encode(x)).softmax(1), system.predict(x))


def test_metrics_count_errors():
    logits, y = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 1, 1, 1])
    metrics = Classifier(nn.Identity(), nn.Sequential(nn.Identity())).metrics(logits, y)
    assert list(metrics) == ["error", "nll"]
    assert float(metrics["error"]) == 0.25


def rows(count=20, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 6, generator=generator)
    return Arrays(x=x, y=(x[:, 0] > 0).long())


def test_recipes_refuse_data_without_labels():
    for name in ("mlp", "mlp_dropout", "mlp_max_norm", "maxout"):
        with pytest.raises(ValueError, match="mine has no labels"):
            named(name)(Data("mine", Arrays(x=torch.zeros(9, 6))))


def test_max_norm_holds_after_every_update():
    from lamina.train.trainer import Trainer

    run = named("maxout")(Data("mine", rows(), classes=("a", "b")), hidden=(4,), max_norm=0.3, epochs=2, lr=1.0)
    for _ in Trainer(run):
        for name, weight in run.system.network.named_parameters():
            if weight.ndim == 2:
                assert float(weight.norm(dim=1).max().detach()) <= 0.3 + 1e-6, name


def test_batch_norm_works_with_a_batch_larger_than_the_data():
    from lamina.train.fit import fit

    run = named("mlp")(
        Data("mine", rows(7), rows(5, 1), classes=("a", "b")), norm=True, hidden=(4,), epochs=2, batch=50
    )
    assert fit(run).epochs == 2
