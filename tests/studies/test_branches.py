"""Branches beside themselves alone, from made-up trials, against numbers written out here."""

import numpy as np
import pytest

from configs.studies.default import smallest
from dcdp_jax.report.drawing import save_figure
from dcdp_jax.studies.figures import curves_of, draw_branches
from dcdp_jax.studies.grid import Trial
from dcdp_jax.studies.oracle import branch_section, hindrances_of
from dcdp_jax.studies.outcomes import Outcome, finished
from tests.studies.test_figures import epoch, write_log

ORACLES, COMPARE = {"none": ("res alone", "dense alone")}, {"good": "none", "fused": "none"}
ACCURACY = {
    "res alone": {"res": [0.80, 0.82, 0.81]},
    "dense alone": {"dense": [0.60, 0.61, 0.59]},
    "none": {"res": [0.81, 0.82, 0.80], "dense": [0.40, 0.43, 0.41]},
    "good": {"res": [0.80, 0.80, 0.80], "dense": [0.60, 0.62, 0.58]},
    "fused": {},
}


@pytest.fixture
def outcomes(tmp_path):
    """Every row with three seeds, of which `good` lacks the last, and the log of each run in two epochs."""
    found = []
    for row, branches in ACCURACY.items():
        for seed in range(3):
            trial = Trial("set", row, seed, 0, smallest(), f"{row}-{seed}")
            if (row, seed) == ("good", 2):
                found.append(Outcome(trial, None, "failed"))
                continue
            accuracy = {branch: values[seed] for branch, values in branches.items()}
            found.append(Outcome(trial, {"test": {"accuracy": 0.5}, "branches": accuracy}, None))
            records = [
                epoch(number, loss=1.0, branches={branch: value * number / 2 for branch, value in accuracy.items()})
                for number in (1, 2)
            ]
            write_log(tmp_path / "trials" / trial.name, records)
    return found


def test_each_branch_is_compared_with_itself_alone_by_seed(outcomes):
    found = {(one.row, one.branch): one for one in hindrances_of(outcomes, COMPARE, ORACLES)}
    assert list(found) == [(row, branch) for row in ("none", "good") for branch in ("res", "dense")]
    for (row, branch), one in found.items():
        joint, alone = (100 * np.array(ACCURACY[name][branch]) for name in (row, f"{branch} alone"))
        assert one.pairs == (2 if row == "good" else 3)
        assert one.accuracy == pytest.approx(joint[: one.pairs].mean())
        assert one.difference.value == pytest.approx((joint - alone)[: one.pairs].mean())
    dense = found["none", "dense"].difference
    assert dense.low <= -18 - 2 / 3 + 1e-9 < -18 < dense.high + 1


def test_the_section_of_the_page(outcomes):
    lines = branch_section(outcomes, COMPARE, ORACLES).splitlines()
    assert lines[-4:-2] == ["| data set | row | n | res | dense |", "| --- | --- | --- | --- | --- |"]
    assert lines[-2].startswith("| set | none | 3 | 81.00, +0.00 [")
    assert "| 41.33, -18.67 [" in lines[-2]
    assert lines[-1].startswith("| set | good | 2 | 80.00, -1.00 [")
    assert branch_section(outcomes, COMPARE, {}) == ""


def test_the_figure_has_what_the_logs_hold(outcomes, tmp_path):
    curves = curves_of(finished(outcomes, "none"), "dense", tmp_path)
    np.testing.assert_allclose(curves, [[20.0, 40.0], [21.5, 43.0], [20.5, 41.0]])
    text = save_figure(draw_branches(outcomes, COMPARE, ORACLES, tmp_path), tmp_path / "branches", dpi=100).read_text()
    assert (tmp_path / "branches.png").stat().st_size > 5000
    assert "none: res" in text
    assert "none: dense" in text
    assert draw_branches(outcomes, COMPARE, {}, tmp_path) is None
