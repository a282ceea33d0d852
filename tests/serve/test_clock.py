"""Samples with irregular times, laid evenly as they come, are those that `resample` makes of all of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcdp_jax.data.resample import resample
from dcdp_jax.errors import DataError
from dcdp_jax.serve.clock import EvenClock


def in_chunks(clock, time, values, cuts):
    pieces = []
    for t, x in zip(np.split(time, cuts), np.split(values, cuts), strict=True):
        pieces += clock.push(t, x)
    return pieces


@given(
    seed=st.integers(0, 10**6),
    rate=st.sampled_from([7.0, 20.0, 50.0]),
    cuts=st.lists(st.integers(0, 60), max_size=10).map(sorted),
)
@settings(max_examples=60, deadline=None)
def test_any_chunks_give_what_all_at_once_gives(seed, rate, cuts):
    rng = np.random.default_rng(seed)
    steps = np.where(rng.random(60) < 0.05, 3.0, rng.uniform(0.01, 0.09, 60))
    time, values = np.cumsum(steps), rng.normal(0, 1, (60, 2)).astype(np.float32)
    expected = resample(time, values, rate=rate, max_gap=1.0, missing="split")
    pieces = in_chunks(EvenClock(rate, 1.0), time, values, cuts)
    np.testing.assert_allclose(np.concatenate([p.values for p in pieces]), expected.values, atol=1e-5)
    np.testing.assert_allclose(np.concatenate([p.time for p in pieces]), expected.time, atol=1e-9)
    lengths = np.cumsum([0] + [len(p.time) for p in pieces[:-1]])
    assert [a for a, p in zip(lengths, pieces, strict=True) if p.begins] == expected.starts.tolist()


def test_a_missing_value_is_missing_around_it():
    values = np.array([[0.0], [1.0], [np.nan], [3.0], [4.0]], np.float32)
    (piece,) = EvenClock(10.0, 1.0).push(np.arange(5) / 5, values)
    np.testing.assert_allclose(piece.values[:, 0], [0, 0.5, 1, np.nan, np.nan, np.nan, 3, 3.5, 4], atol=1e-6)


def test_a_repeated_time_is_left_out():
    clock = EvenClock(1.0, 1.5)
    (piece,) = clock.push(np.array([0.0, 0.0, 1.0]), np.array([[0.0], [9.0], [1.0]], np.float32))
    assert piece.values[:, 0].tolist() == [0, 1]
    assert clock.push(np.array([1.0]), np.array([[9.0]], np.float32)) == []
    (piece,) = clock.push(np.array([2.0]), np.array([[2.0]], np.float32))
    assert (piece.values[:, 0].tolist(), piece.begins) == ([2], False)


@pytest.mark.parametrize(("time", "message"), [([1.0, 0.5], "goes back by 0.5 s"), ([np.nan, 1.0], "no time")])
def test_times_that_cannot_be(time, message):
    clock = EvenClock(1.0, 1.0)
    with pytest.raises(DataError, match=message):
        clock.push(np.array(time), np.zeros((2, 1), np.float32))
