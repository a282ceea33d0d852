"""--mode=predict and --mode=stream as a user runs them, on a run of the smallest network."""

import csv
import json
import select
import signal

import numpy as np
import pytest

from configs import default, demo
from dcdp_jax.data.datasets import synthetic
from dcdp_jax.errors import DataError
from dcdp_jax.evaluate.segments import TRUE_KINDS, Segment, divide, time_errors
from dcdp_jax.serve.inputs import prepare, read_input
from dcdp_jax.serve.live import answers
from dcdp_jax.serve.predict import predict_files, predict_recording
from tests.e2e.running import ARGUMENTS, WAIT_SECONDS, command, start


@pytest.fixture(scope="module")
def recording():
    return synthetic.make_recordings(subjects=5, minutes=1.0)[4]


@pytest.fixture(scope="module")
def table(recording, tmp_path_factory):
    """The recording as a user's table, with a pause of ten seconds in the middle."""
    path = tmp_path_factory.mktemp("tables") / "day one.csv"
    time = np.arange(len(recording.labels)) / 25
    time[700:] += 10
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["time", "label", *(f"{c.name} [{c.unit}]" for c in recording.channels)])
        for t, label, values in zip(time, recording.labels, recording.signals, strict=True):
            rows.writerow([f"{t:.2f}", synthetic.CLASS_NAMES[label], *(f"{v:.9g}" for v in values)])
    return path


@pytest.fixture(scope="module")
def predicted(finished, table):
    """The folder of its predictions, and what was printed."""
    status, output, errors = command(*ARGUMENTS, f"--workdir={finished}", "--mode=predict", f"--input={table}")
    assert status == 0, errors
    return finished / "predictions" / "day one", output


@pytest.fixture(scope="module")
def events(model, recording):
    """What the library says about the recording."""
    starts = np.array([0, 700], np.int64)
    divided = type(recording)(**{**vars(recording), "starts": starts})
    item = prepare("here", divided, model.card)
    return predict_recording(model, item.recording, item.time)


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_predict_leaves_tables_and_pictures(predicted, events, model):
    folder, output = predicted
    assert sorted(p.name for p in folder.iterdir()) == [
        "grades.json",
        *("segments.csv", "timeline.png", "timeline.svg", "windows.csv"),
    ]
    rows = read(folder / "windows.csv")
    names = model.card.class_names
    assert list(rows[0]) == ["start", "end", "class", "confidence", "label", *(f"p_{name}" for name in names)]
    assert f"{len(rows)} windows of 2.56 s" in output
    assert len(rows) == len(events) == (700 - 64) // 32 + 1 + (800 - 64) // 32 + 1
    for row, event in zip(rows, events, strict=True):
        assert row["class"] == names[event.label]
        assert float(row["start"]) == pytest.approx(event.start + 10 * event.stretch, abs=1e-3)
        assert float(row["end"]) - float(row["start"]) == pytest.approx(2.56, abs=2e-3)
        assert float(row["confidence"]) == max(float(row[f"p_{name}"]) for name in names)
        np.testing.assert_allclose([float(row[f"p_{n}"]) for n in names], event.probabilities, atol=1e-5)


def test_labels_of_windows_of_one_class_are_compared(predicted, recording, events):
    folder, output = predicted
    rows = read(folder / "windows.csv")
    expected = []
    for event in events:
        labels = set(recording.labels[round(event.start * 25) :][:64].tolist())
        expected.append(synthetic.CLASS_NAMES[labels.pop()] if len(labels) == 1 else "")
    assert [row["label"] for row in rows] == expected
    known = [row for row in rows if row["label"]]
    right = sum(row["label"] == row["class"] for row in known)
    assert f"{right} of {len(known)} windows of one class are labelled as in the file" in output


def test_segments_are_those_of_the_windows(predicted):
    segments, windows = (read(predicted[0] / f"{name}.csv") for name in ("segments", "windows"))
    assert sum(int(s["windows"]) for s in segments) == len(windows)
    at = 0
    for segment in segments:
        part = windows[at : at + int(segment["windows"])]
        at += len(part)
        assert {w["class"] for w in part} == {segment["class"]}
        assert float(segment["confidence"]) == pytest.approx(np.mean([float(w["confidence"]) for w in part]), abs=2e-6)
        assert float(part[0]["start"]) <= float(segment["start"]) < float(segment["end"]) <= float(part[-1]["end"])
    assert not any(float(s["start"]) < 28 and float(s["end"]) > 28.1 for s in segments), "none across the pause"


def test_segments_are_graded_against_the_labels(predicted, recording):
    folder, output = predicted
    grades = json.loads((folder / "grades.json").read_text())
    time = np.arange(len(recording.labels)) / 25
    time[700:] += 10
    labels = [Segment(*s) for s in segments_by_hand(recording.labels, time)]
    found = [
        Segment(float(row["start"]), float(row["end"]), synthetic.CLASS_NAMES.index(row["class"]))
        for row in read(folder / "segments.csv")
    ]
    for label, name in enumerate(synthetic.CLASS_NAMES):
        expected = time_errors(divide(labels, found), label)
        assert grades["seconds"][name] == pytest.approx(expected, abs=0.05)
    true = sum(grades["seconds"][name][kind] for name in synthetic.CLASS_NAMES for kind in TRUE_KINDS)
    assert true == pytest.approx(len(recording.labels) / 25, abs=0.01)
    assert f"mAP {grades['map']['0.3']:.3f} at 0.3" in output


def segments_by_hand(labels, time):
    """(start, end, label) of every stretch of one label, divided at the pause."""
    first = 0
    for t in range(1, len(labels) + 1):
        if t == len(labels) or labels[t] != labels[first] or time[t] - time[t - 1] > 1:
            yield float(time[first]), float(time[t - 1]) + 1 / 25, int(labels[first])
            first = t


def test_stream_answers_as_samples_come_and_as_predict_does(finished, table, predicted):
    process = start(*ARGUMENTS, f"--workdir={finished}", "--mode=stream", stdin=-1)
    lines = table.read_text().splitlines(keepends=True)
    process.stdin.write("".join(lines[: 1 + 63]))
    process.stdin.flush()
    assert "resampled to 25 Hz by the column 'time'" in process.stderr.readline()
    assert not select.select([process.stdout], [], [], 0.5)[0], "nothing is due yet"
    process.stdin.write(lines[1 + 63])
    process.stdin.flush()
    first = json.loads(process.stdout.readline())  # while standard input is open
    output, errors = process.communicate("".join(lines[1 + 64 :]), timeout=WAIT_SECONDS)
    assert process.returncode == 0, errors
    found = [first, *map(json.loads, output.splitlines())]
    rows = read(predicted[0] / "windows.csv")
    assert [event["class"] for event in found] == [row["class"] for row in rows]
    for event, row in zip(found, rows, strict=True):
        assert [event["start"], event["end"]] == pytest.approx([float(row["start"]), float(row["end"])], abs=1e-3)
        assert event["confidence"] == pytest.approx(float(row["confidence"]), abs=3e-6)


def test_a_stream_is_ended_by_a_keyboard(finished):
    process = start(*ARGUMENTS, f"--workdir={finished}", "--mode=stream", "--config.data.table.time=", stdin=-1)
    process.stdin.write(",".join(c.name for c in synthetic.CHANNELS) + "\n")
    process.stdin.flush()
    assert "taken to come at 25 Hz" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert process.communicate() == ("", "")
    assert process.returncode == 0


def test_missing_sensors_of_a_stream(model, recording):
    names = [c.name for c in recording.channels if c.group == "acc"]
    chosen = recording.signals[:64, [i for i, c in enumerate(recording.channels) if c.group == "acc"]]
    lines = [",".join(names), *(",".join(f"{v:.9g}" for v in row) for row in chosen)]
    table = default.get_config().data.table
    table.time, table.missing = "", "split"

    def answered():
        return list(answers(model, [[f"{line}\n".encode() for line in lines]], table))

    (answer,) = answered()
    assert answer["missing"] == ["dense"]
    lines[5] = lines[5].partition(",")[0] + "," * (len(names) - 1)  # a cell alone: the accelerations are not all there
    (answer,) = answered()
    assert (answer["missing"], answer["class"]) == (["res", "dense"], None)
    lines[5] = "," * (len(names) - 1)
    assert answered() == []
    table.missing = "interpolate"
    (answer,) = answered()
    assert answer["missing"] == ["dense"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "standard input: empty"),
        (["time,label"], "line 1: no column wrist_acc_x"),
        (["label,wrist_acc_x"], "line 1: no column 'time' with the time (data.table.time)"),
        (["HEADER,wrist_acc_x [g]"], "the channel 'wrist_acc_x' stands twice"),
        (["time,wrist_acc_x [m/s^2]"], "wrist_acc_x is in m/s^2, and the model reads it in g"),
    ],
)
def test_first_lines_that_cannot_be_read(lines, message, model):
    header = "time," + ",".join(c.name for c in synthetic.CHANNELS)
    given = [f"{line}\n".encode().replace(b"HEADER", header.encode()) for line in lines]
    with pytest.raises(DataError) as raised:
        list(answers(model, [given], default.get_config().data.table))
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1,2"], "line 2: 2 fields, expected 19 as in the header"),
        (["0" + ",fast" * 18], "line 2, column 'wrist_acc_x': 'fast' is not a finite number"),
        (["0" + ",1e99" * 18], "is not a finite number of single precision"),
        (["0" + ",1e38" * 18], "'1e+38' is larger than 1e+18"),
        (["", "noon" + ",1" * 18], "line 3, column 'time': 'noon' is not a finite number"),
        (["1" + ",1" * 18, "0" + ",1" * 18], "line 3, column 'time': time goes back by 1 s"),
    ],
)
def test_lines_that_cannot_be_read(lines, message, model, capsys):
    header = "time," + ",".join(c.name for c in synthetic.CHANNELS)
    given = [f"{line}\n".encode() for line in (header, *lines)]
    assert list(answers(model, [given], default.get_config().data.table)) == []
    _, left_out, counted = capsys.readouterr().err.splitlines()
    assert message in left_out
    assert counted == "1 lines were left out"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--mode=predict",), "--mode=predict needs --input=FILE"),
        (("--mode=predict", "--input=a/x.csv", "--input=b/x.csv"), "two inputs are named 'x'"),
        (("--mode=adapt", "--input=x.csv", "--input=x.csv"), "--input=x.csv is given twice"),
        (("--mode=adapt", "--input=a/x.csv", "--input=b/x.csv"), "result.json is missing"),
        (("--mode=predict", "--input=x.csv", "--formats=onnx"), "--formats is for --mode=export"),
        (("--mode=stream", "--input=x.csv"), "--input is for --mode=predict and --mode=adapt"),
        (("--mode=stream", "--smoothing=median:3"), "expected mean:N or majority:N"),
        (("--smoothing=mean:3",), "--smoothing is for --mode=predict and --mode=stream"),
        (("--mode=export", "--smoothing=mean:3"), "--mode=export --formats=web; this is --mode=export --formats=jax"),
    ],
)
def test_commands_that_cannot_be(arguments, message, tmp_path):
    status, _, errors = command(*arguments, f"--workdir={tmp_path}")
    assert (status, len(errors.strip().splitlines())) == (2, 1)
    assert message in errors


def test_smoothing_several_files_and_one_that_is_absent(copied, data, table, model, capsys):
    config = demo.get_config()
    config.data = data
    other = copied / "other.csv"
    lines = table.read_text().splitlines(keepends=True)
    other.write_text("".join(lines[:60]))
    earlier = copied / "predictions" / "other" / "grades.json"
    earlier.parent.mkdir(parents=True)
    earlier.touch()
    lost = copied / "lost.csv"  # the last channels are of the branch dense
    lost.write_text("".join([*lines[:1], *(",".join([*line.split(",")[:-3], "", "", "\n"]) for line in lines[1:70])]))
    predict_files(config, copied, [str(table), str(other), str(lost)], ("mean", 3))
    printed = capsys.readouterr().out
    assert "nothing is predicted: the longest part without a gap has 2.4 s, less than a window" in printed
    assert not earlier.exists()
    assert "1 of 1 windows lack a channel of the branch dense" in printed
    rows = read(copied / "predictions" / "day one" / "windows.csv")
    (item,) = read_input(table, model.card, data)
    events = predict_recording(model, item.recording, item.time, ("mean", 3))
    assert [row["class"] for row in rows] == [event.class_name(model.card) for event in events]
    with pytest.raises(DataError, match=r"absent.csv: no such file"):
        predict_files(config, copied, ["absent.csv"], ("", 1))
