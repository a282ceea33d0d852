"""Any damage to a file of a run gives the same content or one line that names the file, never another figure."""

import pickle
import shutil

import numpy as np
import pytest

from dcdp_jax.errors import CheckpointError
from dcdp_jax.runs.checkpoints import Checkpoints
from dcdp_jax.runs.files import record
from dcdp_jax.runs.model_card import read_card, write_card
from dcdp_jax.runs.reading import read_result, read_run
from tests.report.making import write_everything
from tests.report.test_report import change_result, make_workdir
from tests.serve.making import make_card

READ = ("config.json", "metrics.jsonl", "predictions.csv", "result.json", "robustness.json", "worst_windows.json")
STATE = {"w": np.arange(12, dtype=np.float32).reshape(3, 4), "step": np.int32(7)}
FILES = [*READ, "model.json", "files.json"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small finished run with every file, and its checkpoint."""
    workdir = make_workdir(tmp_path_factory.mktemp("run") / "run", ["a", "b"], epochs=2, steps_per_epoch=2)
    change_result(workdir, confusion=[[3, 1], [0, 4]], windows={"test": 8})
    write_everything(workdir)
    for name in READ:
        record(workdir, name)
    write_card(workdir, make_card())
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        checkpoints.save(1, STATE, 0.5, {"epochs": 1})
    return workdir


@pytest.fixture
def copied(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def read_files(workdir):
    return pickle.dumps((read_run(workdir), read_card(workdir)))


def read_checkpoint(workdir):
    with Checkpoints(workdir / "checkpoints", read_only=True) as checkpoints:
        state, notes = checkpoints.restore(1, like=STATE), checkpoints.notes(1)
    return pickle.dumps((state["w"].tolist(), int(state["step"]), notes))


def check(path, damaged, read, workdir, expected):
    """Reads with the damaged content of a file (None: without the file), and puts the file back."""
    content = path.read_bytes()
    try:
        path.write_bytes(damaged) if damaged is not None else path.unlink()
        try:
            found, message = read(workdir), None
        except CheckpointError as error:
            found, message = None, str(error)
        if message is not None:
            assert "\n" not in message
            assert str(workdir) in message
            return False
        assert found == expected, f"{path.name}: another content was read from {damaged!r}"
        return True
    finally:
        path.write_bytes(content)


def damages(content, places):
    """Flips of a bit and cuts at the given places, and the file without its beginning."""
    for at in places:
        yield content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :]
        yield content[:at]
    yield content[1:]


@pytest.mark.parametrize("name", FILES)
def test_some_damage_to_each_file(copied, name):
    path, expected = copied / name, read_files(copied)
    content = path.read_bytes()
    places = np.random.default_rng(0).choice(len(content), 12, replace=False)
    assert not any(check(path, d, read_files, copied, expected) for d in damages(content, places))
    may_lack = ("files.json", "predictions.csv", "robustness.json", "worst_windows.json")
    if name in may_lack[1:]:
        path.unlink()
        read_files(copied)  # a run that has not left it
    else:
        assert check(path, None, read_files, copied, expected) == (name in may_lack)


def test_a_folder_without_digests_is_read_and_said_once_to_be_unverified(copied, capsys):
    (copied / "files.json").unlink()
    read_result(copied)
    read_result(copied)
    assert capsys.readouterr().err.count(f"warning: {copied} has no files.json") == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_every_byte_of_each_file(copied, name):
    path, expected = copied / name, read_files(copied)
    content = path.read_bytes()
    assert not any(check(path, d, read_files, copied, expected) for d in damages(content, range(len(content))))


def checkpoint_files(workdir):
    return sorted(path for path in (workdir / "checkpoints").rglob("*") if path.is_file())


def test_some_damage_to_a_checkpoint(copied):
    expected = read_checkpoint(copied)
    for path in checkpoint_files(copied):
        content = path.read_bytes()
        places = [len(content) // 2] if content else []
        for damaged in (*damages(content, places), None):
            same = check(path, damaged, read_checkpoint, copied, expected)
            assert same == ((path.name == "files.json" and damaged is None) or damaged == content)


@pytest.mark.slow
def test_every_tenth_byte_of_a_checkpoint(copied):
    expected = read_checkpoint(copied)
    for path in checkpoint_files(copied):
        content = path.read_bytes()
        for damaged in damages(content, range(0, len(content), 10)):
            assert check(path, damaged, read_checkpoint, copied, expected) == (damaged == content)


@pytest.mark.slow
def test_every_byte_of_a_checkpoint(copied):
    """Read with the manager that was opened before the damage; opening a damaged folder is the test above."""
    expected = read_checkpoint(copied)
    with Checkpoints(copied / "checkpoints", read_only=True) as checkpoints:

        def read(workdir):
            state = checkpoints.restore(1, like=STATE)
            return pickle.dumps((state["w"].tolist(), int(state["step"]), checkpoints.notes(1)))

        for path in checkpoint_files(copied):
            content = path.read_bytes()
            for damaged in damages(content, range(len(content))):
                assert check(path, damaged, read, copied, expected) == (damaged == content)
