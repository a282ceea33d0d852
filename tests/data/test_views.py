"""Fewer samples, other labels, derived channels."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal
from scipy.spatial.transform import Rotation

from dcdp_jax.data.datasets import DATASETS, opportunity, pamap2
from dcdp_jax.data.gravity import LowPass
from dcdp_jax.data.recording import UNLABELLED, Channel, Recording
from dcdp_jax.data.spec import Task
from dcdp_jax.data.views import decimate, keep_channels, relabel, view_recording
from dcdp_jax.errors import ConfigError, DataError
from tests.data.making import CHANNELS, RATE, random_recording


def a_recording(seed=0, samples=150):
    return random_recording(np.random.default_rng(seed), 7, "1", samples)


@given(st.integers(0, 10**6), st.integers(1, 200), st.integers(1, 7))
def test_decimate_keeps_every_nth_sample_of_each_stretch(seed, samples, every):
    recording = dataclasses.replace(a_recording(seed, samples))
    recording = dataclasses.replace(recording, tracks={"other": recording.labels + 5})
    fewer = decimate(recording, every)
    bounds = [*recording.starts, samples]
    kept = [i for a, b in pairwise(bounds) for i in range(a, b, every)]
    assert np.array_equal(fewer.signals, recording.signals[kept])
    assert np.array_equal(fewer.labels, recording.labels[kept])
    assert np.array_equal(fewer.tracks["other"], fewer.labels + 5)
    assert [kept[i] for i in fewer.starts] == recording.starts.tolist()
    assert fewer.rate == RATE / every


def test_decimate_by_nothing_is_named():
    with pytest.raises(ConfigError, match=r"data\.decimate=0"):
        decimate(a_recording(), 0)


def test_keep_channels():
    assert keep_channels(a_recording(), ()).channels == CHANNELS
    kept = keep_channels(a_recording(), ("gyro", "acc_y"))
    assert kept.channel_names == ("acc_y", "gyro_x")
    assert np.array_equal(kept.signals, a_recording().signals[:, [1, 3]])


def test_relabel():
    recording = a_recording()
    names = ("sit", "walk", "run")
    kept = relabel(recording, Task("", names, "", ("run", "sit")))
    expected = {UNLABELLED: UNLABELLED, 0: 1, 1: UNLABELLED, 2: 0}
    assert kept.labels.tolist() == [expected[label] for label in recording.labels.tolist()]
    with_null = relabel(recording, Task("", names, "null", ("null", *names)))
    assert np.array_equal(with_null.labels, recording.labels + 1)
    track = dataclasses.replace(recording, tracks={"pace": np.where(recording.labels == 2, 1, 0)})
    assert np.array_equal(
        relabel(track, Task("pace", ("slow", "fast"), "", ("slow", "fast"))).labels == 1, recording.labels == 2
    )


def test_labels_without_a_name_are_named():
    with pytest.raises(DataError, match=r"subject 7, run 1: labels from -?1 to 2, expected -1 to 1"):
        relabel(a_recording(), Task("", ("a", "b"), "", ("a", "b")))
    with pytest.raises(DataError, match="subject 7, run 1: no labels 'pace'"):
        relabel(a_recording(), Task("pace", ("a", "b"), "", ("a", "b")))


def test_tasks():
    task = DATASETS["opportunity"].task
    assert task("paper").classes == opportunity.CLASS_NAMES
    assert task("challenge").classes == ("null", *opportunity.CLASS_NAMES)
    assert task("locomotion")[:2] == ("locomotion", ("stand", "walk", "sit", "lie"))
    assert task("loso", chosen=("null", "clean_table")).unlabelled == "null"
    assert len(DATASETS["pamap2"].task("paper").classes) == 12
    assert len(DATASETS["pamap2"].task("paper", chosen=pamap2.CLASS_NAMES).classes) == 18
    assert DATASETS["table"].task("subject", ("b", "a")) == ("", ("b", "a"), "", ("b", "a"))


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (("a", "d"), r"data\.classes: no class 'd'; there are a, b, c"),
        (("a", "b", "a"), r"data\.classes: 'a' stands twice"),
        (("a",), "two classes at least"),
    ],
)
def test_bad_classes_are_named(chosen, message):
    with pytest.raises(ConfigError, match=message):
        DATASETS["dsads"].task("loso", ("a", "b", "c"), chosen)


def test_derived():
    recording = a_recording()
    derived = view_recording(recording, "derived")
    assert [c.group for c in derived.channels] == ["acc"] * 3 + ["gyro"] + ["gravity"] * 3 + ["residual"] * 3
    assert derived.channels[4] == ("gravity_acc_x", "gravity", "hip", "g")
    assert np.array_equal(derived.signals[:, :4], recording.signals)
    np.testing.assert_allclose(derived.signals[:, 4:7] + derived.signals[:, 7:], recording.signals[:, :3], atol=1e-5)


def test_gravity_needs_more_samples_than_twice_the_cutoff():
    recording = a_recording()
    assert len(view_recording(dataclasses.replace(recording, rate=0.61), "derived").labels) == len(recording.labels)
    with pytest.raises(ConfigError, match=r"gravity at 0.3 Hz, for which 0.6 samples a second are too few; .* 0.6,"):
        view_recording(dataclasses.replace(recording, rate=0.6), "derived")


def test_gravity_keeps_what_is_slow_and_drops_what_is_fast():
    time = np.arange(2000) / RATE
    slow = 9.81 + np.sin(2 * np.pi * 0.02 * time)
    fast = 3 * np.sin(2 * np.pi * 2.0 * time)
    gravity = LowPass(RATE)(np.stack([slow + fast, np.full_like(time, 9.81)], 1).astype(np.float32))
    delayed = 9.81 + np.sin(2 * np.pi * 0.02 * (time - 1.06))  # the filter's delay at low frequencies
    assert np.abs(gravity[200:, 0] - delayed[200:]).max() < 0.03
    np.testing.assert_allclose(gravity[:, 1], 9.81, rtol=1e-6)


@given(st.integers(0, 10**6), st.integers(1, 149))
def test_gravity_depends_on_nothing_later_and_on_nothing_across_a_cut(seed, cut):
    recording = a_recording(seed)
    changed = recording.signals.copy()
    changed[cut:] += 1
    later = dataclasses.replace(recording, signals=changed)
    views = [view_recording(r, "derived").signals for r in (recording, later)]
    assert np.array_equal(views[0][:cut], views[1][:cut])
    changed = recording.signals.copy()
    changed[:cut] += 1
    earlier = dataclasses.replace(recording, signals=changed)
    views = [view_recording(r, "derived", [cut]).signals for r in (recording, earlier)]
    assert np.array_equal(views[0][cut:], views[1][cut:])
    for a, b in zip(recording.starts, [*recording.starts[1:], 150], strict=True):
        alone = dataclasses.replace(
            recording, signals=recording.signals[a:b], labels=recording.labels[a:b], starts=np.zeros(1, np.int64)
        )
        assert np.array_equal(
            view_recording(alone, "derived").signals, view_recording(recording, "derived").signals[a:b]
        )


def test_mirror_and_axis():
    recording = a_recording()
    mirror = view_recording(recording, "mirror")
    assert [c.group for c in mirror.channels] == ["acc"] * 3 + ["gyro"] + ["mirror"] * 3
    assert np.array_equal(mirror.signals[:, 4:], recording.signals[:, :3])
    axis = view_recording(recording, "axis")
    assert [c.group for c in axis.channels] == ["x", "y", "z", "x"]
    assert axis.signals is recording.signals
    assert view_recording(recording, "raw") is recording


WAIST = tuple(
    Channel(f"{name}_{axis}", group, "waist", unit)
    for name, group, unit in (("total_acc", "acc", "g"), ("body_acc", "acc", "g"), ("gyro", "gyro", "rad/s"))
    for axis in "xyz"
)
TWO_DEVICES = (
    *WAIST,
    Channel("heart_rate", "heart_rate", "chest", "bpm"),
    *(Channel(f"footAcc{axis}", "acc", "foot", "m/s^2") for axis in "XYZ"),
)


def worn_recording(seed, channels=TWO_DEVICES, samples=150):
    """Noise around a gravity of its own in every vector of three channels."""
    rng = np.random.default_rng(seed)
    signals = rng.normal(rng.normal(0, 2, len(channels)), 0.7, (samples, len(channels))).astype(np.float32)
    starts = np.array([0, samples // 3], np.int64)
    return Recording(signals, np.zeros(samples, np.int32), 1, "1", 50.0, channels, starts)


def filtered(signals, starts):
    """Low-passes (t, c) signals in float64: the filter's transfer function, in steady state at each start."""
    b, a = signal.butter(3, 0.3, fs=50.0)
    parts = np.split(signals.astype(np.float64), starts[1:])
    return np.concatenate([signal.lfilter(b, a, x, 0, signal.lfilter_zi(b, a)[:, None] * x[0])[0] for x in parts])


def test_vertical_is_the_projection_on_gravity():
    recording = worn_recording(0)
    view = view_recording(recording, "vertical")
    names = [f"{name}_{part}" for name in ("total_acc", "body_acc", "gyro") for part in ("vertical", "horizontal")]
    assert view.channel_names == (*names, "heart_rate", "footAcc_vertical", "footAcc_horizontal")
    assert [c.group for c in view.channels] == ["acc"] * 4 + ["gyro"] * 2 + ["heart_rate", "acc", "acc"]
    x = recording.signals.astype(np.float64)
    up = filtered(x, recording.starts)
    for vector, gravity, column in (((0, 1, 2), (0, 1, 2), 0), ((6, 7, 8), (0, 1, 2), 4), ((10, 11, 12),) * 2 + (7,)):
        unit = up[:, gravity] / np.linalg.norm(up[:, gravity], axis=1, keepdims=True)
        vertical = np.einsum("tk,tk->t", x[:, vector], unit)
        horizontal = np.sqrt(np.sum(x[:, vector] ** 2, axis=1) - vertical**2)
        np.testing.assert_allclose(view.signals[:, column], vertical, atol=1e-5)
        np.testing.assert_allclose(view.signals[:, column + 1], horizontal, atol=1e-5)
    np.testing.assert_array_equal(view.signals[:, 6], recording.signals[:, 9])


@given(st.integers(0, 10**6))
def test_vertical_is_the_same_for_any_orientation_of_the_devices(seed):
    recording = worn_recording(seed)
    turned = recording.signals.copy()
    waist, foot = Rotation.random(2, random_state=seed).as_matrix()
    for vector, matrix in (((0, 1, 2), waist), ((3, 4, 5), waist), ((6, 7, 8), waist), ((10, 11, 12), foot)):
        turned[:, vector] = turned[:, vector] @ matrix.T
    views = [view_recording(dataclasses.replace(recording, signals=s), "vertical") for s in (recording.signals, turned)]
    # Where gravity is next to nothing, its direction is known to fewer digits.
    up = filtered(recording.signals, recording.starts)
    clear = np.minimum(*(np.linalg.norm(up[:, v], axis=1) for v in ((0, 1, 2), (10, 11, 12)))) > 0.3
    np.testing.assert_allclose(views[1].signals[clear], views[0].signals[clear], atol=3e-5)


def test_vertical_of_nothing_is_nothing():
    recording = worn_recording(0)
    still = dataclasses.replace(recording, signals=np.zeros_like(recording.signals))
    assert not view_recording(still, "vertical").signals.any()


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (("gyro",), "data.view='vertical' needs channels of the group 'acc'"),
        (("total_acc_x", "total_acc_y"), "no three of the channels total_acc_x, total_acc_y are named"),
        (("gyro", "foot"), "needs a vector of the group 'acc' from every device, and 'waist' has none"),
        (("total_acc_x", "foot"), "total_acc_x depends on the orientation of its device and is no part of a vector"),
    ],
)
def test_what_has_no_vertical_is_named(chosen, message):
    recording = worn_recording(0)
    kept = [i for i, c in enumerate(TWO_DEVICES) if {c.group, c.name, c.site} & set(chosen)]
    part = dataclasses.replace(
        recording, signals=recording.signals[:, kept], channels=tuple(TWO_DEVICES[i] for i in kept)
    )
    with pytest.raises(ConfigError) as raised:
        view_recording(part, "vertical")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_body_is_what_is_left_without_gravity():
    recording = worn_recording(0, WAIST)
    view = view_recording(recording, "body")
    assert view.channels == WAIST
    total = recording.signals[:, :3]
    np.testing.assert_allclose(view.signals[:, 3:6], total - filtered(total, recording.starts), atol=1e-5)
    np.testing.assert_array_equal(view.signals[:, [0, 1, 2, 6, 7, 8]], recording.signals[:, [0, 1, 2, 6, 7, 8]])
    without = [0, 1, 2, 6, 7, 8]
    phone = dataclasses.replace(
        recording, signals=recording.signals[:, without], channels=tuple(WAIST[i] for i in without)
    )
    np.testing.assert_array_equal(view_recording(phone, "body").signals, view.signals)
    with pytest.raises(ConfigError, match=r"data\.view='body' needs channels total_X, .*here are acc_x"):
        view_recording(a_recording(), "body")


def test_filters_run_through_windows_that_overlap_by_half():
    whole = dataclasses.replace(worn_recording(0, WAIST, 160), starts=np.zeros(1, np.int64))
    first = np.array([0, 16, 32, 64, 80, 96, 112])  # none begins at 48
    rows = (first[:, None] + np.arange(32)).ravel()
    windows = dataclasses.replace(
        whole, signals=whole.signals[rows], labels=whole.labels[rows], starts=np.arange(7, dtype=np.int64) * 32
    )
    found = view_recording(windows, "body").signals
    np.testing.assert_array_equal(found[:96], view_recording(whole, "body").signals[rows[:96]])
    later = dataclasses.replace(
        whole, signals=whole.signals[64:], labels=whole.labels[64:], starts=np.zeros(1, np.int64)
    )
    np.testing.assert_array_equal(found[96:], view_recording(later, "body").signals[rows[96:] - 64])
    # Not from one part of the data into another.
    cut = view_recording(windows, "body", [32]).signals
    assert np.array_equal(cut[:32], found[:32])
    alone = dataclasses.replace(
        windows, signals=windows.signals[32:64], labels=windows.labels[32:64], starts=np.zeros(1, np.int64)
    )
    assert np.array_equal(cut[32:64], view_recording(alone, "body").signals)
    assert not np.array_equal(cut[32:64], found[32:64])


def test_bad_views_are_named():
    with pytest.raises(ConfigError, match=r"data\.view='fourier' is not one of raw, derived, mirror, axis, body, v"):
        view_recording(a_recording(), "fourier")
    with pytest.raises(ConfigError, match=r"data\.view='mirror' needs channels of the group 'acc'"):
        view_recording(keep_channels(a_recording(), ("gyro",)), "mirror")
    unnamed = tuple(c._replace(name=f"signal{i}") for i, c in enumerate(CHANNELS))
    with pytest.raises(ConfigError, match="the name of channel 'signal0' does not end with its axis"):
        view_recording(dataclasses.replace(a_recording(), channels=unnamed), "axis")
