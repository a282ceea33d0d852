"""Baselines in the training step: one and eight devices agree; the loss is the cross-entropy of the one prediction."""

import jax
import numpy as np
import pytest

from configs import demo
from dcdp_jax.config import check_config
from dcdp_jax.errors import ConfigError
from dcdp_jax.models.baselines import BASELINES
from dcdp_jax.models.baselines.baseline import SinglePath
from dcdp_jax.models.classical import CLASSICAL
from dcdp_jax.train.devices import AXIS, Devices
from dcdp_jax.train.evaluation import evaluation_step
from dcdp_jax.train.state import create_state
from dcdp_jax.train.step import Signals, StepSettings, train_step
from tests.optim.chains import make_chain

WINDOW, CHANNELS, CLASSES, BATCH, STEPS = 20, 3, 4, 16, 4


def run(count, name):
    """Metrics of some steps, the last state, and the tally of the last batch, on this many devices."""
    rng = np.random.default_rng(0)
    values = np.cumsum(rng.normal(size=(500, CHANNELS)), axis=0).astype(np.float32)
    signals = Signals(values, values.mean(axis=0), 1 / values.std(axis=0))
    devices = Devices(count)
    model = SinglePath(BASELINES[name](CLASSES, 4, AXIS))
    optimizer = make_chain("sgd", 0.1)
    initial = create_state(model, optimizer, 0, WINDOW, CHANNELS)
    settings = StepSettings(window=WINDOW, align_weight=0.7, temperature=0.5, label_smoothing=0.0)
    step = devices.map_step(train_step, donate_state=True, model=model, optimizer=optimizer, settings=settings)
    evaluate = devices.map_step(evaluation_step, donate_state=False, model=model, window=WINDOW)
    state, signals = devices.replicate(initial), devices.replicate(signals)
    history = []
    for _ in range(STEPS):
        batch = {
            "starts": rng.integers(0, 500 - WINDOW, BATCH).astype(np.int32),
            "labels": rng.integers(0, CLASSES, BATCH).astype(np.int32),
        }
        state, metrics = step(state, signals, devices.shard(batch))
        history.append(jax.device_get(metrics))
    tally, *_ = jax.device_get(evaluate(state, signals, devices.shard(batch | {"mask": np.ones(BATCH, bool)})))
    return history, jax.device_get(state), tally


@pytest.mark.parametrize("name", ["lstm_cnn", pytest.param("deepconvlstm", marks=pytest.mark.slow)])
def test_eight_devices_give_the_numbers_of_one(name):
    """Batch normalisation in the one; dropout, and no running statistics, in the other; loops over time in both."""
    (one, state, tally), (eight, state_of_eight, tally_of_eight) = run(1, name), run(8, name)
    for a, b in zip(one, eight, strict=True):
        assert a["loss"]["total"] == pytest.approx(b["loss"]["total"], abs=1e-5)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(state_of_eight), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(tally.confusion, tally_of_eight.confusion)
    assert one[0].keys() == {"loss", "accuracy", "S", "gradient_norm", "update_norm", "finite"}
    assert one[0]["S"] == {}
    assert one[0]["loss"].keys() == {"total", "fusion"}
    assert one[0]["loss"]["total"] == one[0]["loss"]["fusion"]
    assert one[0]["gradient_norm"].keys() == {"network"}
    assert tally.branch_accuracy() == {}
    assert bool(state.batch_stats) == (name == "lstm_cnn")


@pytest.mark.parametrize("name", [*BASELINES, *CLASSICAL])
def test_a_baseline_with_cgm_is_refused(name):
    config = demo.get_config()
    config.model.name = name
    with pytest.raises(ConfigError, match=rf"model\.name={name} has none; set --config\.cgm\.enabled=False"):
        check_config(config)
    config.cgm.enabled = False
    check_config(config)


def test_an_unknown_model_is_refused():
    config = demo.get_config()
    config.model.name = "perceptron"
    with pytest.raises(ConfigError, match=r"model\.name='perceptron' is not one of dcdp_har, cnn, "):
        check_config(config)
