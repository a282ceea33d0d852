"""Sharpness-aware minimisation: a step against optax's own, on any number of devices and for several seeds at once."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs.studies.default import smallest
from dcdp_jax.config import check_config
from dcdp_jax.configs import demo
from dcdp_jax.errors import ConfigError
from dcdp_jax.losses import total_loss
from dcdp_jax.train.devices import Devices
from dcdp_jax.train.state import create_state
from dcdp_jax.train.step import Signals, perturb, train_step
from dcdp_jax.train.trainer import train
from tests.optim.chains import make_sgd
from tests.train.test_class_balance import BATCH, SETTINGS, WINDOW, step_on
from tests.train.test_input_pipeline import Linear

RHO = 0.5
SHARP = SETTINGS._replace(class_weights=(), sam_rho=RHO)


def loss_on(x, labels, batch_stats):
    def loss(params):
        outputs = Linear().apply({"params": params, "batch_stats": batch_stats}, x)
        options = {"align_weight": 0.7, "temperature": 0.5, "label_smoothing": 0.1}
        return total_loss(*outputs, jnp.asarray(labels), **options)[0]

    return loss


def test_a_step_is_that_of_optax_on_any_number_of_devices():
    metrics, params, state, x, labels = step_on(1, SHARP)
    loss = jax.jit(loss_on(x, labels, state.batch_stats))
    sam = optax.contrib.sam(
        optax.sgd(1.0), optax.chain(optax.contrib.normalize(), optax.sgd(RHO)), sync_period=2, opaque_mode=True
    )
    gradient = jax.jit(jax.grad(loss))
    updates, _ = sam.update(
        gradient(state.params), sam.init(state.params), state.params, grad_fn=lambda params, _: gradient(params)
    )
    expected = optax.apply_updates(state.params, updates)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), params, expected)
    assert metrics["loss"]["total"] == pytest.approx(float(loss(state.params)), rel=1e-5)
    assert metrics["finite"]
    _, plain, *_ = step_on(1, SHARP._replace(sam_rho=0.0))
    assert max(jax.tree.leaves(jax.tree.map(lambda a, b: np.abs(a - b).max(), params, plain))) > 1e-3
    several, params_of_several, *_ = step_on(7, SHARP)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), several["loss"], metrics["loss"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), params_of_several, params)


def test_the_perturbation_has_length_rho_along_the_gradient():
    params = {"a": np.array([1.0, 2.0], np.float32), "b": np.array([[3.0]], np.float32)}
    gradients = {"a": np.array([0.0, 3.0], np.float32), "b": np.array([[-4.0]], np.float32)}
    found = perturb(params, gradients, RHO)
    np.testing.assert_allclose(found["a"], [1, 2 + RHO * 3 / 5], rtol=1e-6)
    np.testing.assert_allclose(found["b"], [[3 - RHO * 4 / 5]], rtol=1e-6)
    flat = perturb(params, jax.tree.map(np.zeros_like, gradients), RHO)
    jax.tree.map(np.testing.assert_array_equal, flat, params)


def test_each_of_several_seeds_has_a_direction_of_its_own():
    rng = np.random.default_rng(0)
    signals = Signals(rng.normal(size=(500, 5)).astype(np.float32), np.zeros(5, np.float32), np.ones(5, np.float32))
    batch = {
        "starts": rng.integers(0, 500 - WINDOW, BATCH).astype(np.int32),
        "labels": rng.integers(0, 4, BATCH).astype(np.int32),
    }
    optimizer = make_sgd()
    devices = Devices(1)
    static = {"donate_state": False, "model": Linear(), "optimizer": optimizer, "settings": SHARP}

    def together(states, signals, batch, **static):
        return jax.vmap(lambda state: train_step(state, signals, batch, **static))(states)

    states = [create_state(Linear(), optimizer, seed, WINDOW, 5) for seed in (0, 1)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *states)
    given = devices.replicate(signals), devices.shard(batch)
    both, _ = devices.map_step(together, **static)(devices.replicate(stacked), *given)
    alone = devices.map_step(train_step, **static)
    for seed, state in enumerate(states):
        after, _ = alone(devices.replicate(state), *given)
        jax.tree.map(
            lambda a, b, seed=seed: np.testing.assert_allclose(a[seed], b, rtol=1e-5, atol=1e-6),
            jax.device_get(both).params,
            jax.device_get(after).params,
        )


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"train.sam_rho": -0.1}, r"^train\.sam_rho=-0\.1 is not between 0 and 100$"),
        (
            {"train.sam_rho": 0.05, "cgm.scope": "classification"},
            r"^train\.sam_rho=0\.05 takes one gradient of the total loss, and cgm\.scope=classification changes it",
        ),
        (
            {"train.sam_rho": 0.05, "modulation.name": "mmpareto"},
            r"^train\.sam_rho=0\.05 takes one gradient of the total loss, and mmpareto needs those of two of its parts",
        ),
    ],
)
def test_what_it_cannot_go_with_is_refused(fields, error):
    config = demo.get_config()
    config.update_from_flattened_dict(fields)
    with pytest.raises(ConfigError, match=error):
        check_config(config)


def test_training_with_cgm_in_the_chain(tmp_path):
    """The radius is an argument of the compiled step."""
    losses = []
    for rho in (0.0, 0.5):
        config = smallest()
        fields = {"train.sam_rho": rho, "train.epochs": 1, "data.synthetic.minutes": 1.0, "parallel.devices": 1}
        config.update_from_flattened_dict(fields)
        train(config, tmp_path / str(rho))
        losses.append(json.loads((tmp_path / str(rho) / "result.json").read_text())["test"]["loss"])
    assert np.isfinite(losses).all()
    assert losses[0] != losses[1]
