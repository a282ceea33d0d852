"""Classifiers that scikit-learn fits to features, with the settings of the models' sources."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

ALPHAS = np.logspace(-3, 3, 10)  # strengths of the ridge penalty, as in MiniRocket's and Hydra's sources
SMALLEST = 1e-7


class Fitted(NamedTuple):
    """A fitted classifier."""

    # (n, f) features -> (n, k) probabilities of the classes in the training labels, in ascending order
    predict: Callable[[np.ndarray], np.ndarray]
    parameters: int  # number of coefficients and intercepts of a linear model, or of nodes of trees
    # replaces smaller probabilities, so that the cross-entropy of a class with probability 0 is finite
    smallest: float = SMALLEST


Fit = Callable[[np.ndarray, np.ndarray, int], Fitted]  # ((n, f) features, (n,) labels, seed)


def random_forest(features: np.ndarray, labels: np.ndarray, seed: int) -> Fitted:
    """Fits 300 trees (Breiman 2001). A class that no tree chose gets half a tree's vote."""
    from sklearn.ensemble import RandomForestClassifier

    return fit_trees(RandomForestClassifier(300, random_state=seed, n_jobs=-1), features, labels)


def extra_trees(features: np.ndarray, labels: np.ndarray, seed: int) -> Fitted:
    """Fits the 200 extremely randomised trees of Quant. A class that no tree chose gets half a tree's vote."""
    from sklearn.ensemble import ExtraTreesClassifier

    trees = ExtraTreesClassifier(200, criterion="entropy", max_features=0.1, random_state=seed, n_jobs=-1)
    return fit_trees(trees, features, labels)


def fit_trees(forest: Any, features: np.ndarray, labels: np.ndarray) -> Fitted:
    """Fits a scikit-learn forest."""
    forest.fit(features, labels)
    nodes = sum(tree.tree_.node_count for tree in forest.estimators_)
    return Fitted(forest.predict_proba, nodes, 0.5 / forest.n_estimators)


def gradient_boosting(features: np.ndarray, labels: np.ndarray, seed: int) -> Fitted:
    """Fits 100 rounds of boosting on histograms (Ke et al. 2017, LightGBM), a tree per class in each.

    The leaves have an L2 penalty of 1, as in XGBoost: without one, trees of rare classes diverge, as the second
    derivative of the cross-entropy vanishes (on one of five folds of HAPT, 32 % instead of 100 % in training).
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    # Early stopping would hold out windows that overlap with training windows.
    boosting = HistGradientBoostingClassifier(l2_regularization=1.0, early_stopping=False, random_state=seed)
    boosting.fit(features, labels)
    nodes = sum(len(tree.nodes) for round_ in boosting._predictors for tree in round_)
    return Fitted(boosting.predict_proba, nodes)


def linear(features: np.ndarray, labels: np.ndarray, seed: int) -> Fitted:
    """Fits multinomial logistic regression with an L2 penalty (C = 1) on standardised features; the seed is unused."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    del seed
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(features, labels)
    return Fitted(model.predict_proba, count_coefficients(model[-1]))


def ridge(features: np.ndarray, labels: np.ndarray, seed: int) -> Fitted:
    """Fits ridge regression of the classes' indicators (+1 or -1) on standardised features, the source's classifier.

    The strength of the penalty is the one with the smallest leave-one-out error. Ridge regression gives no
    probabilities, so they are the softmax of its decision values. These are near -1 and 1, so loss and calibration
    error are defined but are those of an underconfident model. The seed is unused.
    """
    from sklearn.preprocessing import StandardScaler

    del seed
    scaler = StandardScaler().fit(features)
    return fit_ridge(scaler.transform, features, labels)


def sparse_ridge(features: np.ndarray, labels: np.ndarray, seed: int) -> Fitted:
    """Fits `ridge` on standardised square roots of counts, in which zeros stay zero, as Hydra's source does."""
    del seed
    roots = np.sqrt(np.maximum(features, 0))
    mean, zeros = roots.mean(axis=0), (roots == 0).mean(axis=0)
    scale = roots.std(axis=0, ddof=1) + zeros**4 + np.float32(1e-8)

    def standardise(features: np.ndarray) -> np.ndarray:
        roots = np.sqrt(np.maximum(features, 0))
        return (roots - mean) * (roots != 0) / scale

    return fit_ridge(standardise, features, labels)


def fit_ridge(standardise: Callable[[np.ndarray], np.ndarray], features: np.ndarray, labels: np.ndarray) -> Fitted:
    """Fits ridge regression on standardised features, see `ridge`."""
    from scipy.special import softmax
    from sklearn.linear_model import RidgeClassifierCV

    model = RidgeClassifierCV(ALPHAS).fit(standardise(features), labels)

    def predict(features: np.ndarray) -> np.ndarray:
        values = model.decision_function(standardise(features))
        # With two classes there is one decision value, that of the second class.
        return softmax(values if values.ndim == 2 else np.stack([-values, values], axis=1), axis=1)

    return Fitted(predict, count_coefficients(model))


def count_coefficients(model: Any) -> int:
    """Returns the number of coefficients and intercepts of a scikit-learn linear model."""
    return int(model.coef_.size + model.intercept_.size)
