"""OPPORTUNITY in the documented layout, by name against the publisher's own description."""

import re

import numpy as np
import pytest

from dcdp_jax.data import completeness
from dcdp_jax.data.datasets import opportunity
from dcdp_jax.errors import DataError
from tests.data.datasets import small
from tests.data.datasets.documents import document


def documented_columns():
    """{1-indexed column: (device, signal)} of the publisher's column_names.txt."""
    pattern = r"Column: (\d+) (?:Accelerometer|InertialMeasurementUnit) (\S+) (\S+);"
    return {int(n): (device, signal) for n, device, signal in re.findall(pattern, document("column_names.txt"))}


def test_channels_are_the_challenge_s_113_by_name():
    documented = documented_columns()
    numbers = [
        n
        for first, last in ((2, 46), (51, 59), (64, 72), (77, 85), (90, 98), (103, 134))
        for n in range(first, last + 1)
    ]
    assert [c + 1 for c in opportunity.CHANNEL_COLUMNS] == numbers
    assert len(opportunity.CHANNELS) == 113
    for number, channel in zip(numbers, opportunity.CHANNELS, strict=True):
        device, signal = documented[number]
        site = f"IMU_{device}" if 38 <= number < 103 else device
        assert channel.name == f"{site}_{signal}"
        assert channel.site == site
    assert len({c.name for c in opportunity.CHANNELS}) == 113


def test_partition_is_63_and_50():
    groups = [c.group for c in opportunity.CHANNELS]
    assert groups.count("acc") == 63
    assert {g: groups.count(g) for g in ("gyro", "mag", "orientation")} == {"gyro": 27, "mag": 15, "orientation": 8}
    names = {
        group: {c.name.rsplit("_", 1)[1][:4] for c in opportunity.CHANNELS if c.group == group} for group in groups
    }
    assert names["acc"] == {"accX", "accY", "accZ", "Ax", "Ay", "Az"}


def test_gestures_are_the_17_by_name():
    legend = dict(re.findall(r"^(\d+)\s+-\s+ML_Both_Arms\s+-\s+(.+?)\s*$", document("label_legend.txt"), re.MULTILINE))
    assert len(opportunity.GESTURES) == len(opportunity.CLASS_NAMES) == 17
    assert {str(code) for code in opportunity.GESTURES} == set(legend)
    for code, name in opportunity.GESTURES.items():
        assert name.replace("_", "") == legend[str(code)].lower().replace(" ", "")
    motion = dict(re.findall(r"^(\d+)\s+-\s+Locomotion\s+-\s+(\w+)", document("label_legend.txt"), re.MULTILINE))
    assert {str(code): name for code, name in opportunity.LOCOMOTIONS.items()} == {
        c: n.lower() for c, n in motion.items()
    }


def test_published_files_are_the_documented_ones():
    rows = [line.split() for line in document("opportunity_dat_sizes_sha256.txt").splitlines() if line.strip()]
    assert {name: (int(size), digest) for name, size, digest in rows} == opportunity.PUBLISHED
    runs = set().union(*(files for files, _ in opportunity.CHALLENGE_ROWS.values()))
    assert {f"S{s}-{run}.dat" for s, run in runs} == {n for n in opportunity.PUBLISHED if n[1] != "4"}


def test_values_labels_and_tracks(tmp_path):
    folder = small.write("opportunity", tmp_path)
    rows = [line.split() for line in (folder / "S1-ADL1.dat").read_text().splitlines()]
    first, second = opportunity.read(folder)
    assert (first.subject, first.run, second.subject, second.run) == (1, "ADL1", 2, "Drill")
    codes = [0, *opportunity.GESTURES]
    np.testing.assert_array_equal(first.labels, [codes.index(int(row[249])) - 1 for row in rows])
    np.testing.assert_array_equal(
        first.tracks["locomotion"], [[0, 1, 2, 4, 5].index(int(row[243])) - 1 for row in rows]
    )
    for i, row in enumerate(rows):
        for j, column in enumerate(opportunity.CHANNEL_COLUMNS):
            if row[column] != "NaN":
                assert first.signals[i, j] == float(row[column])
    assert not np.isnan(first.signals).any()
    assert first.signals.flags.c_contiguous
    np.testing.assert_array_equal(first.starts, [0])


def test_missing_values_are_linear_within_the_file_and_then_zero(tmp_path):
    rows = small.opportunity_rows(np.random.default_rng(0), 8, missing=0)
    rows[:, 2] = ["NaN", "NaN", "2", "NaN", "NaN", "8", "NaN", "NaN"]
    rows[:, 3] = "NaN"
    (tmp_path / "S4-ADL5.dat").write_text(small.lines(rows))
    found = opportunity.read(tmp_path)
    np.testing.assert_array_equal(found[0].signals[:, 1], [0, 0, 2, 4, 6, 8, 8, 8])
    np.testing.assert_array_equal(found[0].signals[:, 2], np.zeros(8))
    assert "S4-ADL5.dat: 14 missing values filled, 0 gaps in time" in found.notes
    lacking = {name: count for name, count in found.missing_values.items() if count}
    assert lacking == {"RKN^_accY": 6, "RKN^_accZ": 8}


def test_a_gap_in_time_begins_a_stretch(tmp_path):
    rows = small.opportunity_rows(np.random.default_rng(0), 9)
    (tmp_path / "S1-ADL2.dat").write_text(small.lines(np.delete(rows, 4, axis=0)))
    np.testing.assert_array_equal(opportunity.read(tmp_path)[0].starts, [0, 4])


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (249, "406518", "line 3: label 406518, expected one of 0, 404505"),
        (243, "3", "line 3: label 3, expected one of 0, 1, 2, 4, 5"),
        (249, "NaN", "line 3: label nan"),
        (0, "NaN", "line 3: NaN, expected a time"),
        (5, "12a", "line 3, column 6: '12a' is not a finite number"),
        (249, "406516 1", "line 3: 251 columns, expected 250"),
    ],
)
def test_errors(tmp_path, column, value, message):
    rows = small.opportunity_rows(np.random.default_rng(0), 9).astype("U12")
    rows[2, column] = value
    (tmp_path / "S1-ADL2.dat").write_text(small.lines(rows))
    with pytest.raises(DataError, match="S1-ADL2.dat, " + message):
        opportunity.read(tmp_path)


def test_other_names_and_no_files(tmp_path):
    with pytest.raises(DataError, match=r"no files S\[1-4\]"):
        opportunity.read(tmp_path)
    (tmp_path / "S1-ADL6.dat").write_text("")
    with pytest.raises(DataError, match=r"S1-ADL6.dat: expected files named S1-ADL1.dat"):
        opportunity.read(tmp_path)


def test_what_is_missing_and_altered_is_named(tmp_path, monkeypatch):
    folder = small.write("opportunity", tmp_path)
    found = opportunity.read(folder)
    size = (folder / "S1-ADL1.dat").stat().st_size
    assert found.missing[0] == (
        "22 of 24 files are missing: S1-ADL2.dat, S1-ADL3.dat, S1-ADL4.dat, S1-ADL5.dat, S1-Drill.dat, ..."
    )
    assert f"S1-ADL1.dat has {size:,} bytes, the published one 51,803,164" in found.missing
    same_size = {name: ((folder / name).stat().st_size, "0") for name in ("S1-ADL1.dat", "S2-Drill.dat")}
    monkeypatch.setattr(opportunity, "PUBLISHED", same_size)
    assert opportunity.read(folder).missing == tuple(
        f"{name} has the size of the published one but other content (SHA-256 differs)" for name in same_size
    )
    same = {n: (f[0], completeness.file_sha256(folder / n)) for n, f in same_size.items()}
    monkeypatch.setattr(opportunity, "PUBLISHED", same)
    assert opportunity.read(folder).missing == ()


def test_rows_of_the_challenge_are_counted_where_all_its_files_are_there(tmp_path):
    sizes = {f"S{s}-{run}": 3 for s in (2, 3) for run in ("ADL4", "ADL5")}
    small.write_opportunity(tmp_path, np.random.default_rng(0), sizes)
    assert "12 of 118,750 rows of the challenge's test files" in opportunity.read(tmp_path).missing
