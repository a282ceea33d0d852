"""Intervals and tests against SciPy and worked examples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dcdp_jax.studies.statistics import holm, paired_p, summarize


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
    assert paired_p([1.0, 2.0], [2.0, 3.0]) == 0


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
