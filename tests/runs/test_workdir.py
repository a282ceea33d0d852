"""A workdir belongs to one config and to one process at a time, which a killed process is not."""

import os
import re
import socket
import subprocess
import sys

import pytest

from configs import demo
from dcdp_jax.config import as_plain_data
from dcdp_jax.errors import CheckpointError
from dcdp_jax.runs.workdir import LOCK, check_workdir, claim, make_workdir
from dcdp_jax.train import trainer

CONFIG = {"seed": 1}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_workdir_that_stays_empty_is_removed(tmp_path):
    with claim(tmp_path / "run", CONFIG):
        assert names(tmp_path / "run") == [LOCK]
    assert names(tmp_path) == []
    with claim(tmp_path, CONFIG):
        pass
    assert tmp_path.exists()  # it was there before


def test_a_second_claim_says_who_has_it(tmp_path):
    who = (
        f"process {os.getpid()} on {re.escape(socket.gethostname())} since \\d{{4}}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d"
    )
    with claim(tmp_path, CONFIG):
        with pytest.raises(CheckpointError, match=f"{re.escape(str(tmp_path))} is in use by {who};") as error:
            claim(tmp_path, CONFIG).__enter__()
        assert "\n" not in str(error.value)
        with pytest.raises(CheckpointError, match=r"in use"):  # the refused one has not released it
            claim(tmp_path, CONFIG).__enter__()
    with claim(tmp_path, CONFIG):
        make_workdir(tmp_path, CONFIG)
    assert names(tmp_path) == ["config.json", "files.json"]


def test_a_killed_process_holds_nothing(tmp_path):
    code = f"""if True:
        from pathlib import Path
        from dcdp_jax.runs.workdir import claim
        with claim(Path({str(tmp_path)!r}), {CONFIG}):
            print("claimed", flush=True)
            input()
    """
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "claimed\n"
        with pytest.raises(CheckpointError, match=f"process {process.pid} on "):
            claim(tmp_path, CONFIG).__enter__()
        process.kill()
        process.wait()
        assert names(tmp_path) == [LOCK]
        with claim(tmp_path, CONFIG):
            make_workdir(tmp_path, CONFIG)
    assert names(tmp_path) == ["config.json", "files.json"]


@pytest.mark.parametrize(
    "left", [".config.json.writing", ".config.json.77.writing", "files.json", LOCK, "describe.html"]
)
def test_a_kill_before_the_config_leaves_a_new_workdir(tmp_path, left):
    (tmp_path / left).write_text("")
    check_workdir(tmp_path, CONFIG)
    with claim(tmp_path, CONFIG):
        assert names(tmp_path) in ([LOCK], sorted([LOCK, left]))
        assert not list(tmp_path.glob(".*.writing"))


@pytest.mark.parametrize("left", ["config.json.writing", "notes.txt", "result.json"])
def test_anything_else_is_refused(tmp_path, left):
    (tmp_path / left).write_text("")
    with pytest.raises(CheckpointError, match=r"not an empty folder"):
        claim(tmp_path, CONFIG).__enter__()
    assert names(tmp_path) == [left]


def test_another_config_and_a_damaged_one_are_refused(tmp_path):
    make_workdir(tmp_path, CONFIG)
    check_workdir(tmp_path, CONFIG)
    with pytest.raises(CheckpointError, match=r"seed: 1 -> 2"):
        check_workdir(tmp_path, {"seed": 2})
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace("1", "2"))
    with pytest.raises(CheckpointError, match=r"config.json is damaged"):
        check_workdir(tmp_path, {"seed": 2})


def test_a_second_training_stops_before_it_reads_any_data(tmp_path, monkeypatch):
    config = demo.get_config()
    monkeypatch.setattr(trainer, "prepare", lambda config: pytest.fail("data was read"))
    with claim(tmp_path, as_plain_data(config)):
        with pytest.raises(CheckpointError, match=f"in use by process {os.getpid()} on "):
            trainer.train(config, tmp_path)
        failed = {}
        trainer.train_runs([(config, tmp_path)], failed=failed.__setitem__)
        assert list(failed) == [tmp_path]
