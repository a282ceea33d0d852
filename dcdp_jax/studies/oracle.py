"""Oracles, the share of the gap to them that a row of a study closes, and whether joint training hinders a branch.

The oracle of a row is the product of the class probabilities of other rows, each a branch that was trained alone with
the same seed and fold. It is the joint prediction of branches that have not disturbed each other's training.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dcdp_jax.rejection import SMALLEST
from dcdp_jax.runs.files import markdown_table
from dcdp_jax.runs.reading import rate_of
from dcdp_jax.studies.outcomes import Outcome, by_dataset, finished
from dcdp_jax.studies.rendering import interval_text, p_text
from dcdp_jax.studies.statistics import Estimate, difference_interval, holm, paired, paired_p, ratio_interval
from dcdp_jax.studies.tables import combined_scores, test_scores

Oracles = Mapping[str, Sequence[str]]  # {row: the rows that make its oracle}
Runs = Mapping[tuple[int, int], Outcome]  # {(fold, seed): finished trial} of a row on a data set


class Gain(NamedTuple):
    """Comparison of a row and its reference."""

    dataset: str  # name in the study
    row: str  # name
    reference: str  # the row that it is compared with
    pairs: int  # number of seeds, or of folds, that both have, see `statistics.paired`
    accuracy: float  # mean over them, in percent
    difference: Estimate  # to the reference, in points, over the pairs
    p: float  # of the paired t-test, with Holm correction over all gains of the study
    # difference as percent of the gap between the reference and its oracle; None without an oracle, for one pair, or
    # where the interval of the gap holds 0
    closed: Estimate | None
    cost: float  # training windows per second of the reference over those of the row, of the medians


class Oracle(NamedTuple):
    """The oracle of a row."""

    dataset: str  # name in the study
    reference: str  # the row whose oracle it is
    rows: tuple[str, ...]  # whose probabilities are multiplied
    accuracy: dict[tuple[int, int], float]  # by (fold, seed), in percent
    # to the reference, in points, over seeds or folds; None where they share none
    gap: Estimate | None


class Hindrance(NamedTuple):
    """Comparison of a branch that a row trains with others and the same branch trained alone."""

    dataset: str  # name in the study
    row: str  # name of the row that trains all branches
    branch: str  # name
    pairs: int  # number of seeds, or of folds, that both have
    accuracy: float  # test accuracy of the branch's own classifier in the row, mean over them, in percent
    # to that of the branch alone, in points, over the pairs; below 0 the branch is under-optimised
    difference: Estimate


def oracles_of(outcomes: Sequence[Outcome], oracles: Oracles) -> list[Oracle]:
    """Computes the oracles, {row: the rows that make its oracle}, of all data sets.

    Raises CheckpointError where the rows of an oracle were tested on different windows.
    """
    found = []
    for dataset, here in by_dataset(outcomes).items():
        for reference, rows in oracles.items():
            of_rows = [finished(here, row) for row in rows]
            accuracy = {
                key: 100 * combined_scores([runs[key] for runs in of_rows], sum_of_logarithms)["accuracy"]
                for key in of_rows[0]
                if all(key in runs for runs in of_rows)
            }
            if accuracy:
                pairs = paired(accuracy, test_scores(here, reference, "accuracy"))
                gap = difference_interval(pairs) if len(pairs) else None
                found.append(Oracle(dataset, reference, tuple(rows), accuracy, gap))
    return found


def sum_of_logarithms(probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the logarithm of the product of probabilities, in float64."""
    return np.sum([np.log(np.maximum(p, SMALLEST).astype(np.float64)) for p in probabilities], axis=0)


def gains_of(outcomes: Sequence[Outcome], compare: Mapping[str, str], oracles: Sequence[Oracle]) -> list[Gain]:
    """Compares every row with its reference, {row: reference}, on every data set, in the order of the study.

    Each data set and row with a finished pair has a gain. The oracles are those of the same outcomes.
    """
    known = {(oracle.dataset, oracle.reference): oracle for oracle in oracles}
    gains = []
    for dataset, here in by_dataset(outcomes).items():
        for row, reference in compare.items():
            ours, theirs = (test_scores(here, name, "accuracy") for name in (row, reference))
            pairs = paired(ours, theirs)
            if not len(pairs):
                continue
            oracle, closed = known.get((dataset, reference)), None
            if oracle:
                row_values, values, best = paired(ours, theirs, oracle.accuracy).T
                closed = ratio_interval(100 * (row_values - values), best - values)
            fast, slow = (
                np.median([rate_of(outcome.result) for outcome in finished(here, name).values()])
                for name in (reference, row)
            )
            mean, gap, p = float(np.mean(pairs[:, 0])), difference_interval(pairs), paired_p(*pairs.T)
            gains.append(Gain(dataset, row, reference, len(pairs), mean, gap, p, closed, float(fast / slow)))
    corrected = holm([gain.p for gain in gains])
    return [gain._replace(p=p) for gain, p in zip(gains, corrected, strict=True)]


def gain_section(outcomes: Sequence[Outcome], compare: Mapping[str, str], oracles: Oracles) -> str:
    """Returns the section of a study's page on oracles and gains, in Markdown; '' for a study without oracles."""
    found = oracles_of(outcomes, oracles)
    if not found:
        return ""
    gains = gains_of(outcomes, compare, found)
    of_oracles = [
        [
            *(oracle.dataset, oracle.reference, "; ".join(oracle.rows), str(len(paired(oracle.accuracy)))),
            *(f"{np.mean(paired(oracle.accuracy)):.2f}", interval_text(oracle.gap)),
        ]
        for oracle in found
    ]
    of_gains = [
        [
            *(gain.dataset, gain.row, gain.reference, str(gain.pairs), f"{gain.accuracy:.2f}"),
            *(interval_text(gain.difference), p_text(gain.p)),
            *(interval_text(gain.closed, 0), f"{gain.cost:.2f}"),
        ]
        for gain in gains
    ]
    oracle_columns = ["data set", "oracle of", "branches", "n", "accuracy", "gap in points [95 %]"]
    columns = ["data set", "row", "compared with", "n", "accuracy", "difference", "p", "gap closed", "cost"]
    return (
        "### What each row gains\n\n"
        "Oracle: the product of the class probabilities of branches that were trained alone, by seed and fold. "
        "n: seeds or, if there are several folds, folds, with the mean over the seeds of each; all intervals are over "
        "these, by the t distribution.\n\n"
        f"{markdown_table(oracle_columns, of_oracles)}\n\n"
        "Difference: to the row compared with, with its 95 % interval; p: paired "
        f"t-test, with Holm correction over all {len(gains)} lines; gap closed: percent of the gap to the oracle, "
        "where the interval of the gap excludes 0, with Fieller's interval; cost: training time per window, as a "
        f"multiple of that of the row compared with.\n\n{markdown_table(columns, of_gains)}"
    )


def joint_rows(reference: str, compare: Mapping[str, str]) -> list[str]:
    """Returns the reference of an oracle, followed by the rows that `compare`, {row: reference}, compares with it."""
    return [reference, *(row for row, other in compare.items() if other == reference)]


def alone_runs(outcomes: Sequence[Outcome], rows: Sequence[str]) -> dict[str, Runs]:
    """Returns {branch: runs} of the rows of an oracle that train this branch only, on one data set."""
    found: dict[str, Runs] = {}
    for runs in (finished(outcomes, row) for row in rows):
        branches = {branch for run in runs.values() for branch in run.result["branches"]}
        if len(branches) == 1:
            found[branches.pop()] = runs
    return found


def own_accuracy(runs: Runs, branch: str) -> dict[tuple[int, int], float]:
    """Returns the test accuracy in percent of a branch's own classifier, of the runs that have the branch."""
    shares = {key: run.result["branches"].get(branch) for key, run in runs.items()}
    return {key: 100 * share for key, share in shares.items() if share is not None}


def hindrances_of(outcomes: Sequence[Outcome], compare: Mapping[str, str], oracles: Oracles) -> list[Hindrance]:
    """Compares the branches of each oracle's reference, and of the rows compared with it, with the same branch alone.

    `compare` is {row: reference}; `oracles` is {reference: rows that train one branch each}.
    """
    found = []
    for dataset, here in by_dataset(outcomes).items():
        for reference, rows in oracles.items():
            alone = alone_runs(here, rows)
            for row in joint_rows(reference, compare):
                joint = finished(here, row)
                for branch, single in alone.items():
                    pairs = paired(own_accuracy(joint, branch), own_accuracy(single, branch))
                    if len(pairs):
                        accuracy = float(pairs[:, 0].mean())
                        gap = difference_interval(pairs)
                        found.append(Hindrance(dataset, row, branch, len(pairs), accuracy, gap))
    return found


def branch_section(outcomes: Sequence[Outcome], compare: Mapping[str, str], oracles: Oracles) -> str:
    """Returns the section of a study's page on the branches, in Markdown; '' where none was trained alone."""
    found = hindrances_of(outcomes, compare, oracles)
    if not found:
        return ""
    branches = list(dict.fromkeys(one.branch for one in found))
    cells: dict[tuple[str, str], dict[str, Hindrance]] = {}
    for one in found:
        cells.setdefault((one.dataset, one.row), {})[one.branch] = one
    lines = []
    for (dataset, row), by_branch in cells.items():
        texts = {name: f"{one.accuracy:.2f}, {interval_text(one.difference)}" for name, one in by_branch.items()}
        pairs = max(one.pairs for one in by_branch.values())
        lines.append([dataset, row, str(pairs), *(texts.get(name, "") for name in branches)])
    return (
        "### Each branch beside itself alone\n\n"
        "Test accuracy of the branch's own classifier, and the difference in points to the same branch trained alone "
        "with the same seed and fold, with the 95 % t-interval over n seeds or folds; below 0 the branch is "
        "under-optimised.\n\n" + markdown_table(["data set", "row", "n", *branches], lines)
    )
