"""Recordings end to end: positions, stretches, and what cannot be pooled."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcdp_jax.data.pool import Interval
from dcdp_jax.errors import DataError
from tests.data.making import CHANNELS, pool_of, random_recording


def some_recordings(seed, count=3):
    rng = np.random.default_rng(seed)
    return [random_recording(rng, subject, f"run{subject}", int(rng.integers(5, 200))) for subject in range(count)]


@given(st.integers(0, 10**6))
def test_pool_holds_every_recording(seed):
    recordings = some_recordings(seed)
    pool = pool_of(recordings)
    for i, recording in enumerate(recordings):
        a, b = pool.offsets[i : i + 2]
        assert np.array_equal(pool.signals[a:b], recording.signals)
        assert np.array_equal(pool.labels[a:b], recording.labels)
        assert set((recording.starts + a).tolist()) <= set(pool.starts.tolist())
        assert set(pool.recording_of(np.arange(a, b)).tolist()) == {i}
    assert len(pool.starts) == sum(len(r.starts) for r in recordings)
    assert pool.describe(int(pool.offsets[1])) == "subject 1, run run1, sample 0"


@given(st.integers(0, 10**6), st.booleans())
def test_stretches_are_the_samples_of_the_intervals_between_gaps(seed, join):
    rng = np.random.default_rng(seed)
    pool = pool_of(some_recordings(seed, count=4))
    intervals = []
    for i in rng.permutation(4)[:3]:
        length = int(pool.offsets[i + 1] - pool.offsets[i])
        cuts = sorted(rng.integers(0, length + 1, 3).tolist())
        intervals += [Interval(int(i), cuts[0], cuts[1]), Interval(int(i), cuts[1], length)]
    stretches = pool.stretches(intervals, join)
    inside = np.zeros(len(pool.labels) + 1, bool)
    for a, b in pool.absolute(intervals):
        inside[a:b] = True
    covered = np.zeros_like(inside)
    for a, b in stretches:
        assert a < b
        assert not covered[a:b].any()
        covered[a:b] = True
    assert np.array_equal(inside, covered)
    begins = set(stretches[:, 0].tolist())
    spans = [(a, b) for a, b in pool.absolute(intervals).tolist() if a < b]
    for start in pool.starts.tolist():
        if inside[start] and not (join and start in pool.offsets):
            assert start in begins
    if join:
        # The end of a recording divides nothing any more, if the one after it goes on at once.
        gaps = set(pool.starts.tolist()) - set(pool.offsets.tolist())
        assert begins == {
            s for s in range(len(pool.labels)) if inside[s] and (s == 0 or not inside[s - 1] or s in gaps)
        }
    else:
        assert begins == {a for a, _ in spans} | {s for s in pool.starts.tolist() if inside[s]}


def test_no_intervals_no_stretches():
    assert pool_of(some_recordings(0)).stretches([]).shape == (0, 2)


def test_a_value_that_is_not_finite_is_named():
    recordings = some_recordings(0)
    recordings[1].signals[3, 2] = np.inf
    with pytest.raises(DataError, match=f"subject 1, run run1, sample 3: channel {CHANNELS[2].name} is inf"):
        pool_of(recordings)


@pytest.mark.parametrize("change", [{"rate": 30.0}, {"channels": CHANNELS[::-1]}])
def test_recordings_that_differ_are_named(change):
    recordings = some_recordings(0)
    recordings[2] = dataclasses.replace(recordings[2], **change)
    with pytest.raises(DataError, match="subject 2, run run2: channels or rate differ from those of subject 0"):
        pool_of(recordings)
