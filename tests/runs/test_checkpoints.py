"""Checkpoints: the best and the last stay, and damage is noticed and named."""

import concurrent.futures
import json
import re
import shutil
import threading

import numpy as np
import pytest

from dcdp_jax.errors import CheckpointError
from dcdp_jax.runs.checkpoints import Checkpoints, digest, file_digests
from dcdp_jax.runs.files import read_digests


def state_of(seed):
    rng = np.random.default_rng(seed)
    return {"params": {"w": rng.normal(size=(64, 64)).astype(np.float32)}, "step": np.int32(seed)}


def saved(folder, scores):
    with Checkpoints(folder) as checkpoints:
        for epoch, score in enumerate(scores, 1):
            checkpoints.save(epoch, state_of(epoch), score)
        return checkpoints.numbers()


@pytest.mark.parametrize(
    ("scores", "kept"),
    [([0.1, 0.9, 0.5, 0.7], [2, 4]), ([0.1, 0.2, 0.3], [3]), ([0.5, 0.5, 0.5], [1, 3])],
    ids=["best in the middle", "best is last", "earliest of equals"],
)
def test_best_and_last_stay(tmp_path, scores, kept):
    assert saved(tmp_path, scores) == kept


def test_what_a_killed_save_did_not_remove_is_removed_when_the_folder_is_opened(tmp_path):
    """Killed when the last checkpoint was in place and those that it supersedes were not removed."""
    folder = tmp_path / "run"
    folder.mkdir()
    for number, score in enumerate([0.0, 0.1, 0.9, 0.2, 0.3]):  # 0 is the trial
        with Checkpoints(tmp_path / str(number)) as checkpoints:
            checkpoints.save(number, state_of(number), score)
        shutil.move(tmp_path / str(number) / str(number), folder / str(number))
    (folder / "removed" / "5" / "check").mkdir(parents=True)
    with Checkpoints(folder, read_only=True) as checkpoints:
        assert checkpoints.numbers() == [0, 1, 2, 3, 4]
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.numbers() == [2, 4]
    assert sorted(path.name for path in folder.iterdir()) == ["2", "4"]


def test_a_checkpoint_is_moved_away_whole_before_its_files_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(Checkpoints, "_empty_removed", lambda self: None)
    saved(tmp_path, [0.1, 0.2])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "removed"]
    removed = tmp_path / "removed" / "1"
    assert read_digests(removed) == file_digests(removed)


def test_restored_to_the_bit(tmp_path):
    saved(tmp_path, [0.1, 0.2])
    with Checkpoints(tmp_path) as checkpoints:
        assert digest(checkpoints.restore(2, like=state_of(0))) == digest(state_of(2))


@pytest.fixture
def held(monkeypatch):
    """An event that every save waits for before it writes anything."""
    go_on, write = threading.Event(), Checkpoints._write

    def wait_and_write(self, *arguments):
        assert go_on.wait(60)
        write(self, *arguments)

    monkeypatch.setattr(Checkpoints, "_write", wait_and_write)
    yield go_on
    go_on.set()


def test_a_save_writes_what_the_arrays_were(tmp_path, held):
    """The caller goes on while the checkpoint is written, and overwrites the arrays."""
    state = state_of(1)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, 0.5)
        checkpoints.check()
        assert list(tmp_path.iterdir()) == []
        state["params"]["w"][:] = 0
        held.set()
        assert checkpoints.numbers() == [1]
        assert digest(checkpoints.restore(1, like=state)) == digest(state_of(1))


def test_leaving_waits_for_the_save(tmp_path, held):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state_of(1), 0.5)
        threading.Timer(0.1, held.set).start()
    assert (tmp_path / "1" / "files.json").exists()


def save_again(checkpoints):
    checkpoints.save(2, state_of(2), 0.5)


def fail(*arguments, **options):
    raise OSError(28, "No space left on device")


def save_in_vain(folder, monkeypatch, call):
    with Checkpoints(folder) as checkpoints:
        monkeypatch.setattr(checkpoints._manager, "save", fail)
        checkpoints.save(1, state_of(1), 0.5)
        concurrent.futures.wait([checkpoints._saving])
        call(checkpoints)
        assert call is nothing


def nothing(checkpoints):
    """Leaves the error to the end of the context."""


@pytest.mark.parametrize("call", [Checkpoints.wait, Checkpoints.numbers, save_again, Checkpoints.check, nothing])
def test_a_save_that_fails_is_an_error_of_the_next_call(tmp_path, monkeypatch, call):
    with pytest.raises(OSError, match=re.escape(f"{tmp_path}: checkpoint 1 could not be written")):
        save_in_vain(tmp_path, monkeypatch, call)
    assert list(tmp_path.iterdir()) == []


def files_of(folder):
    return sorted((p for p in folder.rglob("*") if p.is_file()), key=lambda p: (-p.stat().st_size, str(p)))


@pytest.mark.parametrize("damage", ["truncated", "flipped", "removed", "emptied"])
def test_damage_is_named(tmp_path, damage):
    saved(tmp_path, [0.9, 0.1])
    largest = files_of(tmp_path / "2")[0]
    content = largest.read_bytes()
    if damage == "truncated":
        largest.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        middle = len(content) // 2
        largest.write_bytes(content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :])
    elif damage == "removed":
        largest.unlink()
    else:
        largest.write_bytes(b"")
    with (
        Checkpoints(tmp_path) as checkpoints,
        pytest.raises(CheckpointError, match=re.escape(str(tmp_path / "2")) + ".*move this folder away .* epoch 1"),
    ):
        checkpoints.restore(2, like=state_of(0))


def test_wrong_digest_is_named(tmp_path):
    saved(tmp_path, [0.9])
    (check,) = (tmp_path / "1" / "check").rglob("metadata")
    check.write_text(json.dumps({"sha256": "0" * 64}))
    (tmp_path / "1" / "files.json").unlink()
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(CheckpointError, match="not those that were saved"):
        checkpoints.restore(1, like=state_of(0))


def test_killed_before_the_files_were_listed(tmp_path):
    saved(tmp_path, [0.9])
    (tmp_path / "1" / "files.json").unlink()
    with Checkpoints(tmp_path) as checkpoints:
        assert digest(checkpoints.restore(1, like=state_of(0))) == digest(state_of(1))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"state": 1}'])
def test_damaged_list_of_files_is_named(tmp_path, content):
    saved(tmp_path, [0.9])
    (tmp_path / "1" / "files.json").write_text(content)
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(CheckpointError, match="damaged"):
        checkpoints.restore(1, like=state_of(0))


def test_another_model_is_named(tmp_path):
    saved(tmp_path, [0.9])
    other = {"params": {"v": np.zeros(3, np.float32)}, "step": np.int32(0)}
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(CheckpointError, match="cannot be read"):
        checkpoints.restore(1, like=other)


@pytest.mark.parametrize("name", ["run", "[HAR] thesis", "a*b?", "{x}"])
def test_any_folder_name_can_be_saved_in_and_read_from(tmp_path, name):
    folder = tmp_path / name / "checkpoints"
    with Checkpoints(folder) as checkpoints:
        checkpoints.prove(state_of(1), set())
        assert checkpoints.numbers() == []
        assert list(folder.iterdir()) == []
        checkpoints.save(1, state_of(1), 0.5, {"epochs": 1})
    with Checkpoints(folder, read_only=True) as checkpoints:
        assert digest(checkpoints.restore(1, like=state_of(0))) == digest(state_of(1))
        assert checkpoints.notes(1) == {"epochs": 1}


def test_what_cannot_be_read_back_or_has_no_room_fails_at_the_start(tmp_path, monkeypatch):
    with Checkpoints(tmp_path) as checkpoints:
        digests = iter("ab")
        with monkeypatch.context() as patch:
            patch.setattr("dcdp_jax.runs.checkpoints.digest", lambda tree: next(digests))
            with pytest.raises(CheckpointError, match="not those that were saved"):
                checkpoints.prove(state_of(1), set())
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=3 * 4 * 64 * 64 + (4 << 20)))
        with pytest.raises(OSError, match=r"checkpoints of a run could not be written.*make room"):
            checkpoints.prove(state_of(1), set())


def test_the_next_run_of_a_study_only_checks_the_room(tmp_path, monkeypatch):
    proved = set()
    with Checkpoints(tmp_path / "first" / "checkpoints") as checkpoints:
        checkpoints.prove(state_of(1), proved)
    assert proved == {tmp_path}
    with Checkpoints(tmp_path / "second" / "checkpoints") as checkpoints:
        monkeypatch.setattr(checkpoints, "_write", lambda *_: pytest.fail("saved once more"))
        checkpoints.prove(state_of(1), proved)
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
        with pytest.raises(OSError, match="make room"):
            checkpoints.prove(state_of(1), proved)


def test_no_advice_to_remove_what_is_not_damaged(tmp_path):
    saved(tmp_path, [0.9, 0.1])
    other = {"params": {"v": np.zeros(3, np.float32)}, "step": np.int32(0)}
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(CheckpointError) as error:
        checkpoints.restore(2, like=other)
    assert "away" not in str(error.value)
    assert "delete" not in str(error.value)


def test_a_checkpoint_that_is_missing_is_named(tmp_path):
    with (
        Checkpoints(tmp_path / "checkpoints", read_only=True) as checkpoints,
        pytest.raises(CheckpointError, match="checkpoints: the checkpoint 3 is missing; restore it from a copy"),
    ):
        checkpoints.restore(3, like=state_of(0))
