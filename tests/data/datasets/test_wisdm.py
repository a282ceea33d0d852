"""WISDM: what the published file is known for, and what is damage."""

import numpy as np
import pytest

from dcdp_jax.data import text
from dcdp_jax.data.datasets import wisdm
from dcdp_jax.errors import DataError
from tests.data.datasets import small


@pytest.fixture
def read(tmp_path):
    def write_and_read(content):
        (tmp_path / wisdm.FILE).write_bytes(content if isinstance(content, bytes) else content.encode())
        return wisdm.read(tmp_path)

    return write_and_read


def joined(records, end=";\n"):
    return "".join(record + end for record in records)


TEN = small.wisdm_records(10)


def test_the_documented_example(read):
    (recording,) = read("33,Jogging,49105962326000,-0.6946377,12.680544,0.50395286;\n")
    np.testing.assert_array_equal(recording.signals, np.array([[-0.6946377, 12.680544, 0.50395286]], np.float32))
    assert (recording.subject, wisdm.CLASS_NAMES[recording.labels[0]]) == (33, "jogging")


@pytest.mark.parametrize(
    "content",
    [
        joined(TEN),
        joined(TEN, ";"),
        joined(TEN, ",;\n"),
        joined(TEN, ";\r\n"),
        joined(TEN, ";\n\n"),
        joined(TEN[:4]) + joined(TEN[4:7], ";") + "\n\n" + joined(TEN[7:], ",;\n"),
        joined(TEN[:4]) + ";" + joined(TEN[4:], "; \n"),
        joined(TEN, "\n"),
    ],
    ids=["usual", "one line", "comma", "windows", "blank lines", "mixed", "empty record", "no semicolon"],
)
@pytest.mark.parametrize("block", [1 << 20, 100])
def test_forms_of_the_same_records(read, content, block, monkeypatch):
    monkeypatch.setattr(text, "BLOCK", block)
    found = read(content)
    (recording,) = found
    np.testing.assert_array_equal(recording.signals[:, 0], np.arange(1000, 1010))
    np.testing.assert_array_equal(recording.starts, [0])
    assert len(found.notes) == 1


def test_a_record_without_z_is_left_out_and_named(read):
    found = read(joined(TEN[:5]) + "11,Walking,1867172313000,4.4,4.4,\n" + joined(TEN[5:]))
    assert len(found[0].labels) == 10
    assert found.notes[1] == (
        "WISDM_ar_v1.1_raw.txt: 1 malformed records left out: "
        "line 6: '11,Walking,1867172313000,4.4,4.4,' has 5 fields, not 6"
    )


@pytest.mark.parametrize("bad", ["11,Walking,1867172313000,4.4,4.4,;", "11,Walking;", "11,Walking,18,1,2,3,4;"])
def test_other_numbers_of_fields_are_left_out_too(read, bad):
    found = read(joined(TEN[:5]) + bad + "\n" + joined(TEN[5:]))
    assert [len(r.labels) for r in found] == [10]
    assert "line 6: " in found.notes[1]


def test_many_malformed_records_are_a_damaged_file(read):
    with pytest.raises(DataError, match=r"line 3: '1,Walking' has 2 fields, not 6; so have 2 records of 10"):
        read(joined(TEN[:2]) + "1,Walking;\n1,Walking;\n" + joined(TEN[2:]))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("37,Walking,1,1,2,3;", "line 6: user '37', expected 1 to 36"),
        ("x,Walking,1,1,2,3;", "line 6: user 'x'"),
        ("1,Swimming,1,1,2,3;", "line 6: activity 'Swimming', expected one of walking, jogging"),
        ("1,Walking,1.5,1,2,3;", "line 6: timestamp '1.5', expected whole nanoseconds"),
        ("1,Walking,99999999999999999999,1,2,3;", "line 6: timestamp '99999999999999999999'"),
        ("1,Walking,1,1,2,3x;", "line 6: z '3x' is not a finite number"),
        ("1,Walking,1,NaN,2,3;", "line 6: x 'NaN' is not a finite number"),
        ("1,Walking,1,1e99,2,3;", "line 6: x '1e99' is not a finite number"),
    ],
)
@pytest.mark.parametrize("block", [1 << 20, 100])
def test_damage_is_an_error(read, bad, message, block, monkeypatch):
    monkeypatch.setattr(text, "BLOCK", block)
    with pytest.raises(DataError, match=message):
        read(joined(TEN[:5]) + bad + "\n" + joined(TEN[5:]))


@pytest.mark.parametrize("content", ["", "\n\n", ";\n"])
def test_empty_files(read, content):
    with pytest.raises(DataError, match="empty"):
        read(content)


def test_a_file_that_ends_within_a_record(read):
    with pytest.raises(DataError, match="ends within a record"):
        read(joined(TEN)[:-4])


def test_an_absent_file(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        wisdm.read(tmp_path)


def test_stretches_end_at_gaps_and_changes(read):
    late = small.wisdm_records(3, first=1010, start=49_200_000_000_000)
    early = small.wisdm_records(3, first=1013, start=1_000_000_000)
    standing = small.wisdm_records(3, activity="Standing", first=1016, start=1_150_000_000)
    other = small.wisdm_records(2, user=2, first=1019, start=1_300_000_000)
    again = small.wisdm_records(2, activity="Standing", first=1021, start=1_400_000_000)
    first, second = read(joined([*TEN, *late, *early, *standing, *other, *again]))
    np.testing.assert_array_equal(first.starts, [0, 10, 13, 16, 19])
    np.testing.assert_array_equal(first.signals[-2:, 0], [1021, 1022])
    assert (second.subject, len(second.labels)) == (2, 2)


@pytest.mark.parametrize(("step", "stretches"), [(0.05, 1), (0.11, 1), (0.99, 1), (1.01, 2), (-0.05, 2)])
def test_how_long_a_gap_is(read, step, stretches):
    after = small.wisdm_records(3, first=1010, start=49_105_962_326_000 + 9 * 50_000_000 + round(step * 1e9))
    assert len(read(joined([*TEN, *after]))[0].starts) == stretches


def test_a_record_that_stands_twice_counts_once(read):
    found = read(joined([*TEN, TEN[9], *TEN[3:6]]))
    np.testing.assert_array_equal(found[0].signals[:, 0], np.arange(1000, 1010))
    assert found.notes[1] == "WISDM_ar_v1.1_raw.txt: 4 repeated records left out"


def test_a_timestamp_that_repeats_with_other_values_is_kept(read):
    user, activity, time, *_ = TEN[9].split(",")
    found = read(joined([*TEN, f"{user},{activity},{time},1010,1,2", f"{user},{activity},{time},1010,1,2"]))
    np.testing.assert_array_equal(found[0].signals[:, 0], np.arange(1000, 1011))
    np.testing.assert_array_equal(found[0].starts, [0])


def test_records_of_two_users_are_never_the_same(read):
    assert [len(r.labels) for r in read(joined([*TEN, *(r.replace("1,", "2,", 1) for r in TEN)]))] == [10, 10]


def test_timestamp_zero(read):
    zeros = ["1,Walking,0,0,0,0"] * 3
    unknown = ["1,Walking,0,1010,1,2", "1,Walking,0,1010,1,2"]
    late = small.wisdm_records(3, first=1012, start=49_106_600_000_000)
    found = read(joined([*TEN, *zeros, *unknown, *late]))
    np.testing.assert_array_equal(found[0].signals[10:, 0], [1010, 1010, 1012, 1013, 1014])
    np.testing.assert_array_equal(found[0].starts, [0, 10, 12])
    assert found.notes[1] == "WISDM_ar_v1.1_raw.txt: 3 records with neither time nor acceleration left out"


def test_nothing_but_zeros(read):
    with pytest.raises(DataError, match="no record is a measurement"):
        read("1,Walking,0,0,0,0;\n")


def test_what_was_left_out_is_not_missing(read):
    counts = dict(zip(wisdm.CLASS_NAMES, wisdm.PUBLISHED.values(), strict=True))
    recordings = read(joined(TEN))
    assert f"10 of {counts['walking']:,} rows of walking" in recordings.missing
    assert not wisdm.shortfall(recordings, [n - 10 * (c == "walking") for c, n in counts.items()])[1:]


def test_real_recordings(raw_dir):
    found = wisdm.read(raw_dir / "WISDM_ar_v1.1")
    assert [r.subject for r in found] == list(range(1, 37))
    assert sum(len(r.labels) for r in found) == 1_021_605
    counts = np.bincount(np.concatenate([r.labels for r in found])).tolist()
    assert counts == [406_488, 295_551, 118_431, 96_930, 57_084, 47_121]
    assert sum(len(r.starts) for r in found) == 179
    assert len(found.missing) == 6
    assert len(found.notes) == 1
