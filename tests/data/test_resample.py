"""Rows with irregular times and missing values become evenly spaced samples, or are left out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcdp_jax.data.resample import MISSING, resample

NAN = np.nan


@st.composite
def rows(draw):
    """Times in steps of 1/64 s, gaps of 2 s and more among them, and two channels with holes."""
    steps = draw(st.lists(st.sampled_from([1, 2, 3, 8, 128, 200]), min_size=0, max_size=60))
    time = np.cumsum([0, *steps]) / 64
    values = draw(
        st.lists(
            st.tuples(*[st.one_of(st.just(NAN), st.integers(-9, 9).map(float))] * 2),
            min_size=len(time),
            max_size=len(time),
        )
    )
    return time, np.array(values, np.float32)


@pytest.mark.parametrize("missing", MISSING[:2])
@pytest.mark.parametrize("method", ["linear", "nearest"])
@given(data=rows(), rate=st.sampled_from([4.0, 16.0, 64.0]))
def test_samples_come_from_values_nearby(missing, method, data, rate):
    time, values = data
    max_gap = 0.5
    even = resample(time, values, rate=rate, max_gap=max_gap, method=method, missing=missing)
    assert np.isfinite(even.values).all()
    assert even.values.shape == (len(even.rows), 2)
    if len(even.rows) == 0:
        return
    assert even.starts[0] == 0
    assert np.all(np.diff(even.starts) > 0)
    # Every sample lies on the grid that begins with the first row after a gap in time.
    begins = np.concatenate([[0], np.flatnonzero(np.diff(time) > max_gap) + 1])
    found = {}
    for begin, end in zip(begins, [*begins[1:], len(time)], strict=True):
        for k in range(int((time[end - 1] - time[begin]) * rate) + 1):
            at = time[begin] + k / rate
            sample = []
            for channel in values.T:
                present = [i for i in range(begin, end) if np.isfinite(channel[i])]
                before = [i for i in present if time[i] <= at]
                after = [i for i in present if time[i] >= at]
                if not before or not after:
                    break
                i, j = before[-1], after[0]
                if i != j and (time[j] - time[i] > max_gap if missing == "interpolate" else j - i > 1):
                    break
                if method == "linear":
                    share = 0 if i == j else (at - time[i]) / (time[j] - time[i])
                    sample.append(channel[i] + share * (channel[j] - channel[i]))
                else:
                    sample.append(channel[i] if at - time[i] <= time[j] - at else channel[j])
            found[begin, k] = sample if len(sample) == 2 else None
    expected = [sample for sample in found.values() if sample]
    np.testing.assert_allclose(even.values, expected, atol=1e-5)
    keys = [key for key, sample in found.items() if sample]
    stretches = [i for i, (b, k) in enumerate(keys) if i == 0 or keys[i - 1] != (b, k - 1)]
    assert even.starts.tolist() == stretches


@given(rows())
def test_rows_as_they_are(data):
    time, values = data
    even = resample(time, values, rate=1.0, max_gap=0.5, missing="split", keep_rows=True)
    complete = np.isfinite(values).all(axis=1)
    assert np.array_equal(even.rows, np.flatnonzero(complete))
    assert np.array_equal(even.values, values[complete])


def test_values_on_the_grid_stay_as_they_are():
    time = 1_700_000_000.123 + np.arange(1000) / 50
    values = np.random.default_rng(0).normal(size=(1000, 1)).astype(np.float32)
    even = resample(time - time[0], values, rate=50.0, max_gap=1.0)
    assert even.values.shape == (1000, 1)
    np.testing.assert_allclose(even.values, values, atol=1e-3)


def test_rows_without_any_value_give_nothing():
    even = resample(np.arange(5.0), np.full((5, 1), NAN, np.float32), rate=1.0, max_gap=2.0)
    assert len(even.rows) == len(even.starts) == 0
