"""Statistics of the training samples, against NumPy over the same samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcdp_jax.data.normalize import BLOCK, covered_samples, fit_normalizer, outlying_channel
from dcdp_jax.errors import ConfigError


@given(st.lists(st.integers(0, 40), max_size=10), st.integers(1, 10))
def test_covered_samples(starts, window):
    covered = covered_samples(np.array(sorted(starts), np.int64), window, 50)
    assert set(np.flatnonzero(covered).tolist()) == {s + i for s in starts for i in range(window)}


@pytest.fixture
def signals():
    rng = np.random.default_rng(0)
    return rng.normal([0, 1000, -3], [1, 0.1, 50], (2 * BLOCK + 77, 3)).astype(np.float32)


def test_zscore(signals):
    training = np.random.default_rng(1).random(len(signals)) < 0.3
    shift, scale = fit_normalizer(signals, training, "zscore")
    exact = signals[training].astype(np.float64)
    np.testing.assert_allclose(shift, exact.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(1 / scale, exact.std(axis=0), rtol=1e-6)
    assert shift.dtype == scale.dtype == np.float32


def test_minmax(signals):
    training = np.arange(len(signals)) > BLOCK
    shift, scale = fit_normalizer(signals, training, "minmax")
    normalized = (signals[training].astype(np.float64) - shift) * scale
    np.testing.assert_allclose(normalized.min(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(normalized.max(axis=0), 1, atol=1e-3)


def test_none_and_constant_channels(signals):
    training = np.ones(len(signals), bool)
    shift, scale = fit_normalizer(signals, training, "none")
    assert (shift == 0).all()
    assert (scale == 1).all()
    signals[:, 1] = 0.1
    for method in ("zscore", "minmax"):
        shift, scale = fit_normalizer(signals, training, method)
        assert scale[1] == 1
        np.testing.assert_allclose(shift[1], 0.1, rtol=1e-6)


def test_unknown_method(signals):
    with pytest.raises(ConfigError, match=r"data\.normalize='robust' is not one of zscore, minmax, none"):
        fit_normalizer(signals, np.ones(len(signals), bool), "robust")


@pytest.mark.parametrize("method", ["zscore", "minmax"])
def test_a_channel_whose_scale_a_few_extreme_samples_set_is_found(signals, method):
    training = np.arange(len(signals)) > 10
    signals[:, 0] = 1 + 1e-9 * np.arange(len(signals))  # constant within rounding
    signals[20, 2] = 1e3
    assert outlying_channel(signals, training, fit_normalizer(signals, training, method)) is None
    signals[5, 2] = 1e17  # trains nobody
    assert outlying_channel(signals, training, fit_normalizer(signals, training, method)) is None
    signals[20, 2] = 1e17
    usual = np.quantile(np.abs(signals[training, 2] - np.median(signals[training, 2])), 0.999)
    channel, found = outlying_channel(signals, training, fit_normalizer(signals, training, method))
    assert channel == 2
    np.testing.assert_allclose(found, usual, rtol=0.2)  # told from a part of the samples
