"""Grades of segments: an example by hand, and an implementation on a grid of samples that shares no code."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcdp_jax.evaluate.segments import (
    KINDS,
    OVERLAPS,
    Segment,
    Stretch,
    average_precision,
    divide,
    grade_segments,
    onset_delays,
    segment_lines,
    time_errors,
    total_seconds,
)

WALK, SIT = 0, 1


def by_hand():
    """Walk for 10 s, sit for 10 s, walk for 10 s; the answers have a break, begin late, and one is of nothing."""
    true = [Segment(0, 10, WALK), Segment(10, 20, SIT), Segment(20, 30, WALK)]
    predicted = [
        Segment(1, 4, WALK, 0.9),  # 1 s late, then a break of 2 s
        Segment(4, 6, SIT, 0.4),  # overlaps no sitting
        Segment(6, 12, WALK, 0.8),  # 2 s too long
        Segment(12, 20, SIT, 0.7),  # 2 s late
    ]
    return [Stretch(true, predicted)]


def test_the_example_by_hand():
    grades = grade_segments(by_hand(), ["walk", "sit"])
    nothing = dict.fromkeys(KINDS, 0.0)
    walk = {"hit": 7, "missed": 10, "fragmented": 2, "underfilled": 1, "overfilled": 2}
    sit = {"hit": 8, "underfilled": 2, "inserted": 2}
    assert grades["seconds"] == {"walk": nothing | walk, "sit": nothing | sit}
    assert grades["segments"] == {"walk": {"true": 2, "predicted": 2}, "sit": {"true": 1, "predicted": 2}}
    assert grades["onset"] == {"segments": 3, "found": 2, "mean": 1.5, "median": 1.5}
    # Walk, most confident first: 3 of 10 s, which is 0.3, and once that is found the other finds nothing. The second
    # has 4 of 12 s, a third. Sit: 8 of 10 s.
    walking = {"0.3": 0.5, "0.4": 0.0, "0.5": 0.0, "0.6": 0.0, "0.7": 0.0}
    assert grades["map"] == pytest.approx({overlap: (value + 1) / 2 for overlap, value in walking.items()})
    assert total_seconds(grades)["hit"] == 15
    assert segment_lines(grades)[1:] == [
        "of the labelled time: hit 50.0 %, missed 33.3 %, fragmented 6.7 %, underfilled 10.0 %, inserted 6.7 %, "
        "merged 0.0 %, overfilled 6.7 %",
        "2 of 3 true segments found, median delay of the onset 1.50 s",
    ]


def test_merged_time():
    stretch = Stretch([Segment(0, 4, WALK), Segment(4, 6, SIT), Segment(6, 9, WALK)], [Segment(1, 8, WALK)])
    assert time_errors([stretch], WALK) == dict.fromkeys(KINDS, 0) | {"hit": 5, "merged": 2, "underfilled": 2}
    assert onset_delays([stretch])["mean"] == pytest.approx((1 - 5) / 2)


def test_time_without_a_label_is_not_judged():
    true = [Segment(0, 5, WALK), Segment(5, 8, SIT), Segment(20, 25, WALK)]
    one, other = divide(true, [Segment(0, 5, WALK), Segment(5, 22, SIT), Segment(22, 30, WALK)])
    assert (list(one.true), list(other.true)) == (true[:2], true[2:])
    assert [s[:3] for s in one.predicted] == [(0, 5, WALK), (5, 8, SIT)]
    assert [s[:3] for s in other.predicted] == [(20, 22, SIT), (22, 25, WALK)]


def test_perfect_and_empty_predictions():
    true = [Segment(0, 4, WALK), Segment(4, 6, SIT)]
    perfect = grade_segments([Stretch(true, true)], ["walk", "sit"])
    assert set(perfect["map"].values()) == {1.0}
    assert total_seconds(perfect) == dict.fromkeys(KINDS, 0) | {"hit": 6}
    nothing = grade_segments([Stretch(true, [])], ["walk", "sit"])
    assert set(nothing["map"].values()) == {0.0}
    assert total_seconds(nothing) == dict.fromkeys(KINDS, 0) | {"missed": 6}
    assert (nothing["onset"]["found"], nothing["onset"]["median"]) == (0, None)
    assert segment_lines(nothing)[2] == "0 of 2 true segments found"


def runs_of(flags):
    """(first, last + 1) of every run of True."""
    padded = np.concatenate([[0], np.asarray(flags, int), [0]])
    return list(zip(np.flatnonzero(np.diff(padded) == 1), np.flatnonzero(np.diff(padded) == -1), strict=True))


def segments_of(labels, confidences):
    """Segments of a sequence of labels, one a second."""
    found = []
    for label in sorted(set(labels)):
        for a, b in runs_of(np.equal(labels, label)):
            found.append(Segment(float(a), float(b), label, confidences[a], 1))
    return sorted(found)


def kinds_of(true, predicted):
    """The kinds of error by whole events: does an event hold a hit, and does the time lie at an end of it?"""
    seconds = dict.fromkeys(KINDS, 0.0)
    seconds["hit"] = float(np.sum(true & predicted))
    for events, other, (none, inner, outer) in (
        (true, predicted, ("missed", "fragmented", "underfilled")),
        (predicted, true, ("inserted", "merged", "overfilled")),
    ):
        for a, b in runs_of(events):
            inside = other[a:b]
            if not inside.any():
                seconds[none] += b - a
                continue
            first, last = np.flatnonzero(inside)[[0, -1]]
            seconds[outer] += first + (b - a - 1 - last)
            seconds[inner] += np.sum(~inside[first:last])
    return seconds


def precision_area(true, predicted, overlap):
    """Average precision by a loop over recall, on sets of seconds."""
    ranked = sorted(((s.confidence, i, s) for i, part in enumerate(predicted) for s in part), key=lambda r: -r[0])
    free = {(i, j) for i, part in enumerate(true) for j in range(len(part))}
    total, outcomes = len(free), []

    def seconds(s):
        return set(range(int(s.start), int(s.end)))

    for _, i, s in ranked:
        best, chosen = 0.0, None
        for j, t in enumerate(true[i]):
            share = len(seconds(s) & seconds(t)) / len(seconds(s) | seconds(t))
            if (i, j) in free and share > best:
                best, chosen = share, (i, j)
        outcomes.append(best >= overlap)
        if outcomes[-1]:
            free.discard(chosen)
    area = 0.0
    for recalled in range(1, total + 1):
        reached = [sum(outcomes[: n + 1]) / (n + 1) for n in range(len(outcomes)) if sum(outcomes[: n + 1]) >= recalled]
        area += max(reached, default=0.0) / total
    return area


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_it_is_what_an_independent_implementation_gives(data):
    stretches, samples = [], []
    for _ in range(data.draw(st.integers(1, 3))):
        length = data.draw(st.integers(1, 25))
        true, predicted = (
            data.draw(st.lists(st.sampled_from(labels), min_size=length, max_size=length))
            for labels in ([0, 1], [0, 0, 1, -2])
        )
        confidences = [data.draw(st.integers(0, 10**6)) + i / 100 for i in range(length)]
        stretches.append(Stretch(segments_of(true, confidences), segments_of(predicted, confidences)))
        samples.append((np.array(true), np.array(predicted)))
    for label in (0, 1):
        expected = dict.fromkeys(KINDS, 0.0)
        for true, predicted in samples:
            for kind, value in kinds_of(true == label, predicted == label).items():
                expected[kind] += value
        assert time_errors(stretches, label) == pytest.approx(expected)
        parts = [[[s for s in part if s.label == label] for part in both] for both in zip(*stretches, strict=True)]
        for overlap in OVERLAPS if any(parts[0]) else ():
            found = average_precision(stretches, label, overlap)
            assert found == pytest.approx(precision_area(*parts, overlap))
