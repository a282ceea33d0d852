"""Tests processes that take one job after the other: what they share, and what remains of one that dies."""

import json
import signal
import subprocess
import sys

import pytest

from configs.studies import default
from dcdp_jax.config import as_plain_data
from dcdp_jax.studies import local_engine
from dcdp_jax.studies.local_engine import LocalEngine
from tests.e2e.running import ROOT, WAIT_SECONDS, Hold, wait_for


@pytest.fixture
def engine(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    study = default.get_config().study
    with LocalEngine(study) as engine:
        yield engine


def write_job(folder, name, model, seeds=(0,), **optimizer):
    """Writes the file of a job, and returns it and the folders of its trials."""
    config = default.smallest()
    config.data.synthetic.subjects, config.data.synthetic.minutes = 5, 2.0
    config.model.name, config.cgm.enabled = model, False
    config.train.epochs = 1
    config.optimizer.update(optimizer)
    folders = [folder / f"{name}-{seed}" for seed in seeds]
    trials = []
    for seed, path in zip(seeds, folders, strict=True):
        config.seed = seed
        trials.append({"config": as_plain_data(config), "folder": str(path)})
    file = folder / f"{name}.json"
    job = {"keep_checkpoints": False, "seeds_at_once": 1, "divide_seeds": False, "trials": trials}
    file.write_text(json.dumps(job))
    return file, folders


@pytest.mark.parametrize(
    ("visible", "files", "expected"),
    [
        (None, (), []),
        (None, ("nvidia3", "nvidia5", "nvidiactl"), ["0", "1"]),  # in a container
        ("", ("nvidia0",), []),
        ("2,GPU-8f", ("nvidia0",), ["2", "GPU-8f"]),
    ],
)
def test_the_gpus_that_are_shared(visible, files, expected, tmp_path, monkeypatch):
    for name in files:
        (tmp_path / name).touch()
    monkeypatch.setattr(local_engine, "DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert local_engine.visible_gpus() == expected


def finish(engine):
    wait_for(lambda: not engine.poll())


def owner(file):
    return file.with_suffix(".owner").read_text()


def scores(folder):
    result = json.loads((folder / "result.json").read_text())
    return result["validation"], result["test"]


def test_one_process_for_jobs_until_a_trial_fails(engine, tmp_path):
    first, (first_folder,) = write_job(tmp_path, "first", "cnn")
    second, (second_folder,) = write_job(tmp_path, "second", "cnn", learning_rate=0.1)
    failing, (failing_folder,) = write_job(tmp_path, "failing", "unknown")
    engine.submit([first, second, failing])
    finish(engine)

    assert owner(first) == owner(second) == owner(failing)
    assert not engine._processes
    assert (failing_folder / "error.txt").read_text().startswith("ConfigError: model.name='unknown'")
    for file, folder in ((first, first_folder), (second, second_folder)):
        lines = file.with_suffix(".log").read_text().splitlines()
        assert lines[0] == owner(file)
        assert [line for line in lines if "result.json" in line] == [str(folder / "result.json")]
        assert json.loads((folder / "result.json").read_text())["command"].split()[-1] == str(file)

    alone, (alone_folder,) = write_job(tmp_path, "alone", "cnn", learning_rate=0.1)
    assert status_of_worker(alone) == 0
    assert scores(second_folder) == scores(alone_folder) != scores(first_folder)


def status_of_worker(file):
    """Trains a job in a process of its own, and returns the exit status."""
    command = [sys.executable, "-m", "dcdp_jax.studies.worker", str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        return process.wait(WAIT_SECONDS)


def test_a_worker_whose_trial_fails_exits_with_1(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    file, (folder,) = write_job(tmp_path, "failing", "unknown")
    assert status_of_worker(file) == 1
    assert (folder / "error.txt").exists()


@pytest.mark.slow
def test_a_killed_process_takes_one_trial_with_it(engine, tmp_path, monkeypatch):
    gate = Hold(tmp_path / "gate", f"{tmp_path}/job-0/result.json")
    for name, value in gate.environment.items():
        monkeypatch.setenv(name, value)
    job, (at, not_begun) = write_job(tmp_path, "job", "random_forest", seeds=(0, 1))
    after, (after_folder,) = write_job(tmp_path, "after", "random_forest")
    engine.submit([job, after])
    engine.poll()
    wait_for(gate.reached)
    (killed,) = engine._processes.values()
    killed.kill()
    gate.open()
    finish(engine)

    log = job.with_suffix(".log")
    assert (at / "error.txt").read_text() == f"its process ended with status -9; see {log}\n"
    assert not (at / "result.json").exists()
    assert all((folder / "result.json").exists() for folder in (not_begun, after_folder))
    assert owner(job) == owner(after)

    (waiting,) = engine._processes.values()
    engine.terminate()
    assert waiting.returncode == -signal.SIGTERM
