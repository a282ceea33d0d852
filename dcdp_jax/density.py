"""Distance of a window from the training windows: the Mahalanobis distance to the nearest class (Lee et al. 2018).

The features of a window are the logarithms of the probabilities of all classifiers, the mean of each channel and the
logarithm of its standard deviation. Mean accelerations keep the direction of gravity, which a network may ignore.
Reference: https://arxiv.org/abs/1807.03888; shapes: n windows, t time, c channels, k classes, f features.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dcdp_jax.rejection import SMALLEST

# Added to the standard deviations of the normalised channels so that the logarithm of a constant channel is finite.
FLOOR = 1e-3
RIDGE = 1e-6  # added to the diagonal of the correlation matrix of the features, so that it can be inverted
BLOCK = 1024  # number of windows whose features are computed at a time


class Density(NamedTuple):
    """One Gaussian per class, all with the same covariance."""

    means: np.ndarray  # (m, f) of the m classes that have a training window
    whitening: np.ndarray  # (f, f); the squared Mahalanobis distance of x and y is |(x - y) @ whitening|^2


def window_features(probabilities: Sequence[ArrayLike], windows: np.ndarray) -> np.ndarray:
    """Computes the features (n, f) of normalised windows (n, t, c), in float64; NaN where an argument is NaN.

    The probabilities are (n, k) of each classifier, with those of the fusion first.
    """
    logarithms = [np.log(np.maximum(np.asarray(p, np.float64), SMALLEST)) for p in probabilities]
    windows = np.asarray(windows, np.float64)
    return np.concatenate([*logarithms, windows.mean(axis=1), np.log(windows.std(axis=1) + FLOOR)], axis=1)


def fit_density(features: np.ndarray, labels: np.ndarray) -> Density:
    """Fits the mean of each class and the covariance within classes to features (n, f) of training and labels (n,).

    Windows with a feature that is not finite are left out.
    """
    known = np.isfinite(features).all(axis=1)
    features, labels = features[known], labels[known]
    classes, index = np.unique(labels, return_inverse=True)
    means = np.stack([features[labels == label].mean(axis=0) for label in classes])
    within = features - means[index]
    scale = np.maximum(within.std(axis=0), np.finfo(np.float32).eps)
    correlation = (within / scale).T @ (within / scale) / len(within) + RIDGE * np.eye(len(scale))
    # For the Cholesky factor L of the inverse, |(x - y) @ L|^2 is (x - y) @ inverse @ (x - y).
    return Density(means, np.linalg.cholesky(np.linalg.inv(correlation)) / scale[:, None])


def distances(density: Density, features: np.ndarray) -> np.ndarray:
    """Computes the squared Mahalanobis distance of features (n, f) to the nearest class, (n,); NaN if a feature is."""
    points, centres = features @ density.whitening, density.means @ density.whitening
    by_class = [np.square(points - centre).sum(axis=1) for centre in centres]
    return np.min(by_class, axis=0)
