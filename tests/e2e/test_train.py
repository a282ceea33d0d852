"""The main job as a user runs it: training, evaluation, repetition, resumption after SIGKILL."""

import csv
import json
import random
import signal
import time

import numpy as np
import pytest

from dcdp_jax.calibration import calibration
from dcdp_jax.runs.reading import read_predictions
from tests.e2e.running import SMALL, SMALL_DATA, launch, read_json, start

TIMES = ("seconds", "windows_per_second")
RESULT_KEYS = {
    "dataset",
    "protocol",
    "seed",
    "class_names",
    "test",
    "validation",
    "branches",
    "confusion",
    "windows",
    "subjects",
    "marks",
    "data_fingerprint",
    "versions",
    "git_revision",
    "device",
    "parameters",
    "best_epoch",
    "wall_seconds",
    "windows_per_second",
}
CONTRACT = ("result.json", "config.json", "metrics.jsonl", "report.html", "checkpoints", "tensorboard")
EPOCHS = 6
ARGUMENTS = (*SMALL, *SMALL_DATA, f"--config.train.epochs={EPOCHS}")


def metrics_of(workdir):
    """metrics.jsonl without what depends on the clock."""
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if key not in TIMES} for record in records]


def digests_of(workdir):
    """{epoch: SHA-256 over the whole training state} of the checkpoints kept."""
    return {
        int(path.parents[1].name): read_json(path)["sha256"]
        for path in (workdir / "checkpoints").glob("*/check/metadata")
    }


def finished_epochs(workdir):
    path = workdir / "metrics.jsonl"
    return path.read_text().count('"kind": "epoch"') if path.exists() else 0


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("uninterrupted") / "run"
    status, output, errors = launch(*ARGUMENTS, f"--workdir={workdir}")
    assert status == 0, errors
    return workdir, output


def test_a_finished_run_leaves_what_the_contract_says(uninterrupted):
    workdir, output = uninterrupted
    for name in (*CONTRACT, "predictions.csv", "worst_windows.json"):
        assert (workdir / name).exists()
    result = read_json(workdir / "result.json")
    assert result.keys() >= RESULT_KEYS
    assert result["marks"] == ["synthetic"]
    assert "synthetic" in (workdir / "report.html").read_text()
    assert sum(map(sum, result["confusion"])) == result["windows"]["test"]
    accuracy = sum(result["confusion"][i][i] for i in range(len(result["class_names"]))) / result["windows"]["test"]
    assert result["test"]["accuracy"] == pytest.approx(accuracy)
    assert f"{EPOCHS}/{EPOCHS}" in output
    splits = [set(subjects) for subjects in result["subjects"].values()]
    assert sum(map(len, splits)) == len(set.union(*splits))


def test_metrics_are_logged(uninterrupted):
    records = metrics_of(uninterrupted[0])
    step = next(record for record in records if record["kind"] == "step")
    for name in ("S", "R", "M"):
        assert set(step[name]) == {"res", "dense"}
    for name in ("gradient_norm", "update_norm"):
        assert set(step[name]) == {"res", "dense", "projection", "fusion"}
    epochs = [record for record in records if record["kind"] == "epoch"]
    assert [record["epoch"] for record in epochs] == list(range(1, EPOCHS + 1))
    assert set(epochs[0]["validation"]["S"]) == {"res", "dense"}
    best = max(record["validation"]["f1_macro"] for record in epochs)
    chosen = read_json(uninterrupted[0] / "result.json")["best_epoch"]
    assert epochs[chosen - 1]["validation"]["f1_macro"] == best


def test_training_learns(uninterrupted):
    epochs = [record for record in metrics_of(uninterrupted[0]) if record["kind"] == "epoch"]
    assert epochs[-1]["train"]["loss"] < epochs[0]["train"]["loss"]


def test_the_same_command_again_is_finished(uninterrupted):
    workdir, _ = uninterrupted
    before = (workdir / "result.json").read_bytes()
    status, output, errors = launch(*ARGUMENTS, f"--workdir={workdir}")
    assert status == 0, errors
    assert "is finished" in output
    assert (workdir / "result.json").read_bytes() == before


def test_predictions_are_those_of_the_result(uninterrupted):
    workdir, _ = uninterrupted
    result = read_json(workdir / "result.json")
    names = result["class_names"]
    with (workdir / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    confusion = np.zeros((len(names), len(names)), int)
    for row in rows:
        confusion[names.index(row["true"]), names.index(row["predicted"])] += 1
    assert confusion.tolist() == result["confusion"]
    predictions = read_predictions(workdir, result)
    assert calibration(*predictions[1:]).error() == pytest.approx(result["test"]["ece"], abs=1e-6)
    assert {row["subject"] for row in rows} == set(map(str, result["subjects"]["test"]))


def test_evaluate_repeats_the_result_and_measures_robustness(uninterrupted):
    workdir, _ = uninterrupted
    before = [(workdir / name).read_bytes() for name in ("result.json", "predictions.csv")]
    assert "Not measured yet" in (workdir / "report.html").read_text()
    status, output, errors = launch(*ARGUMENTS, f"--workdir={workdir}", "--mode=evaluate")
    assert status == 0, errors
    test = read_json(workdir / "result.json")["test"]
    assert f"accuracy {test['accuracy']:.4f}" in output
    assert [(workdir / name).read_bytes() for name in ("result.json", "predictions.csv")] == before
    robustness = read_json(workdir / "robustness.json")
    assert robustness["clean"] == pytest.approx({name: test[name] for name in ("accuracy", "f1_macro")}, abs=1e-9)
    assert [row["name"] for row in robustness["absent"] if row["kind"] == "branch"] == ["res", "dense"]
    assert "Not measured yet" not in (workdir / "report.html").read_text()


def test_another_config_in_the_workdir_is_refused(uninterrupted):
    workdir, _ = uninterrupted
    status, _, errors = launch(*ARGUMENTS, f"--workdir={workdir}", "--config.cgm.alpha=0.5")
    assert status == 2
    assert "cgm.alpha: 0.9 -> 0.5" in errors
    assert len(errors.strip().splitlines()) == 1


def is_saving(workdir):
    """Whether a checkpoint is half-written."""
    return any("tmp" in path.name for path in (workdir / "checkpoints").glob("*"))


def test_killed_four_times_and_resumed_is_the_same_to_the_bit(uninterrupted, tmp_path):
    """Twice at a random moment after an epoch, twice while a checkpoint is written."""
    expected, _ = uninterrupted
    workdir = tmp_path / "run"
    rng = random.Random(0)
    within_saves = 0
    for kill in range(4):
        process = start(*ARGUMENTS, f"--workdir={workdir}")
        wanted = finished_epochs(workdir) + 1
        deadline = time.monotonic() + 300

        def reached(kill=kill, wanted=wanted):
            return finished_epochs(workdir) >= wanted and (kill % 2 == 0 or is_saving(workdir))

        while not reached() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.0005)
        if kill % 2 == 0:
            time.sleep(rng.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (workdir / "result.json").exists(), f"kill {kill} came too late to test anything"
        within_saves += is_saving(workdir)
    assert within_saves > 0
    status, output, errors = launch(*ARGUMENTS, f"--workdir={workdir}")
    assert status == 0, errors
    assert "resuming after epoch" in output
    assert digests_of(workdir) == digests_of(expected)
    assert metrics_of(workdir) == metrics_of(expected)
    for name in ("test", "validation", "confusion", "best_epoch", "data_fingerprint"):
        assert read_json(workdir / "result.json")[name] == read_json(expected / "result.json")[name]
