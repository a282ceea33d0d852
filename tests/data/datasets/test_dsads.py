import numpy as np
import pytest

from dcdp_jax.data.datasets import dsads
from dcdp_jax.errors import DataError
from tests.data.datasets import small


def test_consecutive_segments_are_one_stretch(tmp_path):
    rng = np.random.default_rng(0)
    for segment in (1, 2, 4, 5, 60):
        path = tmp_path / "a03" / "p2" / f"s{segment:02d}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(small.lines(rng.normal(size=(125, 45)).round(3).astype("U12"), ","))
    found = dsads.read(tmp_path)
    (recording,) = found
    np.testing.assert_array_equal(recording.starts, [0, 250, 500])
    assert (recording.subject, recording.run, set(recording.labels)) == (2, "a03", {2})
    table = np.concatenate([np.loadtxt(p, delimiter=",") for p in sorted((tmp_path / "a03" / "p2").iterdir())])
    np.testing.assert_array_equal(recording.signals, table.astype(np.float32))
    assert found.missing == (
        "151 of 152 recordings are missing: a01/p1, a01/p2, a01/p3, a01/p4, a01/p5, ...",
        "5 of 9,120 segments",
    )


@pytest.mark.parametrize("moved", [-10, 0, 10])
def test_a_copy_of_another_subject_is_left_out(tmp_path, moved):
    """Subject 4 has a stretch of a signal, and subject 2 the same, moved by some samples; subject 3 has another one."""
    signal = np.random.default_rng(0).normal(size=(400, 45)).round(3).astype("U12")
    other = np.random.default_rng(1).normal(size=(400, 45)).round(3).astype("U12")
    for subject, samples, first in ((2, signal, 20), (3, other, 20), (4, signal, 20 + moved)):
        for segment in (1, 2):
            path = tmp_path / "a17" / f"p{subject}" / f"s{segment:02d}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            begin = first + (segment - 1) * 125
            path.write_text(small.lines(samples[begin : begin + 125], ","))
    found = dsads.read(tmp_path)
    assert [recording.subject for recording in found] == [2, 3]
    assert found.notes[1:] == ("a17 of subject 4 is left out: it has the samples of subject 2, moved in time",)


def test_groups():
    groups = [c.group for c in dsads.CHANNELS]
    assert [groups.count(g) for g in ("acc", "gyro", "mag")] == [15, 15, 15]
    assert [c.site for c in dsads.CHANNELS[::9]] == ["torso", "right_arm", "left_arm", "right_leg", "left_leg"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.partition("\n")[2], "124 lines, expected 125"),
        (lambda text: text + text.partition("\n")[0], "126 lines, expected 125"),
        (lambda text: text.replace(",", ";", 1), "line 1: 44 columns, expected 45"),
        (lambda text: text.replace("0", "O", 1), "is not a finite number"),
        (lambda text: "", "empty"),
    ],
)
def test_damaged_segments_are_named(tmp_path, change, message):
    folder = small.write("dsads", tmp_path)
    path = folder / "a01" / "p1" / "s03.txt"
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=r"a01/p1/s03.txt.*" + message):
        dsads.read(folder)


def test_the_last_line_needs_no_line_break(tmp_path):
    folder = small.write("dsads", tmp_path)
    intact = dsads.read(folder)
    path = folder / "a01" / "p1" / "s01.txt"
    path.write_text(path.read_text().rstrip("\n"))
    np.testing.assert_array_equal(dsads.read(folder)[0].signals, intact[0].signals)


@pytest.mark.parametrize("name", ["a20/p1/s01.txt", "a01/p9/s01.txt", "a01/p1/s61.txt"])
def test_names_out_of_range(tmp_path, name):
    folder = small.write("dsads", tmp_path)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("")
    with pytest.raises(DataError, match="expected a01 to a19, p1 to p8, s01 to s60"):
        dsads.read(folder)


def test_real_recordings(raw_dir):
    found = dsads.read(raw_dir / "data")
    every = {(p, f"a{a:02d}") for a in range(1, 20) for p in range(1, 9)}
    assert {(r.subject, r.run) for r in found} == every - {(8, "a17"), (8, "a18")}
    assert [note for note in found.notes if "left out" in note] == [
        f"a{activity} of subject 8 is left out: it has the samples of subject 4, moved in time" for activity in (17, 18)
    ]
    assert all(r.signals.shape == (2500, 45) and len(r.starts) == 1 for r in found)
    assert found.missing == ("3,040 of 9,120 segments",)
