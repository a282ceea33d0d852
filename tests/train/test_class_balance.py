"""Weighted cross-entropies against NumPy on any number of devices, and the counts of balanced sampling."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dcdp_jax.config import check_config
from dcdp_jax.configs import demo
from dcdp_jax.errors import ConfigError
from dcdp_jax.losses import total_loss
from dcdp_jax.train.build import class_weights
from dcdp_jax.train.devices import Devices
from dcdp_jax.train.input_pipeline import balanced_rows, shuffled_rows
from dcdp_jax.train.state import create_state
from dcdp_jax.train.step import Signals, StepSettings, train_step
from tests.optim.chains import make_sgd
from tests.train.test_input_pipeline import Linear

WINDOW, BATCH, SEED = 8, 56, 3
CLASS_NAMES = ("walking", "sitting", "standing", "running")
WEIGHTS = (0.25, 3.0, 1.0, 7.0)
SETTINGS = StepSettings(WINDOW, 0.7, 0.5, 0.1, class_weights=WEIGHTS)
# Of the four classes the last has no training window.
LABELS = np.repeat(np.arange(3), (70, 9, 21)).astype(np.int32)
DATASET = SimpleNamespace(class_names=CLASS_NAMES, splits={"train": SimpleNamespace(labels=LABELS)})


def config_with(**fields):
    config = demo.get_config()
    for name, value in fields.items():
        config.train[name] = value
    return config


def step_on(count, settings):
    """Metrics and parameters after one step with SGD, and the parameters ahead of it."""
    rng = np.random.default_rng(0)
    signals = Signals(rng.normal(size=(500, 5)).astype(np.float32), np.zeros(5, np.float32), np.ones(5, np.float32))
    # Sorted, so that the sum of the weights differs from device to device.
    labels = np.sort(rng.integers(0, 4, BATCH)).astype(np.int32)
    batch = {"starts": rng.integers(0, 500 - WINDOW, BATCH).astype(np.int32), "labels": labels}
    optimizer = make_sgd()
    devices, model = Devices(count), Linear()
    state = create_state(model, optimizer, SEED, WINDOW, 5)
    step = devices.map_step(train_step, donate_state=False, model=model, optimizer=optimizer, settings=settings)
    after, metrics = jax.device_get(step(devices.replicate(state), devices.replicate(signals), devices.shard(batch)))
    x = signals.values[batch["starts"][:, None] + np.arange(WINDOW)]
    return metrics, after.params, state, x, labels


def cross_entropy(logits, labels):
    """With label smoothing 0.1, in float64."""
    z, target = np.asarray(logits, np.float64), 0.9 * np.eye(4)[labels] + 0.1 / 4
    return -(target * (z - np.log(np.exp(z).sum(axis=1, keepdims=True)))).sum(axis=1)


def test_the_weighted_loss_of_a_step_is_that_of_numpy_on_any_number_of_devices():
    metrics, params, state, x, labels = step_on(1, SETTINGS)
    outputs = Linear().apply({"params": state.params, "batch_stats": state.batch_stats}, x)
    for name, logits in {**outputs.branches, "fusion": outputs.fusion}.items():
        expected = (np.array(WEIGHTS)[labels] * cross_entropy(logits, labels)).sum() / BATCH
        np.testing.assert_allclose(metrics["loss"][name], expected, rtol=1e-5)

    def loss(params):
        outputs = Linear().apply({"params": params, "batch_stats": state.batch_stats}, x)
        options = {"align_weight": 0.7, "temperature": 0.5, "label_smoothing": 0.1}
        return total_loss(*outputs, jnp.asarray(labels), **options, class_weights=jnp.array(WEIGHTS))[0]

    expected = jax.tree.map(lambda p, g: p - g, state.params, jax.jit(jax.grad(loss))(state.params))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), params, expected)
    several, params_of_several, *_ = step_on(7, SETTINGS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), several["loss"], metrics["loss"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), params_of_several, params)


def test_balanced_weights_are_inverse_to_the_windows_of_a_class_with_mean_one():
    weights = np.array(class_weights(("balanced",), DATASET))
    np.testing.assert_allclose(weights[:3] * (70, 9, 21), 100 / 3)
    assert weights[LABELS].mean() == pytest.approx(1)


def test_named_weights():
    assert class_weights((), DATASET) == ()
    assert class_weights((("running", 3), ("walking", 0.5)), DATASET) == (0.5, 1.0, 1.0, 3.0)
    with pytest.raises(ConfigError, match=r"^train\.class_weights names 'flying', expected .*: walking, sitting, .*$"):
        class_weights((("walking", 2.0), ("flying", 2.0)), DATASET)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (("even",), r"must be \(\), \('balanced',\) or look like"),
        (("walking", 2.0), "must be"),
        ((("walking", 2.0, 1.0),), "must be"),
        ((("walking", True),), "must be"),
        ((("walking", 0.0),), "the weight 0 of 'walking' is not above 0"),
        ((("walking", float("nan")),), "is not finite"),
        ((("walking", 2.0), ("walking", 1.0)), "'walking' is named twice"),
    ],
)
def test_bad_weights_are_named(weights, message):
    for good in ((), ("balanced",), (("walking", 2), ("sitting", 0.5))):
        check_config(config_with(class_weights=good))
    with pytest.raises(ConfigError, match=rf"^train\.class_weights.*{message}"):
        check_config(config_with(class_weights=weights))


def test_balanced_sampling_draws_every_class_equally_often_and_its_windows_too():
    config = config_with(sampling="balanced", batch_size=7)
    split, steps = DATASET.splits["train"], len(LABELS) // 7
    epochs = [shuffled_rows(split, config, epoch, steps) for epoch in range(1, 31)]
    for rows in epochs:
        assert rows.shape == (steps, 7)
        # 98 windows of three classes.
        assert sorted(np.bincount(LABELS[rows.ravel()])) == [32, 33, 33]
        for label in range(3):
            times = np.bincount(rows.ravel(), minlength=len(LABELS))[label == LABELS]
            assert times.max() - times.min() <= 1
    times = np.bincount(np.ravel(epochs), minlength=len(LABELS))
    assert times.min() > 0
    # The class that gives one window less is drawn, and so is the place of a class in the epoch.
    assert {np.bincount(LABELS[rows.ravel()]).argmin() for rows in epochs} == {0, 1, 2}
    first_half = np.mean([np.bincount(LABELS[rows[:7].ravel()], minlength=3) for rows in epochs], axis=0)
    np.testing.assert_allclose(first_half, 49 / 3, atol=2.5)


def test_balanced_sampling_is_a_function_of_seed_and_epoch():
    split = DATASET.splits["train"]

    def rows(seed, epoch):
        config = config_with(sampling="balanced", batch_size=7)
        config.seed = seed
        return shuffled_rows(split, config, epoch, 14)

    np.testing.assert_array_equal(rows(1, 2), rows(1, 2))
    for other in (rows(1, 3), rows(2, 2)):
        assert (other != rows(1, 2)).any()


def test_a_shuffle_is_that_of_runs_before_the_field_existed():
    expected = np.random.default_rng((5, 2)).permutation(len(LABELS))[:98].reshape(14, 7)
    config = config_with(batch_size=7)
    config.seed = 5
    np.testing.assert_array_equal(shuffled_rows(DATASET.splits["train"], config, 2, 14), expected)


def test_fewer_windows_than_classes():
    drawn = balanced_rows(np.random.default_rng(0), LABELS, 2)
    assert len(set(LABELS[drawn])) == 2


def test_classes_are_not_balanced_twice():
    with pytest.raises(ConfigError, match=r"^train\.class_weights=.* and train\.sampling=.* both balance .* one$"):
        check_config(config_with(class_weights=("balanced",), sampling="balanced"))
    with pytest.raises(ConfigError, match=r"^train\.sampling='even' is not one of shuffle, balanced$"):
        check_config(config_with(sampling="even"))
