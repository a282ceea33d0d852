"""`modulation.confidence=heldout`: S of people who do not train, equal to a NumPy pass over the same windows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import demo
from configs.studies.default import smallest
from dcdp_jax.config import check_config
from dcdp_jax.data.dataset import build_dataset
from dcdp_jax.errors import ConfigError
from dcdp_jax.runs.reading import read_metrics, read_result
from dcdp_jax.train.build import build_chain, build_settings, confidence_notes, heldout_part, prepare
from dcdp_jax.train.devices import AXIS, Devices
from dcdp_jax.train.state import create_state
from dcdp_jax.train.step import HeldOut, Signals, heldout_rows, train_step
from dcdp_jax.train.trainer import train
from tests.train.test_modulation import BATCH, BRANCHES, CLASSES, FIELDS, MODEL, SEED, STEPS_PER_EPOCH, WINDOW, Data

EVERY, STEPS, TRAINING, SAMPLES = 2, 5, 200, 360
BRANCH_NAMES = [branch.name for branch in BRANCHES]


def config_of(**fields):
    config = demo.get_config()
    chosen = {"modulation.name": "rank", "modulation.confidence": "heldout", "modulation.confidence_every": EVERY}
    config.update_from_flattened_dict(FIELDS | {"optimizer.learning_rate": 0.1} | chosen | fields)
    return config


def make_data():
    """Samples from `TRAINING` to 300 are held out; those after them, the test set, are NaN."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(SAMPLES, 3)).astype(np.float32)
    values[300:] = np.nan
    starts = rng.integers(TRAINING, 300 - WINDOW, 7).astype(np.int32)
    held = HeldOut(starts, rng.integers(0, CLASSES, 7).astype(np.int32))
    batch = {
        "starts": rng.integers(0, TRAINING - WINDOW, BATCH).astype(np.int32),
        "labels": rng.integers(0, CLASSES, BATCH).astype(np.int32),
    }
    return Signals(values, np.zeros(3, np.float32), np.ones(3, np.float32), held), batch


def run(count, strategy="pmap", state=None, steps=STEPS):
    """The state before each step, and the metrics of each; last the state after them."""
    config, devices = config_of(), Devices(count, strategy)
    optimizer = build_chain(config, BRANCHES, STEPS_PER_EPOCH)
    settings = build_settings(config, Data, STEPS_PER_EPOCH)
    step = devices.map_step(train_step, donate_state=True, model=MODEL, optimizer=optimizer, settings=settings)
    signals, batch = make_data()
    state = devices.replicate(create_state(MODEL, optimizer, SEED, WINDOW, 3) if state is None else state)
    found = []
    for _ in range(steps):
        before = jax.device_get(state)
        state, metrics = step(state, devices.replicate(signals), devices.shard(batch))
        found.append((before, jax.device_get(metrics)))
    return found, jax.device_get(state)


@pytest.fixture(scope="module")
def one_device():
    return run(1)


def confidence_by_numpy(params, draw):
    """S over the windows of a draw, in float64."""
    signals, _ = make_data()
    rows = jax.vmap(lambda _: heldout_rows(SEED, draw, BATCH, 7, AXIS), axis_name=AXIS)(jnp.zeros(1))[0]
    S = {}
    for branch in BRANCHES:
        p = jax.tree.map(lambda x: np.asarray(x, np.float64), params[branch.name])
        x = signals.values[signals.heldout.starts[rows][:, None] + np.arange(WINDOW)][..., list(branch.channels)]
        h = np.tanh(x.reshape(BATCH, -1) @ p["encoder"]["kernel"] + p["encoder"]["bias"])
        z = np.exp(h @ p["classifier"]["kernel"] + p["classifier"]["bias"])
        S[branch.name] = (z / z.sum(axis=1, keepdims=True))[np.arange(BATCH), signals.heldout.labels[rows]].sum()
    return S


def test_confidence_is_that_of_the_windows_drawn(one_device):
    """In every step that draws, and kept in those between; the windows of the test set are NaN, and no S is."""
    steps, _ = one_device
    drawn = []
    for i, (before, metrics) in enumerate(steps):
        if i % EVERY == 0:
            drawn.append(confidence_by_numpy(before.params, i // EVERY))
        for name in BRANCH_NAMES:
            assert float(metrics["modulation_confidence"][name]) == pytest.approx(drawn[-1][name], rel=1e-6)
        strong = max(drawn[-1], key=drawn[-1].get)
        assert {name: float(M) for name, M in metrics["M"].items()} == {
            name: 0.5 if name == strong else 1.0 for name in BRANCH_NAMES
        }
        assert metrics["modulation_confidence"] != metrics["S"]
    assert drawn[0] != drawn[1] != drawn[2]


@pytest.mark.parametrize(("count", "strategy"), [(4, "pmap"), (4, "jit")])
def test_any_number_of_devices(one_device, count, strategy):
    found, after = run(count, strategy)
    for (_, expected), (_, metrics) in zip(one_device[0], found, strict=True):
        for name in BRANCH_NAMES:
            np.testing.assert_allclose(
                metrics["modulation_confidence"][name], expected["modulation_confidence"][name], rtol=1e-5
            )
    for a, b in zip(jax.tree.leaves(one_device[1].params), jax.tree.leaves(after.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_run_that_goes_on_between_two_draws_is_the_same(one_device):
    """The last confidence is in the state, as a checkpoint holds it."""
    steps, after = one_device
    _, resumed = run(1, state=steps[EVERY + 1][0], steps=STEPS - EVERY - 1)
    assert all(map(np.array_equal, jax.tree.leaves(after), jax.tree.leaves(resumed)))


def small(**fields):
    config = config_of(**{"data.synthetic.minutes": 0.5, "data.synthetic.subjects": 6} | fields)
    check_config(config)
    return config


def test_the_validation_part_is_asked_unless_subjects_are_named():
    config = small()
    dataset = build_dataset(config.data)
    assert heldout_part(config, dataset) is dataset.splits["validation"]
    config = small(**{"data.heldout": (2, 3)})
    dataset = build_dataset(config.data)
    assert set(heldout_part(config, dataset).subjects) == {2, 3}
    assert set(dataset.splits["train"].subjects) == {1, 4}
    assert "data.heldout: subjects 2, 3 neither train nor validate" in dataset.notes
    note = "modulation.confidence=heldout: measured on windows of the subjects 2, 3"
    assert confidence_notes(config, dataset) == [note]
    assert confidence_notes(small(**{"modulation.confidence": "ema"}), dataset) == []


def test_a_run_records_the_confidence_and_whose_it_was(tmp_path):
    config = smallest()
    fields = {"train.epochs": 1, "train.batch_size": 16, "train.log_every": 1, "data.synthetic.minutes": 1.0}
    heldout = {"modulation.confidence": "heldout", "modulation.confidence_every": EVERY, "data.heldout": (1,)}
    config.update_from_flattened_dict(fields | heldout | {"cgm.placement": "after"})
    train(config, tmp_path)
    steps = [record for record in read_metrics(tmp_path)[0] if record["kind"] == "step"]
    asked = [record["modulation_confidence"] for record in steps]
    assert asked[0] == asked[1] != asked[2] == asked[3]
    assert all(0 < S < 16 for confidence in asked for S in confidence.values())
    for record, confidence in zip(steps, asked, strict=True):
        R = confidence["res"] / confidence["dense"]
        assert record["M"]["res"] == pytest.approx(1 - np.tanh(0.9 * max(R - 1, 0)), abs=1e-5)
    result = read_result(tmp_path)
    assert result["subjects"]["heldout"] == [1]
    assert "modulation.confidence=heldout: measured on windows of the subjects 1" in result["notes"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data.heldout": (6,)}, "data.heldout: 6 is no training subject; these are 1, 2, 3, 4"),
        ({"data.heldout": (1, 2, 3, 4)}, "leaves no training subject"),
        ({"data.heldout": (1,), "data.protocol": "random"}, "protocol random does not divide by subject"),
        ({"data.validation": "none", "train.selection": "last"}, "name some in data.heldout"),
    ],
)
def test_nobody_to_ask(fields, message):
    config = small(**fields)
    with pytest.raises(ConfigError) as error:
        prepare(config)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
