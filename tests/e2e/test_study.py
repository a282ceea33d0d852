"""Tests a study through the command line: killed, resumed, a failing row, tables and figures."""

import json
import signal
import subprocess
import sys

import pytest

from tests.e2e.running import (
    ROOT,
    WAIT_SECONDS,
    Hold,
    children_of,
    command,
    environment_of_users,
    finish,
    is_running,
    launch,
    start,
    wait_for,
)

STUDY = """
from configs.studies import default

def get_config():
    config = default.get_config()
    config.study.quick = True
    rows = {"none": {"cgm.enabled": False}, "CGM": {}, "too large": {"train.batch_size": 100_000}}
    config.study.stages = (default.stage("first", {"0.01": {"optimizer.learning_rate": 0.01}}),
                           default.stage("second", rows))
    config.study.compare = default.compare_with("none", rows)
    return config
"""
ONE_ROW = """
from configs.studies import default

def get_config():
    config = default.get_config()
    config.study.quick = True
    config.study.stages = (default.stage("", {"CNN": {"model.name": "cnn", "cgm.enabled": False}}),)
    return config
"""


@pytest.fixture(scope="module")
def study_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "small.py"
    path.write_text(STUDY)
    return path


def finished(folder):
    return sorted(path.parent.name for path in folder.glob("trials/*/result.json"))


def kill_with_workers(process):
    """Kills a study, and waits until its workers have noticed."""
    workers = children_of(process.pid)
    assert workers
    process.kill()
    process.communicate()
    wait_for(lambda: not any(map(is_running, workers)))


@pytest.mark.slow
def test_killed_and_resumed(study_file, tmp_path):
    folder = tmp_path / "run"
    arguments = (f"--workdir={folder}", "--config.study.workers=2")
    gate = Hold(tmp_path / "gate", "*/trials/*-CGM-*-seed1-*/result.json")
    process = start(*arguments, config=study_file, **gate.environment)
    wait_for(gate.reached, process)
    kill_with_workers(process)
    before = {name: (folder / "trials" / name / "result.json").stat().st_mtime_ns for name in finished(folder)}
    assert 3 <= len(before) < 6

    status, output, errors = launch(*arguments, config=study_file, PYTHONPATH=str(ROOT))
    assert status == 1, errors
    assert len(finished(folder)) == 6
    for name, written in before.items():
        assert (folder / "trials" / name / "result.json").stat().st_mtime_ns == written
    assert "2 trials failed" in output
    errors_left = list(folder.glob("trials/*/error.txt"))
    assert len(errors_left) == 2
    assert "train.batch_size=100000" in errors_left[0].read_text()
    text = (folder / "tables" / "synthetic.md").read_text()
    assert "| second | too large | 0 (2 failed)" in text
    assert "| first | 0.01 (chosen) | 2 |" in text
    assert {p.name for p in (folder / "tables").iterdir()} == {"synthetic.md", "synthetic.csv", "synthetic.tex"}
    page = (folder / "page.md").read_text()
    assert text.strip() in page
    assert all(name in page for name in finished(folder))
    assert "2 of 8 trials" in page
    assert "train.batch_size=100000" in page
    kinds = ("scores", "modulation", "confusion")
    expected = {f"synthetic-{kind}.{ending}" for kind in kinds for ending in ("svg", "png")}
    assert {p.name for p in (folder / "figures").iterdir()} == expected
    for path in folder.glob("trials/*-none-*/config.json"):
        assert json.loads(path.read_text())["optimizer"]["learning_rate"] == 0.01  # what the first stage chose
    assert not list(folder.glob("trials/*/checkpoints"))

    # A trial of a study is the run of its config, to the bit, though it shared its compiled step with another seed.
    (trial,) = folder.glob("trials/*-CGM-fold0-seed1-*")
    (single,) = [trial.with_name("single")]
    config = json.loads((trial / "config.json").read_text())
    alone(config, single)
    results = [json.loads((path / "result.json").read_text()) for path in (trial, single)]
    assert results[0]["test"] == results[1]["test"]
    assert results[0]["validation"] == results[1]["validation"]


def logs_of(folder):
    """Returns what all jobs of a study have printed."""
    return "".join(path.read_text() for path in folder.glob("jobs/*.log"))


@pytest.mark.slow
def test_sigterm_is_passed_on(study_file, tmp_path):
    endless = "--config.quick.datasets.synthetic.train.epochs=100000"
    # Two seeds at once: one program, two folders.
    arguments = (f"--workdir={tmp_path / 'run'}", "--config.study.seeds_at_once=2", endless)
    for sought in ("epoch 1/", "resuming after epoch"):
        process = start(*arguments, config=study_file, PYTHONPATH=str(ROOT))
        wait_for(lambda sought=sought: sought in logs_of(tmp_path / "run"), process)
        process.send_signal(signal.SIGTERM)
        status, _, errors = finish(process)
        assert status == 143
        assert errors.splitlines()[-1].startswith("error: ended by SIGTERM; ")
        assert "Traceback" not in errors
        saved = list(tmp_path.glob("run/trials/*/interrupted"))
        assert len(saved) == 2
        assert len({max(int(path.parts[-3]) for path in one.glob("*/check/metadata")) for one in saved}) == 1
        assert not list(tmp_path.glob("run/trials/*/error.txt"))


@pytest.mark.slow
def test_several_seeds_at_once_killed_and_resumed(tmp_path):
    path = tmp_path / "one_row.py"
    path.write_text(ONE_ROW)
    folder = tmp_path / "run"
    epochs = "--config.quick.datasets.synthetic.train.epochs=3"
    arguments = (f"--workdir={folder}", "--config.study.seeds_at_once=2", epochs)
    # One seed has its second checkpoint and the other has not.
    gate = Hold(tmp_path / "gate", "*/trials/*-seed1-*/checkpoints/2")
    process = start(*arguments, config=path, **gate.environment)
    wait_for(gate.reached, process)
    kill_with_workers(process)
    assert not finished(folder)

    status, _, errors = launch(*arguments, config=path, PYTHONPATH=str(ROOT))
    assert status == 0, errors
    assert len(finished(folder)) == 2
    (log,) = folder.glob("jobs/*.log")
    assert "resuming after epoch" in log.read_text()
    (trial,) = folder.glob("trials/*seed1*")
    alone(json.loads((trial / "config.json").read_text()), tmp_path / "single")
    found, wanted = (json.loads((path / "result.json").read_text()) for path in (trial, tmp_path / "single"))
    assert list(found) == list(wanted)
    for part in ("test", "validation"):
        assert found[part]["loss"] == pytest.approx(wanted[part]["loss"], abs=1e-3)
        one_window = 1 / wanted["windows"][part]  # rounding may move one that lies between two classes
        assert found[part]["accuracy"] == pytest.approx(wanted[part]["accuracy"], abs=one_window + 1e-9)


def alone(config, workdir):
    """Trains one config in its own worker."""
    job = workdir.with_suffix(".json")
    how = {"keep_checkpoints": True, "seeds_at_once": 1, "divide_seeds": False}
    job.write_text(json.dumps({**how, "trials": [{"config": config, "folder": str(workdir)}]}))
    command = [sys.executable, "-m", "dcdp_jax.studies.worker", str(job)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT, env=environment_of_users()) as process:
        assert process.wait(WAIT_SECONDS) == 0  # its standard input stays open, as the worker ends with it


def test_modes_and_foreign_folders_are_refused(study_file, tmp_path):
    status, _, errors = command("--mode=evaluate", f"--workdir={tmp_path}", config=study_file)
    assert (status, "that of a study" in errors) == (2, True)
    (tmp_path / "thesis.tex").write_text("")
    status, _, errors = command(f"--workdir={tmp_path}", config=study_file)
    assert (status, "holds no study" in errors) == (2, True)
