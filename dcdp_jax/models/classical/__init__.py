"""Models without gradient steps: features of single windows and a scikit-learn classifier.

`CLASSICAL` lists them by `model.name`. scikit-learn, in the extra `studies`, is imported when a classifier is fitted.

Shapes: n windows, t time, c channels, f features, k classes.
"""

from typing import NamedTuple

from dcdp_jax.models.classical import classifiers, hydra, minirocket, quant
from dcdp_jax.models.classical.features import MakeFeatures, make_statistics


class Classical(NamedTuple):
    """A classical model."""

    make_features: MakeFeatures  # ((m, t, c) some training windows, seed) -> the function (n, t, c) -> (n, f) float32
    fit: classifiers.Fit  # ((n, f) features of all training windows, (n,) labels, seed) -> `Fitted`
    shortest: int = 2  # smallest number of samples per window, t


CLASSICAL: dict[str, Classical] = {
    "random_forest": Classical(make_statistics, classifiers.random_forest),
    "linear": Classical(make_statistics, classifiers.linear),
    "gradient_boosting": Classical(make_statistics, classifiers.gradient_boosting),
    "minirocket": Classical(minirocket.make_features, classifiers.ridge, shortest=minirocket.TAPS),
    "hydra": Classical(hydra.make_features, classifiers.sparse_ridge, shortest=hydra.TAPS + 1),
    "quant": Classical(quant.make_features, classifiers.extra_trees, shortest=3),
}
