"""Where windows lie and what they are called, against definitions written out one window at a time."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcdp_jax.data.recording import UNLABELLED
from dcdp_jax.data.windows import (
    LABEL_RULES,
    cut_at_label_changes,
    index_windows,
    majority_label,
    window_starts,
)
from dcdp_jax.errors import ConfigError


@st.composite
def stretches_of(draw):
    """Ascending, disjoint stretches, some of them touching."""
    bounds, at = [], 0
    for gap, length in draw(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 30)), max_size=8)):
        bounds.append((at + gap, at + gap + length))
        at += gap + length
    return np.array(bounds, np.int64).reshape(-1, 2)


@st.composite
def labelled(draw):
    """Stretches and a label for every sample up to the end of the last."""
    stretches = draw(stretches_of())
    samples = int(stretches[-1, 1]) if len(stretches) else 1
    runs = draw(st.lists(st.tuples(st.integers(UNLABELLED, 2), st.integers(1, 12)), min_size=1, max_size=20))
    labels = np.concatenate([np.full(length, label) for label, length in runs])
    return np.resize(labels, samples).astype(np.int32), stretches


def one_by_one(labels, stretches, window, step, rule):
    """The definition of `index_windows`."""
    if rule == "mode":
        pieces = []
        for a, b in stretches:
            cuts = [a, *(i for i in range(a + 1, b) if labels[i] != labels[i - 1]), b]
            pieces += pairwise(cuts)
    else:
        pieces = stretches
    found = []
    for a, b in pieces:
        for start in range(a, b - window + 1, step):
            inside = labels[start : start + window]
            if rule == "drop_mixed" and len(set(inside)) > 1:
                continue
            if rule == "last":
                label = inside[-1]
            else:
                values, counts = np.unique(inside, return_counts=True)
                label = values[counts.argmax()]
            if label != UNLABELLED:
                found.append((int(start), int(label)))
    return found


@given(stretches_of(), st.integers(1, 12), st.integers(1, 12))
def test_number_of_windows_follows_the_formula(stretches, window, step):
    starts = window_starts(stretches, window, step)
    for a, b in stretches:
        inside = starts[(starts >= a) & (starts < b)]
        assert len(inside) == (max((b - a - window) // step + 1, 0) if b - a >= window else 0)
        assert np.all(inside + window <= b)
        assert np.all((inside - a) % step == 0)
    assert len(starts) == sum(max((b - a - window) // step + 1, 0) for a, b in stretches)


@pytest.mark.parametrize("rule", LABEL_RULES)
@given(data=labelled(), window=st.integers(1, 9), step=st.integers(1, 9))
def test_rules_agree_with_their_definition(rule, data, window, step):
    labels, stretches = data
    found = index_windows(labels, stretches, window, step, rule)
    assert list(zip(found.start.tolist(), found.label.tolist(), strict=True)) == one_by_one(
        labels, stretches, window, step, rule
    )
    assert found.start.dtype == np.int64
    assert found.label.dtype == np.int32


@given(labelled())
def test_cut_stretches_have_one_label_and_cover_the_same_samples(data):
    labels, stretches = data
    pieces = cut_at_label_changes(labels, stretches)
    assert all(len(set(labels[a:b])) == 1 for a, b in pieces)
    covered = [set().union(*(range(a, b) for a, b in some)) for some in (pieces, stretches)]
    assert covered[0] == covered[1]
    assert sum(b - a for a, b in pieces) == len(covered[0])


def test_windows_of_the_opportunity_challenge():
    # The literature counts these from its rows end to end.
    for rows, windows in ((118_750, 9_894), (557_963, 46_495)):
        found = index_windows(np.zeros(rows, np.int32), np.array([[0, rows]]), 24, 12, "last")
        assert len(found.start) == windows


@given(st.lists(st.integers(24, 39_000), min_size=3, max_size=3))
def test_windows_of_the_opportunity_challenge_file_by_file(lengths):
    bounds = np.cumsum([0, *lengths, 118_750 - sum(lengths)])
    stretches = np.stack([bounds[:-1], bounds[1:]], axis=1)
    assert 9_889 <= len(window_starts(stretches, 24, 12)) <= 9_891


def test_majority_of_a_million_samples_is_lean():
    labels = np.repeat(np.arange(20_000) % 18, 50).astype(np.int32)
    starts = np.arange(0, len(labels) - 200, 10)
    tracemalloc.start()
    majority_label(labels, starts, 200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6  # the windows' labels themselves would be 80 MB


@pytest.mark.parametrize(
    ("window", "step", "rule", "message"),
    [
        (0, 1, "mode", "data.window=0"),
        (1, 0, "mode", "data.step=0"),
        (-3, 1, "mode", "data.window=-3"),
        (1, 1, "first", "data.label_rule='first' is not one of mode, last, drop_mixed, majority"),
    ],
)
def test_bad_values_are_named(window, step, rule, message):
    with pytest.raises(ConfigError, match=message):
        index_windows(np.zeros(9, np.int32), np.array([[0, 9]]), window, step, rule)
