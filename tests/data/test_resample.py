"""Rows with irregular times and missing values become evenly spaced samples, or are left out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcdp_jax.data.resample import METHODS, MISSING, REPEATED, EvenClock, Repeats, resample, settle
from dcdp_jax.errors import DataError

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


def in_chunks(time, values, cuts, how, rate, max_gap, **options):
    """Pushes rows in portions through both; returns the pieces."""
    repeats, clock, pieces = Repeats(how, max_gap), EvenClock(rate, max_gap, **options), []
    for t, x in zip(np.split(time, cuts), np.split(values, cuts), strict=True):
        pieces += clock.push(repeats.push(t, x))
    if (held := repeats.finish()) is not None:
        pieces += clock.push(held)
    return pieces + clock.finish()


@pytest.mark.parametrize("missing", MISSING[:2])
@pytest.mark.parametrize("method", METHODS)
@given(
    seed=st.integers(0, 10**6),
    rate=st.sampled_from([7.0, 20.0, 50.0]),
    cuts=st.one_of(st.just(list(range(1, 80))), st.lists(st.integers(0, 80), max_size=10).map(sorted)),
    how=st.sampled_from(REPEATED[1:]),
    holes=st.sampled_from([0.0, 0.1, 0.6]),
    rounding=st.sampled_from([0, 1, 2, 9]),
    keep_rows=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_any_portions_give_the_same_to_the_bit(missing, method, seed, rate, cuts, how, holes, rounding, keep_rows):
    """Rows one by one, in portions and all at once, with holes, gaps, repeated stamps and stamps off by rounding."""
    rng = np.random.default_rng(seed)
    regular = np.full(80, 1 / rate) + rng.uniform(-2e-7, 2e-7, 80)
    steps = regular if rng.random() < 0.5 else rng.uniform(0, 0.09, 80)
    time = np.round(np.cumsum(np.where(rng.random(80) < 0.05, 3.0, steps)), rounding)
    time -= time[0]
    values = rng.normal(0, 1, (80, 3)).astype(np.float32)
    values[rng.random((80, 3)) < holes] = NAN
    values[rng.random(80) < holes / 4] = NAN
    if how == "spread" and time[-1] == 0:
        return
    options = {"method": method, "missing": missing, "keep_rows": keep_rows}
    rows, repeated = settle(time, values, how, 1.0)
    assert repeated == np.count_nonzero(np.diff(time) == 0)
    whole = resample(rows.time, rows.values, rate=rate, max_gap=1.0, partial=True, **options)
    pieces = in_chunks(time, values, cuts, how, rate, 1.0, **options)
    assert np.concatenate([p.time for p in pieces]).tobytes() == whole.time.tobytes()
    np.testing.assert_array_equal(np.concatenate([p.values for p in pieces]), whole.values)
    np.testing.assert_array_equal(np.concatenate([p.rows for p in pieces]), rows.rows[whole.rows])
    lengths = np.cumsum([0] + [len(p.time) for p in pieces[:-1]])
    assert [a for a, p in zip(lengths, pieces, strict=True) if len(p.starts)] == whole.starts.tolist()
    complete = resample(rows.time, rows.values, rate=rate, max_gap=1.0, **options)
    np.testing.assert_array_equal(complete.values, whole.values[np.isfinite(whole.values).all(axis=1)])


def test_a_sample_comes_out_as_soon_as_it_is_certain():
    repeats, clock = Repeats("drop", 1.0), EvenClock(10.0, 1.0)
    came = []
    for i in range(5):
        x = np.array([[float(i), NAN if i in (1, 2) else i]], np.float32)
        came.append([p.values.tolist() for p in clock.push(repeats.push(np.array([i / 10]), x))])
    assert came[:3] == [[[[0, 0]]], [], []]
    np.testing.assert_allclose(came[3], [[[1, 1], [2, 2], [3, 3]]], atol=1e-6)
    assert came[4] == [[[4, 4]]]


def test_a_hole_longer_than_a_gap_ends_the_waiting():
    clock, repeats, values = EvenClock(1.0, 2.0), Repeats("drop", 2.0), []
    for i in range(6):
        row = np.array([[1.0, 5.0 if i == 0 else NAN]], np.float32)
        values.append(sum(len(p.time) for p in clock.push(repeats.push(np.array([float(i)]), row))))
    assert values == [1, 0, 0, 3, 1, 1]


def test_a_last_stamp_that_is_rounded_down_loses_no_sample():
    time = (1767620467.35 + np.arange(51) / 50) - 1767620467.35
    assert len(resample(time, np.zeros((51, 1), np.float32), rate=50.0, max_gap=1.0).time) == 51


def test_what_becomes_of_repeated_stamps():
    time, values = np.repeat([0.0, 1.0, 2.0], 4), np.arange(12.0, dtype=np.float32)[:, None]
    spread, repeated = settle(time, values, "spread", 0.5)
    assert repeated == 9
    np.testing.assert_allclose(spread.time, np.arange(12) / 4)
    assert spread.rows.tolist() == list(range(12))
    mean, _ = settle(time, values, "mean", 2.0)
    assert (mean.time.tolist(), mean.values[:, 0].tolist(), mean.rows.tolist()) == (
        [0, 1, 2],
        [1.5, 5.5, 9.5],
        [0, 4, 8],
    )
    apart = np.float32([[1, NAN, NAN], [NAN, 2, NAN], [3, NAN, NAN]])  # two sensors, a row each
    mean, _ = settle(np.zeros(3), apart, "mean", 2.0)
    np.testing.assert_array_equal(mean.values, [[2, 2, NAN]])
    drop, _ = settle(time, values, "drop", 2.0)
    assert (drop.time.tolist(), drop.values[:, 0].tolist()) == ([0, 1, 2], [0, 4, 8])
    late, _ = settle(np.repeat([0.0, 1.0, 30.0], 4), values, "spread", 2.0)
    np.testing.assert_allclose(late.time[4:8], 1 + np.arange(4) / 4)


@pytest.mark.parametrize("cuts", [[], [1, 7, 30, 31, 200, 290], range(1, 300)])
@pytest.mark.parametrize("unit", [1.0, 0.2])
def test_rows_of_a_unit_that_is_cut_at_its_beginning_or_end_keep_their_times(unit, cuts):
    """As where a recording begins within a second, loses its rows within another, and ends within a third."""
    true = np.concatenate([0.46 + np.arange(170) / 50, 10.32 + np.arange(130) / 50])
    stamps, values = np.floor(true / unit + 1e-9) * unit, np.zeros((300, 1), np.float32)
    repeats = Repeats("spread", 1.1 * unit)
    portions = zip(np.split(stamps, cuts), np.split(values, cuts), strict=True)
    found = [repeats.push(*portion).time for portion in portions]
    held = repeats.finish()
    np.testing.assert_allclose(np.concatenate([*found, held.time]), true, atol=1e-9)
    assert len(held.time) == np.count_nonzero(stamps == stamps[-1])


def test_a_first_stamp_long_before_the_others_is_a_stretch_of_its_own():
    time = np.repeat([0.0, 30.0, 31.0, 32.0], [20, 50, 50, 50])
    spread, _ = settle(time, np.zeros((170, 1), np.float32), "spread", 1.0)
    np.testing.assert_allclose(spread.time, [*(np.arange(20) / 20), *(30 + np.arange(150) / 50)])


def test_too_many_repeated_stamps_are_an_error_with_their_share():
    time, values = np.repeat(np.arange(100.0), 50), np.zeros((5000, 1), np.float32)
    with pytest.raises(DataError, match=r"4,900 of 5,000 rows \(98%\) have the time of the row before.*'spread'"):
        settle(time, values, "error", 2.0)
    few = np.sort(np.append(np.arange(1000.0), np.arange(0, 1000, 25.0)))
    rows, repeated = settle(few, np.zeros((len(few), 1), np.float32), "error", 2.0)
    assert (len(rows.time), repeated) == (1000, 40)
    with pytest.raises(DataError, match="all rows have the same time"):
        settle(np.zeros(9), np.zeros((9, 1), np.float32), "spread", 1.0)


@given(repeats=st.lists(st.integers(1, 4), min_size=1, max_size=60), cuts=st.lists(st.integers(0, 60), max_size=5))
@settings(max_examples=100, deadline=None)
def test_the_error_of_repeated_stamps_does_not_depend_on_portions(repeats, cuts):
    time = np.repeat(np.arange(float(len(repeats))), repeats)
    values = np.zeros((len(time), 1), np.float32)

    def fails(parts):
        settled = Repeats("error", 2.0)
        try:
            for t, x in parts:
                settled.push(t, x)
        except DataError:
            return True
        return False

    portions = zip(np.split(time, sorted(cuts)), np.split(values, sorted(cuts)), strict=True)
    assert fails([(time, values)]) == fails(portions) == fails(zip(time[:, None], values[:, None], strict=True))


@pytest.mark.parametrize(("time", "message"), [([1.0, 0.5], "goes back by 0.5 s"), ([NAN, 1.0], "no time")])
def test_times_that_cannot_be(time, message):
    with pytest.raises(DataError, match=message):
        Repeats("drop", 1.0).push(np.array(time), np.zeros((2, 1), np.float32))


def test_a_gap_of_absurd_length_is_named():
    with pytest.raises(DataError, match=r"samples would lie between two rows; are data\.table\.rate=50, time_unit"):
        resample(np.array([0, 0.02, 1e12]), np.zeros((3, 1), np.float32), rate=50.0, max_gap=1e13)
