"""Grades predicted segments of continuous recordings: average precision, errors of time, and delay of the onset.

Recordings are graded in stretches of contiguous labelled time; time without a label is not judged. Times are in
seconds.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dcdp_jax.data.recording import UNLABELLED

OVERLAPS = (0.3, 0.4, 0.5, 0.6, 0.7)
KINDS = ("hit", "missed", "fragmented", "underfilled", "inserted", "merged", "overfilled")
TRUE_KINDS = KINDS[:4]
# Errors of true time and of predicted time, by the number of adjacent hits.
MISSED_BY_HITS = ("missed", "underfilled", "fragmented")
PREDICTED_BY_HITS = ("inserted", "overfilled", "merged")


class Segment(NamedTuple):
    """A time interval of one class."""

    start: float  # seconds
    end: float  # seconds
    label: int  # index of the class; a negative one is no class
    confidence: float = 1.0  # mean over its windows; 1 for a true segment
    windows: int = 0  # how many windows it was merged from; 0 for a true segment


class PredictedWindow(NamedTuple):
    """A window of a recording and its predicted class."""

    start: float  # seconds
    end: float  # seconds
    label: int  # index of the class; -1 for no prediction
    confidence: float  # probability of the class
    stretch: int  # number of the contiguous stretch that it lies in


class Stretch(NamedTuple):
    """The true and the predicted segments of a contiguous labelled time, each in order and disjoint."""

    true: Sequence[Segment]
    predicted: Sequence[Segment]


def merge_windows(windows: Sequence[PredictedWindow]) -> list[Segment]:
    """Merges consecutive windows of one class of a recording, in order, into disjoint segments.

    Where windows of two classes overlap, one segment ends and the next begins in the middle of what they share. No
    segment crosses a gap, time between windows, or a window without a prediction.
    """
    runs: list[list[PredictedWindow]] = []
    for window in windows:
        before = runs[-1][-1] if runs else None
        if before and window.label == before.label and follows(window, before):
            runs[-1].append(window)
        else:
            runs.append([window])
    bounds = [[run[0].start, run[-1].end] for run in runs]
    for i, (one, other) in enumerate(itertools.pairwise(runs)):
        if follows(other[0], one[-1]):
            bounds[i][1] = bounds[i + 1][0] = (one[-1].end + other[0].start) / 2
    return [
        Segment(start, end, run[0].label, float(np.mean([window.confidence for window in run])), len(run))
        for (start, end), run in zip(bounds, runs, strict=True)
        if run[0].label != -1
    ]


def follows(window: PredictedWindow, before: PredictedWindow) -> bool:
    """Returns whether a window begins before the end, or at the end, of another of the same contiguous stretch."""
    return window.stretch == before.stretch and window.start <= before.end + 1e-6


def true_segments(labels: np.ndarray, time: np.ndarray, starts: np.ndarray, rate: float) -> list[Segment]:
    """Returns the stretches of one label among (t,) labels, class indices or `UNLABELLED`.

    The time (t,) is in seconds; the starts (s,) are the first samples of the contiguous stretches.
    """
    bounds = np.append(np.union1d(np.flatnonzero(np.diff(labels)) + 1, starts), len(labels))
    return [
        Segment(float(time[a]), float(time[b - 1]) + 1 / rate, int(labels[a]))
        for a, b in itertools.pairwise(bounds.tolist())
        if labels[a] != UNLABELLED
    ]


def divide(true: Sequence[Segment], predicted: Sequence[Segment]) -> list[Stretch]:
    """Divides a recording into stretches of contiguous labelled time, and cuts the predicted segments at their ends.

    Both kinds of segments are disjoint and in order; time between true ones has no label.
    """
    groups: list[list[Segment]] = []
    for segment in true:
        if groups and segment.start <= groups[-1][-1].end + 1e-6:
            groups[-1].append(segment)
        else:
            groups.append([segment])
    stretches = []
    for group in groups:
        start, end = group[0].start, group[-1].end
        cut = [s._replace(start=max(s.start, start), end=min(s.end, end)) for s in predicted]
        stretches.append(Stretch(group, [s for s in cut if s.start < s.end]))
    return stretches


def grade_segments(stretches: Sequence[Stretch], class_names: Sequence[str]) -> dict[str, Any]:
    """Grades the predicted segments of stretches, see `divide`; returns `dcdp_jax.runs.schemas.SegmentGrades`.

    `map`: {temporal overlap: mean average precision over the classes with a true segment}, see `average_precision`.
    `seconds`: {class: {kind of time in `KINDS`: seconds}}, see `time_errors`. `segments`: numbers by class.
    """
    counts = {
        name: {
            kind: sum(segment.label == label for stretch in stretches for segment in getattr(stretch, kind))
            for kind in Stretch._fields
        }
        for label, name in enumerate(class_names)
    }
    present = [label for label, name in enumerate(class_names) if counts[name]["true"]]
    return {
        "map": {
            f"{overlap:g}": float(np.mean([average_precision(stretches, label, overlap) for label in present]))
            for overlap in OVERLAPS
        },
        "seconds": {name: time_errors(stretches, label) for label, name in enumerate(class_names)},
        "segments": counts,
        "onset": onset_delays(stretches),
    }


def overlap_of(one: Segment, other: Segment) -> float:
    """Returns the intersection over union of two time intervals."""
    shared = min(one.end, other.end) - max(one.start, other.start)
    return shared / (max(one.end, other.end) - min(one.start, other.start)) if shared > 0 else 0.0


def average_precision(stretches: Sequence[Stretch], label: int, overlap: float) -> float:
    """Computes the average precision of one class, as ActivityNet's evaluation (Caba Heilbron et al. 2015) does.

    Predicted segments are taken from the most to the least confident. Each is a hit if the true segment with which its
    temporal intersection over union is largest, among those not yet found, reaches the overlap. The result is the area
    below precision over recall, with precision made non-increasing. The class has at least one true segment.
    """
    found = [(i, s) for i, stretch in enumerate(stretches) for s in stretch.predicted if s.label == label]
    found.sort(key=lambda item: -item[1].confidence)
    left = [[s for s in stretch.true if s.label == label] for stretch in stretches]
    total = sum(map(len, left))
    hits = np.zeros(len(found))
    for place, (i, segment) in enumerate(found):
        overlaps = [overlap_of(segment, true) for true in left[i]]
        if overlaps and max(overlaps) >= overlap:
            hits[place] = 1
            left[i].pop(int(np.argmax(overlaps)))
    if not hits.any():
        return 0.0
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float((best_from_here * hits).sum() / total)


def time_errors(stretches: Sequence[Stretch], label: int) -> dict[str, float]:
    """Divides the time of one class into hits and the errors of Ward et al. 2011.

    Time that has the class but was not predicted is `fragmented` between two hits, `underfilled` beside one, and
    `missed` beside none. Time that was predicted but does not have the class is likewise `merged`, `overfilled` or
    `inserted`. Returns {kind in `KINDS`: seconds}; the `TRUE_KINDS` sum to the time that has the class.
    """
    seconds = dict.fromkeys(KINDS, 0.0)
    for stretch in stretches:
        true, predicted = (merge_touching([s for s in part if s.label == label]) for part in stretch)
        edges = sorted({edge for a, b in (*true, *predicted) for edge in (a, b)})
        pieces = [
            (b - a, *(any(start <= a and b <= end for start, end in part) for part in (true, predicted)))
            for a, b in itertools.pairwise(edges)
        ]
        hit = [False, *(bool(a and b) for _, a, b in pieces), False]
        for i, (length, is_true, is_predicted) in enumerate(pieces):
            beside = int(hit[i]) + int(hit[i + 2])
            if hit[i + 1]:
                seconds["hit"] += length
            elif is_true:
                seconds[MISSED_BY_HITS[beside]] += length
            elif is_predicted:
                seconds[PREDICTED_BY_HITS[beside]] += length
    return seconds


def merge_touching(segments: Sequence[Segment]) -> list[tuple[float, float]]:
    """Returns (start, end) of ordered segments, with those that touch merged to one."""
    merged: list[tuple[float, float]] = []
    for segment in segments:
        if merged and segment.start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], segment.end)
        else:
            merged.append((segment.start, segment.end))
    return merged


def onset_delays(stretches: Sequence[Stretch]) -> dict[str, float | int | None]:
    """Measures the delays from the start of a true segment to the start of its first predicted segment, in seconds.

    That is the first of the same class that overlaps it. Returns `runs.schemas.Onset`. A delay is negative if the
    prediction begins early.
    """
    delays = []
    total = 0
    for stretch in stretches:
        for true in stretch.true:
            total += 1
            starts = [s.start for s in stretch.predicted if s.label == true.label and overlap_of(s, true) > 0]
            delays += [min(starts) - true.start] if starts else []
    return {
        "segments": total,
        "found": len(delays),
        "mean": float(np.mean(delays)) if delays else None,
        "median": float(np.median(delays)) if delays else None,
    }


def total_seconds(grades: Mapping[str, Any]) -> dict[str, float]:
    """Returns {kind of time: seconds}, the sums over all classes of what `grade_segments` returned."""
    return {kind: sum(seconds[kind] for seconds in grades["seconds"].values()) for kind in KINDS}


def segment_lines(grades: Mapping[str, Any]) -> list[str]:
    """Formats grades as lines of text."""
    seconds, onset = total_seconds(grades), grades["onset"]
    true = sum(seconds[kind] for kind in TRUE_KINDS)
    kinds = ", ".join(f"{kind} {100 * seconds[kind] / true:.1f} %" for kind in KINDS)
    delay = "" if onset["median"] is None else f", median delay of the onset {onset['median']:.2f} s"
    return [
        "segments: mAP " + ", ".join(f"{value:.3f} at {overlap}" for overlap, value in grades["map"].items()),
        f"of the labelled time: {kinds}",
        f"{onset['found']} of {onset['segments']} true segments found{delay}",
    ]
