"""Tables say what the results say."""

import csv
import io

import numpy as np
import pytest
from scipy import stats

from configs.studies.default import smallest
from dcdp_jax.studies.engine import Outcome, StageOutcome, best_row
from dcdp_jax.studies.grid import Row, Stage, Trial
from dcdp_jax.studies.tables import as_csv, as_latex, as_markdown, make_tables

SCORES = {"main": (0.91, 0.93, 0.92), "without": (0.90, 0.90, 0.91), "broken": (0.5, None, None), "dead": (None,) * 3}
ACCURACY = {row: [100 * value for value in values if value] for row, values in SCORES.items()}


def outcome(row, seed, value, dataset="set", marks=()):
    trial = Trial(dataset, row, seed, 0, smallest(), f"{row}-{seed}")
    if value is None:
        return Outcome(trial, None, "ConfigError: no")
    scores = {"accuracy": value, "f1_macro": value - 0.1}
    result = {"test": scores, "validation": {"f1_macro": value / 2}, "protocol": "subject", "marks": list(marks)}
    return Outcome(trial, result, None)


def stages(marks=()):
    outcomes = [outcome(r, s, v, marks=marks) for r, values in SCORES.items() for s, v in enumerate(values)]
    return [StageOutcome(Stage("", [Row(row, {}) for row in SCORES]), outcomes, "main")]


def table(compare=(("without", "main"), ("broken", "main")), paper=(), marks=()):
    (made,) = make_tables(stages(marks), ("accuracy", "f1_macro"), "f1_macro", dict(compare), paper)
    return made


def records(made):
    return {(r["row"], r["score"]): r for r in csv.DictReader(io.StringIO(as_csv(made)))}


def test_csv_holds_the_numbers():
    found = records(table())
    row = found["without", "accuracy"]
    low, high = stats.t.interval(0.95, 2, loc=np.mean(ACCURACY["without"]), scale=stats.sem(ACCURACY["without"]))
    p = stats.ttest_rel(ACCURACY["without"], ACCURACY["main"]).pvalue
    expected = (3, np.mean(ACCURACY["without"]), np.std(ACCURACY["without"], ddof=1), low, high)
    np.testing.assert_allclose([float(row[k]) for k in ("n", "mean", "deviation", "low", "high")], expected)
    assert float(row["difference"]) == pytest.approx(np.mean(ACCURACY["without"]) - np.mean(ACCURACY["main"]))
    assert float(row["p"]) == pytest.approx(p)  # one test with a p: Holm leaves it
    assert row["compared_with"] == "main"
    assert float(found["main", "f1_macro"]["mean"]) == pytest.approx(82)
    assert found["main", "accuracy"]["difference"] == ""


def test_failed_trials_are_counted_and_compared_over_common_seeds_only():
    found = records(table())
    assert (found["broken", "accuracy"]["n"], found["broken", "accuracy"]["failed"]) == ("1", "2")
    assert float(found["broken", "accuracy"]["difference"]) == pytest.approx(50 - 91)
    assert (found["dead", "accuracy"]["n"], found["dead", "accuracy"]["failed"]) == ("0", "3")
    text = as_markdown(table())
    assert "1 (2 failed)" in text
    assert "| dead | 0 (3 failed) |  | failed |" in text


def test_markdown_says_protocol_marks_paper_and_intervals():
    text = as_markdown(table(paper=(("main", "set", "accuracy", 97.79),), marks=("leaky", "incomplete")))
    assert "set [incomplete, leaky], protocol subject" in text
    assert "against «main»" in text
    assert "92.00 ± 1.00 [89.52, 94.48] | 97.79 | -5.79" in text
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1


def test_latex_escapes():
    (made,) = make_tables(
        [StageOutcome(Stage("", [Row("50 % & more_", {})]), [outcome("50 % & more_", 0, 0.9)], None)],
        *(("accuracy",), "f1_macro", {}, ()),
    )
    assert r"50 \% \& more\_" in as_latex(made)


def test_the_best_row_is_chosen_by_validation_alone():
    trials = [outcome("a", 0, 0.6), outcome("b", 0, 0.8)]
    trials[0].result["test"]["f1_macro"] = 1.0
    assert best_row(Stage("", [Row("a", {}), Row("b", {})]), trials, "f1_macro") == "b"
    assert best_row(Stage("", [Row("a", {})]), [outcome("a", 0, None)], "f1_macro") is None


def test_a_row_without_validation_part_has_no_validation_score():
    trials = [outcome("a", 0, 0.6), outcome("b", 0, 0.8)]
    for trial in trials:
        del trial.result["validation"]
    rows = [Row("a", {}), Row("b", {})]
    assert best_row(Stage("", rows), trials, "f1_macro") is None
    (made,) = make_tables([StageOutcome(Stage("", rows), trials, None)], ("accuracy",), "f1_macro", {}, ())
    assert "| b | 1 |  | 80.00 |" in as_markdown(made)
