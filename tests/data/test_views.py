"""Fewer samples, other labels, derived channels."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcdp_jax.data.classes import Task
from dcdp_jax.data.datasets import DATASETS, opportunity, pamap2
from dcdp_jax.data.recording import UNLABELLED
from dcdp_jax.data.views import decimate, keep_channels, low_pass, relabel, view_recording
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


def test_gravity_keeps_what_is_slow_and_drops_what_is_fast():
    time = np.arange(2000) / RATE
    slow = 9.81 + np.sin(2 * np.pi * 0.02 * time)
    fast = 3 * np.sin(2 * np.pi * 2.0 * time)
    gravity = low_pass(np.stack([slow + fast, np.full_like(time, 9.81)], 1).astype(np.float32), np.array([0]), RATE)
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


def test_bad_views_are_named():
    with pytest.raises(ConfigError, match=r"data\.view='fourier' is none of raw, derived, mirror, axis"):
        view_recording(a_recording(), "fourier")
    with pytest.raises(ConfigError, match=r"data\.view='mirror' needs channels of the group 'acc'"):
        view_recording(keep_channels(a_recording(), ("gyro",)), "mirror")
    unnamed = tuple(c._replace(name=f"signal{i}") for i, c in enumerate(CHANNELS))
    with pytest.raises(ConfigError, match="the name of channel 'signal0' does not end with its axis"):
        view_recording(dataclasses.replace(a_recording(), channels=unnamed), "axis")
