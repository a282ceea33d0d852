"""Inputs as people have them, in the layouts of real devices: each is read with fields of the config, or refused."""

import tarfile
from pathlib import Path

import pytest

from configs import default
from dcdp_jax.data.dataset import build_dataset
from dcdp_jax.data.tables import read_tables
from dcdp_jax.errors import DataError

CASES = Path(__file__).parents[3] / "shared" / "cases" / "inputs.tar.xz"
SIX = tuple(
    (f"{group}_{axis}", group, "wrist", unit) for group, unit in (("acc", "m/s^2"), ("gyro", "rad/s")) for axis in "xyz"
)


def sensor(*columns):
    return tuple((column, "acc", "wrist", "m/s^2") for column in columns)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """The archive, unpacked."""
    if not CASES.exists():
        pytest.skip(f"{CASES} is not there")
    folder = tmp_path_factory.mktemp("cases")
    with tarfile.open(CASES) as archive:
        archive.extractall(folder, filter="data")
    return folder


def config_of(folder, protocol="subject", **fields):
    """The config that most cases use."""
    data = default.get_config().data
    data.name, data.protocol, data.raw_dir, data.window, data.step = "table", protocol, str(folder), 100, 50
    data.table.update({"time_unit": "ms", "label": "activity", "subject": "person", "channels": SIX} | fields)
    return data


@pytest.mark.parametrize("case", ["float_persons", "float_codes"])
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_people_and_codes_with_a_decimal_point_are_the_same(cases, case, form, tmp_path):
    folder = cases / case
    if form == "parquet":
        import pandas as pd

        for path in folder.glob("*.csv"):
            pd.read_csv(path).to_parquet(tmp_path / f"{path.stem}.parquet")
        folder = tmp_path
    dataset = build_dataset(config_of(folder, files=(f"*.{form}",)))
    assert {name for counts in dataset.subject_counts.values() for name in counts} == set("12345")
    assert dataset.class_names == (("stand", "walk") if case == "float_persons" else ("1", "2"))
    assert any(note.startswith("5 subjects by the column 'person'") for note in dataset.notes)


def test_folder_and_name_tell_recordings_apart(cases):
    data = config_of(cases / "same_names", "recording", files=("**/*.csv",), time="", subject="")
    dataset = build_dataset(data)
    assert len(dataset.runs) == len(set(dataset.runs)) == 20
    assert "dws_1/sub_1" in dataset.runs
    data.protocol = "subject"
    data.table.path_pattern = r"(?P<label>[a-z]+)_\d+/(?P<subject>sub_\d)"
    data.table.label = ""
    assert build_dataset(data).subject_counts["test"].keys() == {"sub_5"}


def test_stamps_cut_to_seconds(cases):
    with pytest.raises(DataError, match=r"anna\.csv: recording 'anna': 5,880 of 6,000 rows \(98%\)"):
        build_dataset(config_of(cases / "second_stamps", time_unit="datetime"))
    dataset = build_dataset(config_of(cases / "second_stamps", time_unit="datetime", repeated="spread"))
    assert sum(dataset.windows.values()) > 500


LAYOUTS = {
    "actigraph": {
        "skip_lines": 10,
        "time": "Timestamp",
        "time_unit": "datetime",
        "time_format": "%m/%d/%Y %H:%M:%S.%f",
        "channels": sensor("Accelerometer X", "Accelerometer Y", "Accelerometer Z"),
        "rate": 30.0,
    },
    "axivity": {
        "header": ("time", "x", "y", "z"),
        "time_unit": "datetime",
        "channels": sensor("x", "y", "z"),
        "rate": 20.0,
    },
    "empatica": {
        "skip_lines": 2,
        "header": ("x", "y", "z"),
        "time": "",
        "time_unit": "s",
        "preamble": r"^(?P<start>[\d.]+).*\n(?P<rate>[\d.]+)",
        "channels": sensor("x", "y", "z"),
        "rate": 32.0,
    },
    "shimmer": {
        "skip_lines": 1,
        "units_rows": 2,
        "delimiter": "\t",
        "time": "S1_Timestamp",
        "channels": sensor("S1_ACC_X", "S1_ACC_Y", "S1_ACC_Z"),
        "rate": 20.0,
    },
    "wisdm2019": {
        "files": ("*.txt",),
        "header": ("person", "activity", "time", "x", "y", "z"),
        "line_end": ";",
        "time_unit": "ns",
        "channels": sensor("x", "y", "z"),
        "rate": 20.0,
    },
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_layouts_of_devices(cases, case):
    fields = {"label": "", "subject": ""} | LAYOUTS[case]
    (recording,) = read_tables(config_of(cases / case, **fields).table, str(cases / case)).recordings
    assert 799 <= len(recording.labels) <= 800
    assert len(recording.starts) == 1
    if case != "empatica":  # made of the same signal; ActiGraph's stamps are rounded to milliseconds
        assert recording.signals[1].tolist() == pytest.approx([-0.1074, 0.1162, 9.8829], abs=0.01)


@pytest.mark.parametrize(
    ("case", "fields", "samples"),
    [
        ("csv_gz", {"files": ("*.csv.gz",)}, 10_000),
        ("decimal_comma", {"delimiter": ";", "decimal": ","}, 10_000),
        ("bracket_zone", {"time_unit": "datetime"}, 10_000),
        ("colon_ms", {"time_unit": "datetime", "time_format": "%Y-%m-%d %H:%M:%S:%f"}, 10_000),
        ("parquet_time_index", {"files": ("*.parquet",)}, 15_000),
        ("parquet_timestamps_us", {"files": ("*.parquet",), "time_unit": "ns"}, 30_000),
    ],
)
def test_layouts_of_tables(cases, case, fields, samples):
    dataset = build_dataset(config_of(cases / case, **fields))
    assert dataset.class_names == ("stand", "walk")
    assert sum(sum(classes.values()) for classes in dataset.samples.values()) == samples
    assert len(dataset.samples) == 5


def test_sensors_in_two_files_are_the_joined_table(cases):
    fields = {"label": "", "subject": ""}
    joined = config_of(cases / "two_clocks", files=("joined.csv",), **fields)
    apart = config_of(cases / "two_clocks", files=("Acc*.csv",), beside=(("Accelerometer", "Gyroscope", ""),), **fields)
    one, other = (read_tables(data.table, data.raw_dir).recordings[0] for data in (joined, apart))
    assert one.signals.tobytes() == other.signals.tobytes()
    assert len(one.labels) > 3000


def test_swapped_rows_are_refused_with_file_and_line(cases):
    with pytest.raises(DataError, match=r"a\.csv, line 703, column 'time': time goes back by 0\.02 s"):
        build_dataset(config_of(cases / "mixed_order"))


def test_odd_names_of_classes_and_people_stay_as_they_are(cases):
    dataset = build_dataset(config_of(cases / "odd_labels"))
    assert dataset.class_names == ("<b>stå</b> & sit", "a/b\\c", "null", "walk, fast")
    assert set(dataset.samples) == {"<i>", "Zoë", "a/b", "c d", "e"}


def test_a_file_for_each_person_with_jitter_gaps_and_integer_labels(cases):
    columns = sensor("back_x", "back_y", "back_z", "thigh_x", "thigh_y", "thigh_z")
    fields = {"time": "timestamp", "time_unit": "datetime", "label": "label", "subject": "", "channels": columns}
    dataset = build_dataset(config_of(cases / "harth_like", **fields))
    assert dataset.class_names == ("1", "3", "6", "7", "8", "13", "14", "130")
    assert set(dataset.samples) == {"S006", "S008", "S009", "S010", "S012"}
