"""Oracles and gaps from made-up trials, against numbers written out here."""

import numpy as np
import pytest
from scipy import stats

from configs.studies import imbalance
from configs.studies.default import smallest
from dcdp_jax.config import check_study
from dcdp_jax.errors import CheckpointError, ConfigError
from dcdp_jax.optim import methods
from dcdp_jax.runs.reading import Predictions
from dcdp_jax.studies.grid import Trial, stages_of, trials_of
from dcdp_jax.studies.oracle import gain_section, gains_of, oracles_of
from dcdp_jax.studies.outcomes import Outcome
from dcdp_jax.studies.statistics import holm

NAMES = ["a", "b", "c"]
SEEDS, WINDOWS = 5, 40
ORACLES = {"none": ("res alone", "dense alone")}
COMPARE = {"good": "none", "same": "none"}
RNG = np.random.default_rng(0)
TRUE = RNG.integers(0, 3, WINDOWS)
ACCURACY = {
    "none": np.array([0.70, 0.72, 0.68, 0.71, 0.70]),
    "good": np.array([0.80, 0.83, 0.77, 0.80, 0.82]),
    "same": np.array([0.70, 0.71, 0.69, 0.72, 0.70]),
}
RATES = {"none": 100.0, "good": 50.0, "same": 80.0}


def probabilities(row, seed):
    """Of a branch that tells apart the true class and one other, and of one that tells apart others."""
    rng = np.random.default_rng((len(row), seed))
    p = 0.1 + 0.1 * rng.random((WINDOWS, 3))
    p[np.arange(WINDOWS), TRUE] += 0.4
    p[np.arange(WINDOWS), (TRUE + (1 if row == "res alone" else 2)) % 3] += 0.4
    return (p / p.sum(axis=1, keepdims=True)).astype(np.float32)


def outcome(row, seed, dataset="set", windows=None):
    trial = Trial(dataset, row, seed, 0, smallest(), f"{row}-{seed}")
    if row.endswith("alone"):
        described = windows or [("r", str(i), "s", NAMES[k]) for i, k in enumerate(TRUE)]
        p = probabilities(row, seed)
        predictions = Predictions(["s"] * WINDOWS, np.ones(WINDOWS, bool), p.max(axis=1), described, p)
        return Outcome(trial, {"class_names": NAMES, "test": {"accuracy": 0.5}}, None, predictions)
    accuracy = float(ACCURACY[row][seed])
    return Outcome(trial, {"test": {"accuracy": accuracy}, "windows_per_second": RATES[row]}, None)


def outcomes():
    return [outcome(row, seed) for row in (*ACCURACY, *ORACLES["none"]) for seed in range(SEEDS)]


def expected_oracle():
    """Accuracy of the product of the two branches, in percent, by seed."""
    products = [probabilities("res alone", seed) * probabilities("dense alone", seed) for seed in range(SEEDS)]
    return np.array([100 * (product.argmax(axis=1) == TRUE).mean() for product in products])


def test_the_oracle_multiplies_the_probabilities_of_the_branches():
    (found,) = oracles_of(outcomes(), ORACLES)
    assert list(found.accuracy.values()) == pytest.approx(expected_oracle())
    assert found.gap.value == pytest.approx(expected_oracle().mean() - 70.2)
    single = [100 * (probabilities(row, 0).argmax(axis=1) == TRUE).mean() for row in ORACLES["none"]]
    assert expected_oracle().mean() > max(single)  # the branches complement each other


def test_gains_say_difference_share_of_the_gap_and_cost():
    good, same = gains_of(outcomes(), COMPARE, oracles_of(outcomes(), ORACLES))
    difference = 100 * (ACCURACY["good"] - ACCURACY["none"])
    assert good.difference.value == pytest.approx(difference.mean())
    assert good.closed.value == pytest.approx(100 * difference.mean() / (expected_oracle().mean() - 70.2))
    low, high = stats.t.interval(0.95, SEEDS - 1, loc=difference.mean(), scale=stats.sem(difference))
    assert (good.difference.low, good.difference.high) == pytest.approx((low, high))
    gap = expected_oracle() - 100 * ACCURACY["none"]
    assert good.closed.low < good.closed.value < good.closed.high
    for bound in (good.closed.low, good.closed.high):  # Fieller's: where the test of the ratio is just significant
        assert stats.ttest_1samp(difference - bound / 100 * gap, 0).pvalue == pytest.approx(0.05)
    assert (good.cost, same.cost) == (2.0, 1.25)
    raw = [stats.ttest_rel(ACCURACY[row], ACCURACY["none"]).pvalue for row in COMPARE]
    assert [good.p, same.p] == pytest.approx(holm(raw))


def test_cost_is_per_window_of_all_that_a_program_trains():
    together = outcomes()
    for one in together:
        if one.trial.row == "good":
            one.result["at_once"] = 2
    good, _ = gains_of(together, COMPARE, [])
    assert good.cost == 1.0  # 100 windows per second, and twice 50


def test_no_share_of_a_gap_that_may_be_none():
    level = {row: values for row, values in ACCURACY.items() if row != "none"}
    closer = [o for o in outcomes() if o.trial.row in (*level, *ORACLES["none"])]
    oracle = expected_oracle() / 100
    for seed in range(SEEDS):
        closer.append(outcome("none", seed))
        closer[-1].result["test"]["accuracy"] = float(oracle[seed] + (0.02 if seed % 2 else -0.02))
    assert [gain.closed for gain in gains_of(closer, COMPARE, oracles_of(closer, ORACLES))] == [None, None]


def test_corrected_over_all_data_sets():
    twice = outcomes() + [o._replace(trial=o.trial._replace(dataset="other")) for o in outcomes()]
    raw = [stats.ttest_rel(ACCURACY[row], ACCURACY["none"]).pvalue for row in COMPARE]
    assert [gain.p for gain in gains_of(twice, COMPARE, oracles_of(twice, ORACLES))] == pytest.approx(holm(raw * 2))


def test_branches_of_other_windows_make_no_oracle():
    others = [("r", str(i + 1), "s", NAMES[k]) for i, k in enumerate(TRUE)]
    mixed = [outcome("none", 0), outcome("res alone", 0), outcome("dense alone", 0, windows=others)]
    with pytest.raises(CheckpointError, match="were tested on different windows"):
        oracles_of(mixed, ORACLES)


def test_the_section_of_the_page():
    text = gain_section(outcomes(), COMPARE, ORACLES)
    assert "Holm correction over all 2 lines" in text
    assert "| set | none | res alone; dense alone | 5 |" in text
    assert "| set | good | none | 5 | 80.40 | +10.20 [" in text
    assert gain_section(outcomes(), COMPARE, {}) == ""


def test_the_seeds_of_a_fold_are_one_measurement():
    folded = [o._replace(trial=o.trial._replace(fold=o.trial.seed // 2)) for o in outcomes()]
    (oracle,) = oracles_of(folded, ORACLES)
    good, _ = gains_of(folded, COMPARE, [oracle])
    difference = 100 * (ACCURACY["good"] - ACCURACY["none"])
    of_folds = np.array([difference[:2].mean(), difference[2:4].mean(), difference[4]])
    assert (good.pairs, good.difference.value) == (3, pytest.approx(of_folds.mean()))
    assert good.difference.high == pytest.approx(stats.t.interval(0.95, 2, of_folds.mean(), stats.sem(of_folds))[1])
    assert good.p == pytest.approx(2 * stats.ttest_1samp(of_folds, 0).pvalue)
    assert "| set | none | res alone; dense alone | 3 |" in gain_section(folded, COMPARE, ORACLES)


def test_one_seed_has_no_interval():
    single = [o for o in outcomes() if o.trial.seed == 0]
    (oracle,) = oracles_of(single, ORACLES)
    good, _ = gains_of(single, COMPARE, [oracle])
    assert good.difference.value == pytest.approx(10)
    assert np.isnan([good.difference.low, good.difference.high, oracle.gap.low, oracle.gap.high]).all()
    assert good.closed is None


@pytest.mark.parametrize(
    ("names", "seeds", "folds"), [("complementary,noise", 5, (0,)), ("uci_har,dsads", 1, (0, 1, 2, 3, 4))]
)
def test_the_study_of_imbalance(names, seeds, folds):
    config = imbalance.get_config(names)
    check_study(config)
    (stage,) = stages_of(config)
    trials = trials_of(config, stage, {})  # checks the config of every trial
    assert len(trials) == len(names.split(",")) * len(stage.rows) * seeds * len(folds)
    assert {trial.fold for trial in trials} == set(folds)
    assert {trial.config.modulation.name for trial in trials} == set(methods.NAMES)
    for trial in trials:
        if trial.row.endswith("alone"):
            (branch,) = trial.config.model.branches
            assert trial.config.data.channels == branch[2]
            assert branch[0] in trial.row
    assert not any("SGD" in trial.row and "decoupled" in trial.row for trial in trials)


@pytest.mark.parametrize(("words", "optimizers"), [("main", {"SGD", "AdamW"}), ("main,SGD", {"SGD"})])
def test_the_main_rows_are_a_part_of_all(words, optimizers):
    (main,), (every,) = (stages_of(imbalance.get_config(names)) for names in (f"dsads,{words}", "dsads"))
    rows = {row.name: row.fields for row in every.rows}
    assert {row.name: row.fields for row in main.rows} == {row.name: rows[row.name] for row in main.rows}
    # with each optimiser the two branches alone, and none at twice the rate
    assert len(main.rows) == (len(imbalance.MAIN_METHODS) + 3) * len(optimizers)
    assert {row.name.partition(",")[0] for row in main.rows} == optimizers


def test_seeds_and_folds_are_not_mixed():
    with pytest.raises(ConfigError, match="name synthetic tasks, which have seeds, or data sets with groups"):
        imbalance.get_config("noise,dsads")
