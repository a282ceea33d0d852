"""Calibration, subjects, worst windows and robustness in the report of a made-up run."""

import json
import re

import numpy as np
import pytest

from dcdp_jax.calibration import CALIBRATION_BINS, calibration
from dcdp_jax.errors import UserError
from dcdp_jax.report.charts import by_subject
from dcdp_jax.report.html import write_report
from dcdp_jax.runs.reading import Predictions, read_predictions, read_result
from tests.report.making import write_everything, write_predictions
from tests.report.test_report import HOSTILE, SVG_ELEMENT, Page, make_workdir

NAMES = ["lying", "sitting", "standing", "walking"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A workdir with every file, the rows of its predictions and its page."""
    workdir = make_workdir(tmp_path_factory.mktemp("run") / "run", NAMES)
    rows = write_everything(workdir)
    page = write_report(workdir).read_text(encoding="utf-8")
    return workdir, rows, page, Page(page)


def test_calibration_is_that_of_a_loop_over_the_windows():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.2, 1, 500).astype(np.float32)
    confidence[:3] = 0, 0.5, 1
    right = rng.random(500) < confidence
    bins = calibration(right, confidence)
    assert len(bins.windows) == CALIBRATION_BINS == 15
    error = 0.0
    for i in range(CALIBRATION_BINS):
        inside = [j for j in range(500) if min(int(confidence[j] * np.float32(15)), 14) == i]
        assert bins.windows[i] == len(inside)
        if inside:
            assert bins.accuracy[i] == pytest.approx(np.mean(right[inside]))
            assert bins.confidence[i] == pytest.approx(np.mean(confidence[inside]))
            error += len(inside) / 500 * abs(np.mean(right[inside]) - np.mean(confidence[inside], dtype=float))
    assert bins.error() == pytest.approx(error, abs=1e-6)


def test_subjects_stand_in_order_of_their_accuracy():
    right = np.array([True, False, True, True, False, False])
    found = by_subject(Predictions(["a", "a", "b", "b", "b", "c"], right, np.ones(6, np.float32)))
    assert found == [("c", 0.0, 1), ("a", 0.5, 2), ("b", pytest.approx(2 / 3), 3)]


def test_calibration_and_subjects_are_shown(finished):
    workdir, rows, _, page = finished
    found = read_predictions(workdir, read_result(workdir))
    bins = calibration(found.right, found.confidence)
    assert page.has(f"Expected calibration error {100 * bins.error():.2f} %")
    for windows, accuracy in zip(bins.windows, bins.accuracy, strict=True):
        if windows:
            assert f"{windows:,.0f}" in page.texts
            assert f"{100 * accuracy:.2f}" in page.texts
    assert {name for name, _, _ in by_subject(found)} == {row[2] for row in rows} <= set(page.texts)


def test_worst_windows_are_drawn_with_both_classes_and_confidence(finished):
    _, _, text, page = finished
    assert page.texts.count("lying, taken for sitting") >= 6
    assert page.has("Confidence 99.90 %. Subject 106, recording run0, from sample 0.")
    assert len(SVG_ELEMENT.findall(text)) == 9 + 2 + 6 + 1  # curves; calibration, subjects; windows; noise


def test_robustness_is_shown_with_its_differences(finished):
    _, _, _, page = finished
    assert page.has("nothing was chosen by it")
    assert "branch res (1 channel)" in page.texts
    assert "40.00 (\N{MINUS SIGN}50.00)" in page.texts  # fused
    assert "70.00 (\N{MINUS SIGN}20.00)" in page.texts  # fallback
    assert "site hip (1 channel)" in page.texts
    assert "30.00 (\N{MINUS SIGN}60.00)" in page.texts  # noise 2
    assert "+43.21" in page.texts  # Shapley value of res


def test_what_is_not_there_is_said_with_what_makes_it(finished, tmp_path):
    workdir = make_workdir(tmp_path, NAMES)
    page = Page(write_report(workdir).read_text(encoding="utf-8"))
    assert page.texts.count("--mode=evaluate") == 2
    assert page.has("This run has no predictions.csv")
    assert page.has("Not measured yet")


def test_names_of_subjects_and_classes_cannot_break_the_page(tmp_path):
    workdir = make_workdir(tmp_path, [HOSTILE, "b"])
    write_everything(workdir)
    write_predictions(workdir, np.random.default_rng(0), (HOSTILE, "2"))
    for name, part, keys in (
        ("worst_windows.json", "channels", ("name", "group", "unit")),
        ("worst_windows.json", "windows", ("recording", "subject", "predicted")),
        ("robustness.json", "absent", ("kind", "name")),
    ):
        content = json.loads((workdir / name).read_text())
        content[part][0] |= dict.fromkeys(keys, HOSTILE)
        (workdir / name).write_text(json.dumps(content))
    page = write_report(workdir).read_text(encoding="utf-8")
    assert "<script" not in page
    Page(page)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("predictions.csv", "recording,start", "start,recording", "the columns are"),
        ("predictions.csv", ",lying,lying,", ",lying,flying,", "row 2.*flying"),
        ("predictions.csv", ",lying,lying,0.", ",lying,lying,high0.", "row 2: not a window"),
        ("predictions.csv", "run1,64,", "run1,64,106,lying,lying,0.5\nrun1,64,", "holds"),
        ("worst_windows.json", '"rate"', '"speed"', "missing required field `rate`"),
        ("worst_windows.json", '"values": [[', '"values": [[1.0, ', "not one value for each of 4 channels"),
        ("worst_windows.json", "{", "{[", "JSON is malformed"),
        ("robustness.json", '"clean"', '"dirty"', "missing required field `clean`"),
        (
            "robustness.json",
            '"accuracy": 0.9',
            '"accuracy": "0.9"',
            "got `str` - at `clean.accuracy`",
        ),
        ("robustness.json", '"accuracy": 0.9', '"accuracy": 4.01', "Expected `float` <= 1.001 - at `clean.accuracy`"),
    ],
)
def test_a_damaged_file_is_named(name, old, new, message, finished, tmp_path):
    for path in finished[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    text = (tmp_path / name).read_text()
    assert old in text
    (tmp_path / name).write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=rf"{re.escape(str(tmp_path / name))}.*{message}") as error:
        write_report(tmp_path)
    assert "\n" not in str(error.value)


def test_a_run_without_errors_says_so(finished, tmp_path):
    for path in finished[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    content = json.loads((tmp_path / "worst_windows.json").read_text())
    (tmp_path / "worst_windows.json").write_text(json.dumps(content | {"windows": []}))
    assert "No test window is wrong." in Page(write_report(tmp_path).read_text(encoding="utf-8")).texts
