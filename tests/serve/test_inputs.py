"""Files of a user's and of data sets become what a model reads, or are refused with what came and what was expected."""

import msgspec
import numpy as np
import pandas as pd
import pytest

from configs import default
from dcdp_jax.data.datasets import DATASETS
from dcdp_jax.data.recording import UNLABELLED, Channel
from dcdp_jax.errors import DataError
from dcdp_jax.serve.inputs import prepare, read_input
from dcdp_jax.serve.predict import strange_values
from tests.data.datasets import small
from tests.serve.making import Kind, make_card, make_recording, noise

COLUMNS = ["acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"]


@pytest.fixture
def card():
    return make_card()


@pytest.fixture
def data():
    return default.get_config().data


def table(path, samples=100, rate=25.0, names=COLUMNS, **columns):
    frame = pd.DataFrame(noise(samples, len(names)), columns=names)
    frame.insert(0, "time", np.arange(samples) / rate)
    frame.assign(**columns).to_csv(path, index=False)
    return path


def test_a_table_in_any_order_with_units_and_labels(tmp_path, card, data):
    path = table(tmp_path / "a.csv", names=[*COLUMNS[::-1], "temperature"], label=["walk"] * 60 + ["swim"] * 40)
    (item,) = read_input(path, card, data)
    expected = noise(100, 7)[:, 5::-1]
    np.testing.assert_allclose(item.recording.signals, expected, atol=1e-5)
    assert item.recording.channels == card.inputs
    assert item.recording.labels.tolist() == [1] * 60 + [UNLABELLED] * 40
    assert item.notes == ("labels that the model does not know: swim",)
    np.testing.assert_allclose(item.time, np.arange(100) / 25)
    units = table(tmp_path / "b.csv", names=[f"{c.name} [{c.unit}]" for c in card.inputs][::-1])
    (item,) = read_input(units, card, data)
    np.testing.assert_allclose(item.recording.signals, noise(100, 6)[:, ::-1], atol=1e-5)


def test_annotations_are_read_where_they_are_there(tmp_path, card, data):
    path = table(tmp_path / "a.csv")
    data.table.update({"label": "", "annotations": "{stem}_labels.csv"})
    (item,) = read_input(path, card, data)
    assert set(item.recording.labels.tolist()) == {UNLABELLED}
    (tmp_path / "a_labels.csv").write_text("start,end,label\n0,2,walk\n9,10,walk\n")
    (item,) = read_input(path, card, data)
    assert item.recording.labels.tolist() == [1] * 50 + [UNLABELLED] * 50
    assert item.notes == (f"annotations hold no row of their table: {tmp_path / 'a_labels.csv'}, line 3",)


def test_a_unit_that_gravity_contradicts_is_asked_about(card):
    recording = make_recording(card, 50)
    recording.signals[:, :3] = [0, 0.1, 9.8]
    doubt = "the values of acc at hip are as large as in m/s^2, and their unit is g; is that right?"
    assert prepare("here", recording, card).notes == (doubt, "constant from beginning to end: acc_x, acc_y, acc_z")


def test_another_rate_is_resampled_and_said(tmp_path, card, data):
    (item,) = read_input(table(tmp_path / "a.csv", rate=50.0), card, data)
    assert item.notes == ("rows come at 50 Hz, and the model was trained on 25 Hz: resampled by linear",)
    np.testing.assert_allclose(item.recording.signals, noise(100, 6)[::2], atol=1e-5)
    assert item.recording.rate == 25.0


def test_rows_that_are_lost_or_repeat_a_value_are_said(tmp_path, card, data):
    path = table(tmp_path / "a.csv", samples=400)
    frame = pd.read_csv(path)
    frame.loc[1::2, COLUMNS[:3]] = frame.loc[::2, COLUMNS[:3]].to_numpy()
    frame[np.arange(400) % 20 < 15].to_csv(path, index=False)
    (item,) = read_input(path, card, data)
    assert [note[:20] for note in item.notes] == ["rows are lost for mo", "rows repeat the valu"]


def test_a_recording_of_another_rate_is_resampled_and_said(card):
    recording = make_recording(msgspec.structs.replace(card, rate=50.0), 101, starts=(0, 61))
    item = prepare("here", recording, card)
    assert item.notes == ("the recording has 50 Hz, and the model was trained on 25 Hz: resampled by linear",)
    expected = np.concatenate([recording.signals[:61:2], recording.signals[61::2]])
    np.testing.assert_allclose(item.recording.signals, expected, atol=1e-5)
    assert item.recording.starts.tolist() == [0, 31]
    np.testing.assert_allclose(item.time, np.concatenate([np.arange(0, 61, 2), np.arange(61, 101, 2)]) / 50)


def test_gaps_of_a_table_keep_their_time(tmp_path, card, data):
    path = tmp_path / "a.csv"
    frame = pd.read_csv(table(path))
    frame.loc[50:, "time"] += 7.5
    frame.to_csv(path, index=False)
    (item,) = read_input(path, card, data)
    assert item.recording.starts.tolist() == [0, 50]
    assert item.time[[49, 50]].tolist() == pytest.approx([49 / 25, 50 / 25 + 7.5])


def test_subjects_of_a_table_are_recordings(tmp_path, card, data):
    path = table(tmp_path / "a.csv", subject=["ann"] * 50 + ["bob"] * 50)
    frame = pd.read_csv(path)
    frame["time"] %= 2.0
    frame.to_csv(path, index=False)
    assert [len(item.recording.labels) for item in read_input(path, card, data)] == [50, 50]


def test_every_third_sample_and_gravity_as_in_training(tmp_path, data):
    card = make_card(Kind("derived", decimate=3))
    (item,) = read_input(table(tmp_path / "a.csv", rate=75.0, names=COLUMNS[:3]), card, data)
    np.testing.assert_allclose(item.recording.signals[:, :3], noise(100, 3)[::3], atol=1e-5)
    assert item.recording.channels == card.channels
    np.testing.assert_allclose(item.time, np.arange(0, 100, 3) / 75)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns=["gyro_x"]), "no column gyro_x; the model reads acc_x [g], acc_y [g]"),
        (lambda f: f.rename(columns={"acc_y": "acc_y [m/s^2]"}), "acc_y is in m/s^2, and the model reads it in g"),
        (lambda f: f.assign(**{"acc_x [g]": 0.0}), "the channel 'acc_x' stands twice"),
        (lambda f: f.rename(columns={"acc_x": "Acc_X"}), "no column 'acc_x' (which the model reads), but 'Acc_X'"),
        (lambda f: f.rename(columns={"acc_x": "acc_x (g)"}), "(which the model reads), but 'acc_x (g)'"),
        (lambda f: f.assign(Subject="ann"), "no column 'subject' (data.table.subject), but 'Subject'"),
        (lambda f: f.assign(**{" label": "walk"}), "no column 'label' (data.table.label), but ' label'"),
        (lambda f: f.assign(**dict.fromkeys(COLUMNS, np.nan)), "recording 'a' has no sample with a value"),
        (lambda f: f.drop(columns=["time"]), "no column 'time' with the time (data.table.time), and so no rate"),
        (lambda f: f.assign(time=f["time"] * 1000), "is data.table.time_unit='s' right?"),
        (lambda f: f.assign(acc_x="fast"), "'fast' is not a finite number"),
    ],
)
def test_a_table_that_is_not_what_the_model_reads(change, message, tmp_path, card, data):
    path = table(tmp_path / "a.csv")
    change(pd.read_csv(path)).to_csv(path, index=False)
    with pytest.raises(DataError) as raised:
        read_input(path, card, data)
    assert message in str(raised.value)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "empty"),
        ("a.csv", b"\xff\xfe\x00", "line 1: byte 0xff is not UTF-8"),
        ("a.parquet", b"no", "not a whole Parquet file"),
        (
            "a.dat",
            b"1 2 3",
            "expected a table (.csv, .txt, .tsv, .csv.gz, .txt.gz, .tsv.gz, .parquet), or a file of hapt as RawData",
        ),
        (None, b"", "no such file"),
    ],
)
def test_what_is_no_input(name, content, message, tmp_path, card, data):
    path = tmp_path / (name or "absent.csv")
    if name:
        path.write_bytes(content)
    with pytest.raises(DataError) as raised:
        read_input(path, msgspec.structs.replace(card, dataset="hapt"), data)
    assert message in str(raised.value)


def test_a_recording_in_another_unit_is_refused(card):
    inputs = (Channel("acc_x", "acc", "hip", "m/s^2"), *card.inputs[1:])
    other = make_recording(msgspec.structs.replace(card, inputs=inputs), 50)
    with pytest.raises(DataError, match=r"acc_x is in m/s\^2, and the model reads it in g"):
        prepare("here", other, card)


@pytest.mark.parametrize("unit", ["m/s²", "m/s2", "ms-2", "m s⁻²"])
def test_a_unit_in_another_spelling_is_the_same_unit(unit, tmp_path, card, data):
    card = msgspec.structs.replace(card, inputs=(card.inputs[0]._replace(unit="m/s^2"), *card.inputs[1:]))
    path = table(tmp_path / "a.csv", names=[f"acc_x [{unit}]", *COLUMNS[1:]])
    (item,) = read_input(path, card, data)
    np.testing.assert_allclose(item.recording.signals, noise(100, 6), atol=1e-5)
    inputs = (card.inputs[0]._replace(unit=unit), *card.inputs[1:])
    assert prepare("here", make_recording(msgspec.structs.replace(card, inputs=inputs), 50), card)
    data.table.channels = (("ax", "acc", "hip", unit), *((c.name, c.group, c.site, c.unit) for c in card.inputs[1:]))
    assert len(read_input(table(tmp_path / "b.csv", names=["ax", *COLUMNS[1:]]), card, data)) == 1


def test_columns_in_another_order_do_not_stand_for_the_models(tmp_path, card, data):
    sites = ["hip"] * 3 + ["foot"] * 3
    card = msgspec.structs.replace(
        card, inputs=tuple(Channel(c, "acc", s, "g") for c, s in zip(COLUMNS, sites, strict=True))
    )
    path = table(tmp_path / "a.csv", names=list("abcdef"))
    data.table.channels = tuple((c, "acc", s, "g") for c, s in zip("abcdef", sites, strict=True))
    assert len(read_input(path, card, data)) == 1
    data.table.channels = data.table.channels[3:] + data.table.channels[:3]
    with pytest.raises(DataError, match=r"d is of acc at foot, and the place of acc_x .* is of acc at hip"):
        read_input(path, card, data)
    data.table.channels = tuple((c, "acc", s, "g") for c, s in zip(COLUMNS[::-1], sites[::-1], strict=True))
    with pytest.raises(DataError, match="no column acc_x, acc_y, gyro_x, gyro_y, gyro_z; the model reads"):
        read_input(table(tmp_path / "b.csv", names=["acc_z", *"abcde"]), card, data)


def test_values_of_another_unit_are_noticed(card):
    recording = make_recording(card, 50)
    item = prepare("here", recording, card)
    assert strange_values(card, item.recording) == []
    item.recording.signals[:, 2] += 50
    assert strange_values(card, item.recording) == ["values unlike the training's, is the unit right? acc_z [g]"]


@pytest.mark.parametrize(("trained", "came", "but"), [(0.8, 1, ""), (0.8, 0, "without"), (0, 1, "with"), (0, 0, "")])
def test_gravity_in_the_recording_or_the_training_only_is_noticed(card, trained, came, but):
    """As where the training's phones measured it, and a watch subtracts it."""
    card = msgspec.structs.replace(card, shift=(0.02, 0.01, trained, 0.0, 0.0, 0.0), scale=(1.5,) * 6)
    recording = make_recording(card, 100)
    recording.signals[:, :3] = [0, 0, came] + 0.1 * noise(100, 3)
    other = {"with": "without", "without": "with"}.get(but)
    expected = [f"acc at hip is {but} gravity, and the training's is {other} it"] if but else []
    assert strange_values(card, recording) == expected


def test_rows_without_a_time_are_said_to_come_at_the_rate_of_the_training(tmp_path, card, data):
    data.table.time = ""
    (item,) = read_input(table(tmp_path / "a.csv", rate=100.0), card, data)
    assert item.notes == ("rows are taken to come at 25 Hz, because data.table.time is empty",)


@pytest.mark.parametrize("name", small.WRITERS)
def test_one_file_of_a_data_set_gives_its_recordings(name, tmp_path):
    folder = small.write(name, tmp_path / "here")
    everything = {(r.subject, r.run): r for r in DATASETS[name].read(folder)}
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "labels.txt"):
        recordings = DATASETS[name].read_one(path)
        assert recordings, path
        found |= {(r.subject, r.run): r for r in recordings}
    assert found.keys() == everything.keys()
    for key, recording in found.items():
        np.testing.assert_array_equal(recording.signals, everything[key].signals)
        np.testing.assert_array_equal(recording.labels, everything[key].labels)
        np.testing.assert_array_equal(recording.starts, everything[key].starts)


@pytest.mark.parametrize("name", small.WRITERS)
def test_the_name_that_messages_give_is_one_of_the_data_set(name, tmp_path):
    with pytest.raises(DataError):
        DATASETS[name].read_one(tmp_path / DATASETS[name].example)
    assert DATASETS[name].read_one(tmp_path / "other.csv") is None


def test_a_file_of_hapt_without_labels(tmp_path):
    folder = small.write("hapt", tmp_path)
    (folder / "RawData" / "labels.txt").unlink()
    (recording,) = DATASETS["hapt"].read_one(folder / "RawData" / "gyro_exp02_user07.txt")
    assert (recording.subject, recording.run, set(recording.labels.tolist())) == (7, "exp02", {UNLABELLED})
