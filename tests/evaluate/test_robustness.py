"""Corruptions of the input against NumPy: what is silenced, what noise adds, and who answers when a branch is gone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from configs import demo
from dcdp_jax.data.dataset import build_dataset
from dcdp_jax.data.recording import Channel
from dcdp_jax.data.vectors import devices_of
from dcdp_jax.evaluate import robustness
from dcdp_jax.evaluate.robustness import Corruption, absences, measure_robustness, training_statistics
from dcdp_jax.metrics import scores
from dcdp_jax.models.multipath import BranchSpec
from dcdp_jax.train.build import build_branches
from dcdp_jax.train.devices import Devices
from dcdp_jax.train.evaluation import padded_batches
from dcdp_jax.train.input_pipeline import feed, place_signals
from dcdp_jax.train.step import Signals
from tests.train.linear import Linear, head_probabilities, normalised_windows, random_state

corrupt = jax.jit(robustness.corrupt, static_argnames=("devices", "signs"))


@pytest.fixture(scope="module")
def config():
    config = demo.get_config()
    config.data.synthetic.subjects, config.data.synthetic.minutes = 5, 1.0
    config.data.window, config.data.step = 20, 20
    config.train.batch_size = 56
    return config


@pytest.fixture(scope="module")
def dataset(config):
    return build_dataset(config.data)


@pytest.fixture(scope="module", autouse=True)
def linear_model():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(robustness, "build_model", lambda config, branches, classes: Linear(branches))
        yield


@pytest.fixture(scope="module")
def state(config, dataset):
    return random_state(config, dataset)


def signals_of(dataset):
    return Signals(dataset.signals, dataset.normalizer.shift, dataset.normalizer.scale)


def measure(config, dataset, state, count=1, strategy="pmap", stream=False):
    devices = Devices(count, strategy)
    signals = place_signals(dataset, devices, stream)
    return measure_robustness(config, dataset, devices, devices.replicate(state), signals)


@pytest.fixture(scope="module")
def measured(config, dataset, state):
    return measure(config, dataset, state)


def probabilities_of(state, dataset, channels, silent=(), noise=0.0):
    """Labels and {head: probabilities} of the test set, by NumPy alone but for the random numbers."""
    split = dataset.splits["test"]
    x = normalised_windows(dataset, split)
    key = jax.random.key(0)
    drawn = [jax.random.normal(jax.random.fold_in(key, row), x.shape[1:]) for row in range(len(x) if noise else 0)]
    x = x + noise * np.stack(drawn) if noise else x
    x[..., list(silent)] = 0  # of z-scores the training mean
    return split.labels, head_probabilities(x, state, channels)


@pytest.fixture(scope="module")
def channels(config, dataset):
    return {branch.name: branch.channels for branch in build_branches(config, dataset)}


def expected_scores(labels, probabilities, classes):
    counts = np.zeros((classes, classes))
    np.add.at(counts, (labels, probabilities.argmax(axis=1)), 1)
    return scores(counts)


def test_a_silent_branch_is_zeros_in_the_fusion_and_left_out_of_the_fallback(state, dataset, measured, channels):
    k = len(dataset.class_names)
    found = {row["name"]: row for row in measured["absent"] if row["kind"] == "branch"}
    assert found.keys() == channels.keys() == {"res", "dense"}
    for name, other in (("res", "dense"), ("dense", "res")):
        labels, heads = probabilities_of(state, dataset, channels, silent=channels[name])
        for way, probabilities in (("fused", heads["fusion"]), ("fallback", heads[other])):
            expected = expected_scores(labels, probabilities, k)
            for score in ("accuracy", "f1_macro"):
                assert found[name][way][score] == pytest.approx(expected[score], abs=1e-9)
                drop = measured["clean"][score] - expected[score]
                assert found[name][way][f"{score}_drop"] == pytest.approx(drop, abs=1e-9)
        assert found[name]["silent_branches"] == [name]
        assert found[name]["fused"] != found[name]["fallback"]


def test_shapley_values_are_of_the_accuracy_without_either_or_both_branches(state, dataset, measured, channels):
    """For two branches: the mean of what a branch adds to nothing and what it adds to the other."""

    def accuracy(*silent):
        absent = [i for name in silent for i in channels[name]]
        labels, heads = probabilities_of(state, dataset, channels, silent=absent)
        return (heads["fusion"].argmax(axis=1) == labels).mean()

    for name, other in (("res", "dense"), ("dense", "res")):
        alone, added = accuracy(other) - accuracy(name, other), accuracy() - accuracy(name)
        assert measured["shapley"][name] == pytest.approx((alone + added) / 2, abs=1e-9)


def test_nothing_absent_and_no_noise_is_the_model_as_it_is(state, dataset, measured, channels):
    labels, heads = probabilities_of(state, dataset, channels)
    expected = expected_scores(labels, heads["fusion"], len(dataset.class_names))
    assert measured["clean"] == {score: pytest.approx(expected[score]) for score in ("accuracy", "f1_macro")}


def test_noise_is_that_of_the_seed_and_the_row(state, dataset, measured, channels):
    assert [row["level"] for row in measured["noise"]] == [0.1, 0.25, 0.5, 1.0, 2.0]
    for row in measured["noise"][-2:]:
        labels, heads = probabilities_of(state, dataset, channels, noise=row["level"])
        expected = expected_scores(labels, heads["fusion"], len(dataset.class_names))
        assert row["fused"]["accuracy"] == pytest.approx(expected["accuracy"], abs=1e-9)
    assert len({row["fused"]["f1_macro"] for row in measured["noise"]}) > 1


@pytest.mark.parametrize(("strategy", "count", "stream"), [("pmap", 7, False), ("jit", 8, False), ("pmap", 7, True)])
def test_any_number_of_devices_gives_the_same(strategy, count, stream, config, dataset, state, measured):
    again = measure(config, dataset, state, count, strategy, stream)
    for part in ("clean", "absent", "shapley", "noise", "worn"):
        assert again[part] == measured[part]


def test_all_corruptions_are_one_program(config, dataset, state, monkeypatch):
    traces = []
    step = robustness.corrupted_step

    def counted(*arguments, **named):
        traces.append(1)
        return step(*arguments, **named)

    monkeypatch.setattr(robustness, "corrupted_step", counted)
    measure(config, dataset, state)
    assert len(traces) == 1


def corruption(present, mean, deviation, seed=0, **levels):
    levels = {name: np.float32(level) for name, level in levels.items()}
    return Corruption(np.array(present), mean, deviation, np.uint32(seed), **levels)


def test_channels_are_silenced_one_by_one():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 6, 3)).astype(np.float32)
    mean, deviation = np.array([5.0, 6.0, 7.0], np.float32), np.array([1.0, 2.0, 0.0], np.float32)
    present = np.array([True, False, True])
    quiet = corrupt(x, jnp.arange(4), corruption(present, mean, deviation, 3))
    np.testing.assert_array_equal(quiet[..., [0, 2]], x[..., [0, 2]])
    np.testing.assert_array_equal(quiet[..., 1], np.full((4, 6), 6.0))
    every = np.ones(3, bool)
    noisy = corrupt(x, jnp.arange(4), corruption(every, mean, deviation, 3, noise=0.5))
    twice = corrupt(x, jnp.arange(4), corruption(every, mean, deviation, 3, noise=1.0))
    np.testing.assert_array_equal(noisy[..., 2], x[..., 2])  # a channel without deviation has no noise
    np.testing.assert_allclose(twice - x, 2 * (noisy - x), atol=1e-5)
    assert np.abs(noisy - x)[..., :2].min() > 0
    part = corrupt(x[2:], jnp.arange(2, 4), corruption(every, mean, deviation, 3, noise=0.5))
    np.testing.assert_array_equal(part, noisy[2:])
    other = corrupt(x, jnp.arange(4), corruption(every, mean, deviation, 4, noise=0.5))
    assert np.abs(other - noisy)[..., :2].min() > 0


def test_noise_has_the_deviation_asked_for():
    x = np.zeros((200, 50, 2), np.float32)
    deviation = np.array([1.0, 3.0], np.float32)
    given = corruption(np.ones(2, bool), np.zeros(2, np.float32), deviation, noise=0.5)
    np.testing.assert_allclose(np.std(corrupt(x, jnp.arange(200), given), axis=(0, 1)), [0.5, 1.5], rtol=0.02)


def windows_of_vectors():
    """(n, t, 7) of two vectors of one device and one channel beside them, with a normaliser."""
    rng = np.random.default_rng(0)
    shift, scale = rng.normal(size=7).astype(np.float32), rng.uniform(0.5, 2, 7).astype(np.float32)
    return rng.normal(size=(5, 16, 7)).astype(np.float32), shift, scale, (((0, 1, 2), (5, 3, 4)),)


def disturbed(x, shift, scale, devices, rows=None, **levels):
    present, zero, one = np.ones(7, bool), np.zeros(7, np.float32), np.ones(7, np.float32)
    rows = np.arange(len(x)) if rows is None else rows
    return np.asarray(corrupt(x, jnp.asarray(rows), corruption(present, zero, one, 3, **levels), devices, shift, scale))


@pytest.mark.parametrize("degrees", [10.0, 45.0, 180.0])
def test_a_rotation_turns_all_vectors_of_a_device_by_the_angle(degrees):
    x, shift, scale, devices = windows_of_vectors()
    found = disturbed(x, shift, scale, devices, rotation=degrees)
    raw, turned = (np.asarray(w, np.float64) / scale + shift for w in (x, found))
    np.testing.assert_array_equal(found[..., 6], x[..., 6])
    axes = []
    for window, other in zip(raw, turned, strict=True):
        rotation, distance = Rotation.align_vectors(
            np.concatenate([other[:, list(vector)] for vector in devices[0]]),
            np.concatenate([window[:, list(vector)] for vector in devices[0]]),
        )
        assert distance < 1e-3
        assert rotation.magnitude() == pytest.approx(np.radians(degrees), abs=1e-4)
        axes.append(rotation.as_rotvec() / rotation.magnitude())
    assert np.abs(np.array(axes) @ axes[0])[1:].max() < 0.999  # each window about an axis of its own
    np.testing.assert_array_equal(disturbed(x[2:], shift, scale, devices, np.arange(2, 5), rotation=degrees), found[2:])


def test_the_other_side_changes_signs_of_the_signals():
    x, shift, scale, devices = windows_of_vectors()
    signs = (1, -1, 1, -1, 1, -1, 1)
    present, zero, one = np.ones(7, bool), np.zeros(7, np.float32), np.ones(7, np.float32)
    found = [
        corrupt(x, jnp.arange(5), corruption(present, zero, one, 3, mirror=level), devices, shift, scale, signs)
        for level in (0.0, 1.0)
    ]
    np.testing.assert_array_equal(found[0], x)
    raw = x.astype(np.float64) / scale + shift
    np.testing.assert_allclose(np.asarray(found[1], np.float64), (raw * signs - shift) * scale, atol=1e-5)


@pytest.mark.parametrize("every", [2, 4])
def test_a_lower_rate_keeps_every_few_samples_and_interpolates(every):
    x, shift, scale, devices = windows_of_vectors()
    kept = np.append(np.arange(0, 16, every), 15)  # the end of a window stands for what follows it
    expected = np.empty_like(x)
    for window, result in zip(x, expected, strict=True):
        for c in range(7):
            result[:, c] = np.interp(np.arange(16), kept, window[kept, c])
    np.testing.assert_allclose(disturbed(x, shift, scale, devices, rate=1 / every), expected, atol=1e-6)


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_lost_samples_are_interpolated(share):
    x, shift, scale, devices = windows_of_vectors()
    found = disturbed(x, shift, scale, devices, lost=share)
    key = jax.random.key(3)
    for row, (window, result) in enumerate(zip(x, found, strict=True)):
        drawn = np.asarray(jax.random.uniform(jax.random.fold_in(jax.random.fold_in(key, row), 2), (16,)))
        kept = np.flatnonzero((drawn >= share) | (np.arange(16) == 0))
        for c in range(7):
            np.testing.assert_allclose(result[:, c], np.interp(np.arange(16), kept, window[kept, c]), atol=1e-6)
    assert np.abs(found - x).max() > 0.1


def test_no_disturbance_changes_no_bit():
    x, shift, scale, devices = windows_of_vectors()
    np.testing.assert_array_equal(disturbed(x, shift, scale, devices), x)


def test_the_rows_of_worn_devices_are_those_of_the_levels(state, dataset, measured, channels):
    rows = [(row["kind"], row["level"]) for row in measured["worn"]]
    assert rows == [
        *(("rotation", level) for level in (10, 45, 180)),
        *(("rate", level) for level in (0.5, 0.25)),
        *(("lost", level) for level in (0.1, 0.3, 0.5)),
    ]
    x = normalised_windows(dataset, dataset.splits["test"])
    kept = np.append(np.arange(0, 20, 4), 19)
    slow = np.stack([np.interp(np.arange(20), kept, row) for row in x[:, kept].transpose(0, 2, 1).reshape(-1, 6)])
    slow = slow.reshape(len(x), -1, 20).transpose(0, 2, 1)
    heads = head_probabilities(slow, state, channels)
    expected = expected_scores(dataset.splits["test"].labels, heads["fusion"], len(dataset.class_names))
    assert measured["worn"][4]["fused"]["accuracy"] == pytest.approx(expected["accuracy"], abs=1e-9)
    raw = x / dataset.normalizer.scale + dataset.normalizer.shift
    for row, window in enumerate(raw):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), row), 1)
        triples = devices_of(dataset.channels)
        axes = np.asarray(jax.random.normal(key, (len(triples), 3)), np.float64)
        for axis, vectors in zip(axes / np.linalg.norm(axes, axis=1, keepdims=True), triples, strict=True):
            for vector in map(list, vectors):  # half a turn about an axis a is 2 a a' - 1
                window[:, vector] = 2 * (window[:, vector] @ axis)[:, None] * axis - window[:, vector]
    heads = head_probabilities((raw - dataset.normalizer.shift) * dataset.normalizer.scale, state, channels)
    expected = expected_scores(dataset.splits["test"].labels, heads["fusion"], len(dataset.class_names))
    assert measured["worn"][2]["fused"]["accuracy"] == pytest.approx(expected["accuracy"], abs=1e-9)
    assert len({row["fused"]["f1_macro"] for row in measured["worn"][:3]}) == 3


def test_the_branches_that_are_left_are_meaned():
    rng = np.random.default_rng(0)
    logits = {name: rng.normal(size=(9, 4)) for name in "abc"}
    softmax = {name: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for name, z in logits.items()}
    heard = {"a": True, "b": False, "c": True}
    found = robustness.remaining_branches(
        {name: jnp.asarray(z, jnp.float32) for name, z in logits.items()},
        {name: jnp.asarray(there) for name, there in heard.items()},
    )
    np.testing.assert_allclose(found, (softmax["a"] + softmax["c"]) / 2, rtol=1e-5)


def test_a_site_in_both_branches_silences_neither():
    channels = tuple(
        Channel(f"{site}_{group}", group, site, "1") for site in ("wrist", "ankle") for group in ("acc", "gyro")
    )
    branches = (BranchSpec("res", "resnet", (0, 2)), BranchSpec("dense", "densenet", (1, 3)))
    data = type("Data", (), {"channels": channels})
    found = [(absence.kind, absence.name, absence.channels) for absence in absences(data, branches)]
    assert found == [
        ("branch", "res", (0, 2)),
        ("branch", "dense", (1, 3)),
        ("site", "wrist", (0, 1)),
        ("site", "ankle", (2, 3)),
    ]  # the groups are the branches
    alone = type("Data", (), {"channels": channels[:1]})
    assert absences(alone, ()) == []


def test_the_fallback_is_the_fusion_where_no_branch_lacks_all_channels(config, dataset, state):
    devices = Devices(1)
    step = devices.map_step(
        robustness.corrupted_step,
        donate_state=False,
        model=Linear(build_branches(config, dataset)),
        branches=build_branches(config, dataset),
        turning=(),
        signs=(),
        window=dataset.window,
    )
    present = np.ones(len(dataset.channels), bool)
    present[[0, len(dataset.channels) - 1]] = False
    one, zero = np.ones(len(present), np.float32), np.zeros(len(present), np.float32)
    asked = corruption(present, zero, one)
    signals, asked, on_device = devices.replicate((signals_of(dataset), asked, state))
    batches = list(padded_batches(dataset.splits["test"], 56))
    counts = robustness.count_part(step, on_device, feed(signals, batches, dataset.window, devices), asked)
    np.testing.assert_array_equal(counts["fused"], counts["fallback"])
    assert counts["fused"].sum() == len(dataset.splits["test"].labels) == sum(b["mask"].sum() for b in batches)


@pytest.mark.parametrize("method", ["zscore", "minmax", "none"])
def test_the_training_mean_and_deviation_are_those_of_the_normalised_windows(method, config):
    data = config.data.copy_and_resolve_references()
    data.normalize = method
    dataset = build_dataset(data)
    covered = np.unique(dataset.splits["train"].starts[:, None] + np.arange(dataset.window))
    x = (dataset.signals[covered].astype(np.float64) - dataset.normalizer.shift) * dataset.normalizer.scale
    mean, deviation = training_statistics(dataset)
    np.testing.assert_allclose(mean, x.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(deviation, x.std(axis=0), rtol=1e-3)
