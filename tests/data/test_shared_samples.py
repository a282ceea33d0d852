"""A stretch of signal in two parts is found wherever it begins, and a sensor at rest is none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcdp_jax.data.shared_samples import find_shared

LENGTH = 10


def parts(samples, middle):
    first = np.arange(samples) < middle
    return first, ~first


@given(
    seed=st.integers(0, 10**6),
    at=st.integers(0, 150),
    to=st.integers(200, 350),
    length=st.integers(2 * LENGTH - 1, 60),
)
@settings(max_examples=200, deadline=None)
def test_copied_rows_are_found_with_their_whole_length(seed, at, to, length):
    length = min(length, 200 - at, 400 - to)
    signals = np.random.default_rng(seed).normal(0, 1, (400, 3)).astype(np.float32)
    assert find_shared(signals, *parts(400, 200), LENGTH) is None
    signals[to : to + length] = signals[at : at + length]
    assert find_shared(signals, *parts(400, 200), LENGTH) == (at, to, length)


@given(seed=st.integers(0, 10**6), level=st.sampled_from([0.0, -0.0, 9.81]), share=st.floats(0, 0.3))
@settings(max_examples=100, deadline=None)
def test_rest_and_zeros_are_no_copies(seed, level, share):
    """Also where a value wavers by one step now and then, as that of a coarse sensor."""
    rng = np.random.default_rng(seed)
    signals = np.full((400, 3), level, np.float32)
    signals[rng.random((400, 3)) < share / 6] += np.float32(0.1)
    assert find_shared(signals, *parts(400, 200), LENGTH) is None


def test_a_periodic_signal_is_no_copy():
    signals = np.tile(np.array([[0.0], [1.0], [2.0]], np.float32), (100, 2))
    assert find_shared(signals, *parts(300, 150), LENGTH) is None


@pytest.mark.parametrize("samples", [0, 5, LENGTH])
def test_too_few_samples_hold_no_copy(samples):
    signals = np.random.default_rng(0).normal(size=(samples, 2)).astype(np.float32)
    assert find_shared(signals, *parts(samples, samples // 2), LENGTH) is None
