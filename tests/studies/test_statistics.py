"""Intervals and tests against SciPy and worked examples."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dcdp_jax.studies.statistics import holm, paired_p, subject_interval, subjects_p, summarize


def test_summary_is_scipys():
    x = np.random.default_rng(0).normal(90, 2, 7)
    found = summarize(x)
    low, high = stats.t.interval(0.95, 6, loc=x.mean(), scale=stats.sem(x))
    np.testing.assert_allclose(found, (7, x.mean(), x.std(ddof=1), low, high), rtol=1e-12)


def test_one_value_has_no_interval():
    assert summarize([91.5])[:2] == (1, 91.5)
    assert np.isnan(summarize([91.5])[2:]).all()


@pytest.mark.parametrize("n", [2, 5, 30])
def test_paired_p_is_scipys(n):
    rng = np.random.default_rng(n)
    a = rng.normal(90, 2, n)
    b = a + rng.normal(0.3, 1, n)
    assert paired_p(a, b) == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-10)


def test_pairs_without_difference_or_deviation():
    assert np.isnan(paired_p([1.0], [2.0]))
    assert paired_p([1.0, 2.0], [1.0, 2.0]) == 1
    assert np.isnan(paired_p([1.0, 2.0], [2.0, 3.0]))  # no variance, no test
    assert np.isnan(paired_p([0.1 + 0.2, 0.7], [0.2, 0.6]))  # equal but for rounding
    assert paired_p([0.1 + 0.2, 0.6], [0.3, 0.6]) == 1


def test_holm_on_a_worked_example():
    # 4 tests: 0.005 * 4, 0.01 * 3, 0.03 * 2, then 0.04 * 1, which may not fall below 0.06.
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1) | st.just(float("nan")), max_size=8))
def test_holm_follows_its_definition(p):
    known = [x for x in p if x == x]
    smaller = {x: sum(y < x for y in known) for x in known}
    for x, corrected in zip(p, holm(p), strict=True):
        if x != x:
            assert np.isnan(corrected)
            continue
        steps = [min(1, (len(known) - smaller[y]) * y) for y in known if y <= x]
        assert corrected == pytest.approx(max(steps))


def test_test_over_subjects_tries_every_flip():
    a = {"1": 0.9, "2": 0.8, "3": 0.95, "4": 0.7, "5": 0.85, "only a": 0.1}
    b = {"5": 0.8, "4": 0.72, "3": 0.9, "2": 0.7, "1": 0.88}
    difference = np.array([0.02, 0.1, 0.05, -0.02, 0.05])
    means = np.array([np.mean(signs * difference) for signs in product([1, -1], repeat=5)])
    wanted = np.mean(np.abs(means) >= difference.mean() - 1e-12)
    assert subjects_p(a, b) == pytest.approx(wanted)


def test_test_over_subjects_without_difference_or_pairs():
    assert subjects_p({"1": 0.5, "2": 0.6}, {"1": 0.5, "2": 0.6}) == 1
    assert np.isnan(subjects_p({"1": 0.5, "2": 0.6}, {"1": 0.4, "3": 0.6}))


def test_interval_over_subjects_is_the_bootstrap_of_their_windows():
    accuracy, windows = {"1": 1.0, "2": 0.5, "3": 0.9}, {"1": 10, "2": 30, "3": 20}
    low, high = subject_interval(accuracy, windows)
    # All draws of three subjects, equally likely.
    draws = []
    for chosen in product("123", repeat=3):
        right = sum(accuracy[s] * windows[s] for s in chosen)
        draws.append(right / sum(windows[s] for s in chosen))
    assert low == pytest.approx(np.quantile(draws, 0.025, method="inverted_cdf"))
    assert high == pytest.approx(np.quantile(draws, 0.975, method="inverted_cdf"))
    assert np.isnan(subject_interval({"1": 0.5}, {"1": 3})).all()


def test_interval_over_equal_subjects_is_a_point():
    accuracy = dict.fromkeys("123", 0.75)
    np.testing.assert_allclose(subject_interval(accuracy, dict.fromkeys("123", 8)), (0.75, 0.75))
