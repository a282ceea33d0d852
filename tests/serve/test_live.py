"""A table line by line gives what the same table as a file gives: same windows, same times, same bits."""

import io
import os
import tarfile
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import default
from dcdp_jax.errors import ConfigError, DataError
from dcdp_jax.serve.inputs import read_input
from dcdp_jax.serve.live import answers, read_blocks
from dcdp_jax.serve.predict import predict_recording, strange_values
from tests.serve.making import make_model, noise

CASES = Path(__file__).parents[3] / "shared" / "cases" / "inputs.tar.xz"
COLUMNS = ["acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"]


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """The inputs as people have them, unpacked."""
    if not CASES.exists():
        pytest.skip(f"{CASES} is not there")
    folder = tmp_path_factory.mktemp("cases")
    with tarfile.open(CASES) as archive:
        archive.extractall(folder, filter="data")
    return folder


def fields_of(**fields):
    data = default.get_config().data
    data.table.update(fields)
    return data


def predicted(model, path, data):
    """The events of a file as plain data."""
    (item,) = read_input(path, model.card, data)
    return [event.as_json(model.card) for event in predict_recording(model, item.recording, item.time)]


def assert_stream_is_predict(model, path, data, sizes=(1,)):
    """Feeds a table in portions of lines, and compares bit by bit."""
    lines = path.read_bytes().splitlines(keepends=True)
    cuts = np.cumsum(np.resize(sizes, len(lines)))
    blocks = [block.tolist() for block in np.split(np.array(lines, object), cuts[cuts < len(lines)])]
    found, expected = list(answers(model, blocks, data.table)), predicted(model, path, data)
    assert found == expected
    return expected


@st.composite
def tables(draw):
    """Text of a table of any layout, with holes, gaps, odd stamps and odd cells, and the fields to read it."""
    seed, rows = draw(st.integers(0, 10**6)), draw(st.integers(1, 150))
    rng = np.random.default_rng(seed)
    rate = draw(st.sampled_from([20.0, 25.0, 40.0]))
    steps = np.full(rows, 1 / rate) if draw(st.booleans()) else rng.uniform(0, 2 / rate, rows)
    seconds = np.cumsum(np.where(rng.random(rows) < draw(st.sampled_from([0, 0.03])), 5.0, steps))
    unit = draw(st.sampled_from(["s", "ms", "us", "ns", "datetime", ""]))
    start = draw(st.sampled_from([0, 1767620467]))
    if unit == "datetime":
        time = [str(pd.Timestamp(start, unit="s") + pd.Timedelta(t, unit="s")) for t in seconds.tolist()]
    elif unit == "s":
        time = [f"{start + t:.{draw(st.integers(1, 6))}f}" for t in seconds]
    else:
        factor = {"ms": 10**3, "us": 10**6, "ns": 10**9, "": 1}[unit]
        time = [str(start * factor + round(t * factor)) for t in seconds.tolist()]
    decimal, delimiter = draw(st.sampled_from([(".", ","), (",", ";"), (".", "\t")]))
    cells = [[f"{v:.4g}" for v in row] for row in noise(rows, 6, seed)]
    odd = ["", "NaN", "NA", "null", "nan", "1e-3", "+2", "3.", ".5", " 4"]
    for row in cells:
        for place in range(6):
            if rng.random() < 0.03:
                row[place] = odd[rng.integers(len(odd))]
    if draw(st.booleans()):  # a sensor that is lost for a while
        a = int(rng.integers(rows))
        for row in cells[a : a + 60]:
            row[3:] = [""] * 3
    header = [*(["time"] if unit else []), *COLUMNS, "note"]
    body = [[*([t] if unit else []), *row, '"a b"'] for t, row in zip(time, cells, strict=True)]
    lines = [delimiter.join(cell.replace(".", decimal) for cell in row) for row in body]
    lines = [line for line in lines for line in ([line, ""] if rng.random() < 0.02 else [line])]
    skipped, units = draw(st.integers(0, 2)), draw(st.integers(0, 1))
    head = ["any, line"] * skipped + [delimiter.join(header)] + ["x"] * units
    end = draw(st.sampled_from(["\n", "\r\n"]))
    text = end.join([*head, *lines]) + draw(st.sampled_from([end, ""]))
    content = draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + text.encode()
    fields = {
        "delimiter": delimiter,
        "decimal": decimal,
        "skip_lines": skipped,
        "units_rows": units,
        "time": "time" if unit else "",
        "time_unit": unit or "s",
        "repeated": draw(st.sampled_from(["drop", "mean", "spread"])),
        "resample": draw(st.sampled_from(["linear", "nearest"])),
        "missing": draw(st.sampled_from(["interpolate", "split"])),
        "missing_values": draw(st.sampled_from([(), (0.001,)])),
        "max_gap": draw(st.sampled_from([0.5, 1.0])),
    }
    return content, fields


@given(table=tables(), sizes=st.sampled_from([(1,), (1,), (7, 1, 30), (1000,)]))
@settings(max_examples=25, deadline=None)
def test_any_table_line_by_line_is_predict_to_the_bit(table, sizes, model, tmp_path_factory):
    content, fields = table
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(content)
    try:
        predicted(model, path, fields_of(**fields))
    except DataError as error:
        assert "any.csv" in str(error)  # noqa: PT017
        return
    assert_stream_is_predict(model, path, fields_of(**fields), sizes)


def test_a_skipped_row_and_stamps_without_the_time_zone_of_others_are_named(model, capsys):
    rows = [f"2026-03-01 10:00:00.{i}{'Z' if i != 3 else ''},1,2,3,4,5,6\n".encode() for i in range(6)]
    table = fields_of(time_unit="datetime", units_rows=1).table
    assert not list(answers(model, [[",".join(["time", *COLUMNS]).encode() + b"\n"], *([row] for row in rows)], table))
    said = capsys.readouterr().err.splitlines()
    skipped = "data.table.units_rows=1 skips a line with a number in every column of numbers: standard input, line 2"
    zone = "left out: standard input, line 5, column 'time': '2026-03-01 10:00:00.3' has no time zone or offset, unlike"
    assert [line.startswith(zone) for line in said] == [False, False, True, False, False]
    assert (said[1], said[3][:20], said[4]) == (skipped, "rows come at 10 Hz, ", "1 lines were left out")


CASE_FIELDS = {
    "epoch_ms/phone.csv": {"time_unit": "ms"},
    "two_clocks/joined.csv": {"time_unit": "ms"},
    "bom_stream/phone25hz.csv": {"time_unit": "ms"},
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASE_FIELDS)
def test_cases_line_by_line_are_predict_to_the_bit(case, cases, model):
    data = fields_of(subject="", label="", **CASE_FIELDS[case])
    sizes = (*[1] * 200, 900)  # most of them in larger portions, for the time that it takes
    assert len(assert_stream_is_predict(model, cases / case, data, sizes)) > 50


@pytest.mark.parametrize(("case", "windows"), [*zip(CASE_FIELDS, (99, 48, 45), strict=True)])
def test_cases_have_the_windows_that_they_should(case, windows, cases, model):
    """Counted for a model of HAPT: 50 Hz, 128 samples, every 64."""
    data = fields_of(subject="", label="", **CASE_FIELDS[case])
    (item,) = read_input(cases / case, msgspec.structs.replace(model.card, rate=50.0), data)
    assert item.recording.starts.tolist() == [0]
    assert (len(item.recording.labels) - 128) // 64 + 1 == windows


def table(path, samples=60, rate=25.0, **columns):
    frame = pd.DataFrame(noise(samples, 6), columns=COLUMNS)
    frame.insert(0, "time", np.arange(samples) / rate)
    frame.assign(**columns).to_csv(path, index=False)
    return path


def test_a_sensor_that_is_lost_is_missing_in_both(model, tmp_path):
    path = table(tmp_path / "a.csv", 200)
    frame = pd.read_csv(path)
    frame.loc[90:150, COLUMNS[3:]] = np.nan
    frame.to_csv(path, index=False)
    events = assert_stream_is_predict(model, path, fields_of())
    missing = [event["missing"] for event in events]
    assert missing[0] == missing[-1] == []
    assert ["dense"] in missing
    assert all(event["class"] for event in events)
    frame[COLUMNS[3:]] = np.nan
    frame.to_csv(path, index=False)
    assert {tuple(e["missing"]) for e in assert_stream_is_predict(model, path, fields_of())} == {("dense",)}
    (item,) = read_input(path, model.card, fields_of())
    assert strange_values(model.card, item.recording) == []


def test_recordings_of_one_table_are_told_apart(model, tmp_path):
    """Also where their rows alternate and their times begin anew."""
    one, other = (pd.read_csv(table(tmp_path / f"{p}.csv", n, subject=p)) for p, n in (("ann", 120), ("bob", 90)))
    mixed = pd.concat([one[:50], pd.concat([one[50:90], other[:40]]).sort_values("time"), other[40:], one[90:]])
    path = tmp_path / "mixed.csv"
    mixed.to_csv(path, index=False)
    data = fields_of(label="")
    expected = {
        item.name: [e.as_json(model.card) for e in predict_recording(model, item.recording, item.time)]
        for item in read_input(path, model.card, data)
    }
    lines = path.read_bytes().splitlines(keepends=True)
    for blocks in ([lines], [[line] for line in lines]):
        found = {"ann-mixed": [], "bob-mixed": []}
        for event in answers(model, blocks, data.table):
            found[f"{event.pop('recording')}-mixed"].append(event)
        assert found == expected


def test_a_bad_line_is_named_counted_and_left_out(model, tmp_path, capsys):
    lines = table(tmp_path / "a.csv").read_bytes().splitlines(keepends=True)
    good = [*lines[:20], *lines[23:]]
    bad = [b"0.8,1,2\n", b"0.8,fast,1,1,1,1,1\n", b"0.8,\xff,1,1,1,1,1\n", b"0.1,1,1,1,1,1,1\n", b"noon,1,1,1,1,1,1\n"]
    expected = list(answers(model, [good], fields_of().table))
    assert capsys.readouterr().err.count("\n") == 1
    for blocks in ([[*good[:20], *bad, *good[20:]]], [[line] for line in [*good[:20], *bad, *good[20:]]]):
        assert list(answers(model, blocks, fields_of().table)) == expected
        said = capsys.readouterr().err.splitlines()
        assert said[0].startswith("ready: ")
        assert [line.partition(": ")[0] for line in said[1:6]] == ["left out"] * 5
        for line, words in zip(
            said[1:6],
            [
                "line 21: 3 fields, expected 7",
                "line 22, column 'acc_x': 'fast' is not a finite number",
                "line 23: byte 0xff is not UTF-8",
                "line 24, column 'time': time goes back by",
                "line 25, column 'time': 'noon' is not a finite number",
            ],
            strict=True,
        ):
            assert words in line
        assert said[6] == "5 lines were left out"


def test_too_many_bad_lines_in_a_row_end_a_stream(model, tmp_path):
    lines = table(tmp_path / "a.csv").read_bytes().splitlines(keepends=True)
    data = fields_of(bad_lines=3)
    apart = [part for line in lines[1:] for part in (line, b"?\n", b"?\n")]
    assert list(answers(model, [[lines[0], *apart]], data.table)) == list(answers(model, [lines], data.table))
    with pytest.raises(DataError, match=r"line 5: 1 fields, expected 7 .* this was bad line number 3 in a row"):
        list(answers(model, [[*lines[:2], b"?\n", b"?\n", b"?\n"]], data.table))


@pytest.mark.parametrize("how", ["error", "spread", "mean", "drop"])
def test_repeated_stamps_are_treated_alike(how, model, tmp_path):
    path = table(tmp_path / "a.csv", 200)
    frame = pd.read_csv(path)
    frame["time"] = np.floor((frame["time"] + 0.08) * 5) / 5  # the first of them has fewer rows
    frame.to_csv(path, index=False)
    data = fields_of(repeated=how)
    if how == "error":
        for function in (predicted, assert_stream_is_predict):
            with pytest.raises(DataError, match=r"have the time of the row before.* set data\.table\.repeated"):
                function(model, path, data)
    else:
        assert assert_stream_is_predict(model, path, data)


@pytest.mark.parametrize("bursts", [False, True])
def test_bursts_are_said_in_both_and_rows_of_two_sensors_almost_at_once_are_none(bursts, model, tmp_path, capsys):
    path = table(tmp_path / "a.csv", 200)
    frame = pd.read_csv(path)
    if bursts:
        frame["time"] = np.arange(200) // 4 * 4 / 25 + np.arange(200) % 4 / 1000
    else:
        later = frame.assign(time=frame["time"] + 2e-5, **dict.fromkeys(COLUMNS[:3], np.nan))
        frame = pd.concat([frame.assign(**dict.fromkeys(COLUMNS[3:], np.nan)), later]).sort_values("time")
    frame.to_csv(path, index=False)
    assert_stream_is_predict(model, path, fields_of())
    (item,) = read_input(path, model.card, fields_of())
    said = capsys.readouterr().err
    assert ("rows come" in said, any("rows come" in note for note in item.notes)) == (bursts, bursts)


def test_another_rate_is_said_in_both(model, tmp_path, capsys):
    path = table(tmp_path / "a.csv", 120, rate=50.0)
    (item,) = read_input(path, model.card, fields_of())
    assert_stream_is_predict(model, path, fields_of())
    assert item.notes == ("rows come at 50 Hz, and the model was trained on 25 Hz: resampled by linear",)
    assert capsys.readouterr().err.splitlines()[1:] == list(item.notes)


def test_rows_without_a_time_are_said_in_both_to_come_at_the_rate_of_the_training(model, tmp_path, capsys):
    path = table(tmp_path / "a.csv", 60, subject=["ann"] * 30 + ["bob"] * 30)
    items = read_input(path, model.card, fields_of(time="", label=""))
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(list(answers(model, [[line] for line in lines], fields_of(time="", label="").table))) == 4
    notes = ("rows are taken to come at 25 Hz, because data.table.time is empty",)
    assert [item.notes for item in items] == [notes, notes]
    assert capsys.readouterr().err.splitlines() == [f"ready: {notes[0]}; an answer every 0.32 s"]


def test_rows_without_a_time_between_which_others_are_for_long_have_a_gap_in_both(model, tmp_path):
    path = table(tmp_path / "a.csv", 120, subject=np.repeat(["ann", "bob", "ann", "bob"], 30))
    data = fields_of(time="", label="")
    assert [item.recording.starts.tolist() for item in read_input(path, model.card, data)] == [[0, 30], [0, 30]]
    lines = path.read_bytes().splitlines(keepends=True)
    windows = list(answers(model, [lines[:50], lines[50:]], data.table))
    assert [window["stretch"] for window in windows if window["recording"] == "ann"] == [0, 0, 1, 1]


@pytest.mark.parametrize("rows", [200, 60])
def test_a_wrong_unit_of_time_is_named_in_both(rows, model, tmp_path):
    path = table(tmp_path / "a.csv", rows)
    for unit, frame_unit in (("ms", 1.0), ("s", 1000.0)):
        frame = pd.read_csv(path)
        frame["time"] *= frame_unit
        frame.to_csv(path, index=False)
        for function in (predicted, assert_stream_is_predict):
            with pytest.raises(DataError, match=rf"is data\.table\.time_unit='{unit}' right"):
                function(model, path, fields_of(time_unit=unit))


def test_a_time_column_that_is_not_there_is_an_error_in_both(model, tmp_path):
    path = table(tmp_path / "a.csv")
    lines = [path.read_bytes().splitlines(keepends=True)]
    for function in (
        lambda: predicted(model, path, fields_of(time="clock")),
        lambda: list(answers(model, lines, fields_of(time="clock").table)),
    ):
        with pytest.raises(DataError, match=r"no column 'clock' with the time \(data\.table\.time\)"):
            function()


def test_columns_of_another_device_stand_for_the_models(model, tmp_path):
    path = table(tmp_path / "a.csv", 100)
    expected = assert_stream_is_predict(model, path, fields_of())
    frame = pd.read_csv(path).rename(columns={"time": "clock", **{c: f"Sensor {c}" for c in COLUMNS}})
    frame["clock"] = (frame["clock"] * 1e9).round().astype(int) + 10**18
    frame.to_csv(path, index=False)
    channels = tuple((f"Sensor {c.name}", c.group, c.site, c.unit) for c in model.card.inputs)
    fields = {"time": "clock", "time_unit": "ns", "channels": channels}
    assert assert_stream_is_predict(model, path, fields_of(**fields)) == expected
    wrong = tuple((*entry[:3], "parsec") for entry in channels)
    with pytest.raises(DataError, match="Sensor acc_x is in parsec, and the model reads it in g"):
        predicted(model, path, fields_of(**{**fields, "channels": wrong}))


def test_a_delimiter_of_two_characters_is_an_error_in_both(model, tmp_path):
    path = table(tmp_path / "a.csv")
    for function in (predicted, assert_stream_is_predict):
        with pytest.raises(ConfigError, match="must be one character between fields"):
            function(model, path, fields_of(delimiter=", "))


def test_lines_are_read_as_they_come():
    source, sink = os.pipe()
    with os.fdopen(source, "rb") as file:
        blocks = read_blocks(file)
        os.write(sink, b"a\nb")
        assert next(blocks) == [b"a\n"]
        os.write(sink, b"c\nd")
        assert next(blocks) == [b"bc\n"]
        os.close(sink)
        assert list(blocks) == [[b"d"]]
    assert list(read_blocks(io.BytesIO(b"a\n\nb"))) == [[b"a\n", b"\n"], [b"b"]]
