import re

import numpy as np
import pytest
from PIL import Image

from dcdp_jax.evaluate.segments import true_segments
from dcdp_jax.serve.events import merge_events
from dcdp_jax.serve.inputs import prepare
from dcdp_jax.serve.predict import predict_recording
from dcdp_jax.serve.timeline import (
    CLASS_COLOURS,
    LINES,
    MOST_NAMED,
    clock,
    draw_timeline,
    save_timeline,
    text_colour,
)
from tests.serve.making import make_model, make_recording


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A timeline with labels and a gap: its figure, its path and what is in it."""
    model = make_model()
    recording = make_recording(model.card, 600, starts=(0, 333))
    recording.labels[100:400] = 1
    item = prepare("here", recording, model.card)
    events = predict_recording(model, item.recording)
    segments = merge_events(events)
    path = tmp_path_factory.mktemp("timeline") / "timeline"
    figure = draw_timeline(model.card, item.recording, item.time, events, segments, "a & b, $x^$y$")
    save_timeline(figure, path)
    return figure, path, model.card, segments, item


def test_there_are_two_whole_pictures_and_nothing_else(drawn):
    _, path, *_ = drawn
    assert sorted(p.name for p in path.parent.iterdir()) == ["timeline.png", "timeline.svg"]
    with Image.open(path.with_suffix(".png")) as picture:
        assert picture.size[0] > 1000
    assert path.with_suffix(".svg").stat().st_size < 1_000_000


def test_the_picture_names_what_is_in_it(drawn):
    _, path, card, segments, _ = drawn
    words = set(re.findall(r">([^<>\n]+)</text>", path.with_suffix(".svg").read_text()))
    assert {card.class_names[s.label] for s in segments} | {"walk", "predicted", "labelled", "acc_x", "gyro_z"} <= words
    assert {"acc [g]", "gyro [rad/s]", "a &amp; b, $x^$y$"} <= words


def test_a_class_has_one_colour(drawn):
    figure, _, _, segments, _ = drawn
    predicted, labelled = figure.axes[-2:]
    assert len(predicted.patches) == len(segments)
    for patch, segment in zip(predicted.patches, segments, strict=True):
        assert patch.get_facecolor()[:3] == pytest.approx(rgb(CLASS_COLOURS[segment.label]))
        assert (patch.get_x(), patch.get_width()) == pytest.approx((segment.start, segment.end - segment.start))
    assert {tuple(patch.get_facecolor()[:3]) for patch in labelled.patches} == {rgb(CLASS_COLOURS[1])}
    legend = dict(
        zip((t.get_text() for t in figure.legends[0].get_texts()), figure.legends[0].get_patches(), strict=True)
    )
    assert legend["walk"].get_facecolor()[:3] == pytest.approx(rgb(CLASS_COLOURS[1]))


def test_lines_are_broken_at_gaps(drawn):
    line = drawn[0].axes[0].lines[0]
    assert np.flatnonzero(np.isnan(line.get_ydata())).tolist() == [333]


def test_labels_are_cut_at_changes_and_gaps(drawn):
    item = drawn[-1]
    found = [
        (s.start, s.end, s.label) for s in true_segments(item.recording.labels, item.time, item.recording.starts, 25.0)
    ]
    assert np.allclose(found, [(100 / 25, 333 / 25, 1), (333 / 25, 400 / 25, 1)])


def test_without_labels_there_is_no_row_for_them(tmp_path):
    model = make_model()
    item = prepare("here", make_recording(model.card, 100), model.card)
    events = predict_recording(model, item.recording)
    figure = draw_timeline(model.card, item.recording, item.time, events, merge_events(events), "")
    assert [ax.get_ylabel() for ax in figure.axes] == ["acc [g]", "gyro [rad/s]", "confidence", "predicted"]


def rgb(colour):
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))


def test_colours_differ_and_can_be_written_on():
    assert len(set(CLASS_COLOURS)) == 20
    assert len(set(LINES)) == MOST_NAMED == 6
    assert (text_colour("#000000"), text_colour("#ffffff")) == ("#ffffff", "#000000")


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (75.0, "1:15"), (59.7, "1:00"), (-5, "-0:05")])
def test_clock(seconds, text):
    assert clock(seconds) == text
