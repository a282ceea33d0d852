"""Mixup: windows and losses against NumPy, the same on any number of devices, and the distribution of the shares."""

import jax
import numpy as np
import pytest
from scipy import stats

from dcdp_jax.config import check_config
from dcdp_jax.configs import demo
from dcdp_jax.errors import ConfigError
from dcdp_jax.train.augment import Augmentation, build_augmentation
from dcdp_jax.train.mixup import draw_pairs
from tests.train.test_class_balance import BATCH, SEED, SETTINGS, WEIGHTS, cross_entropy, step_on
from tests.train.test_input_pipeline import Linear

ALPHA = 0.4
# No other transformation.
MIXED = SETTINGS._replace(augmentation=Augmentation(0.0, 0.0, 0.0, (), 0.0, 4, 1, mixup_alpha=ALPHA))


def test_a_step_on_mixed_windows_is_that_of_numpy_on_any_number_of_devices():
    metrics, params, state, x, labels = step_on(1, MIXED)
    partners, shares = jax.device_get(draw_pairs(SEED, 0, BATCH, ALPHA))
    mixed = shares[:, None, None] * x + (1 - shares[:, None, None]) * x[partners]
    outputs = Linear().apply({"params": state.params, "batch_stats": state.batch_stats}, mixed)
    weights = np.array(WEIGHTS)
    for name, logits in {**outputs.branches, "fusion": outputs.fusion}.items():
        own = weights[labels] * cross_entropy(logits, labels)
        other = weights[labels[partners]] * cross_entropy(logits, labels[partners])
        expected = (shares * own + (1 - shares) * other).mean()
        np.testing.assert_allclose(metrics["loss"][name], expected, rtol=1e-5)
    several, params_of_several, *_ = step_on(7, MIXED)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), several["loss"], metrics["loss"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), params_of_several, params)
    np.testing.assert_allclose(several["accuracy"], metrics["accuracy"])


def test_distribution_of_pairs():
    partners, shares = jax.device_get(draw_pairs(SEED, 3, 4000, ALPHA))
    np.testing.assert_array_equal(np.sort(partners), np.arange(4000))
    assert shares.min() >= 0.5
    # The larger of two shares from Beta(alpha, alpha).
    assert stats.kstest(shares, lambda s: 2 * stats.beta(ALPHA, ALPHA).cdf(s) - 1).pvalue > 1e-3
    assert abs(np.corrcoef(partners, np.arange(4000))[0, 1]) < 4 / np.sqrt(4000)
    again, other = (jax.device_get(draw_pairs(SEED, step, 4000, ALPHA)) for step in (3, 4))
    np.testing.assert_array_equal(again[0], partners)
    np.testing.assert_array_equal(again[1], shares)
    assert (other[0] != partners).mean() > 0.9
    assert (other[1] != shares).mean() > 0.9


def test_config():
    config = demo.get_config()
    config.augment.enabled = True
    config.augment.rotation = False
    assert build_augmentation(config.augment, (), {}).mixup_alpha == 0
    config.augment.mixup_alpha = 0.2
    assert build_augmentation(config.augment, (), {}).mixup_alpha == 0.2
    config.augment.mixup_alpha = -0.1
    with pytest.raises(ConfigError, match=r"^augment\.mixup_alpha=-0\.1 is not between 0 and 1000$"):
        check_config(config)
