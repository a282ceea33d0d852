"""Makes the tables of segments.json: detection of segments, and the kinds of time of each class."""

from collections.abc import Mapping
from typing import Any

from dcdp_jax.evaluate.segments import KINDS, TRUE_KINDS, total_seconds
from dcdp_jax.report.page import number, percent
from dcdp_jax.report.tables import Table


def segment_tables(grades: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the tables `detection` and `time` of `grade_segments`, and `onset`, a sentence."""
    overlaps = list(grades["map"])
    rows = [["mean over the classes", *(percent(grades["map"][overlap]) for overlap in overlaps)]]
    seconds = {**grades["seconds"], "all": total_seconds(grades)}
    counts = {**grades["segments"], "all": None}
    times = []
    for name, kinds in seconds.items():
        true = sum(kinds[kind] for kind in TRUE_KINDS)
        count = counts[name]
        segments = f"{count['true']} / {count['predicted']}" if count else ""
        shares = [percent(kinds[kind] / true) if true else "" for kind in KINDS]
        times.append([name, segments, number(true, "{:.1f}"), *shares])
    onset = grades["onset"]
    sentence = f"{onset['found']} of {onset['segments']} true segments are overlapped by a predicted one of their class"
    if onset["median"] is not None:
        sentence += (
            f"; it begins {onset['median']:.2f} s after them in the median and {onset['mean']:.2f} s in the mean"
        )
    return {
        "detection": Table(["Average precision, %", *(f"overlap {overlap}" for overlap in overlaps)], rows),
        "time": Table(["% of the true time", "Segments true / predicted", "True, s", *KINDS], times),
        "onset": sentence + ".",
    }
