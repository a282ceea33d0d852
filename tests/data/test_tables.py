"""The user's own tables: what they become, and that whatever is wrong with them is named with file, line and column."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from configs import default
from dcdp_jax.data.recording import UNLABELLED
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
    assert recordings.notes == ("1 recordings: 4 rows, resampled by linear to 10 Hz: 4 samples",)


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


def test_file_names_without_columns(tmp_path):
    for name in ("p1.csv", "p2.csv"):
        write(tmp_path, ["1,2", "3,4", "5,6"], name, "x,y")
    recordings = read(tmp_path, time="", label="", subject="")
    assert [r.run for r in recordings] == ["p1", "p2"]
    assert recordings.subject_names == {1: "p1", 2: "p2"}
    assert recordings.class_names == ()
    assert recordings[0].signals.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert "taken to be 10 Hz apart" in recordings.notes[0]


def test_runs_are_unique(tmp_path):
    rows = [f"{i / 10},sit,{person},1,2,first" for person in ("ann", "bob") for i in range(3)]
    recordings = read(write(tmp_path, rows, header=HEADER + ",session"), recording="session").recordings
    assert [r.run for r in recordings] == ["ann/first", "bob/first"]


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
    assert recordings.notes[1:] == (
        "1 rows with the time of the row before were left out",
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
        (["0,sit,ann,,1", "0.1,sit,ann,,2"], "recording 'a' has no sample at which all channels have values"),
        (
            ["0,sit,ann,1,1", "100,sit,ann,1,2", "200,sit,ann,1,2"],
            "are 100 s apart, farther than .*time_unit='s' right",
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
    with pytest.raises(DataError, match=r"a\.parquet: no column 'person'"):
        read(tmp_path, files=("*.parquet",), subject="person")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("time_unit", "minutes", r"'minutes' is none of s, ms, us, ns, datetime"),
        ("resample", "cubic", r"'cubic' is none of linear, nearest"),
        ("missing", "zero", r"'zero' is none of interpolate, split, error"),
        ("rate", 0.0, "must be a positive number"),
        ("rate", float("nan"), "must be a positive number"),
        ("max_gap", -1.0, "must be a positive number"),
        ("max_gap", float("inf"), "must be a positive number"),
        ("delimiter", "", "must be one character"),
        ("delimiter", ", ", "must be one character"),
        ("delimiter", "\n", "must be one character between fields"),
        ("channels", (), r"must be \(column, group, site, unit\)"),
        ("channels", (("x", "acc"),), r"must be \(column, group, site, unit\)"),
        ("channels", ("abcd",), r"must be \(column, group, site, unit\)"),
        ("channels", (("x", "acc", "hip", 1),), r"must be \(column, group, site, unit\)"),
        ("channels", (("x", "a", "b", "c"), ("x", "a", "b", "c")), "the column 'x' is named twice"),
        ("label", "time", "the column 'time' is named twice"),
    ],
)
def test_bad_fields_are_named(tmp_path, field, value, message):
    with pytest.raises(ConfigError, match=rf"data\.table.*{message}"):
        read(write(tmp_path), **{field: value})


@pytest.mark.parametrize("field", ["files", "test", "validation"])
def test_names_must_be_tuples(tmp_path, field):
    table = table_config().to_dict() | {field: "ann"}
    with pytest.raises(ConfigError, match=rf"data\.table\.{field}='ann' must be a tuple, as \('ann',\)"):
        read_tables(ConfigDict(table), str(write(tmp_path)))


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
