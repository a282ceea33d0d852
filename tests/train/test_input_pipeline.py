"""Windows that are streamed from the host: the same numbers, at most so far ahead, and errors reach the user."""

import threading
import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dcdp_jax.data.pool import aligned_empty
from dcdp_jax.errors import ConfigError
from dcdp_jax.models.multipath import Outputs
from dcdp_jax.train import input_pipeline
from dcdp_jax.train.augment import Augmentation
from dcdp_jax.train.devices import Devices
from dcdp_jax.train.evaluation import evaluation_step
from dcdp_jax.train.input_pipeline import AHEAD, divided, feed
from dcdp_jax.train.state import create_state
from dcdp_jax.train.step import Signals, StepParts, train_steps
from tests.train.test_step import BATCH, CLASSES, SEED, SETTINGS, WINDOW, make_optimizer

STEPS = 10
AUGMENTATION = Augmentation(0.5, 0.05, 0.1, (((0, 1, 2),),), 0.2, 4, 4)


class Linear(nn.Module):
    """Every sample of a window matters to it, and it compiles in a second; `tests/e2e/test_faults.py` has the model."""

    @nn.compact
    def __call__(self, x, **_):
        parts = {"res": x[..., :3], "dense": x[..., 3:]}
        h = {name: nn.Dense(8, name=name)(part.reshape(len(x), -1)) for name, part in parts.items()}
        self.variable("batch_stats", "none", jnp.zeros, ())
        logits = {name: part[:, :CLASSES] for name, part in h.items()}
        return Outputs(logits["res"] + logits["dense"], logits, h, [h])


@pytest.fixture(scope="module")
def recordings():
    rng = np.random.default_rng(0)
    values = np.cumsum(rng.normal(size=(2000, 5)), axis=0).astype(np.float32)
    return Signals(values, values.mean(axis=0), 1 / values.std(axis=0))


def dispatches(at_once):
    """`STEPS` batches, the last dispatch with fewer of them."""
    rng = np.random.default_rng(1)
    starts = rng.integers(0, 2000 - WINDOW, (BATCH, STEPS)).astype(np.int32)
    labels = rng.integers(0, CLASSES, (BATCH, STEPS)).astype(np.int32)
    for first in range(0, STEPS, at_once):
        count = min(at_once, STEPS - first)
        rows = np.minimum(np.arange(first, first + at_once), STEPS - 1)
        yield {"starts": starts[:, rows], "labels": labels[:, rows], "count": np.full(BATCH, count, np.int32)}


def placed(recordings, devices, stream):
    shift, scale = devices.replicate((recordings.shift, recordings.scale))
    return Signals(recordings.values if stream else devices.replicate(recordings.values), shift, scale)


def train_and_evaluate(recordings, devices, at_once, augmentation, stream):
    signals, model, optimizer = (
        placed(recordings, devices, stream),
        Linear(),
        make_optimizer(labels={"res": "res", "dense": "dense"}),
    )
    parts = StepParts(model, optimizer, SETTINGS._replace(augmentation=augmentation))
    step = devices.map_step(
        train_steps,
        donate_state=True,
        divide_signals=divided(signals),
        takes_hyperparameters=True,
        parts=lambda _: parts,
    )
    evaluate = devices.map_step(
        evaluation_step, donate_state=False, divide_signals=divided(signals), model=model, window=WINDOW
    )
    state, history = devices.replicate(create_state(model, optimizer, SEED, WINDOW, 5)), []
    for given in feed(signals, dispatches(at_once), WINDOW, devices):
        state, metrics = step(state, *given, {})
        history.append(metrics)
    batches = (
        {"starts": b["starts"][:, 0], "labels": b["labels"][:, 0], "mask": b["count"] > 0} for b in dispatches(1)
    )
    read = [evaluate(state, *given) for given in feed(signals, batches, WINDOW, devices)]
    return jax.device_get((state, history, read))


@pytest.mark.parametrize(
    ("strategy", "count", "at_once", "augmentation"),
    [
        ("pmap", 1, 1, AUGMENTATION),
        pytest.param("jit", 1, 4, None, marks=pytest.mark.slow),
        ("pmap", 7, 4, None),
        ("jit", 8, 1, AUGMENTATION),
    ],
    ids=["pmap-1", "jit-1", "pmap-7", "jit-8"],
)
def test_streamed_is_the_same_to_the_bit(strategy, count, at_once, augmentation, recordings):
    devices = Devices(count, strategy)
    found = train_and_evaluate(recordings, devices, at_once, augmentation, stream=True)
    expected = train_and_evaluate(recordings, devices, at_once, augmentation, stream=False)
    assert found[0].step == STEPS
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize(("strategy", "count"), [("pmap", 1), ("pmap", 7), ("jit", 8)])
def test_every_device_is_sent_its_own_windows(strategy, count, recordings):
    """Against the windows taken one by one with NumPy."""
    devices = Devices(count, strategy)
    signals = placed(recordings, devices, stream=True)
    for batch, (sent, shares) in zip(dispatches(4), feed(signals, dispatches(4), WINDOW, devices), strict=True):
        values = np.asarray(sent.values).reshape(count, -1, 5)
        assert values.shape[1] == BATCH // count * 4 * WINDOW
        found = np.asarray(shares["starts"]).reshape(count, -1, 4)
        wanted = batch["starts"].reshape(count, -1, 4)
        for place in np.ndindex(found.shape):
            window = values[place[0], found[place] : found[place] + WINDOW]
            np.testing.assert_array_equal(window, recordings.values[wanted[place] : wanted[place] + WINDOW])
        assert {len(x.sharding.device_set) for x in (sent.values, *shares.values())} == {count}


@pytest.mark.parametrize(("strategy", "count"), [("pmap", 1), ("jit", 7)])
def test_on_the_cpu_recordings_are_not_copied(strategy, count):
    values = aligned_empty((1000, 3))
    values[:] = np.arange(3)
    shared = Devices(count, strategy).share(values)
    assert {shard.data.unsafe_buffer_pointer() for shard in shared.addressable_shards} == {values.ctypes.data}
    np.testing.assert_array_equal(shared, values)


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("feed")]


def test_so_many_are_sent_ahead_and_no_more(recordings, monkeypatch):
    gathered, original = [], input_pipeline.send
    monkeypatch.setattr(input_pipeline, "send", lambda *given: gathered.append(1) or original(*given))
    devices = Devices(1)
    given = feed(placed(recordings, devices, stream=True), dispatches(1), WINDOW, devices)
    for taken in range(1, 4):
        next(given)
        deadline = time.monotonic() + 300
        while len(gathered) < taken + AHEAD and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        assert len(gathered) == taken + AHEAD
        assert threads()
    given.close()
    assert not threads()


def test_a_failure_while_gathering_is_raised(recordings):
    devices = Devices(1)
    batches = list(dispatches(1))
    batches[3]["starts"] = batches[3]["starts"] + 10**6
    taken = []
    with pytest.raises(IndexError, match="out of bounds"):
        taken.extend(feed(placed(recordings, devices, stream=True), batches, WINDOW, devices))
    assert len(taken) == 3
    assert not threads()


class Card:
    """A device that says how much memory it has."""

    def __init__(self, stats):
        self.memory_stats = lambda: stats

    def __str__(self):
        return "card:0"


def test_recordings_that_do_not_fit_are_named(monkeypatch):
    devices = Devices(1)
    mesh = type("Mesh", (), {"local_devices": [Card(None), Card({"bytes_limit": 5e9, "bytes_in_use": 2e9})]})
    monkeypatch.setattr(devices, "_mesh", mesh)
    devices.check_room(3 * 10**9, "data.stream=False puts all recordings", "--config.data.stream=True")
    message = r"data\.stream=False puts all recordings, 3\.10 GB, .*card:0 has 3\.00 GB left; .*data\.stream=True"
    with pytest.raises(ConfigError, match=message):
        devices.check_room(31 * 10**8, "data.stream=False puts all recordings", "--config.data.stream=True")
