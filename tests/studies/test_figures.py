"""Curves are the means that the log holds; a model without steps or branches has none."""

import json

import numpy as np
import pytest

from dcdp_jax.studies.figures import draw_modulation, read_curves
from tests.studies.test_tables import outcome


def write_log(folder, records):
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def step(number, epoch, steps, R, M):
    values = {"R": {"res": R, "dense": 1 / R}, "M": {"res": M, "dense": 1.0}, "update_norm": {"res": 0.1, "dense": 0.2}}
    return {"kind": "step", "epoch": epoch, "step": number, "steps": steps, "windows": 8, **values}


def epoch(number, **validation):
    validation = {"accuracy": 0.5, "f1_macro": 0.5, "windows": 8, **validation}
    record = {"kind": "epoch", "epoch": number, "step": 10 * number, "best": True, "seconds": 1.0}
    return record | {"train": {"loss": 1.0, "accuracy": 0.5}, "validation": validation}


def test_curves_are_weighted_by_steps(tmp_path):
    R = {"res": 1.2, "dense": 0.8}
    first, second = epoch(1, loss=1.0, S=R, R=R), epoch(2, loss=1.0, S=R, R=R)
    log = [step(3, 1, 3, 2.0, 0.2), step(4, 1, 1, 1.0, 1.0), first, step(8, 2, 4, 1.5, 0.5), second]
    write_log(tmp_path / "run", log)
    curves = read_curves(tmp_path / "run")
    np.testing.assert_allclose(curves["R"]["res"], [(3 * 2.0 + 1.0) / 4, 1.5])
    np.testing.assert_allclose(curves["M"]["res"], [(3 * 0.2 + 1.0) / 4, 0.5])
    np.testing.assert_allclose(curves["validation R"]["dense"], [0.8, 0.8])


def test_a_run_without_validation_has_no_curve_of_it(tmp_path):
    records = [step(4, 1, 4, 2.0, 0.2), epoch(1)]
    del records[1]["validation"]
    write_log(tmp_path / "run", records)
    assert read_curves(tmp_path / "run")["validation R"] == {}


def test_coefficients_above_1_are_in_the_picture(tmp_path):
    for M, limits in ((0.4, (-0.05, 1.05)), (1.6, (-0.05, 1.65)), (-70.0, (-1.05, 1.05))):
        run, folder = outcome("a", 0, 0.9), tmp_path / str(M)
        write_log(
            folder / "trials" / run.trial.name, [step(4, 1, 4, 2.0, M), epoch(1, loss=1.0, R={"res": 1, "dense": 1})]
        )
        assert draw_modulation([run], folder).axes[0].get_ylim() == pytest.approx(limits)


def test_a_random_forest_takes_no_steps(tmp_path):
    forest = outcome("forest", 0, 0.9)
    write_log(tmp_path / "trials" / forest.trial.name, [epoch(1, loss=1.0)])
    assert draw_modulation([forest], tmp_path) is None
