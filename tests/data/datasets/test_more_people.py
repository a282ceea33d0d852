"""MHEALTH, HARTH, MotionSense, USC-HAD and RealWorld: what is read is what files say, and damage is named."""

import csv
import io
import re
import zipfile

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from configs import default
from dcdp_jax.data.datasets import DATASETS, harth, mhealth, motionsense, realworld, usc_had
from dcdp_jax.data.prepared import read_dataset
from dcdp_jax.data.recording import UNLABELLED
from dcdp_jax.errors import DataError
from tests.data.datasets import small


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_mhealth(tmp_path):
    found = mhealth.DATASET.read(small.write("mhealth", tmp_path))
    for recording in found:
        table = np.loadtxt(tmp_path / f"mHealth_subject{recording.subject}.log", delimiter="\t")
        np.testing.assert_array_equal(recording.signals[:, :3], table[:, :3].astype(np.float32))
        np.testing.assert_array_equal(recording.signals[:, 3:], table[:, 5:23].astype(np.float32))
        codes = table[:, 23].astype(int)
        np.testing.assert_array_equal(recording.labels, np.where(codes == 0, UNLABELLED, codes - 1))
    assert [r.subject for r in found] == [1, 10]
    assert found.missing[0].startswith("8 of 10 files are missing: mHealth_subject2.log")
    assert found.missing[1] == "21 of 1,215,745 lines"


def test_harth(tmp_path):
    found = harth.DATASET.read(small.write("harth", tmp_path))
    for recording in found:
        rows = rows_of(tmp_path / f"S{recording.subject:03d}.csv")
        expected = np.array([[row[c.name] for c in harth.CHANNELS] for row in rows], np.float32)
        np.testing.assert_array_equal(recording.signals, expected)
        names = [harth.CLASS_NAMES[label] for label in recording.labels]
        assert names == [harth.CLASSES[int(row["label"])] for row in rows]
    assert [r.starts.tolist() for r in found] == [[0, 9], [0]]
    assert [r.subject for r in found] == [6, 15]
    assert found.missing[0].startswith("20 of 22 files are missing: S008.csv")


def test_motionsense(tmp_path):
    found = motionsense.DATASET.read(small.write("motionsense", tmp_path))
    for recording in found:
        rows = rows_of(tmp_path / recording.run / f"sub_{recording.subject}.csv")
        expected = np.array([[row[name] for name in motionsense.COLUMNS] for row in rows], np.float32)
        np.testing.assert_array_equal(recording.signals, expected)
    assert [(r.subject, r.run, set(r.labels.tolist())) for r in found] == [(1, "dws_1", {0}), (24, "jog_16", {5})]
    assert motionsense.CHANNELS[6].name == "gyro_x"
    assert motionsense.COLUMNS[6] == "rotationRate.x"
    assert found.missing[0].startswith("358 of 360 files are missing")


def test_usc_had(tmp_path):
    found = usc_had.DATASET.read(small.write("usc_had", tmp_path))
    for recording in found:
        content = loadmat(tmp_path / f"Subject{recording.subject}" / f"{recording.run}.mat")
        np.testing.assert_array_equal(recording.signals, content["sensor_readings"].astype(np.float32))
    assert [(r.subject, r.run, set(r.labels.tolist())) for r in found] == [(1, "a1t1", {0}), (13, "a12t5", {11})]
    assert found.missing[0].startswith("838 of 840 files are missing")


def realworld_rows(folder, sensor, path, position):
    """(n, 4) of all tables of a position in a zip, with the zips in it."""
    tables = []
    with zipfile.ZipFile(path if isinstance(path, io.BytesIO) else folder / path) as archive:
        for name in archive.namelist():
            if name.endswith(".zip"):
                tables.append(realworld_rows(folder, sensor, io.BytesIO(archive.read(name)), position))
            elif name.endswith(f"_{position}.csv"):
                rows = csv.DictReader(archive.read(name).decode().splitlines())
                tables.append(np.array([[float(row[f"attr_{c}"]) for c in ("time", "x", "y", "z")] for row in rows]))
    return np.concatenate(tables)


def test_realworld(tmp_path):
    found = realworld.read(small.write("realworld", tmp_path))
    runs = [(1, "walking", (1,)), (4, "climbingdown", (1, 2))]
    assert [(r.subject, r.run) for r in found] == [(s, f"{run}-{p}") for s, run, _ in runs for p in ("chest", "waist")]
    for recording in found:
        activity, position = recording.run.split("-")
        data = tmp_path / f"proband{recording.subject}" / "data"
        acc, gyro = (realworld_rows(data, s, f"{s}_{activity}_csv.zip", position) for s in ("acc", "gyr"))
        # The gyroscope's stamps lie half a sample from the accelerometer's; kept is what lies between two of them.
        kept = [t for t in acc[:, 0] if {t - 10, t + 10} <= set(gyro[:, 0].tolist())]
        expected = [[np.interp(t, table[:, 0], table[:, c]) for table in (acc, gyro) for c in (1, 2, 3)] for t in kept]
        np.testing.assert_allclose(recording.signals, expected, atol=1e-3)
        assert set(recording.labels.tolist()) == {0 if activity == "climbingdown" else 7}
        assert recording.starts.tolist() == [0, 10][: 1 + (activity == "climbingdown")]
    assert found.missing[0].startswith("834 of 838 recordings are missing: 1/climbingdown-chest, ")


@pytest.mark.parametrize(("position", "count"), [("waist", 2), ("all", 4)])
def test_a_position_of_realworld(position, count, tmp_path):
    config = default.get_config().data
    config.realworld.position = position
    found = read_dataset(
        "realworld", str(small.write("realworld", tmp_path / "raw")), str(tmp_path / "cache"), config.realworld
    )
    assert len(found) == count
    assert {r.run.split("-")[1] for r in found} == ({"waist"} if count == 2 else {"chest", "waist"})
    config.realworld.position = "shin"
    with pytest.raises(DataError, match=r"data\.realworld\.position='shin': no recording is of this position"):
        realworld.at_position(found, config.realworld)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no zip", r"gyr_walking_csv\.zip: not a whole zip file"),
        (small.packed({"readMe": b""}), r"gyr_walking_csv\.zip: holds no table of a position"),
        (
            small.packed({"Gyroscope_walking_waist.csv": b"id,attr_time,attr_x\n1,2,3\n"}),
            r"gyr_walking_csv\.zip/Gyroscope_walking_waist\.csv, line 1: 'id,attr_time,attr_x'; expected the columns",
        ),
        (
            small.packed({"Gyroscope_walking_waist.csv": b"id,attr_time,attr_x,attr_y,attr_z\n1,2,3,4,x\n"}),
            r"Gyroscope_walking_waist\.csv: .*'x'",
        ),
        (
            small.packed({"Gyroscope_walking_waist.csv": b"id,attr_time,attr_x,attr_y,attr_z\n1,2,3,4,5\n"}),
            "waist: accelerometer and gyroscope have no time in common",
        ),
        (
            small.packed({"Gyroscope_walking_csv.zip": small.packed({"Gyroscope_walking_waist.csv": b""})})[:-60],
            "not a whole zip file .its index is that of a zip within it.; fetch it again",
        ),
    ],
)
def test_damaged_zips_are_named(content, message, tmp_path):
    folder = small.write("realworld", tmp_path)
    (folder / "proband1" / "data" / "gyr_walking_csv.zip").write_bytes(content)
    with pytest.raises(DataError, match=message):
        realworld.read(folder)
    (folder / "proband1" / "data" / "gyr_walking_csv.zip").unlink()
    with pytest.raises(DataError, match=r"gyr_walking_csv\.zip"):
        realworld.read(folder)


@pytest.mark.parametrize("name", ["mhealth", "harth", "motionsense", "usc_had", "realworld"])
def test_every_subject_can_be_left_out_and_grouped(name):
    assert {"loso", "groups"} <= set(DATASETS[name].protocols)


@pytest.mark.parametrize(
    ("name", "file", "change", "message"),
    [
        ("mhealth", "mHealth_subject1.log", lambda t: t.replace("\t", "", 1), "line 1: 23 columns, expected 24"),
        ("mhealth", "mHealth_subject1.log", lambda t: "\t".join(["0"] * 23 + ["13"]) + "\n" + t, "line 1: label 13"),
        ("harth", "S006.csv", lambda t: t.replace("thigh_z", "thigh"), "expected the columns back_x"),
        ("harth", "S006.csv", lambda t: t.replace(",", ";"), "line 1: 'timestamp;back_x;.*'; expected the columns"),
        ("harth", "S006.csv", lambda t: re.sub(r"(:\d\d)\.\d+,", r"\1,", t), "lines have the time of the line before"),
        ("harth", "S006.csv", lambda t: t.partition("\n")[0] + "\n", "no line below the column names"),
        ("harth", "S006.csv", lambda t: t.replace(".020,", ".020,x", 1), "invalid value 'x"),
        (
            "harth",
            "S006.csv",
            lambda t: t.replace(".020,6001", ".020,", 1),
            "line 3, column 'back_x': no finite number",
        ),
        ("harth", "S006.csv", lambda t: t.replace(".020,6001", ".020,1e39", 1), "line 3, column 'back_x'"),
        ("harth", "S006.csv", lambda t: t.replace("2019-01-12 00:00:00.020", "noon"), "invalid value 'noon'"),
        ("harth", "S006.csv", lambda t: t.rsplit(",", 1)[0] + ",9\n", "line 15: label 9, expected one of 1, 2"),
        ("motionsense", "dws_1/sub_1.csv", lambda t: t.replace("\n", ",1\n", 2), "Expected 14 columns|columns, got"),
        ("motionsense", "dws_1/sub_1.csv", lambda t: "", "Empty CSV file"),
    ],
)
def test_damaged_files_are_named(name, file, change, message, tmp_path):
    folder = small.write(name, tmp_path)
    path = folder / file
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=message) as raised:
        DATASETS[name].read(folder)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no MATLAB file", "not a MATLAB file of version 5"),
        ({"readings": np.zeros((3, 6))}, "sensor_readings is absent"),
        ({"sensor_readings": np.zeros((3, 5))}, r"sensor_readings is of shape \(3, 5\)"),
        ({"sensor_readings": np.full((3, 6), np.nan)}, "sample 0: acc_x is not a finite number"),
        ({"sensor_readings": np.full((3, 6), 1e39)}, "sample 0: acc_x is not a finite number"),
    ],
)
def test_damaged_matlab_files_are_named(content, message, tmp_path):
    folder = small.write("usc_had", tmp_path)
    path = folder / "Subject1" / "a1t1.mat"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        savemat(path, content)
    with pytest.raises(DataError, match=message) as raised:
        usc_had.DATASET.read(folder)
    assert str(path) in str(raised.value)


def test_a_truncated_matlab_file_is_named(tmp_path):
    path = small.write("usc_had", tmp_path) / "Subject1" / "a1t1.mat"
    whole = path.read_bytes()
    for length in range(0, len(whole) - 8, 17):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"a1t1\.mat"):
            usc_had.DATASET.read(tmp_path)


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("mhealth", "mHealth_subject11.log", "expected mHealth_subject1.log to mHealth_subject10.log"),
        ("harth", "S007.csv", "expected S006.csv to S029.csv, without S007 and S011"),
        ("motionsense", "dws_4/sub_1.csv", "expected a trial as dws_1 or jog_16"),
        ("motionsense", "dws_1/sub_25.csv", "sub_1.csv to sub_24.csv"),
        ("realworld", "proband16/data/acc_walking_csv.zip", "expected proband1 to proband15"),
        ("realworld", "proband1/data/acc_flying_csv.zip", "with the activity climbingdown, climbingup, jumping"),
        ("usc_had", "Subject15/a1t1.mat", "expected Subject1 to Subject14"),
        ("usc_had", "Subject1/a13t1.mat", "a1t1.mat to a12t5.mat"),
    ],
)
def test_names_out_of_range(name, file, message, tmp_path):
    folder = small.write(name, tmp_path)
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text("")
    with pytest.raises(DataError, match=message):
        DATASETS[name].read(folder)
