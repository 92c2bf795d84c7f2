"""Choose the width and learning rate of a perceptron by cross-validation, as for any scikit-learn classifier."""

from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split

from lamina.estimator import Estimator

X, y = load_digits(return_X_y=True)  # your own rows and labels go here
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=400, stratify=y, random_state=0)

search = GridSearchCV(
    Estimator("mlp", epochs=10, batch=50),
    {"hidden": [(16,), (128,)], "lr": [0.01, 0.05]},
    cv=3,
)
search.fit(X_train, y_train)

for settings, accuracy in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
    print(f"{accuracy:.3f}  {settings}")
print(f"best on the test digits: {search.score(X_test, y_test):.3f}  {search.best_estimator_}")
