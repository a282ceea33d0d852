"""A test of the bench itself: it finds no difference where there is none, and a loss where there is one."""

import numpy as np
import pytest
from scipy import stats

from configs.studies import imbalance
from dcdp_jax.runs.reading import read_result
from dcdp_jax.studies.statistics import holm, paired_p
from dcdp_jax.train.build import prepare
from dcdp_jax.train.trainer import train_runs

pytestmark = pytest.mark.usefixtures("optimized")  # as it trains for minutes

SEEDS = range(20)
AT_ONCE = 5
POINTS = 2.0  # the gain that the study has to be able to exclude


def accuracies(folder, fields):
    """Test accuracy in percent by seed, on the smallest task whose accuracy is not at its ceiling, with AdamW."""
    config = imbalance.synthetic("complementary")
    config.update_from_flattened_dict({**imbalance.OPTIMIZERS["AdamW"], **fields, "parallel.devices": 1})
    run, trials = prepare(config), []
    for seed in SEEDS:
        own = config.copy_and_resolve_references()
        own.seed = seed
        trials.append((own, folder / str(seed)))
    for first in range(0, len(trials), AT_ONCE):
        train_runs(trials[first : first + AT_ONCE], run)
    return np.array([100 * read_result(path)["test"]["accuracy"] for _, path in trials])


@pytest.mark.slow
def test_the_random_control_of_mean_one_is_none_and_a_frozen_branch_is_not(tmp_path):
    """20 seeds of AdamW, each method against `none` with the same seeds, by the paired t-test.

    The criterion was chosen before the first outcome was seen. Of the random control with mean 1, `before` and `after`
    the moments: p, with Holm correction over the two, is above 0.05, and the 95 % interval of the mean difference lies
    within 2 points of 0, so that seeds that vary too much to tell anything fail as well. Where nothing differs, the
    first condition fails with 1 of 20 choices of the seeds, which are fixed. Of the branch of lower confidence frozen:
    p < 0.01, and the difference is a loss.
    """
    methods = imbalance.methods()
    plain = accuracies(tmp_path / "none", methods["none"])
    p, found = [], []
    for placement in ("before", "after"):
        control = accuracies(tmp_path / placement, methods[f"random, mean 1, {placement}"])
        difference = control - plain
        half = stats.t.ppf(0.975, len(SEEDS) - 1) * stats.sem(difference)
        mean = difference.mean()
        found.append((mean - half, mean + half))
        p.append(paired_p(control, plain))
        print(f"{placement}: {mean:+.2f} points [{mean - half:.2f}, {mean + half:.2f}], p {p[-1]:.3f}")
    assert min(holm(p)) > 0.05, (p, found)
    assert np.abs(found).max() < POINTS, found
    frozen = {"modulation.name": "rank", "modulation.placement": "after"}
    frozen |= {"modulation.strong": 1.0, "modulation.weak": 0.0}
    without = accuracies(tmp_path / "frozen", frozen)
    assert without.mean() < plain.mean()
    assert paired_p(without, plain) < 0.01
