"""Tests the main job as a user runs it: training, evaluation, repetition, resumption after SIGKILL."""

import csv
import json
import random
import time

import numpy as np
import pytest

from dcdp_jax.calibration import calibration
from dcdp_jax.runs.reading import read_predictions
from tests.e2e.running import ARGUMENTS, EPOCHS, Hold, command, launch, read_json, start, wait_for

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


def metrics_of(workdir):
    """Reads metrics.jsonl without the fields that depend on the clock."""
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if key not in TIMES} for record in records]


def digests_of(workdir):
    """Returns {epoch: SHA-256 over the whole training state} of the checkpoints that were kept."""
    return {
        int(path.parents[1].name): read_json(path)["sha256"]
        for path in (workdir / "checkpoints").glob("*/check/metadata")
    }


def finished_epochs(workdir):
    """Counts the epochs in metrics.jsonl."""
    path = workdir / "metrics.jsonl"
    return path.read_text().count('"kind": "epoch"') if path.exists() else 0


def test_a_finished_run_leaves_what_the_contract_says(finished):
    for name in (*CONTRACT, "predictions.csv", "worst_windows.json"):
        assert (finished / name).exists()
    result = read_json(finished / "result.json")
    assert result.keys() >= RESULT_KEYS
    assert result["marks"] == ["synthetic"]
    assert "synthetic" in (finished / "report.html").read_text()
    assert sum(map(sum, result["confusion"])) == result["windows"]["test"]
    accuracy = sum(result["confusion"][i][i] for i in range(len(result["class_names"]))) / result["windows"]["test"]
    assert result["test"]["accuracy"] == pytest.approx(accuracy)
    assert f"{EPOCHS}/{EPOCHS}" in finished.with_name("output.txt").read_text()
    splits = [set(subjects) for subjects in result["subjects"].values()]
    assert sum(map(len, splits)) == len(set.union(*splits))


def test_metrics_are_logged(finished):
    records = metrics_of(finished)
    step = next(record for record in records if record["kind"] == "step")
    for name in ("S", "R", "M"):
        assert set(step[name]) == {"res", "dense"}
    for name in ("gradient_norm", "update_norm"):
        assert set(step[name]) == {"res", "dense", "projection", "fusion"}
    epochs = [record for record in records if record["kind"] == "epoch"]
    assert [record["epoch"] for record in epochs] == list(range(1, EPOCHS + 1))
    assert set(epochs[0]["validation"]["S"]) == {"res", "dense"}
    best = max(record["validation"]["f1_macro"] for record in epochs)
    chosen = read_json(finished / "result.json")["best_epoch"]
    assert epochs[chosen - 1]["validation"]["f1_macro"] == best


def test_training_learns(finished):
    epochs = [record for record in metrics_of(finished) if record["kind"] == "epoch"]
    assert epochs[-1]["train"]["loss"] < epochs[0]["train"]["loss"]


def test_the_same_command_again_is_finished(copied):
    before = (copied / "result.json").read_bytes()
    status, output, errors = command(*ARGUMENTS, f"--workdir={copied}")
    assert status == 0, errors
    assert "is finished" in output
    assert (copied / "result.json").read_bytes() == before


def test_predictions_are_those_of_the_result(finished):
    result = read_json(finished / "result.json")
    names = result["class_names"]
    with (finished / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    confusion = np.zeros((len(names), len(names)), int)
    for row in rows:
        confusion[names.index(row["true"]), names.index(row["predicted"])] += 1
    assert confusion.tolist() == result["confusion"]
    predictions = read_predictions(finished, result)
    assert calibration(predictions.right, predictions.confidence).error() == pytest.approx(
        result["test"]["ece"], abs=1e-6
    )
    assert {row["subject"] for row in rows} == set(map(str, result["subjects"]["test"]))


def test_evaluate_repeats_the_result_and_measures_robustness(copied):
    names = ("result.json", "predictions.csv", "worst_windows.json")
    before = [(copied / name).read_bytes() for name in names]
    (copied / "worst_windows.json").unlink()  # as its error advises where it is damaged
    assert "Not measured yet" in (copied / "report.html").read_text()
    status, output, errors = launch(*ARGUMENTS, f"--workdir={copied}", "--mode=evaluate", "--config.data.calibration=5")
    assert status == 0, errors
    calibrated = read_json(copied / "calibration.json")
    assert calibrated["seconds"] == 5
    assert f"before accuracy {calibrated['before']['accuracy']:.4f}" in output
    test = read_json(copied / "result.json")["test"]
    assert f"accuracy {test['accuracy']:.4f}" in output
    assert [(copied / name).read_bytes() for name in names] == before
    robustness = read_json(copied / "robustness.json")
    assert robustness["clean"] == pytest.approx({name: test[name] for name in ("accuracy", "f1_macro")}, abs=1e-9)
    assert [row["name"] for row in robustness["absent"] if row["kind"] == "branch"] == ["res", "dense"]
    page = (copied / "report.html").read_text()
    assert "Not measured yet" not in page
    assert "Adaptation to the test subjects" in page
    segments = read_json(copied / "segments.json")
    assert f"mAP {segments['map']['0.3']:.3f} at 0.3" in output
    assert f"{segments['onset']['found']} of {segments['onset']['segments']} true segments are overlapped" in page


def test_another_config_in_the_workdir_is_refused(finished):
    status, _, errors = command(*ARGUMENTS, f"--workdir={finished}", "--config.cgm.alpha=0.5")
    assert status == 2
    assert "cgm.alpha: 0.9 -> 0.5" in errors
    assert len(errors.strip().splitlines()) == 1


def kill(process):
    process.kill()
    process.communicate()


def check_resumes_to_the_same(workdir, expected):
    """Runs a killed run to its end, and compares all that it leaves with that of the run that was never killed."""
    status, output, errors = launch(*ARGUMENTS, f"--workdir={workdir}")
    assert status == 0, errors
    assert "resuming after epoch" in output
    assert digests_of(workdir) == digests_of(expected)
    assert metrics_of(workdir) == metrics_of(expected)
    for name in ("test", "validation", "confusion", "best_epoch", "data_fingerprint"):
        assert read_json(workdir / "result.json")[name] == read_json(expected / "result.json")[name]


@pytest.mark.slow
def test_killed_within_a_save_and_resumed_is_the_same_to_the_bit(finished, tmp_path):
    """Killed when a checkpoint's arrays are written but not in place, and when they are and their digests are not.

    A save is in progress meanwhile: the run has gone on, and logged the next epoch.
    """
    workdir, checkpoints = tmp_path / "run", tmp_path / "run" / "checkpoints"
    gate = Hold(tmp_path / "gate", "*/checkpoints/2")
    process = start(*ARGUMENTS, f"--workdir={workdir}", **gate.environment)
    wait_for(gate.reached, process)
    wait_for(lambda: finished_epochs(workdir) == 3, process)
    kill(process)
    assert not (checkpoints / "2").exists()
    assert any(path.name.startswith("2.") and "tmp" in path.name for path in checkpoints.iterdir())

    gate.close("*/checkpoints/4/files.json")
    process = start(*ARGUMENTS, f"--workdir={workdir}", **gate.environment)
    wait_for(gate.reached, process)
    wait_for(lambda: finished_epochs(workdir) == 5, process)
    kill(process)
    assert (checkpoints / "4").is_dir()
    assert not (checkpoints / "4" / "files.json").exists()
    check_resumes_to_the_same(workdir, finished)


@pytest.mark.slow
def test_killed_four_times_and_resumed_is_the_same_to_the_bit(finished, tmp_path):
    """At random moments after an epoch; the gate keeps the run from its end however fast it is."""
    workdir = tmp_path / "run"
    rng = random.Random(0)
    for _ in range(4):
        gate = Hold(tmp_path / "gate", f"{workdir}/result.json")
        process = start(*ARGUMENTS, f"--workdir={workdir}", **gate.environment)
        wanted = min(finished_epochs(workdir) + 1, EPOCHS)
        wait_for(lambda wanted=wanted: finished_epochs(workdir) >= wanted, process)
        time.sleep(rng.uniform(0, 0.5))
        kill(process)
        assert not (workdir / "result.json").exists()
    check_resumes_to_the_same(workdir, finished)
