"""Windows merged to segments."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcdp_jax.serve.events import Event, merge_events
from tests.serve.making import make_card


def event(start, label, stretch=0, end=None):
    p = np.full(4, np.nan) if label < 0 else np.where(np.arange(4) == label, 0.7, 0.1)
    return Event(start, start + 2 if end is None else end, label, p, (), stretch)


def test_overlapping_windows_of_two_classes_meet_in_the_middle():
    segments = merge_events([event(0.0, 1), event(1.0, 1), event(2.0, 3), event(3.0, 3)])
    assert [segment[:3] for segment in segments] == [(0.0, 2.5, 1), (2.5, 5.0, 3)]
    assert [segment.windows for segment in segments] == [2, 2]
    assert segments[0].confidence == pytest.approx(0.7)


def test_a_segment_ends_at_a_gap():
    segments = merge_events([event(0.0, 1), event(1.0, 1), event(3.0, 1, stretch=1)])
    assert [segment[:2] for segment in segments] == [(0.0, 3.0), (3.0, 5.0)]


def test_a_segment_does_not_cover_time_between_windows():
    segments = merge_events([event(0.0, 1), event(4.0, 1)])
    assert [segment[:2] for segment in segments] == [(0.0, 2.0), (4.0, 6.0)]


def test_windows_without_an_answer_are_no_segment():
    segments = merge_events([event(0.0, 1), event(1.0, -1), event(2.0, 1)])
    assert [segment[:2] for segment in segments] == [(0.0, 1.5), (2.5, 4.0)]


def test_no_events():
    assert merge_events([]) == []


@given(
    labels=st.lists(st.integers(0, 2), min_size=1, max_size=20),
    step=st.sampled_from([0.25, 0.5, 1.0, 2.0]),
)
def test_segments_are_disjoint_and_cover_the_stretch(labels, step):
    events = [event(i * step, label) for i, label in enumerate(labels)]
    segments = merge_events(events)
    assert segments[0].start == events[0].start
    assert segments[-1].end == events[-1].end
    for one, other in itertools.pairwise(segments):
        assert one.end == other.start
        assert one.label != other.label
    assert all(segment.start < segment.end for segment in segments)
    assert sum(segment.windows for segment in segments) == len(labels)
    for segment in segments:  # the middle of every window lies in the segment of its class
        inside = [e for e in events if segment.start < (e.start + e.end) / 2 < segment.end]
        assert {e.label for e in inside} == {segment.label}


def test_json():
    card = make_card()
    assert json.loads(json.dumps(event(0.0, 1).as_json(card))) == {
        "start": 0.0,
        "end": 2.0,
        "class": "walk",
        "confidence": 0.7,
        "missing": [],
        "stretch": 0,
        "probabilities": {"stand": 0.1, "walk": 0.7, "run": 0.1, "lie": 0.1},
    }
    silent = event(0.0, -1)._replace(missing=("res", "dense")).as_json(card)
    assert (silent["class"], silent["confidence"], silent["missing"]) == (None, None, ["res", "dense"])
    assert "NaN" not in json.dumps(silent)
