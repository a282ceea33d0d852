"""Distances to the training windows against SciPy, and windows that are not finite."""

import numpy as np
from scipy.spatial.distance import cdist

from dcdp_jax.density import distances, fit_density


def test_the_distance_is_that_of_scipy_and_windows_that_are_not_finite_do_not_count():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 2], 200)  # class 1 has no training window
    features = rng.normal(size=(400, 3)) * [1, 10, 0.1] + labels[:, None]
    means = np.stack([features[labels == k].mean(axis=0) for k in (0, 2)])
    covariance = np.cov((features - means[labels // 2]).T, bias=True)
    asked = rng.normal(size=(20, 3))
    expected = cdist(asked, means, "mahalanobis", VI=np.linalg.inv(covariance)).min(axis=1) ** 2
    density = fit_density(np.vstack([features, [[np.nan, 0, 0]]]), np.append(labels, 1))
    np.testing.assert_allclose(distances(density, asked), expected, rtol=1e-4)
    assert np.isnan(distances(density, np.array([[np.nan, 0, 0]]))).all()
