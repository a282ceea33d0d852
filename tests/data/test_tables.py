"""The user's own tables: what they become, and that whatever is wrong with them is named with file, line and column."""

import gzip
import re
import unicodedata

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from configs import default
from dcdp_jax.data.recording import UNLABELLED
from dcdp_jax.data.table_files import Lines
from dcdp_jax.data.tables import read_tables
from dcdp_jax.errors import ConfigError, DataError, UserError

HEADER = "time,label,subject,x,y"
ROWS = ["0.0,sit,ann,1,10", "0.1,sit,ann,2,20", "0.2,walk,ann,3,30", "0.3,walk,ann,4,40"]


def table_config(**fields):
    table = default.get_config().data.table
    table.rate = 10.0
    table.channels = (("x", "acc", "hip", "g"), ("y", "gyro", "hip", "rad/s"))
    for field, value in fields.items():
        table[field] = value
    return table


def write(folder, rows=ROWS, name="a.csv", header=HEADER, encoding="utf-8"):
    (folder / name).write_bytes("\n".join([header, *rows, ""]).encode(encoding))
    return folder


def read(folder, **fields):
    return read_tables(table_config(**fields), str(folder))


def test_one_file(tmp_path):
    recordings = read(write(tmp_path))
    assert recordings.class_names == ("sit", "walk")
    assert recordings.subject_names == {1: "ann"}
    (recording,) = recordings
    np.testing.assert_allclose(recording.signals, [[1, 10], [2, 20], [3, 30], [4, 40]], rtol=1e-6)
    assert recording.labels.tolist() == [0, 0, 1, 1]
    assert (recording.subject, recording.run, recording.rate) == (1, "a", 10.0)
    assert recording.channels[0] == ("x", "acc", "hip", "g")
    assert recordings.notes == (
        "1 recordings: 4 rows at 10 Hz, resampled by linear to 10 Hz: 4 samples",
        "1 subjects by the column 'subject', with how many recordings: ann (1)",
    )


def test_a_unit_that_the_name_of_the_column_contradicts(tmp_path):
    write(tmp_path, header="time,label,subject,x (m/s²),y [left]")
    named = (("x (m/s²)", "acc", "hip", "m/s2"), ("y [left]", "gyro", "hip", "rad/s"))
    assert len(read(tmp_path, channels=named)) == 1
    with pytest.raises(ConfigError, match=r"data\.table\.channels: the column 'x \(m/s²\)' is said to be in g"):
        read(tmp_path, channels=(("x (m/s²)", "acc", "hip", "g"), named[1]))


def test_numbers_that_may_have_thousands_and_classes_that_may_be_missing_are_noted(tmp_path):
    labels = ["null", "-1", "<undefined>"]
    rows = [f"{i / 10},{labels[i // 3]},ann,{980 + 5 * i:,};{i}.125".replace(",", ";") for i in range(9)]
    rows = [re.sub(r";(\d);(\d{3});", r";\1.\2;", row) for row in rows]
    assert read(write(tmp_path, rows, header=HEADER.replace(",", ";")), delimiter=";").notes[2:] == (
        f"'x' may have thousands that are read as decimals, as '1.000': {tmp_path / 'a.csv'}",
        "classes named as a missing value (empty cells alone have no label): '-1', '<undefined>', 'null'",
    )


def test_units_that_gravity_contradicts(tmp_path):
    channels = tuple((axis, "acc", "hip", "g") for axis in "xyz")
    for name, size in (("a", 1), ("b", 9.81)):
        rows = [f"{i / 10},sit,{size * 0.1 * np.sin(i)},{size * 0.6},{-size * (0.8 + 0.001 * i)}" for i in range(40)]
        write(tmp_path, rows, f"{name}.csv", "time,label,x,y,z")
    fields = {"channels": channels, "subject": ""}
    with pytest.raises(
        DataError, match=r"a\.csv: the acceleration of acc at hip is as large as gravity in g .* m/s\^2 in 'b'"
    ):
        read(tmp_path, **fields)
    write(tmp_path, [f"{i / 10},sit,{0.1 * np.sin(i)},0,0" for i in range(40)], "d.csv", "time,label,x,y,z")
    with pytest.raises(DataError, match="as large as gravity in g in recording 'a', and without gravity in 'd' of"):
        read(tmp_path, files=("a.csv", "d.csv"), **fields)
    assert not [note for note in read(tmp_path, files=("d.csv",), **fields).notes if "gravity" in note]
    doubt = "the values of acc at hip are as large as in m/s^2, and their unit is g; is that right?"
    assert doubt in read(tmp_path, files=("b.csv",), **fields).notes
    assert doubt not in read(tmp_path, files=("a.csv",), **fields).notes
    write(tmp_path, [f"{i / 10},sit,0,{i},0" for i in range(40)], "c.csv", "time,label,x,y,z")
    write(tmp_path, [f"{i / 10},sit,0,{i % 9},0" for i in range(40)], "e.csv", "time,label,x,y,z")
    notes = read(tmp_path, files=("b.csv", "c.csv"), **fields).notes
    size = (
        "the values of acc at hip have gravity, but of another size than in any unit; is the range of the sensor right?"
    )
    assert f"{size} (1 of 2 recordings: 'e')" in read(tmp_path, files=("a.csv", "e.csv"), **fields).notes
    assert f"{doubt} (1 of 2 recordings: 'b')" in notes
    assert not any("stands for no value" in note for note in notes)


def test_accelerations_that_are_0_as_where_a_device_sends_nothing_are_noted(tmp_path):
    write(
        tmp_path,
        [f"{i / 10},sit,{i % 7},0,1" if i < 20 else f"{i / 10},sit,0,0,0" for i in range(40)],
        header="time,label,x,y,z",
    )
    channels = tuple((axis, "acc", "hip", "g") for axis in "xyz")
    note = "acc at hip is 0 on all axes in 20 samples, as where 0 stands for no value"
    assert note in read(tmp_path, channels=channels, subject="").notes


def test_channels_that_are_constant_or_spread_too_far_are_noted(tmp_path):
    for name, size, flat in (("a", 1, 0), ("b", 1, 1), ("c", 21, 1), ("d", 1, 2)):
        rows = [f"{i / 10},sit,{name},{size * (i % 7 + i / 999)},{flat * i}" for i in range(20)]
        write(tmp_path, rows, f"{name}.csv")
    assert read(tmp_path).notes[2:] == (
        "x spreads more than 20 times as far as in most recordings in 1 of 4 recordings: 'c'",
        "y is constant in 1 of 4 recordings: 'a'",
    )
    write(tmp_path, [f"{i / 10},sit,a,{i},{min(i, 20)}" for i in range(40)])
    assert "y is constant over the last fifth in 1 of 4 recordings: 'a'" in read(tmp_path).notes


def test_samples_that_lack_a_channel_are_counted(tmp_path):
    notes = read(write(tmp_path, [f"{i / 10},sit,ann,{i},{i if i < 12 else ''}" for i in range(40)])).notes
    assert notes[2:] == (
        "28 missing values, data.table.missing='interpolate'",
        "28 of 40 samples lack a channel, and are left out: y (28)",
    )


def test_columns_that_no_field_names_and_the_rates_of_the_rows_are_noted(tmp_path):
    for name, step in (("a", 0.1), ("b", 0.2)):  # as of a table with a row for each sensor
        rows = [f"{i * step:.1f},sit,{name},{i},{name},acc" for i in range(9)]
        write(tmp_path, rows, f"{name}.csv", HEADER + ",sensor")
    notes = read(tmp_path, channels=(("x", "acc", "hip", "g"),)).notes
    assert notes[0].startswith("2 recordings: 18 rows at 5 to 10 Hz, resampled by linear to 10 Hz: ")
    assert notes[2:] == ("columns that are not read: 'y', 'sensor'",)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_row_for_each_sensor_is_refused_and_its_wide_form_is_read(tmp_path, suffix):
    rows = [
        f"{i / 10},sit,{p},{s},{m * i + n}"
        for m, p in ((1, "ann"), (2, "bob"))
        for i in range(20)
        for n, s in enumerate("xy")
    ]
    write(tmp_path, rows, header="time,label,subject,axis,value")
    long = pd.read_csv(tmp_path / "a.csv")
    long.to_parquet(tmp_path / "a.parquet")
    channels = (("value", "acc", "hip", "g"),)
    with pytest.raises(DataError, match=rf"a\.{suffix}: the column 'axis' changes .* between x, y, as in a long table"):
        read(tmp_path, channels=channels, files=(f"*.{suffix}",))
    long.assign(axis=long["axis"].map({"x": 1, "y": 4})).to_csv(tmp_path / "a.csv", index=False)
    assert read(tmp_path, channels=channels, repeated="mean").notes[-2:] == (
        "columns that are not read: 'axis'",
        "the column 'axis' changes from row to row between 1, 4; if it names the sensor, bring the table into wide "
        f"form: {tmp_path / 'a.csv'}",
    )
    wide = long.pivot(index=["subject", "label", "time"], columns="axis", values="value")
    wide.reset_index().to_csv(tmp_path / "a.csv", index=False)
    for m, recording in enumerate(read(tmp_path), 1):
        np.testing.assert_allclose(recording.signals, [[m * i, m * i + 1] for i in range(20)], atol=1e-5)


def test_a_flag_and_what_differs_between_people_are_no_sensors(tmp_path):
    rows = [
        f"{i / 10},sit,{p},{i},{n},{i % 2 == 0},{p}s,{i % 3 + 16384}" for i in range(20) for n, p in enumerate("ab")
    ]
    notes = read(write(tmp_path, rows, header=f"{HEADER},step,device,counts")).notes
    assert notes[-1] == "columns that are not read: 'step', 'device', 'counts'"


def test_the_header_of_a_file_is_read_once(tmp_path, monkeypatch):
    heads, read_head = [], Lines.read_head
    monkeypatch.setattr(Lines, "read_head", lambda self, lines: heads.append(self.where) or read_head(self, lines))
    read(write(tmp_path))
    assert heads == [str(tmp_path / "a.csv")]


@pytest.mark.parametrize(
    ("head", "fields", "line"),
    [
        (f"{HEADER}\ns,,,g,rad/s\n", {"units_rows": 2}, 3),
        ("made by X\n", {"header": tuple(HEADER.split(",")), "skip_lines": 2}, 2),
    ],
)
def test_a_row_that_is_skipped_as_another_line_is_named(tmp_path, head, fields, line):
    (tmp_path / "a.csv").write_text(head + "\n".join(ROWS))
    field = "units_rows" if "units_rows" in fields else "skip_lines"
    doubt = (
        f"data.table.{field}=2 skips a line with a number in every column of numbers: {tmp_path / 'a.csv'}, line {line}"
    )
    assert read(tmp_path, **fields).notes[-1] == doubt
    assert doubt not in read(tmp_path, **fields | {field: 1}).notes


def test_several_files_and_one_long_table_are_the_same(tmp_path):
    short, long = tmp_path / "short", tmp_path / "long"
    short.mkdir()
    long.mkdir()
    people = {"ann": 0, "bob": 5, "cyd": 9}
    for person, offset in people.items():
        write(
            short,
            [f"{i / 10},{'sit' if i < 3 else 'walk'},{person},{i + offset},{i}" for i in range(6)],
            f"{person}.csv",
        )
    mixed = [
        f"{i / 10},{'sit' if i < 3 else 'walk'},{person},{i + offset},{i},{person}"
        for i in range(6)
        for person, offset in people.items()
    ]
    write(long, mixed, header=HEADER + ",session")
    files, table = read(short).recordings, read(long, recording="session").recordings
    assert [r.run for r in files] == [r.run for r in table] == ["ann", "bob", "cyd"]
    for a, b in zip(files, table, strict=True):
        assert np.array_equal(a.signals, b.signals)
        assert np.array_equal(a.labels, b.labels)
        assert a.subject == b.subject


def test_rows_without_a_time_between_which_others_are_for_long_have_a_gap(tmp_path):
    people = {"ann": 1, "bob": -1}
    rows = [f"{label},{p},{i},{s * i}" for label in ("sit", "walk") for p, s in people.items() for i in range(20)]
    write(tmp_path, rows, header="label,subject,x,y")
    for recording in read(tmp_path, time="").recordings:
        assert recording.starts.tolist() == [0, 20]
        assert recording.labels.tolist() == [0] * 20 + [1] * 20
    in_turn = [row for pair in zip(rows[:20], rows[20:40], strict=True) for row in pair]
    for recording in read(write(tmp_path, in_turn, header="label,subject,x,y"), time="").recordings:
        assert recording.starts.tolist() == [0]
        assert recording.signals[:, 0].tolist() == list(range(20))


def test_parquet_is_the_same(tmp_path):
    folder = write(tmp_path)
    pd.read_csv(folder / "a.csv").to_parquet(folder / "a.parquet")
    text, parquet = read(folder), read(folder, files=("*.parquet",))
    assert np.array_equal(text.recordings[0].signals, parquet.recordings[0].signals)
    assert np.array_equal(text.recordings[0].labels, parquet.recordings[0].labels)
    assert text.class_names == parquet.class_names


def test_labels_and_subjects_of_whole_numbers(tmp_path):
    rows = ["0,10,7,1,1", "0.1,9,7,1,1", "0.2,,7,1,1"]
    folder = write(tmp_path, rows)
    pd.read_csv(folder / "a.csv").to_parquet(folder / "a.parquet")  # the labels are floats with a NaN there
    for files in (("*.csv",), ("*.parquet",)):
        recordings = read(folder, files=files)
        assert recordings.class_names == ("9", "10")
        assert recordings[0].labels.tolist() == [1, 0, UNLABELLED]
        assert recordings[0].subject == 7
        assert recordings.subject_names == {}


def test_a_label_of_dashes_and_digits_is_no_number(tmp_path):
    folder = write(tmp_path, ["0,--5,7,1,1", "0.1,-5,7,1,1", "0.2,3,7,1,1"])
    assert read(folder).class_names == ("-5", "3", "--5")


def test_file_names_without_columns(tmp_path):
    for name in ("p1.csv", "p2.csv"):
        write(tmp_path, ["1,2", "3,4", "5,6"], name, "x,y")
    recordings = read(tmp_path, time="", label="", subject="")
    assert [r.run for r in recordings] == ["p1", "p2"]
    assert recordings.subject_names == {1: "p1", 2: "p2"}
    assert recordings.class_names == ()
    assert recordings[0].signals.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert "taken to be 10 Hz apart" in recordings.notes[0]


def test_files_of_one_class_each_may_be_of_one_person(tmp_path):
    for size, name in enumerate(("ann_sit", "ann_walk", "bob_sit")):
        write(tmp_path, [f"{i},{size * i}" for i in range(20)], f"{name}.csv", "x,y")
    fields = {"time": "", "label": "", "subject": ""}
    note = "no subject has more than one class, as where several files are of one person; name the person by "
    assert read(tmp_path, path_pattern="_(?P<label>.*).csv", **fields).notes[2].startswith(note)
    pattern = "(?P<subject>.*)_(?P<label>.*).csv"
    assert not [found for found in read(tmp_path, path_pattern=pattern, **fields).notes if "one person" in found]


def test_runs_are_unique(tmp_path):
    rows = [f"{i / 10},sit,{person},1,2,first" for person in ("ann", "bob") for i in range(3)]
    recordings = read(write(tmp_path, rows, header=HEADER + ",session"), recording="session").recordings
    assert [r.run for r in recordings] == ["ann/first", "bob/first"]


def test_links_to_folders_are_followed_and_a_file_is_read_once(tmp_path):
    for name in ("raw", "elsewhere"):
        (tmp_path / name).mkdir()
    write(tmp_path / "raw")
    write(tmp_path / "elsewhere", name="b.csv")
    (tmp_path / "raw" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "raw" / "round").symlink_to(tmp_path / "raw")
    assert [r.run for r in read(tmp_path / "raw", files=("**/*.csv", "*.csv")).recordings] == ["a", "link/b"]
    with pytest.raises(DataError, match=r"elsewhere/b\.csv: not below .*raw, which data\.table\.files="):
        read(tmp_path / "raw", files=(f"{tmp_path}/elsewhere/*.csv",))


def test_recordings_of_one_name_in_two_files_are_told_apart(tmp_path):
    for name, rows in (("a", ROWS), ("b", ROWS[:3])):
        write(tmp_path, [f"{row},first" for row in rows], f"{name}.csv", HEADER + ",session")
    recordings = read(tmp_path, recording="session").recordings
    assert [r.run for r in recordings] == ["ann/first in a.csv", "ann/first in b.csv"]


def test_names_from_a_path_of_macos(tmp_path):
    for name in ("Müller", "Müsli"):
        write(tmp_path, ["1,2", "3,4"], unicodedata.normalize("NFD", f"{name}_1.csv"), "x,y")
    recordings = read(tmp_path, time="", label="", path_pattern="(?P<subject>[A-Za-zü]+)")
    assert recordings.subject_names == {1: "Müller", 2: "Müsli"}


def test_a_copy_of_a_file_is_named(tmp_path):
    rows = [f"{i / 10},sit,{i},1" for i in range(16)]
    for copy in ("a.csv", "a - Copy.csv"):
        write(tmp_path, rows, copy, "time,label,x,y")
    with pytest.raises(DataError, match=r"a.csv: recording 'a' of 'a' has the same 16 samples as 'a - Copy' of .* in "):
        read(tmp_path, subject="")
    pattern = "(?P<subject>a)"
    note = "a.csv: recording 'a' of 'a' has the same 16 samples as 'a - Copy' of 'a' in a - Copy.csv"
    assert note in read(tmp_path, path_pattern=pattern).notes
    write(tmp_path, [row.replace(",1", ",2") for row in rows], "a.csv", "time,label,x,y")
    assert note not in read(tmp_path, path_pattern=pattern).notes
    assert len(read(tmp_path, subject="")) == 2


def test_what_macos_adds_beside_files_is_no_table(tmp_path):
    write(tmp_path)
    for folder in (tmp_path, tmp_path / "__MACOSX"):
        folder.mkdir(exist_ok=True)
        (folder / "._a.csv").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        ")
    assert [r.run for r in read(tmp_path, files=("**/*.csv",)).recordings] == ["a"]


@pytest.mark.parametrize(
    ("unit", "stamps"),
    [
        ("s", ["100", "100.1", "100.2", "100.3"]),
        ("ms", ["100000", "100100", "100200", "100300"]),
        ("us", ["100000000", "100100000", "100200000", "100300000"]),
        ("ns", ["1700000000000000000", "1700000000100000000", "1700000000200000000", "1700000000300000000"]),
        ("datetime", [f"2026-01-31T23:59:59.{i}+01:00" for i in (0, 1, 2, 3)]),
    ],
)
def test_time_units(tmp_path, unit, stamps):
    rows = [f"{stamp},sit,1,{i},{i}" for i, stamp in enumerate(stamps)]
    (recording,) = read(write(tmp_path, rows), time_unit=unit).recordings
    np.testing.assert_allclose(recording.signals[:, 0], [0, 1, 2, 3], atol=1e-5)


def test_gaps_missing_values_and_repeated_times(tmp_path):
    rows = [
        "0.0,sit,1,0,0",
        "0.1,sit,1,1,",
        "0.2,sit,1,2,2",
        "0.2,sit,1,99,99",
        "0.3,,1,3,NaN",
        "",
        "0.4,,1,4,4",
        "5.0,walk,1,5,5",
        "5.1,walk,1,6,6",
    ]
    recordings = read(write(tmp_path, rows))
    (recording,) = recordings
    np.testing.assert_allclose(recording.signals, [[i, i] for i in range(7)], atol=1e-5)
    assert recording.starts.tolist() == [0, 5]
    assert recording.labels.tolist() == [0, 0, 0, UNLABELLED, UNLABELLED, 1, 1]
    assert recordings.notes[2:] == (
        "1 of 8 rows have the time of the row before: they were left out",
        "1 gaps divide recordings",
        "2 missing values, data.table.missing='interpolate'",
    )
    assert recordings.missing_values == {"x": 0, "y": 2}
    (recording,) = read(tmp_path, missing="split").recordings
    assert recording.signals[:, 0].tolist() == pytest.approx([0, 2, 4, 5, 6], abs=1e-5)
    assert recording.starts.tolist() == [0, 1, 2, 3]
    with pytest.raises(DataError, match=r"a\.csv, line 3, column 'y': no value; data\.table\.missing is 'error'"):
        read(tmp_path, missing="error")


def test_another_delimiter_quotes_and_a_byte_order_mark(tmp_path):
    rows = ['0;"sit; still";1;1;2', "0.1;walk;1;2;3"]
    write(tmp_path, rows, header=HEADER.replace(",", ";"), encoding="utf-8-sig")
    assert read(tmp_path, delimiter=";").class_names == ("sit; still", "walk")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*ROWS[:2], "0.2,walk,ann,3", ROWS[3]], "line 4: 4 fields, expected 5 as in the header"),
        ([*ROWS[:2], "0.2,walk,ann,3,30,9", ROWS[3]], "line 4: 6 fields, expected 5 as in the header"),
        ([*ROWS, "0.4,wa"], "line 6: 2 fields, expected 5 as in the header"),
        ([*ROWS[:2], "0.2,walk,ann,3o,30"], "line 4, column 'x': '3o' is not a finite number"),
        ([*ROWS[:2], "", "0.2,walk,ann,3,3,0"], "line 5: 6 fields"),
        ([*ROWS[:2], "", '0.2,walk,ann,"3,1",0'], "line 5, column 'x': '3,1' is not a finite number"),
        (["0.0,sit,ann,1,inf"], "line 2, column 'y': 'inf' is not a finite number"),
        (["0.0,sit,ann,1e39,1"], "line 2, column 'x': .* is not a finite number of single precision"),
        ([*ROWS[:2], ",walk,ann,3,30"], "line 4, column 'time': no time"),
        ([ROWS[1], ROWS[0]], "line 3, column 'time': time goes back by 0.1 s within recording 'a' of subject 'ann'"),
        (["0,sit,ann,1,1", "0.1,sit,,1,1"], "line 3, column 'subject': no subject"),
        ([], "no rows below the header"),
        (["", ",,,,", ""], "no rows below the header"),
        (["0,sit,ann,,1", "0.1,sit,ann,,2"], r"'a' has no sample at which all channels have values \(x: at none\)"),
        (
            ["0,sit,ann,1,1", "100,sit,ann,1,2", "200,sit,ann,1,2"],
            "recording 'a': rows are 100 s apart, farther than .*time_unit='s' right",
        ),
        (["0,si\0t,ann,1,1"], "line 2: a zero byte"),
        (["0,sit,ann,1,1\r0.1,sit,ann,1,1"], "line 2: a carriage return within the line"),
        (["0,sit,ann,1,1\r\r", "0.1,sit,ann,1,1"], "line 2: a carriage return within the line"),
        (['0,"sit,ann,1,1', "0.1,sit,ann,1,1"], "line 2: 2 fields"),
        (['0,sit,ann,1,"1', '0.1",sit,ann,1,1'], "a quote is not closed|line 3: "),
    ],
)
def test_bad_tables_are_named(tmp_path, rows, message):
    with pytest.raises(DataError, match=rf"a\.csv.*{message}"):
        read(write(tmp_path, rows))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_code_for_a_missing_value_is_named_or_read_as_one(tmp_path, suffix):
    write(tmp_path, [f"{i / 10},sit,ann,{-9999 if 3 <= i < 5 else i},{90.0 * i}" for i in range(13)])
    pd.read_csv(tmp_path / "a.csv").to_parquet(tmp_path / "a.parquet")
    line = "line 5" if suffix == "csv" else "row 4"
    with pytest.raises(
        DataError, match=rf"{line}, column 'x': -9999, where all other numbers are within 12; .*\(-9999,\)"
    ):
        read(tmp_path, files=(f"*.{suffix}",))
    recordings = read(tmp_path, files=(f"*.{suffix}",), missing_values=(-9999, 1e6))
    np.testing.assert_allclose(recordings[0].signals, [[i, 90 * i] for i in range(13)], atol=1e-4)
    assert recordings.missing_values == {"x": 2, "y": 0}
    write(tmp_path, [f"{i / 10},sit,ann,{i + 900},1" for i in range(100)])  # 999 among others
    assert len(read(tmp_path)) == 1


@pytest.mark.parametrize(
    ("cell", "line"), [("oops", 3), ("1.234", 3), ("1.234,5", 3), ("inf", 3), ("2,5", None), (" 3,5e0 ", None)]
)
def test_the_cell_that_is_no_number_is_named_where_others_have_a_decimal_comma(tmp_path, cell, line):
    write(tmp_path, ["0,0;0,5;1", f"0,1;{cell};1"], header="time;x;y")
    fields = {"delimiter": ";", "decimal": ",", "label": "", "subject": ""}
    if line is None:
        assert read(tmp_path, **fields)[0].signals[0].tolist() == [0.5, 1]
    else:
        with pytest.raises(DataError, match=rf"a\.csv, line {line}, column 'x': '{re.escape(cell)}' is not a finite"):
            read(tmp_path, **fields)


def test_milliseconds_without_zeros_in_front_are_named(tmp_path):
    stamps = ["2026-01-31 12:00:03.980", "2026-01-31 12:00:04.0", "2026-01-31 12:00:04.20", "2026-01-31 12:00:04.100"]
    rows = [f"{stamp},sit,1,1,1" for stamp in stamps]
    message = (
        r"line 5, .* back by 0\.1 s .*; '2026-01-31 12:00:04\.100' comes after '2026-01-31 12:00:04\.20': write 5 ms"
    )
    with pytest.raises(DataError, match=message):
        read(write(tmp_path, rows), time_unit="datetime")


def test_channels_with_the_same_values_are_noted(tmp_path):
    write(tmp_path, [f"{i / 10},sit,ann,{i},{i}" for i in range(20)])
    write(tmp_path, [f"{i / 10},sit,bob,{i},{-i}" for i in range(20)], "b.csv")
    assert "x and y have the same values in 1 of 2 recordings: 'a'" in read(tmp_path).notes


def test_bad_time_of_day_is_named(tmp_path):
    rows = ["2026-01-31T23:59:59,sit,1,1,1", "2026-31-01,sit,1,1,1"]
    with pytest.raises(DataError, match=r"a\.csv, line 3, column 'time': '2026-31-01' is not a time"):
        read(write(tmp_path, rows), time_unit="datetime")


def test_wrong_encoding_is_named(tmp_path):
    with pytest.raises(DataError, match=r"a\.csv, line 2: byte 0xfc is not UTF-8"):
        read(write(tmp_path, ["0,müde,ann,1,1"], encoding="latin-1"))


def test_bad_columns_are_named(tmp_path):
    with pytest.raises(DataError, match=r"a\.csv, line 1: no column 'Time'; there are 'time', .*; did you mean 'time'"):
        read(write(tmp_path), time="Time")
    with pytest.raises(DataError, match=r"a\.csv, line 1: the column 'x' stands twice"):
        read(write(tmp_path, header="time,label,subject,x,x"), channels=(("x", "acc", "hip", "g"),))


def test_bad_files_are_named(tmp_path, monkeypatch):
    monkeypatch.delenv("DCDP_RAW_DIR", raising=False)
    with pytest.raises(DataError, match=r"no such folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no file matches data\.table\.files='\*\.csv'"):
        read(tmp_path)
    (tmp_path / "a.csv").touch()
    with pytest.raises(DataError, match=r"a\.csv: empty"):
        read(tmp_path)
    (tmp_path / "a.xlsx").touch()
    with pytest.raises(DataError, match=r"a\.xlsx: not one of \.csv, "):
        read(tmp_path, files=("*.xlsx",))
    (tmp_path / "a.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match=r"a\.parquet: not a whole Parquet file"):
        read(tmp_path, files=("*.parquet",))
    with pytest.raises(ConfigError, match=r"data\.raw_dir is empty"):
        read_tables(table_config(), "")


def test_bad_parquet_cells_are_named(tmp_path):
    frame = pd.DataFrame({"time": [0.0, 0.1], "label": "sit", "subject": "1", "x": ["1", "two"], "y": 1})
    frame.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet, row 2, column 'x': 'two' is not a finite number"):
        read(tmp_path, files=("*.parquet",))
    frame.assign(x=pd.date_range("2026", periods=2)).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet, row 1, column 'x': '2026-01-01 00:00:00' is not a finite number"):
        read(tmp_path, files=("*.parquet",))
    with pytest.raises(DataError, match=r"a\.parquet: no column 'person'"):
        read(tmp_path, files=("*.parquet",), subject="person")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("time_unit", "minutes", r"'minutes' is not one of s, ms, us, ns, datetime"),
        ("time_format", "%H:%M:%S", r"='%H:%M:%S' is of dates, and data\.table\.time_unit='s' reads numbers"),
        ("resample", "cubic", r"'cubic' is not one of linear, nearest"),
        ("missing", "zero", r"'zero' is not one of interpolate, split, error"),
        ("rate", 0.0, "0.0 is not above 0"),
        ("rate", float("nan"), "nan is not finite"),
        ("max_gap", -1.0, "-1.0 is not above 0"),
        ("max_gap", float("inf"), "inf is not finite"),
        ("delimiter", "", "must be one character"),
        ("delimiter", ", ", "must be one character"),
        ("delimiter", "\n", "must be one character between fields"),
        ("channels", (), r"must be \(column, group, site, unit\)"),
        ("channels", (("x", "acc"),), r"must be \(column, group, site, unit\)"),
        ("channels", ("abcd",), r"must be \(column, group, site, unit\)"),
        ("channels", (("x", "acc", "hip", 1),), r"must be \(column, group, site, unit\)"),
        ("channels", (("x", "a", "b", "c"), ("x", "a", "b", "c")), "the column 'x' is named twice"),
        ("label", "time", "the column 'time' is named twice"),
        ("repeated", "keep", "'keep' is not one of error, spread, drop, mean"),
        ("decimal", ";", "';' is not one of ., ,"),
        ("decimal", ",", "delimiter and data.table.decimal are both ','"),
        ("skip_lines", -1, "-1 is not between 0 and 10000"),
        ("path_pattern", "(?P<subject>", "is not a regular expression"),
        ("path_pattern", "sub_(.*)", r"must have named groups of subject, recording, label"),
        ("path_pattern", "(?P<person>.*)", r"must have named groups of subject"),
        ("preamble", "(?P<rate>.*)", r"it needs a group \(\?P<rate>...\), skip_lines of 1 or more"),
        ("annotations", "{stem}.txt", r"names the labels, and so does data\.table\.label='label'"),
        ("beside", (("acc", "gyro"),), r"must be \(part of the path"),
    ],
)
def test_bad_fields_are_named(tmp_path, field, value, message):
    with pytest.raises(ConfigError, match=rf"data\.table.*{message}"):
        read(write(tmp_path), **{field: value})


@pytest.mark.parametrize("field", ["files", "test", "validation", "header", "beside", "missing_values"])
def test_names_must_be_tuples(tmp_path, field):
    table = table_config().to_dict() | {field: "ann"}
    with pytest.raises(ConfigError, match=rf"data\.table\.{field}='ann' must be a tuple, as \('ann',\)"):
        read_tables(ConfigDict(table), str(write(tmp_path)))


def test_files_of_one_name_in_different_folders_are_different_people(tmp_path):
    for folder in ("day1", "day2"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder, ["1,2", "3,4"], "p1.csv", "x,y")
    recordings = read(tmp_path, files=("**/*.csv",), time="", label="", subject="")
    assert recordings.subject_names == {1: "day1/p1", 2: "day2/p1"}
    assert [r.run for r in recordings] == ["day1/p1", "day2/p1"]
    assert (
        recordings.notes[1] == "2 subjects by the path of each file, with how many recordings: day1/p1 (1), day2/p1 (1)"
    )


@pytest.mark.parametrize("other", ["Ann", "a nn", "ann.0"])
def test_people_whose_names_differ_in_spelling_only_are_shown(tmp_path, other):
    write(tmp_path)
    write(tmp_path, [row.replace("ann", other) for row in ROWS], "b.csv")
    with pytest.raises(DataError, match=rf"data\.table\.subject='subject': 'ann' and '{other}' differ only in"):
        read(tmp_path)


def test_classes_whose_names_differ_in_spelling_only_are_shown(tmp_path):
    with pytest.raises(DataError, match=r"data\.table\.label='label': 'SIT' and 'sit' differ only in case"):
        read(write(tmp_path, [*ROWS[:1], ROWS[1].replace("sit", "SIT"), *ROWS[2:]]))


def test_whole_numbers_with_and_without_a_decimal_point_are_one_name_in_text_and_parquet(tmp_path):
    for name, dot in (("day1", ""), ("day2", ".0")):
        write(tmp_path, [f"{i / 10},{i // 2}{dot},{p}{dot},1,2" for p in (1, 2) for i in range(4)], f"{name}.csv")
        pd.read_csv(tmp_path / f"{name}.csv").to_parquet(tmp_path / f"{name}.parquet")
    for suffix in ("csv", "parquet"):
        recordings = read(tmp_path, files=(f"*.{suffix}",))
        assert recordings.class_names == ("0", "1")
        assert ({r.subject for r in recordings}, recordings.subject_names) == ({1, 2}, {})


def test_files_match_whatever_the_case_of_their_letters(tmp_path):
    write(tmp_path, name="ANNA.CSV")
    assert [r.run for r in read(tmp_path).recordings] == ["ANNA"]


def test_stamps_cut_to_seconds(tmp_path):
    rows = [f"{i // 10},sit,ann,{i},{i}" for i in range(100)]
    with pytest.raises(DataError, match=r"'a': 90 of 100 rows \(90%\) .* own clock .* set data\.table\.repeated"):
        read(write(tmp_path, rows))
    (recording,) = read(tmp_path, repeated="spread").recordings
    np.testing.assert_allclose(recording.signals[:, 0], np.arange(100), atol=1e-4)
    for how, expected in (("mean", 4.5 + np.arange(0, 91)), ("drop", np.arange(0, 91))):
        (recording,) = read(tmp_path, repeated=how, max_gap=1.5).recordings
        np.testing.assert_allclose(recording.signals[:, 0], expected, atol=1e-4)


def test_a_wrong_unit_of_time_is_named(tmp_path):
    rows = [f"{i * 100},sit,ann,{i},{i}" for i in range(20)]
    with pytest.raises(DataError, match=r"rows come 10,000 times a second, and data\.table\.rate is 10; .*'us' right"):
        read(write(tmp_path, rows), time_unit="us")
    write(tmp_path, [f"{i},sit,ann,{i},{i}" for i in range(20)])  # a counter
    with pytest.raises(DataError, match=r"rows come 1 times a second, and data\.table\.rate is 50; .*'s' right"):
        read(tmp_path, rate=50.0)


def test_times_of_arrival_in_bursts_are_noted(tmp_path):
    times = [i // 4 * 0.4 + i % 4 * 0.001 for i in range(40)]
    notes = read(write(tmp_path, [f"{time:.3f},sit,ann,{i},{i}" for i, time in enumerate(times)])).notes
    assert notes[0].startswith("1 recordings: 40 rows at 10.8 Hz, resampled")
    assert notes[-1].startswith("rows come in bursts, as where their time is that of arrival;")
    assert notes[-1].endswith(f": {tmp_path / 'a.csv'}")


def test_the_rate_of_rounded_stamps_is_that_of_their_mean(tmp_path):
    write(tmp_path, [f"{1000 * i // 64},sit,ann,{i},{i}" for i in range(640)])
    assert read(tmp_path, time_unit="ms", rate=64.0).notes[0].startswith("1 recordings: 640 rows at 64 Hz, resampled")


def test_lost_rows_that_are_filled_in_are_noted(tmp_path):
    for name, lost in (("a", 0.02), ("b", 0.4)):
        kept = [i for i in range(500) if i % 100 >= 100 * lost]
        write(tmp_path, [f"{i / 10},sit,{name},{i},{-i}" for i in kept], f"{name}.csv")
    notes = read(tmp_path, max_gap=6.0).notes
    assert notes[-1] == (
        "rows are lost for more than 5% of the time, and their values are filled in, because they are no more than "
        "data.table.max_gap=6 s apart, in 1 of 2 recordings: 'b' (36%)"
    )
    assert not [note for note in read(tmp_path, max_gap=1.0).notes if "lost" in note]  # they are gaps


@pytest.mark.parametrize(("unit", "rate"), [("ms", 50.0), ("s", 10.0)])
def test_times_that_may_be_numbers_of_rows_are_noted(tmp_path, unit, rate):
    write(tmp_path, [f"{i},sit,ann,{i},{i}" for i in range(200)])
    notes = read(tmp_path, time_unit=unit, rate=rate, max_gap=2.0).notes
    assert notes[-1] == (
        f"times rise by 1 {unit} from row to row, as numbers of rows do; if they are, set data.table.time='': "
        f"{tmp_path / 'a.csv'}"
    )
    rate = {"ms": 40.0, "s": 5.0}[unit]
    doubt = f"and data.table.rate is {rate:g}; is data.table.time_unit={unit!r} right?: {tmp_path / 'a.csv'}"
    assert read(tmp_path, time_unit=unit, rate=rate, max_gap=2.0).notes[-2].endswith(doubt)
    measured = read(tmp_path, time_unit=unit, rate={"ms": 1000.0, "s": 1.0}[unit], max_gap=2.0)
    assert not [note for note in measured.notes if "numbers of rows" in note]


def test_values_that_rows_repeat_or_a_sensor_holds_are_noted(tmp_path):
    walk = 3 * np.random.default_rng(0).normal(size=900)
    held = {"twice": np.repeat(walk[:450], 2), "long": np.where((np.arange(900) // 200) == 2, walk[400], walk)}
    for name, x in {"whole": walk, "rest": np.round(walk / 9), **held}.items():
        write(tmp_path, [f"{i / 10},sit,{name},{x[i]:.4f},{-x[i]:.4f}" for i in range(900)], f"{name}.csv")
    notes = read(tmp_path, channels=(("x", "acc", "hip", "g"), ("y", "pulse", "hip", "bpm"))).notes
    assert [note for note in notes if "values" in note] == [
        "rows repeat the values of acc at hip, which has only 5 new ones a second, as where an app writes faster than "
        "the sensor measures, in 1 of 4 recordings: 'twice'",
        "acc at hip has exactly the same values for 10 s or longer, as where a sensor stops, in 1 of 4 recordings: "
        "'long' (up to 20 s)",
    ]
    assert not [note for note in read(tmp_path, files=("twice.csv",), rate=5.0).notes if "values" in note]


def test_a_table_that_a_spreadsheet_may_have_cut_is_noted(tmp_path, monkeypatch):
    monkeypatch.setattr("dcdp_jax.data.table_files.MOST_LINES", 5)
    doubt = f"5 lines, the most that a spreadsheet saves; is the end missing?: {tmp_path / 'a.csv'}"
    assert read(write(tmp_path)).notes[-1] == doubt
    assert doubt not in read(write(tmp_path, ROWS[:3])).notes


def test_rows_of_several_sensors_almost_at_once_are_no_bursts(tmp_path):
    rows = [f"{i / 10 + late:.6f},sit,ann,{cells}" for i in range(40) for late, cells in ((0, "1,"), (2e-5, ",2"))]
    notes = read(write(tmp_path, rows)).notes
    assert notes[0].startswith("1 recordings: 80 rows at 10 Hz, resampled")
    assert not [note for note in notes if "bursts" in note]


LAYOUTS = {
    "lines to skip": ("made by X\nat 10 Hz\ntime,x,y\n", ",", {"skip_lines": 2}),
    "no header": ("", ",", {"header": ("time", "x", "y")}),
    "units": ("time,x,y\nms,g,rad/s\nCAL,CAL,CAL\n", ",", {"units_rows": 2}),
    "decimal comma": ("time;x;y\n", ";", {"delimiter": ";", "decimal": ","}),
    "semicolon at the end": ("", ",", {"header": ("time", "x", "y"), "line_end": ";"}),
    "tabs": ("time\tx\ty\n", "\t", {"delimiter": "\t"}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("packed", [False, True])
def test_layouts_are_the_same_table(tmp_path, layout, packed):
    head, delimiter, fields = LAYOUTS[layout]
    lines = [delimiter.join(f"{v:.2f}" for v in (i / 10, i + 0.25, -i)) for i in range(30)]
    text = head + "".join(f"{line}{fields.get('line_end', '')}\n" for line in lines)
    text = text.replace(".", fields.get("decimal", "."))
    if packed:
        with gzip.open(tmp_path / "a.csv.gz", "wt") as file:
            file.write(text)
    else:
        (tmp_path / "a.csv").write_text(text)
    (recording,) = read(tmp_path, files=("a.csv*",), label="", subject="", **fields).recordings
    assert (recording.run, recording.signals.tolist()) == ("a", [[i + 0.25, -i] for i in range(30)])


def test_a_damaged_gzip_file_is_named(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"time,x,y\n0,1,2\n" * 999)[:-20])
    with pytest.raises(DataError, match=r"a\.csv\.gz: not a whole gzip file"):
        read(tmp_path, files=("*.gz",), label="", subject="")


def test_a_file_that_says_its_start_and_rate(tmp_path):
    (tmp_path / "a.csv").write_text("100.5,100.5\n20.0,20.0\n" + "".join(f"{i},{-i}\n" for i in range(41)))
    pattern = r"(?P<start>[\d.]+),.*\n(?P<rate>[\d.]+)"
    fields = {"time": "", "label": "", "subject": "", "skip_lines": 2, "header": ("x", "y")}
    (recording,) = read(tmp_path, preamble=pattern, **fields).recordings
    assert recording.signals.tolist() == [[2 * i, -2 * i] for i in range(21)]
    write(tmp_path, ["101,102,walk"], "a.labels", "start,end,label")
    (recording,) = read(tmp_path, preamble=pattern, annotations="a.labels", files=("a.csv",), **fields).recordings
    assert recording.labels.tolist() == [UNLABELLED] * 5 + [0] * 10 + [UNLABELLED] * 6
    beside = {"files": ("a.csv",), "beside": (("a", "b", "b_"),), **fields}
    (tmp_path / "b.csv").write_bytes((tmp_path / "a.csv").read_bytes())
    with pytest.raises(DataError, match="no column 'y_x' in it or in the files beside it"):  # and none of b.csv
        read(tmp_path, preamble=pattern, channels=(("y_x", "a", "b", "c"), ("b_x", "a", "b", "c")), **beside)
    with pytest.raises(DataError, match="is not in the skipped lines"):
        read(tmp_path, preamble="at (?P<rate>.*) Hz", **fields)
    with pytest.raises(DataError, match="must find a group"):
        read(tmp_path, preamble="(?P<rate>,)", **fields)


@pytest.mark.parametrize(
    ("stamp", "fields"),
    [
        ("2015-06-22 00:56:03.{:03}+0100 [Europe/London]", {}),
        ("2015-06-22 00:56:03.{:03} Europe/London", {}),
        ("2015-06-22T00:56:03.{:03}Z", {}),
        ("2015-06-22 00:56:03:{:03}", {"time_format": "%Y-%m-%d %H:%M:%S:%f"}),
        ("6/22/2015 12:56:03.{:03} AM", {"time_format": "%m/%d/%Y %I:%M:%S.%f %p"}),
    ],
)
def test_dates_of_many_kinds(tmp_path, stamp, fields):
    rows = [f"{stamp.format(100 * i)},sit,ann,{i},{i}" for i in range(9)]
    (recording,) = read(write(tmp_path, rows), time_unit="datetime", **fields).recordings
    assert recording.signals[:, 0].tolist() == list(range(9))


def test_a_zone_without_an_offset_counts_through_the_change_of_the_clocks(tmp_path):
    stamps = ["2015-03-29 00:59:59.900", "2015-03-29 02:00:00.000", "2015-03-29 02:00:00.100"]  # one o'clock is two
    rows = [f"{stamp} [Europe/London],sit,ann,{i},{i}" for i, stamp in enumerate(stamps)]
    (recording,) = read(write(tmp_path, rows), time_unit="datetime").recordings
    assert recording.signals[:, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("stamp", "message"),
    [
        (
            "2015-10-25 01:30:00 Europe/London",
            "is not a time .*, or one that the clocks of its zone show twice or never",
        ),
        (
            "2015-03-29 01:30:00 [Europe/London]",
            "is not a time .*, or one that the clocks of its zone show twice or never",
        ),
        ("2015-03-29 00:00:00.1", r"'2015-03-29 00:00:00.1' is not a time \(datetime\)$"),
    ],
)
@pytest.mark.parametrize("zone", ["Z", " Europe/London"])
def test_times_that_say_no_moment_are_named(tmp_path, stamp, message, zone):
    write(tmp_path, [f"2015-03-29 00:00:00{zone},sit,ann,1,1", f"{stamp},sit,ann,1,1"])
    with pytest.raises(DataError, match=rf"a\.csv, line 3, column 'time': .*{message}"):
        read(tmp_path, time_unit="datetime")


@pytest.mark.parametrize("zones", [("Z", ""), ("", "+01:00"), (" Europe/London", ""), ("+01", "")])
def test_a_time_zone_that_begins_or_ends_between_two_blocks_is_named(tmp_path, monkeypatch, zones):
    monkeypatch.setattr("dcdp_jax.data.table_files.BLOCK", 16)  # a line each
    write(tmp_path, [f"2015-03-29 00:00:00.{i}{zones[i // 2]},sit,ann,{i},{i}" for i in range(4)])
    with pytest.raises(
        DataError, match=r"a\.csv, line 4, column 'time': '2015.*' has (a|no) time zone or offset, unlike"
    ):
        read(tmp_path, time_unit="datetime")


@pytest.mark.parametrize("unit", ["s", "datetime"])
def test_durations_of_parquet_are_times_whatever_the_unit_says(tmp_path, unit):
    time = pd.to_timedelta(np.arange(20) / 10, unit="s").as_unit("ms")
    frame = pd.DataFrame({"time": time, "label": "sit", "subject": "ann", "x": np.arange(20.0), "y": 0.0})
    frame.to_parquet(tmp_path / "a.parquet")
    (recording,) = read(tmp_path, files=("*.parquet",), time_unit=unit).recordings
    assert recording.signals[:, 0].tolist() == pytest.approx(range(20), abs=1e-5)


@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("resolution", ["s", "ms", "us", "ns"])
def test_times_of_parquet_are_dates_whatever_the_unit_says(tmp_path, index, resolution):
    time = pd.date_range("2024-03-01", periods=20, freq="1s").as_unit(resolution)
    frame = pd.DataFrame({"time": time, "label": "sit", "subject": "ann", "x": np.arange(20.0), "y": 0.0})
    (frame.set_index("time") if index else frame).to_parquet(tmp_path / "a.parquet")
    for unit in ("ns", "datetime"):
        (recording,) = read(tmp_path, files=("*.parquet",), time_unit=unit, rate=1.0, max_gap=2.0).recordings
        assert recording.signals[:, 0].tolist() == list(range(20))


def test_names_from_the_path(tmp_path):
    for trial in ("dws_1", "sit_5"):
        (tmp_path / trial).mkdir()
        for person in (1, 2):
            write(tmp_path / trial, ["1,2", "3,4"], f"sub_{person}.csv", "x,y")
    pattern = r"(?P<label>[a-z]+)_\d+/sub_(?P<subject>\d+)"
    recordings = read(tmp_path, files=("**/*.csv",), time="", path_pattern=pattern)
    assert recordings.class_names == ("dws", "sit")
    assert [(r.subject, recordings.class_names[r.labels[0]], r.run) for r in recordings] == [
        (1, "dws", "dws_1/sub_1"),
        (2, "dws", "dws_1/sub_2"),
        (1, "sit", "sit_5/sub_1"),
        (2, "sit", "sit_5/sub_2"),
    ]
    assert "2 subjects by the path of each file" in recordings.notes[1]
    with pytest.raises(DataError, match=r"sub_1\.csv: .* finds no label in 'dws_1/sub_1\.csv'"):
        read(tmp_path, files=("**/*.csv",), time="", path_pattern=r"(?P<label>walk)?_?sub_(?P<subject>\d+)")
    with pytest.raises(DataError, match=r"does not match 'dws_1/sub_1\.csv'"):
        read(tmp_path, files=("**/*.csv",), time="", path_pattern="(?P<subject>p[0-9])")


def test_annotations_in_a_file_of_their_own(tmp_path):
    write(tmp_path, [f"{i / 10},{i},0" for i in range(20)], "ann.csv", "time,x,y")
    fields = {"label": "", "subject": "", "annotations": "{stem}_labels.csv"}
    write(tmp_path, ["0.2,0.5,walk", "1.0,1.5,sit"], "ann_labels.csv", "start,end,label")
    recordings = read(tmp_path, **fields)
    assert recordings.class_names == ("sit", "walk")
    expected = [UNLABELLED] * 2 + [1] * 3 + [UNLABELLED] * 5 + [0] * 5 + [UNLABELLED] * 5
    assert recordings[0].labels.tolist() == expected
    write(tmp_path, ["0.2,0.5,walk", "0.4,1.5,sit"], "ann_labels.csv", "start,end,label")
    with pytest.raises(DataError, match=r"ann_labels\.csv, line 3: begins before the end of line 2"):
        read(tmp_path, **fields)
    write(tmp_path, ["0.2,0.5,walk", "0.51,0.59,sit", "9,9.5,sit"], "ann_labels.csv", "start,end,label")
    empty = f"annotations hold no row of their table: {tmp_path / 'ann_labels.csv'}, line 3, 4"
    assert empty in read(tmp_path, **fields).notes
    for rows, message in [
        (["0.5,0.2,walk"], "line 2: the end is not after the start"),
        (["0.5,0.5,walk"], "line 2: the end is not after the start"),
        (["0.2,0.5,walk", "1.0,,sit"], "line 3, column 'end': no time"),
        (["0.2,0.5,walk", ",0.7,", "1.0,1.2,sit"], "line 3: expected a start, an end and a label"),
        (["200,500,walk"], r"no row of ann\.csv is within .* from 200.0 to 200.0, and the rows are from 0.0 to 1.9"),
    ]:
        write(tmp_path, rows, "ann_labels.csv", "start,end,label")
        with pytest.raises(DataError, match=rf"ann_labels\.csv.*{message}"):
            read(tmp_path, **fields)
    (tmp_path / "ann_labels.csv").unlink()
    with pytest.raises(DataError, match=r"ann\.csv: no file .*ann_labels\.csv beside it"):
        read(tmp_path, **fields)


@pytest.mark.parametrize("zones", [("Z", ""), ("", "+01:00")])
def test_clocks_with_and_without_a_time_zone_are_not_joined(tmp_path, zones):
    stamps = [[f"2026-03-01 00:00:00.{i}{zone}" for i in range(6)] for zone in zones]
    write(tmp_path, [f"{stamp},{i}" for i, stamp in enumerate(stamps[0])], "a.csv", "time,x")
    write(tmp_path, [f"{stamp},{i}" for i, stamp in enumerate(stamps[1])], "a2.csv", "time,y")
    write(tmp_path, [f"{stamps[1][0]},{stamps[1][3]},sit"], "a_labels.csv", "start,end,label")
    fields = {"files": ("a.csv",), "label": "", "subject": "", "time_unit": "datetime"}
    for name, more in (
        ("a2", {"beside": (("a", "a2", ""),)}),
        ("a_labels", {"annotations": "{stem}_labels.csv", "channels": (("x", "acc", "hip", "g"),)}),
    ):
        with pytest.raises(DataError, match=rf"{name}\.csv: its times have a time zone .* those of .*a\.csv have none"):
            read(tmp_path, **fields, **more)


def test_sensors_in_files_of_their_own_with_their_own_clocks(tmp_path):
    for folder in ("acc", "gyro"):
        (tmp_path / folder).mkdir()
    write(tmp_path / "acc", [f"{i / 10},sit,ann,{i}" for i in range(20)], "a_acc.csv", "time,label,subject,x")
    write(tmp_path / "gyro", [f"{i / 10 + 0.03},{10 * i}" for i in range(20)], "a_gyro.csv", "time,x")
    fields = {"files": ("acc/*.csv",), "beside": (("acc", "gyro", "g_"),)}
    channels = (("x", "acc", "hip", "g"), ("g_x", "gyro", "hip", "rad/s"))
    (recording,) = read(tmp_path, channels=channels, **fields).recordings
    assert len(recording.labels) == 19  # the first sample has no value of the gyroscope yet
    np.testing.assert_allclose(recording.signals, [[i, 10 * i - 3] for i in range(1, 20)], atol=1e-4)
    assert set(recording.labels.tolist()) == {0}
    write(tmp_path / "gyro", [f"{i / 10},{10 * i}" for i in range(20)], "a_gyro.csv", "time,x")
    for missing in ("error", "split", "interpolate"):  # of one time
        recordings = read(tmp_path, channels=channels, missing=missing, **fields)
        np.testing.assert_allclose(recordings[0].signals, [[i, 10 * i] for i in range(20)], atol=1e-5)
        assert len(recordings.notes) == 2
    write(tmp_path / "acc", [f"{i / 10},sit,ann,{i}" for i in [*range(20), 19]], "a_acc.csv", "time,label,subject,x")
    assert "1 of 21 rows have the time of the row before" in read(tmp_path, channels=channels, **fields).notes[2]
    with pytest.raises(DataError, match=r"a_gyro\.csv: none of its columns is a further channel; .* g_time, g_x"):
        read(tmp_path, channels=channels[:1], **fields)
    with pytest.raises(DataError, match=r"a_acc\.csv: no column 'a_x' in it or in the files beside it"):
        read(tmp_path, channels=(("a_x", "acc", "hip", "g"), channels[1]), **fields)
    (tmp_path / "gyro" / "a_gyro.csv").unlink()
    with pytest.raises(DataError, match=r"a_acc\.csv: no file .*gyro/a_gyro\.csv beside it"):
        read(tmp_path, channels=channels, **fields)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 10**4), st.binary(max_size=3), st.integers(0, 3)), min_size=1, max_size=3))
def test_damaged_bytes_are_read_or_named(tmp_path, changes):
    content = bytearray("\n".join([HEADER, *ROWS * 3]).encode())
    for at, inserted, removed in changes:
        at %= len(content)
        content[at : at + removed] = inserted
    (tmp_path / "a.csv").write_bytes(content)
    try:
        recordings = read(tmp_path).recordings
    except UserError as error:
        assert "a.csv" in str(error)  # noqa: PT017
    else:
        assert all(np.isfinite(r.signals).all() for r in recordings)
