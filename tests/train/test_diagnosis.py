"""Cosines of gradients against finite differences of losses written in NumPy, on one, seven and eight devices."""

import jax
import numpy as np
import pytest

from dcdp_jax.config import check_config
from dcdp_jax.errors import ConfigError
from dcdp_jax.train.build import build_chain, build_settings, prepare
from dcdp_jax.train.devices import Devices
from dcdp_jax.train.diagnosis import gradient_cosines
from dcdp_jax.train.state import create_state
from dcdp_jax.train.step import Signals, StepParts
from tests.train.test_modulation import BRANCHES, CLASSES, MODEL, SEED, STEPS_PER_EPOCH, WINDOW, Data, config_of

BATCH, H = 56, 1e-6
ALIGN_WEIGHT, TEMPERATURE = 0.7, 0.5


def make_data():
    rng = np.random.default_rng(0)
    signals = Signals(rng.normal(size=(200, 3)).astype(np.float32), np.zeros(3, np.float32), np.ones(3, np.float32))
    starts = rng.integers(0, 200 - WINDOW, BATCH).astype(np.int32)
    return signals, {"starts": starts, "labels": rng.integers(0, CLASSES, BATCH).astype(np.int32)}


@pytest.fixture(scope="module")
def measured():
    """The parameters, and the cosines by number of devices."""
    config = config_of("none")
    config.update_from_flattened_dict({"loss.align_weight": ALIGN_WEIGHT, "loss.temperature": TEMPERATURE})
    optimizer = build_chain(config, BRANCHES, STEPS_PER_EPOCH)
    parts = StepParts(MODEL, optimizer, build_settings(config, Data, STEPS_PER_EPOCH))
    state = create_state(MODEL, optimizer, SEED, WINDOW, 3)
    signals, batch = make_data()
    found = {}
    for count in (1, 7, 8):
        devices = Devices(count, "pmap")
        step = devices.map_step(
            gradient_cosines, donate_state=False, takes_hyperparameters=True, parts=lambda numbers: parts
        )
        found[count] = jax.device_get(
            step(devices.replicate(state), devices.replicate(signals), devices.shard(batch), {})
        )
    return jax.device_get(state.params), found


def mean_cross_entropy(logits, labels):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels])


def losses_of(params, x, labels):
    """(own losses by branch, fusion, fusion + lambda (contrast + align)) in float64."""
    h = {}
    for branch in BRANCHES:
        encoder = params[branch.name]["encoder"]
        h[branch.name] = np.tanh(
            x[..., list(branch.channels)].reshape(len(x), -1) @ encoder["kernel"] + encoder["bias"]
        )
    heads = {name: params[name]["classifier"] for name in h} | {"fusion": params["fusion"]}
    inputs = h | {"fusion": np.concatenate([h[branch.name] for branch in BRANCHES], axis=1)}
    own = {
        name: mean_cross_entropy(inputs[name] @ head["kernel"] + head["bias"], labels) for name, head in heads.items()
    }
    fusion = own.pop("fusion")
    a, b = (h[branch.name] / np.linalg.norm(h[branch.name], axis=1, keepdims=True) for branch in BRANCHES)
    diagonal = np.arange(len(x))
    contrast = (
        mean_cross_entropy(a @ b.T / TEMPERATURE, diagonal) + mean_cross_entropy(b @ a.T / TEMPERATURE, diagonal)
    ) / 2
    return own, fusion, fusion + ALIGN_WEIGHT * (contrast + np.mean((a - b) ** 2))


def test_cosines_against_finite_differences(measured):
    """Central differences in float64 over every parameter of each encoder. Tolerance: float32 of the network."""
    params = jax.tree.map(lambda p: np.asarray(p, np.float64), measured[0])
    signals, batch = make_data()
    x = signals.values[batch["starts"][:, None] + np.arange(WINDOW)].astype(np.float64)
    for name in (branch.name for branch in BRANCHES):
        gradients = [[], [], []]
        for array in params[name]["encoder"].values():
            for place in np.ndindex(array.shape):
                ends = []
                for offset in (H, -H):
                    array[place] += offset
                    own, fusion, shared = losses_of(params, x, batch["labels"])
                    array[place] -= offset
                    ends.append((own[name], fusion, shared))
                for gradient, up, down in zip(gradients, *ends, strict=True):
                    gradient.append((up - down) / (2 * H))
        own, *others = map(np.array, gradients)
        for key, other in zip(("fusion", "shared"), others, strict=True):
            expected = own @ other / np.linalg.norm(own) / np.linalg.norm(other)
            assert abs(expected) < 0.99
            assert measured[1][1][key][name] == pytest.approx(expected, abs=1e-4)
    assert abs(measured[1][1]["fusion"]["res"] - measured[1][1]["shared"]["res"]) > 1e-3


@pytest.mark.parametrize("count", [7, 8])
def test_they_do_not_depend_on_the_number_of_devices(measured, count):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), measured[1][count], measured[1][1])


def test_a_batch_smaller_than_the_number_of_devices_that_divide_seeds_is_refused():
    config = config_of("none")
    config.update_from_flattened_dict({"train.diagnosis_batches": 3, "train.batch_size": 6, "parallel.devices": 8})
    with pytest.raises(ConfigError, match=r"train\.batch_size=6 .* 8 devices, .* train\.diagnosis_batches=3"):
        prepare(config, divide_seeds=True)


def test_a_model_without_branches_has_no_gradients_to_compare():
    config = config_of("none")
    config.update_from_flattened_dict({"model.name": "cnn", "train.diagnosis_batches": 3})
    with pytest.raises(ConfigError, match=r"train\.diagnosis_batches=3 .* model\.name=cnn has none"):
        check_config(config)
