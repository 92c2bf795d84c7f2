import copy
import pickle
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

import lamina.estimator
from lamina.data.dataset import Data
from lamina.data.examples import Arrays
from lamina.estimator import Estimator, RecipeEstimator, estimator_class, prototype
from lamina.recipes import RECIPES, Recipe, named
from lamina.train.fit import fit

EXAMPLES = Path(__file__).parents[1] / "examples"

FORMS = [
    Estimator("mlp", hidden=(32,), epochs=10, batch=20),
    Estimator("mlp", hidden=(32,), epochs=10, batch=20, norm=True, dropout=(0.0, 0.1), valid=0.1),
    Estimator("rbm", visible="gaussian", hidden=8, epochs=3, lr=0.01),
    Estimator("ladder", hidden=(16,), costs=(1.0, 1.0, 0.1), epochs=6, batch=60, lr=0.02),
]


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)


def rows(count=40, seed=0):
    """Two clouds of rows, and a label for each."""
    y = np.arange(count) % 2
    return np.random.default_rng(seed).normal(size=(count, 5)) + 3 * y[:, None], y


def small(recipe="mlp", **changes):
    settings = {"mlp": {"hidden": (8,), "batch": 10, "epochs": 3}, "rbm": {"hidden": 6, "epochs": 2, "lr": 0.01}}
    return Estimator(recipe, **settings[recipe] | ({"visible": "gaussian"} if recipe == "rbm" else {}) | changes)


@parametrize_with_checks(FORMS)
def test_conventions_of_scikit_learn(estimator, check):
    check(estimator)


# As other estimators of scikit-learn


def test_cross_validation_on_digits(digits):
    """1797 digits in three parts, seeds 0 to 2: 0.976, 0.969 and 0.973 were right.

    scikit-learn's MLPClassifier with as many units, at its default settings: 0.981, 0.973 and 0.977.
    """
    model = make_pipeline(MinMaxScaler(), Estimator("mlp", hidden=(128,), epochs=20, batch=50))
    assert cross_val_score(model, *digits, cv=StratifiedKFold(3, shuffle=True, random_state=0)).mean() > 0.96


def test_grid_search_in_a_pipeline(digits):
    X, y = digits[0][:400], digits[1][:400]
    model = make_pipeline(MinMaxScaler(), small(hidden=(64,), batch=20))
    search = GridSearchCV(model, {"mlpestimator__lr": [1e-5, 0.05], "mlpestimator__norm": [False]}, cv=2).fit(X, y)
    assert search.best_params_ == {"mlpestimator__lr": 0.05, "mlpestimator__norm": False}


def test_processes_send_whole_estimators():
    """The others find the class by its name, and what they fit works here."""
    X, y = rows()
    one, two = (cross_validate(small(), X, y, cv=2, n_jobs=jobs, return_estimator=True) for jobs in (1, 2))
    np.testing.assert_allclose(one["test_score"], two["test_score"], atol=0.05)
    for here, there in zip(one["estimator"], two["estimator"], strict=True):
        np.testing.assert_allclose(here.predict_proba(X), there.predict_proba(X), atol=1e-4)  # threads may differ


def test_features_of_an_rbm_serve_a_linear_classifier(digits):
    """900 digits to learn from, 897 to test on, seeds 0 to 2: 0.862, 0.853 and 0.852 were right.

    With as many units, scikit-learn's BernoulliRBM gave 0.826, 0.815 and 0.831 at its default settings.
    """
    X, y = digits[0] / 16, digits[1]
    rbm = Estimator("rbm", hidden=50, lr=0.2, batch=10, epochs=10)
    model = make_pipeline(rbm, LogisticRegression(C=10, max_iter=2000)).fit(X[:900], y[:900])
    assert model.score(X[900:], y[900:]) > 0.82


def test_the_example():
    found = runpy.run_path(str(EXAMPLES / "estimator.py"))
    assert found["search"].score(found["X_test"], found["y_test"]) > 0.95


def test_columns_of_a_table_are_named():
    import pandas as pd

    table = pd.DataFrame(rows()[0], columns=list("abcde"))
    encoder = small("rbm").fit(table).set_output(transform="pandas")
    assert list(encoder.feature_names_in_) == list("abcde")
    assert list(encoder.transform(table).columns) == [f"rbmestimator{i}" for i in range(6)]
    with pytest.raises(ValueError, match="feature names"):
        encoder.transform(table.rename(columns={"a": "z"}))


# As the recipe


def test_fit_is_the_recipe_on_the_same_data():
    X, y = rows()
    found = small(random_state=3).fit(X, y)
    run = named("mlp")(Data("mine", Arrays(x=X, y=y), classes=("0", "1")), seed=3, hidden=(8,), batch=10, epochs=3)
    fit(run)
    expected = run.system.predict(torch.tensor(X).float())
    np.testing.assert_array_equal(found.predict_proba(X), expected.numpy())
    np.testing.assert_array_equal(found.transform(X), run.system.encode(torch.tensor(X).float()).numpy())
    assert found.origin_["arguments"] == run.origin["arguments"]


def test_the_signature_is_the_recipe_s():
    parameters = Estimator("rbm", k=3).get_params()
    assert parameters["k"] == 3
    assert set(parameters) == {"random_state", "valid", "device", "verbose"} | set(
        named("rbm").function.__annotations__
    ) - {"data", "seed", "return"}
    assert repr(Estimator("rbm", k=3, hidden=500)) == "RbmEstimator(k=3)"  # 500 is the default
    with pytest.raises(TypeError, match="positional"):
        Estimator("mlp", (64,))


def test_methods_are_those_of_the_system():
    def methods(recipe):
        names = ("predict", "predict_proba", "transform", "score", "score_samples", "sample")
        return {name for name in names if hasattr(Estimator(recipe), name)}

    assert methods("mlp") == {"predict", "predict_proba", "score", "transform"}
    assert methods("ladder") == {"predict", "predict_proba", "score"}
    assert methods("rbm") == {"transform", "score_samples", "sample"}
    assert methods("gan") == {"sample"}
    kinds = [get_tags(Estimator(recipe)).estimator_type for recipe in ("mlp", "rbm", "gan")]
    assert kinds == ["classifier", "density_estimator", None]
    assert is_classifier(Estimator("lenet5"))


ARRAYS = [name for name, recipe in RECIPES.items() if recipe.data == "mnist"]


@pytest.mark.parametrize("name", ARRAYS)
def test_every_recipe_for_arrays_has_an_estimator(name):
    kind = estimator_class(name)
    assert getattr(lamina.estimator, kind.__name__) is kind
    assert issubclass(kind, RecipeEstimator)
    assert kind in (type(clone(kind())), type(pickle.loads(pickle.dumps(kind()))))


def test_a_recipe_for_text_has_none():
    def talk(data, seed=0):
        raise ValueError("it reads text")

    with pytest.raises(ValueError, match="'talk' does not learn from arrays and has no estimator: it reads text"):
        prototype(Recipe(talk, "", "error", "bits", None, "memory", "text", None, {}))


def test_seeds_repeat_and_leave_torch_alone():
    X, y = rows()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = small().fit(X, y).predict_proba(X)
    assert torch.equal(torch.rand(1), expected)
    np.testing.assert_array_equal(first, small().fit(X, y).predict_proba(X))
    assert not np.array_equal(first, small(random_state=1).fit(X, y).predict_proba(X))
    drawn = small(random_state=np.random.RandomState(0)).fit(X, y).origin_["arguments"]["seed"]
    assert drawn == np.random.RandomState(0).randint(2**31 - 1)


def test_validation_examples_choose_the_epoch():
    X, y = rows()
    assert small().fit(X, y).result_.best == {}
    found = small(valid=0.25).fit(X, y).result_
    assert set(found.best) == {"error", "nll"}
    assert found.examples == 30 * found.epoch


def test_progress_is_shown_when_asked_for(capsys):
    small().fit(*rows())
    assert capsys.readouterr().err == ""
    small(verbose=True).fit(*rows())
    assert "epoch 3" in capsys.readouterr().err


# What goes in and out


@pytest.mark.parametrize("labels", [np.array(["no", "yes"]), np.array([7, -2]), np.array([True, False])])
def test_labels_of_any_kind(labels):
    X, y = rows()
    found = small(epochs=10).fit(X, labels[y])
    assert set(found.predict(X)) == set(labels)
    assert found.score(X, labels[y]) == 1
    assert list(found.classes_) == sorted(labels)
    assert log_loss(labels[y], found.predict_proba(X), labels=found.classes_) < 0.2


def test_minus_one_is_no_label_to_recipes_for_few_labels():
    X, y = rows(60)
    marked = np.where(np.arange(60) < 20, y, -1)
    found = Estimator("ladder", labels=0, hidden=(16,), costs=(1.0, 1.0, 0.1), epochs=30, batch=20, lr=0.02).fit(
        X, marked
    )
    assert list(found.classes_) == [0, 1]
    assert found.score(X, y) > 0.9
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found)).predict_proba(X), found.predict_proba(X))
    assert list(small(epochs=1).fit(X, marked).classes_) == [-1, 0, 1]


def test_samples_and_scores():
    X, y = rows()
    found = small("rbm").fit(X, y)
    assert found.sample(7).shape == (7, 5)
    np.testing.assert_array_equal(found.sample(3, random_state=1), found.sample(3, random_state=1))
    assert not np.array_equal(found.sample(3), found.sample(3))
    scores = found.score_samples(X)
    assert scores.shape == (40,)
    assert (scores > found.score_samples(X + 50).max()).all()


def test_more_examples_than_pass_at_once():
    X, y = rows(2500)
    found = small(epochs=1, batch=500).fit(X, y)
    np.testing.assert_allclose(found.predict_proba(X)[-10:], found.predict_proba(X[-10:]), atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), (8, 8, 1)])
def test_pictures(shape, digits):
    X, y = digits[0][:200].reshape(-1, *shape), digits[1][:200]
    found = small(epochs=10).fit(X, y)
    assert found.score(X, y) > 0.9
    flat = small("rbm").fit(digits[0][:200])
    assert small("rbm").fit(X).sample(2).shape == (2, 1, 8, 8)
    assert flat.sample(2).shape == (2, 64)
    with pytest.raises(ValueError, match="the estimator was fitted on pictures of 1x8x8"):
        found.predict(np.zeros((2, *shape[:-1], 7)))


# Copies


@pytest.mark.parametrize(("recipe", "changes"), [("mlp", {"norm": True}), ("rbm", {}), ("rbm", {"persistent": False})])
def test_copies_are_whole(recipe, changes):
    X, y = rows()
    found = small(recipe, **changes).fit(X, y)
    for copied in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):
        np.testing.assert_array_equal(copied.transform(X), found.transform(X))
        assert copied.get_params() == found.get_params()


def test_pickle_leaves_out_the_system_s_code():
    assert b"lamina.systems" not in pickle.dumps(small().fit(*rows()))


def test_clone_is_not_fitted():
    found = small(dropout=(0.1, 0.2)).fit(*rows())
    fresh = clone(found)
    assert fresh.get_params() == found.get_params()
    for method in (fresh.predict, fresh.transform):
        with pytest.raises(NotFittedError):
            method(rows()[0])


# Bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Estimator("mpl"), "did you mean 'mlp'"),
        (lambda: Estimator("mlp", hiden=(3,)), "unknown MlpEstimator parameter 'hiden'; did you mean 'hidden'"),
        (lambda: small().set_params(epoch=3), "did you mean 'epochs'"),
        (lambda: small(epochs=0).fit(*rows()), "epochs must be at least 1"),
        (lambda: small(valid=-0.5).fit(*rows()), "cannot hold out -20 of 40"),
        (lambda: small(visible="bernoulli", recipe="rbm").fit(rows()[0]), "use visible=gaussian"),
        (lambda: small().fit(rows()[0], np.ones(40)), "at least two classes"),
        (lambda: small().fit(rows()[0], rows()[0][:, 0]), "Unknown label type"),
        (lambda: small().fit(*rows()).predict(rows()[0][:, :3]), "expecting 5 features"),
        (lambda: small().fit(np.full((4, 2), np.nan), [0, 1, 0, 1]), "NaN"),
        (lambda: Estimator("lenet5").fit(*rows()), "needs images"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_no_such_class():
    with pytest.raises(AttributeError, match="no attribute 'MplEstimator'"):
        lamina.estimator.MplEstimator  # noqa: B018
