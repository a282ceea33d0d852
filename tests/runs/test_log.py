"""metrics.jsonl goes on where a checkpoint left off, and only from the log that the checkpoint belongs to."""

import json

import pytest

from dcdp_jax.errors import CheckpointError
from dcdp_jax.runs.log import MetricsLog


def epoch(number, f1, best):
    validation = {"accuracy": f1, "f1_macro": f1, "loss": 1.0, "windows": 4}
    return {
        **{"kind": "epoch", "epoch": number, "step": 2 * number, "train": {"loss": 1.0, "accuracy": 0.5}},
        **{"validation": validation, "best": best, "seconds": 1.0},
    }


def step(number, at):
    return {"kind": "step", "epoch": number, "step": at, "loss": {"total": 0.5}}


@pytest.fixture
def logged(tmp_path):
    """The notes after each of three epochs, of which the second is the best."""
    notes = []
    with MetricsLog(tmp_path) as log:
        for number, f1 in ((1, 0.5), (2, 0.75), (3, 0.6)):
            log.append([step(number, 2 * number - 1), epoch(number, f1, number < 3)])
            notes.append(log.notes())
    return notes


def test_notes_say_what_resuming_needs(tmp_path, logged):
    content = (tmp_path / "metrics.jsonl").read_bytes()
    assert [note["epochs"] for note in logged] == [1, 2, 3]
    assert [note["best"] for note in logged][1:] == [{"epoch": 2, "score": 0.75}] * 2
    assert logged[2]["bytes"] == len(content)


def test_a_log_that_is_longer_than_the_checkpoint_is_cut(tmp_path, logged):
    whole = (tmp_path / "metrics.jsonl").read_bytes()
    (tmp_path / "metrics.jsonl").write_bytes(whole + b'{"kind": "st')  # a write that was killed
    with MetricsLog(tmp_path, logged[1]) as log:
        assert [record["epoch"] for record in log.epochs()] == [1, 2]
        assert log.notes() == logged[1]
        log.append([step(3, 5), epoch(3, 0.6, False)])
        assert log.notes() == logged[2]
    assert (tmp_path / "metrics.jsonl").read_bytes() == whole


@pytest.mark.parametrize("damage", ["removed", "emptied", "halved", "edited"])
def test_another_log_is_refused(tmp_path, logged, damage):
    path = tmp_path / "metrics.jsonl"
    content = path.read_bytes()
    path.unlink()
    if damage != "removed":
        changed = {"emptied": b"", "halved": content[: len(content) // 2], "edited": content.replace(b"0.75", b"0.25")}
        path.write_bytes(changed[damage])
    with pytest.raises(CheckpointError, match=r"metrics.jsonl is not the log of the checkpoint.*restore it") as error:
        MetricsLog(tmp_path, logged[2])
    assert "\n" not in str(error.value)
    assert path.exists() == (damage != "removed")


def test_a_checkpoint_of_an_earlier_version_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"saved by an earlier version"):
        MetricsLog(tmp_path, {})


def test_a_finished_log_is_verified(tmp_path, logged):
    with MetricsLog(tmp_path, logged[2]) as log:
        log.finish()
    assert "metrics.jsonl" in json.loads((tmp_path / "files.json").read_text())["files"]
