"""Tables say what the results say."""

import csv
import io

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score

from configs.studies.default import smallest
from dcdp_jax.errors import CheckpointError
from dcdp_jax.runs.reading import Predictions
from dcdp_jax.studies.grid import Row, Stage, Trial
from dcdp_jax.studies.outcomes import Outcome, StageOutcome, best_row
from dcdp_jax.studies.rendering import as_csv, as_latex, as_markdown, p_text
from dcdp_jax.studies.statistics import holm, subject_interval, subjects_p
from dcdp_jax.studies.study import provenance
from dcdp_jax.studies.tables import make_tables

NAMES = ["walk", "sit", "lie"]
WINDOWS, PEOPLE = 60, 5
SCORES = {"main": (0.91, 0.93, 0.92), "without": (0.90, 0.90, 0.91), "broken": (0.5, None, None), "dead": (None,) * 3}
ACCURACY = {row: [100 * value for value in values if value] for row, values in SCORES.items()}


def outcome(row, seed, value, dataset="set", marks=()):
    trial = Trial(dataset, row, seed, 0, smallest(), f"{row}-{seed}")
    if value is None:
        return Outcome(trial, None, "ConfigError: no")
    scores = {"accuracy": value, "f1_macro": value - 0.1}
    result = {"test": scores, "validation": {"f1_macro": value / 2}, "protocol": "subject", "marks": list(marks)}
    result |= {"parameters": 1000 * len(row), "wall_seconds": 10.0 + seed}
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
    half = stats.t.ppf(0.975, 2) * stats.sem(np.subtract(ACCURACY["without"], ACCURACY["main"]))
    bounds = [float(row[k]) - float(row["difference"]) for k in ("difference_low", "difference_high")]
    np.testing.assert_allclose(bounds, [-half, half])
    assert float(row["p"]) == pytest.approx(p)  # one test with a p: Holm leaves it
    assert row["compared_with"] == "main"
    assert [float(row[k]) for k in ("parameters", "seconds")] == [7000, 11]
    assert float(found["main", "f1_macro"]["mean"]) == pytest.approx(82)
    assert found["main", "accuracy"]["difference"] == found["main", "accuracy"]["difference_low"] == ""


def test_trials_that_were_trained_at_once_share_their_time():
    together = [outcome("a", seed, 0.6) for seed in (0, 1)]
    for one in together:
        one.result.update(at_once=2, device="cpu", versions={"jax": "1"}, git_revision=None, wall_seconds=3600.0)
    (made,) = make_tables([StageOutcome(Stage("", [Row("a", {})]), together, None)], ("accuracy",), "f1_macro", {}, ())
    assert made.lines[0].seconds == 1800
    assert "training took 1.00 hours in all, 1800 s in the median" in provenance(together)


def test_failed_trials_are_counted_and_compared_over_common_seeds_only():
    found = records(table())
    assert (found["broken", "accuracy"]["n"], found["broken", "accuracy"]["failed"]) == ("1", "2")
    assert float(found["broken", "accuracy"]["difference"]) == pytest.approx(50 - 91)
    assert (found["dead", "accuracy"]["n"], found["dead", "accuracy"]["failed"]) == ("0", "3")
    text = as_markdown(table())
    assert "1 (2 failed)" in text
    assert "| dead | 0 (3 failed) |  |  |  | failed |" in text


def test_markdown_says_protocol_marks_paper_and_intervals():
    assert "t-interval] over n seeds;" in as_markdown(table())
    text = as_markdown(table(paper=(("main", "set", "accuracy", 97.79),), marks=("leaky", "incomplete")))
    assert "set [incomplete, leaky], protocol subject" in text
    assert 'against "main"' in text
    assert "92.00 ± 1.00 [89.52, 94.48] | 97.79 | -5.79" in text
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1


def test_differences_have_their_paired_interval():
    ours, theirs = np.array(ACCURACY["without"]), np.array(ACCURACY["main"])
    low, high = stats.t.interval(0.95, 2, loc=np.mean(ours - theirs), scale=stats.sem(ours - theirs))
    text = as_markdown(table())
    assert f"| {np.mean(ours - theirs):+.2f} [{low:.2f}, {high:.2f}] |" in text
    assert "| -41.00 |" in text  # the row with one trial


def test_small_p_values_are_not_written_as_0():
    assert [p_text(p) for p in (None, np.nan, 0.0, 0.0004, 0.0006, 1.0)] == [
        "",
        "",
        "< 0.001",
        "< 0.001",
        "0.001",
        "1.000",
    ]


def test_latex_escapes():
    name = r"50 % & more_, p < 0.1^2"
    (made,) = make_tables(
        [StageOutcome(Stage("", [Row(name, {})]), [outcome(name, 0, 0.9)], None)],
        *(("accuracy",), "f1_macro", {}, ()),
    )
    assert r"50 \% \& more\_, p $<$ 0.1\^{}2" in as_latex(made)


def test_the_best_row_is_chosen_by_validation_alone():
    trials = [outcome("a", 0, 0.6), outcome("b", 0, 0.8)]
    trials[0].result["test"]["f1_macro"] = 1.0
    assert best_row(Stage("", [Row("a", {}), Row("b", {})]), trials, "f1_macro") == "b"
    assert best_row(Stage("", [Row("a", {})]), [outcome("a", 0, None)], "f1_macro") is None


def test_a_row_that_failed_where_another_did_not_is_not_chosen():
    stage = Stage("", [Row("a", {}), Row("b", {})])
    a, b = (
        [outcome(row, seed, value) for seed, value in enumerate(of)]
        for row, of in (("a", (0.7, 0.6)), ("b", (0.9, 0.1)))
    )
    assert best_row(stage, [*a, *b], "f1_macro") == "a"
    failed = outcome("b", 1, None)  # without its worst seed, b would have the best mean
    assert best_row(stage, [*a, b[0], failed], "f1_macro") == "a"
    assert best_row(stage, [a[0], outcome("a", 1, None), b[0], failed], "f1_macro") == "b"  # both lack the same
    assert best_row(stage, [a[0], outcome("a", 1, None), outcome("b", 0, None), b[1]], "f1_macro") is None


def test_a_row_without_validation_part_has_no_validation_score():
    trials = [outcome("a", 0, 0.6), outcome("b", 0, 0.8)]
    for trial in trials:
        del trial.result["validation"]
    rows = [Row("a", {}), Row("b", {})]
    assert best_row(Stage("", rows), trials, "f1_macro") is None
    (made,) = make_tables([StageOutcome(Stage("", rows), trials, None)], ("accuracy",), "f1_macro", {}, ())
    assert "| b | 1 | 1,000 | 10 |  | 80.00 |" in as_markdown(made)


def predicted(row, seed, fold, subjects, lead):
    """A trial with random probabilities, `lead` more for the true class, of windows that depend on the fold alone."""
    true = np.random.default_rng(fold).integers(3, size=WINDOWS)
    p = np.random.default_rng([seed, fold, len(row)]).dirichlet(np.ones(3), WINDOWS)
    p[np.arange(WINDOWS), true] += lead
    p = (p / p.sum(axis=1, keepdims=True)).astype(np.float32)
    guess = p.argmax(axis=1)
    people = [str(subjects[i % len(subjects)]) for i in range(WINDOWS)]
    windows = [(f"run{fold}", str(i), people[i], NAMES[true[i]]) for i in range(WINDOWS)]
    result = {
        "test": {"accuracy": accuracy_score(true, guess), "f1_macro": f1_score(true, guess, average="macro")},
        **{"protocol": "groups", "marks": [], "class_names": NAMES, "parameters": 1000, "selection": "last"},
        "wall_seconds": 5.0,
    }
    trial = Trial("set", row, seed, fold, smallest(), f"{row}-{fold}-{seed}")
    return Outcome(trial, result, None, Predictions(people, guess == true, p.max(axis=1), windows, p))


@pytest.fixture
def predictions():
    """Two folds of different people for each of three rows; the second fold has two seeds, the first three."""
    folds = {0: [10, 11, 12], 1: [20, 21]}
    leads = {"main": 0.4, "other": 0.2, "equal": 0.4}
    return [
        predicted(row, seed, fold, folds[fold], lead)
        for row, lead in leads.items()
        for fold in folds
        for seed in range(3 - fold)
    ]


def table_of(outcomes, scores=("accuracy", "f1_macro", "loss")):
    for one in outcomes:
        one.result["test"].setdefault("loss", 0.5)
    rows = list(dict.fromkeys(one.trial.row for one in outcomes))
    stage = Stage("", [Row(row, {}) for row in rows])
    compare = {row: "main" for row in rows if row != "main"}
    (made,) = make_tables([StageOutcome(stage, outcomes, None)], scores, "f1_macro", compare, ())
    return made


def test_an_ensemble_is_the_mean_of_the_probabilities_in_every_fold(predictions):
    found = records(table_of(predictions))
    wanted = {"accuracy": [], "f1_macro": []}
    for fold in (0, 1):
        of_fold = [one.predictions for one in predictions if (one.trial.row, one.trial.fold) == ("main", fold)]
        true = [window[3] for window in of_fold[0].windows]
        guess = [NAMES[i] for i in np.mean([one.probabilities for one in of_fold], axis=0).argmax(axis=1)]
        wanted["accuracy"].append(100 * accuracy_score(true, guess))
        wanted["f1_macro"].append(100 * f1_score(true, guess, average="macro"))
    name = "main, ensemble of 2 to 3"
    for score, values in wanted.items():
        assert float(found[name, score]["mean"]) == pytest.approx(np.mean(values))
    assert wanted["accuracy"][0] != pytest.approx(float(found["main", "accuracy"]["mean"]))
    assert (found[name, "accuracy"]["n"], found[name, "accuracy"]["ensemble"]) == ("2", "2 to 3")
    assert float(found["main", "loss"]["mean"]) == pytest.approx(0.5)  # not in percent
    assert (found[name, "accuracy"]["low"], found[name, "accuracy"]["deviation"]) == ("nan", "nan")
    assert (found[name, "loss"]["n"], found[name, "loss"]["parameters"]) == ("0", "2500.0")


def test_rows_of_one_trial_have_no_ensemble_and_other_windows_are_refused(predictions):
    alone = [one for one in predictions if one.trial.seed == 0]
    assert not any(line.ensemble for line in table_of(alone).lines)
    other = predicted("main", 2, 1, [20, 21], 0.4)
    with pytest.raises(CheckpointError, match="main-0-1 and main-0-0 were tested on different windows"):
        table_of([predictions[0], predictions[1]._replace(predictions=other.predictions)])


def test_statistics_over_subjects(predictions):
    found = records(table_of(predictions))
    accuracy, windows = {}, {}
    for row in ("main", "other", "equal"):
        accuracy[row] = {}
        of_row = [one for one in predictions if one.trial.row == row]
        for subject in ("10", "11", "12", "20", "21"):
            tests = [
                one.predictions.right[[name == subject for name in one.predictions.subjects]]
                for one in of_row
                if subject in one.predictions.subjects
            ]
            accuracy[row][subject] = np.mean([right.mean() for right in tests])
            windows[subject] = len(tests[0])
        low, high = subject_interval(accuracy[row], windows)
        record = found[row, "accuracy"]
        expected = (PEOPLE, 100 * low, 100 * high)
        given = [float(record[key]) for key in ("subjects", "subjects_low", "subjects_high")]
        np.testing.assert_allclose(given, expected)
        assert found[row, "f1_macro"]["subjects_low"] == ""
    tested = [subjects_p(accuracy[row], accuracy["main"]) for row in ("other", "equal")]
    given = [float(found[row, "accuracy"]["subjects_p"]) for row in ("other", "equal")]
    np.testing.assert_allclose(given, holm(tested))
    assert found["main", "accuracy"]["subjects_p"] == "nan"


def test_seeds_are_averaged_in_each_fold(predictions):
    found = records(table_of(predictions))
    means = {
        row: [
            100
            * np.mean([o.result["test"]["accuracy"] for o in predictions if (o.trial.row, o.trial.fold) == (row, fold)])
            for fold in (0, 1)
        ]
        for row in ("main", "other")
    }
    low, high = stats.t.interval(0.95, 1, loc=np.mean(means["main"]), scale=stats.sem(means["main"]))
    given = [float(found["main", "accuracy"][key]) for key in ("n", "mean", "low", "high")]
    np.testing.assert_allclose(given, (2, np.mean(means["main"]), low, high))
    p = stats.ttest_rel(means["other"], means["main"]).pvalue
    found = records(table_of([one for one in predictions if one.trial.row != "equal"]))
    assert float(found["other", "accuracy"]["p"]) == pytest.approx(p)


def test_what_a_table_lacks_is_said(predictions):
    said = as_markdown(table_of(predictions)).splitlines()[0]
    assert "data_fingerprint" not in said
    assert "predictions.csv" not in said
    for i, one in enumerate(predictions):
        one.result["data_fingerprint"] = "abc" if i else "def"
    said = as_markdown(table_of([predictions[0]._replace(predictions=None), *predictions[1:]])).splitlines()[0]
    assert "the trials do not have the same data, but 2 different data_fingerprint" in said
    assert "1 without predictions.csv are left out of ensembles, 95 % and p (subjects)" in said


def test_trials_within_the_training_subjects_have_no_test_scores_whatever_their_stage():
    one = outcome("a", 0, 0.6, marks=["synthetic"])
    one.trial.config.data.within = "subject"
    (made,) = make_tables([StageOutcome(Stage("", [Row("a", {})]), [one], "a")], ("accuracy",), "f1_macro", {}, ())
    text = as_markdown(made)
    assert "set [synthetic], protocol -" in text
    assert "| a | 1 | 1,000 | 10 | 50.00 |  |" in text  # not failed


def test_markdown_has_both_intervals_and_both_tests(predictions):
    for one in predictions:
        if one.trial.row == "equal":  # a classical model
            one.result["selection"] = None
    made = table_of(predictions, ("accuracy", "f1_macro"))
    text = as_markdown(made)
    head, _, header, _, *lines = text.splitlines()
    for said in (
        "over the folds of n trials",
        "tested is the last epoch;",
        "over the people tested",
        "p (folds), paired",
    ):
        assert said in head
    assert (
        'sign-flip test of the accuracy, against "main", p with Holm correction over the rows; ensemble: mean' in head
    )
    assert header.endswith("| Macro F1 | Difference | p (folds) | 95 % (subjects) | p (subjects) |")
    assert [line.split(" | ")[0] for line in lines][:2] == ["| main", "| main, ensemble of 2 to 3"]
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1
    over = next(line.subjects for line in made.lines if line.row == "other")
    assert f"| [{over.low:.2f}, {over.high:.2f}] | {over.p:.3f} |" in text
