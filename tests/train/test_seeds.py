"""Several seeds in one program: each gets the numbers that it gets alone."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dcdp_jax.models.batch_norm import BatchNorm
from dcdp_jax.models.conv import Conv1D
from dcdp_jax.models.dropout import dropout
from dcdp_jax.models.kernels import Dense
from dcdp_jax.models.multipath import Outputs
from dcdp_jax.train.augment import Augmentation
from dcdp_jax.train.devices import AXIS, Devices
from dcdp_jax.train.state import create_state
from dcdp_jax.train.step import Signals, StepParts, StepSettings, train_divided_seeds, train_seeds, train_steps
from tests.optim.chains import make_chain

WINDOW, CLASSES, BATCH, STEPS, CHANNELS = 16, 4, 28, 10, 6
SEEDS = (3, 11, 4)


class Small(nn.Module):
    """All kinds of layers that `MultiPath` has, once each; it compiles in a third of the time."""

    @nn.compact
    def __call__(self, x, train=False, keys=None, modulation=None):
        del modulation
        h = {}
        for name, part in (("res", x[..., :3]), ("dense", x[..., 3:])):
            features = BatchNorm(AXIS, name=f"{name}_norm")(Conv1D(4, 3, 2, name=name)(part), train)
            h[name] = nn.relu(features).mean(axis=1)
        logits = {name: Dense(CLASSES, name=f"{name}_classifier")(z) for name, z in h.items()}
        fusion = dropout(jnp.concatenate([h["res"], h["dense"]], axis=-1), keys, 0.5)
        return Outputs(Dense(CLASSES, name="fusion")(fusion), logits, h, [h])


MODEL = Small()
AUGMENTATION = Augmentation(0.5, 0.05, 0.1, (((0, 1, 2),), ((3, 4, 5),)), 0.2, 4, 4)
SETTINGS = StepSettings(WINDOW, 0.7, 0.5, 0.0, augmentation=AUGMENTATION, pack_vectors=True)


def make_optimizer():
    return make_chain(
        eps=1e-4,  # with 1e-8 Adam makes whole steps of gradients that are 0 but for rounding
        weight_decay=0.01,
        labels=lambda params: {name: name.split("_")[0] if name != "fusion" else None for name in params},
    )


OPTIMIZER = make_optimizer()
PARTS = StepParts(MODEL, OPTIMIZER, SETTINGS)
STATIC = {"donate_state": True, "takes_hyperparameters": True, "parts": lambda _: PARTS}


@pytest.fixture(scope="module")
def signals():
    rng = np.random.default_rng(0)
    values = np.cumsum(rng.normal(size=(2000, CHANNELS)), axis=0).astype(np.float32)
    return Signals(values, values.mean(axis=0), 1 / values.std(axis=0))


def batches_of(seed, steps=STEPS):
    """(b, steps) of each."""
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, 2000 - WINDOW, (BATCH, steps)).astype(np.int32)
    return {"starts": starts, "labels": rng.integers(0, CLASSES, (BATCH, steps)).astype(np.int32)}


def initial(seed):
    return create_state(MODEL, OPTIMIZER, seed, WINDOW, CHANNELS)


@pytest.fixture(scope="module")
def alone(signals):
    """{seed: metrics (steps,) and last state} of each seed by itself, a step at a time."""
    devices = Devices(1)
    step = devices.map_step(train_steps, **STATIC)
    on_device = devices.replicate(signals)
    found = {}
    for seed in SEEDS:
        state, history = devices.replicate(initial(seed)), []
        for i in range(STEPS):
            batch = {name: x[:, i : i + 1] for name, x in batches_of(seed).items()}
            state, metrics = step(state, on_device, devices.shard({**batch, "count": np.ones(BATCH, np.int32)}), {})
            history.append(jax.device_get(metrics))
        found[seed] = jax.tree.map(lambda *x: np.concatenate(x), *history), jax.device_get(state)
    return found


def at_once(signals, count, strategy, divided, steps_at_once=1, inactive=()):
    """{seed: metrics and last state}; a seed of `inactive` takes no step."""
    devices = Devices(count, strategy)
    places = -(-len(SEEDS) // count) * count if divided else len(SEEDS)
    seeds = [*SEEDS, *[SEEDS[0]] * (places - len(SEEDS))]
    axis = 0 if divided else 1
    step = devices.map_step(train_divided_seeds if divided else train_seeds, divide_state=divided, **STATIC)
    states = jax.tree.map(lambda *x: np.stack(x), *map(initial, seeds))
    states = devices.divide_states(states) if divided else devices.replicate(states)
    laid_out = [x.sharding for x in jax.tree.leaves(states)]
    rows = {name: np.stack([batches_of(seed)[name] for seed in seeds], axis) for name in ("starts", "labels")}
    active = np.array([seed not in inactive for seed in seeds])
    on_device, history = devices.replicate(signals), []
    for first in range(0, STEPS, steps_at_once):
        taken = min(steps_at_once, STEPS - first)
        chosen = {name: x[..., first : first + taken] for name, x in rows.items()}
        batch = {
            name: np.pad(x, ((0, 0), (0, 0), (0, steps_at_once - taken)), mode="edge") for name, x in chosen.items()
        }
        batch["active"] = np.stack([active] * BATCH, 1 - axis)
        batch["count"] = np.full(places if divided else BATCH, taken, np.int32)
        states, metrics = step(states, on_device, devices.shard(batch), {})
        history.append(jax.tree.map(lambda x, n=taken: np.asarray(x).reshape(places, -1)[:, :n], metrics))
    assert [x.sharding for x in jax.tree.leaves(states)] == laid_out  # or the second step would be compiled anew
    metrics = jax.tree.map(lambda *x: np.concatenate(x, axis=1), *history)
    one_by_one = {seed: jax.device_get(devices.replicate_one(states, i, initial(seed))) for i, seed in enumerate(SEEDS)}
    return {seed: (jax.tree.map(lambda x, i=i: x[i], metrics), one_by_one[seed]) for i, seed in enumerate(SEEDS)}


def largest_difference(found, wanted):
    """Over the numbers of two trees."""
    return max(np.abs(x - y).max() for x, y in zip(*map(jax.tree.leaves, (found, wanted)), strict=True))


@pytest.mark.parametrize(
    ("count", "strategy", "divided", "steps_at_once"),
    [
        (7, "jit", False, 4),
        (2, "jit", True, 1),  # three seeds; pmap is in test_trainer.py
    ],
)
def test_ten_steps_are_those_of_each_seed_alone(count, strategy, divided, steps_at_once, signals, alone):
    found = at_once(signals, count, strategy, divided, steps_at_once)
    for seed, (wanted_metrics, wanted) in alone.items():
        metrics, state = found[seed]
        assert (state.seed, state.step) == (seed, STEPS)
        assert largest_difference(state.params, wanted.params) < 1e-5
        assert largest_difference(state.batch_stats, wanted.batch_stats) < 1e-5
        assert largest_difference(metrics["loss"], wanted_metrics["loss"]) < 1e-5
        assert metrics["finite"].all()
        for name in ("S", "R", "M"):
            for branch in ("res", "dense"):
                np.testing.assert_allclose(metrics[name][branch], wanted_metrics[name][branch], rtol=1e-4)
    assert largest_difference(found[3][1].params, found[4][1].params) > 0.1


def test_a_seed_that_waits_keeps_its_state_and_the_others_take_theirs(signals, alone):
    found = at_once(signals, 1, "pmap", False, inactive=(11,))
    jax.tree.map(np.testing.assert_array_equal, found[11][1], jax.device_get(initial(11)))
    for seed in (3, 4):
        assert largest_difference(found[seed][1].params, alone[seed][1].params) < 1e-5
