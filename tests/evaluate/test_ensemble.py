"""Tests the ensemble of finished runs against the mean of their predictions.csv in NumPy."""

import csv
import json
import shutil

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from dcdp_jax.errors import CheckpointError, UserError
from dcdp_jax.evaluate.ensemble import write_ensemble
from dcdp_jax.report.compare import write_comparison
from dcdp_jax.runs.predictions import write_table
from dcdp_jax.runs.reading import read_predictions, read_result
from tests.e2e.running import command

NAMES = ["walk", "sit", "lie"]
N = 40
SCORES = ("accuracy", "precision_macro", "recall_macro", "f1_macro")
SCORES += ("precision_weighted", "recall_weighted", "f1_weighted", "loss", "ece")


def make_run(folder, seed, names=NAMES, n=N, window=50, **changes):
    """Writes the files of a run with random probabilities; its test windows do not depend on the seed."""
    folder.mkdir()
    true = np.random.default_rng(0).integers(3, size=n)
    p = np.random.default_rng(seed).dirichlet(np.ones(3), n)
    p[np.arange(n), true] += 0.3
    p = (p / p.sum(axis=1, keepdims=True)).astype(np.float32)
    guess = p.argmax(axis=1)
    rows = [
        {
            "recording": f"run{i % 3}",
            "start": 25 * i,
            "subject": str(i % 4),
            "true": names[true[i]],
            "predicted": names[guess[i]],
            "confidence": float(p[i].max()),
        }
        for i in range(n)
    ]
    write_table(folder, rows, names, p)
    result = {
        "dataset": "set",
        "protocol": "subject",
        "seed": seed,
        "class_names": names,
        "test": dict.fromkeys(SCORES, 0.5),
        "branches": {"res": 0.5},
        "confusion": confusion_matrix(true, guess, labels=range(3)).tolist(),
        "windows": {"train": 100 + seed, "test": n},
        "subjects": {"train": [5, 6], "test": [0, 1, 2, 3]},
        "marks": [],
        "data_fingerprint": "sha256:9f2b",
        "versions": {},
        "git_revision": None,
        "device": "cpu (2 cores)",
        "parameters": 1000,
        "best_epoch": 3,
        "wall_seconds": 10.0,
        "windows_per_second": 300.0,
        "command": "launch.py",
    }
    (folder / "result.json").write_text(json.dumps(result | changes))
    (folder / "config.json").write_text(json.dumps({"data": {"window": window, "fold": 0}}))
    return folder


def probabilities_of(folder):
    with (folder / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return rows, np.array([[float(row[f"probability of {name}"]) for name in NAMES] for row in rows])


@pytest.fixture
def runs(tmp_path):
    return [make_run(tmp_path / f"seed{seed}", seed) for seed in (1, 2, 3)]


def test_the_ensemble_is_the_mean_of_the_predictions(runs, tmp_path):
    found = launch_ensemble(*runs, f"--workdir={tmp_path / 'out'}")
    result = read_result(tmp_path / "out")
    rows, given = probabilities_of(tmp_path / "out")
    mean = np.mean([probabilities_of(run)[1] for run in runs], axis=0)
    np.testing.assert_allclose(given, mean, rtol=1e-6)
    true = [NAMES.index(row["true"]) for row in rows]
    guess = mean.argmax(axis=1)
    assert [row["predicted"] for row in rows] == [NAMES[i] for i in guess]
    assert result["confusion"] == confusion_matrix(true, guess, labels=range(3)).tolist()
    assert result["test"]["accuracy"] == pytest.approx(accuracy_score(true, guess))
    assert result["test"]["f1_macro"] == pytest.approx(f1_score(true, guess, average="macro"))
    assert result["test"]["loss"] == pytest.approx(-np.log(mean[np.arange(N), true]).mean(), rel=1e-6)
    assert set(SCORES) == set(result["test"])
    assert (result["parameters"], result["wall_seconds"]) == (3000, 30.0)
    assert result["windows_per_second"] == pytest.approx(100)
    assert result["windows"] == {"test": N}  # the runs were trained on different numbers of windows
    assert [member["seed"] for member in result["ensemble"]] == [1, 2, 3]
    read = read_predictions(tmp_path / "out", result)
    np.testing.assert_allclose(read.probabilities, mean, rtol=1e-6)
    assert f"ensemble: accuracy {result['test']['accuracy']:.4f}" in found


def launch_ensemble(*arguments):
    status, output, errors = command("--mode=ensemble", *arguments, config=None)
    assert status == 0, errors
    return output


def test_runs_that_were_trained_at_once_have_the_time_of_their_program(tmp_path):
    together = [make_run(tmp_path / f"seed{seed}", seed, at_once=2) for seed in (5, 6)]
    result = write_ensemble(together, tmp_path / "out")
    assert (result["wall_seconds"], result["windows_per_second"]) == (10.0, 300.0)


def test_an_ensemble_is_replaced_and_nothing_else_is(runs, tmp_path):
    write_ensemble(runs[:2], tmp_path / "out")
    assert len(write_ensemble(runs, tmp_path / "out")["ensemble"]) == 3
    assert len(read_result(tmp_path / "out")["ensemble"]) == 3
    (tmp_path / "out" / "thesis.tex").write_text("")
    with pytest.raises(CheckpointError, match="holds no ensemble"):
        write_ensemble(runs, tmp_path / "out")
    with pytest.raises(CheckpointError, match="holds no ensemble"):
        write_ensemble(runs, runs[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data_fingerprint": "sha256:0000"}, "different data fingerprints: 'sha256:9f2b' and 'sha256:0000'"),
        ({"names": ["walk", "sit", "run"]}, "different classes: "),
        ({"protocol": "loso"}, "different protocols: 'subject' and 'loso'"),
        ({"dataset": "other"}, "different data sets: 'set' and 'other'"),
        ({"window": 64}, r"different window lengths \(data.window\): 50 and 64"),
        ({"n": N - 1}, "different test windows: 40 and 39 of them"),
    ],
)
def test_runs_of_different_tests_are_refused(runs, tmp_path, changes, message):
    other = make_run(tmp_path / "other", 4, **changes)
    with pytest.raises(UserError, match=message):
        write_ensemble([runs[0], other], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_windows_in_the_same_number_are_refused(runs, tmp_path):
    path = runs[1] / "predictions.csv"
    path.write_text(path.read_text().replace("\nrun1,25,", "\nrun1,26,"))
    (runs[1] / "files.json").unlink()
    with pytest.raises(UserError, match=r"different test windows: predictions.csv, row 3, has .*'25'.* and .*'26'"):
        write_ensemble(runs, tmp_path / "out")


def test_a_config_without_data_is_that_of_another_window(runs, tmp_path):
    (runs[1] / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"different window lengths \(data.window\): 50 and None"):
        write_ensemble(runs, tmp_path / "out")


def test_what_is_no_set_of_runs_is_refused(runs, tmp_path):
    with pytest.raises(UserError, match="two or more finished runs, got 1"):
        write_ensemble(runs[:1], tmp_path / "out")
    with pytest.raises(UserError, match="is named twice"):
        write_ensemble([runs[0], runs[1], runs[0]], tmp_path / "out")
    shutil.copytree(runs[1], tmp_path / "copy")
    with pytest.raises(UserError, match=r"seed2 and .*copy are copies of one run"):
        write_ensemble([*runs, tmp_path / "copy"], tmp_path / "out")
    write_ensemble(runs, tmp_path / "out")
    (tmp_path / "out" / "config.json").write_text("{}")
    with pytest.raises(UserError, match="holds an ensemble"):
        write_ensemble([runs[0], tmp_path / "out"], tmp_path / "further")
    with pytest.raises(UserError, match="out holds an ensemble, which has no config and no log of its own"):
        write_comparison([tmp_path / "out", runs[0]], tmp_path / "further")
    with pytest.raises(UserError, match=r"result\.json is not a folder of a run"):
        write_ensemble([runs[0], runs[1] / "result.json"], tmp_path / "further")
    (runs[2] / "predictions.csv").unlink()
    with pytest.raises(UserError, match=r"has no predictions\.csv"):
        write_ensemble(runs, tmp_path / "further")
