"""Oracles, and how much of the gap to them a row of a study closes.

The oracle of a row is the product of the class probabilities of other rows, each a branch that was trained alone with
the same seed and fold: what the branches say together where neither has disturbed the training of the other.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dcdp_jax.errors import CheckpointError
from dcdp_jax.evaluate.ensemble import count_windows
from dcdp_jax.metrics import scores
from dcdp_jax.rejection import SMALLEST
from dcdp_jax.studies.engine import Outcome
from dcdp_jax.studies.statistics import Interval, bootstrap, holm, paired_p

Runs = Mapping[tuple[int, int], Outcome]
Oracles = Mapping[str, Sequence[str]]


class Gain(NamedTuple):
    """A row beside its reference.

    Attributes:
      dataset: name in the study.
      row: name.
      reference: the row that it is compared with.
      pairs: number of seeds and folds that both have.
      accuracy: mean over them, in percent.
      difference: to the reference, in points, with the bootstrap interval over the pairs.
      p: of the paired t-test, corrected after Holm over all gains of the study.
      closed: difference as percent of the gap between the reference and its oracle; None without an oracle, or where
        the interval of the gap holds 0.
      cost: training windows per second of the reference over those of the row, of the medians.
    """

    dataset: str
    row: str
    reference: str
    pairs: int
    accuracy: float
    difference: Interval
    p: float
    closed: Interval | None
    cost: float


class Oracle(NamedTuple):
    """The oracle of a row.

    Attributes:
      dataset: name in the study.
      reference: the row whose oracle it is.
      rows: whose probabilities are multiplied.
      accuracy: by (fold, seed), in percent.
      gap: to the reference, in points, with the bootstrap interval over seeds and folds; None where they share none.
    """

    dataset: str
    reference: str
    rows: tuple[str, ...]
    accuracy: dict[tuple[int, int], float]
    gap: Interval | None


def oracles_of(outcomes: Sequence[Outcome], oracles: Oracles) -> list[Oracle]:
    """Computes the oracles, {row: the rows that make its oracle}, of all data sets.

    Raises:
      CheckpointError: the rows of an oracle were tested on different windows.
    """
    found = []
    for dataset in dict.fromkeys(outcome.trial.dataset for outcome in outcomes):
        for reference, rows in oracles.items():
            of_rows = [runs_of(outcomes, dataset, row) for row in rows]
            both = [key for key in of_rows[0] if all(key in runs for runs in of_rows)]
            accuracy = {key: 100 * product_accuracy([runs[key] for runs in of_rows]) for key in both}
            if accuracy:
                plain = accuracies(runs_of(outcomes, dataset, reference))
                pairs = [(accuracy[key], plain[key]) for key in accuracy if key in plain]
                gap = bootstrap(np.array(pairs), lambda x: x[..., 0] - x[..., 1]) if pairs else None
                found.append(Oracle(dataset, reference, tuple(rows), accuracy, gap))
    return found


def runs_of(outcomes: Sequence[Outcome], dataset: str, row: str) -> dict[tuple[int, int], Outcome]:
    """Returns {(fold, seed): finished trial} of a row."""
    return {
        (outcome.trial.fold, outcome.trial.seed): outcome
        for outcome in outcomes
        if outcome.trial.dataset == dataset and outcome.trial.row == row and outcome.result
    }


def accuracies(runs: Runs) -> dict[tuple[int, int], float]:
    """Returns {(fold, seed): test accuracy in percent}."""
    return {key: 100 * outcome.result["test"]["accuracy"] for key, outcome in runs.items() if outcome.result}


def product_accuracy(members: Sequence[Outcome]) -> float:
    """Returns the test accuracy of the product of the members' class probabilities.

    Raises:
      CheckpointError: they left no probabilities, or were tested on different windows.
    """
    logs, windows, names = [], None, []
    for outcome in members:
        predictions = outcome.predictions
        if predictions is None or predictions.probabilities is None or outcome.result is None:
            raise CheckpointError(f"{outcome.trial.name} left no probabilities; remove its folder, and train it again")
        if windows is not None and predictions.windows != windows:
            raise CheckpointError(
                f"{outcome.trial.name} and {members[0].trial.name} were tested on different windows, and cannot be the "
                "branches of one oracle"
            )
        windows, names = predictions.windows, outcome.result["class_names"]
        logs.append(np.log(np.maximum(predictions.probabilities, SMALLEST).astype(np.float64)))
    assert windows is not None
    return float(scores(count_windows(windows, np.sum(logs, axis=0), names))["accuracy"])


def gains_of(outcomes: Sequence[Outcome], compare: Mapping[str, str], oracles: Oracles) -> list[Gain]:
    """Compares every row with its reference, {row: reference}, on every data set, in the order of the study.

    Each data set and row with a finished pair has a gain. For the oracles see `oracles_of`.
    """
    known = {(oracle.dataset, oracle.reference): oracle for oracle in oracles_of(outcomes, oracles)}
    gains = []
    for dataset in dict.fromkeys(outcome.trial.dataset for outcome in outcomes):
        for row, reference in compare.items():
            runs, plain = runs_of(outcomes, dataset, row), runs_of(outcomes, dataset, reference)
            ours, theirs = accuracies(runs), accuracies(plain)
            pairs = [key for key in ours if key in theirs]
            if not pairs:
                continue
            oracle = known.get((dataset, reference))
            gains.append(
                Gain(
                    dataset,
                    row,
                    reference,
                    len(pairs),
                    float(np.mean([ours[key] for key in pairs])),
                    bootstrap(np.array([(ours[key], theirs[key]) for key in pairs]), lambda x: x[..., 0] - x[..., 1]),
                    paired_p([ours[key] for key in pairs], [theirs[key] for key in pairs]),
                    closed_by(ours, theirs, oracle) if oracle else None,
                    median_rate(plain) / median_rate(runs),
                )
            )
    corrected = holm([gain.p for gain in gains])
    return [gain._replace(p=p) for gain, p in zip(gains, corrected, strict=True)]


def closed_by(
    ours: Mapping[tuple[int, int], float], theirs: Mapping[tuple[int, int], float], oracle: Oracle
) -> Interval | None:
    """Returns the share of the gap that a row closes, in percent, with the bootstrap interval over seeds and folds."""
    keys = [key for key in ours if key in theirs and key in oracle.accuracy]
    if not keys or oracle.gap is None or not oracle.gap.low > 0:
        return None
    values = np.array([(ours[key], theirs[key], oracle.accuracy[key]) for key in keys])
    return bootstrap(values, lambda x: 100 * (x[..., 0] - x[..., 1]) / (x[..., 2] - x[..., 1]))


def median_rate(runs: Runs) -> float:
    """Returns the median of the training windows per second."""
    return float(np.median([outcome.result["windows_per_second"] for outcome in runs.values() if outcome.result]))


def as_section(outcomes: Sequence[Outcome], compare: Mapping[str, str], oracles: Oracles) -> str:
    """Returns the section of a study's page on oracles and gains, in Markdown; '' for a study without oracles."""
    gains, found = gains_of(outcomes, compare, oracles), oracles_of(outcomes, oracles)
    if not found:
        return ""
    lines = [
        "### What each row gains",
        "",
        "Oracle: the product of the class probabilities of branches that were trained alone, by seed and fold.",
        "",
        "| data set | oracle of | branches | n | accuracy | gap in points [95 % bootstrap] |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {oracle.dataset} | {oracle.reference} | {'; '.join(oracle.rows)} | {len(oracle.accuracy)} | "
        f"{np.mean(list(oracle.accuracy.values())):.2f} | {interval_text(oracle.gap)} |"
        for oracle in found
    ]
    lines += [
        "",
        "Difference: to the row compared with, with the 95 % bootstrap interval over seeds and folds; p: paired "
        f"t-test, corrected after Holm over all {len(gains)} lines; gap closed: percent of the gap to the oracle, "
        "where the interval of the gap excludes 0; cost: training time per window, as a multiple of that of the row "
        "compared with.",
        "",
        "| data set | row | compared with | n | accuracy | difference | p | gap closed | cost |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {gain.dataset} | {gain.row} | {gain.reference} | {gain.pairs} | {gain.accuracy:.2f} | "
        f"{interval_text(gain.difference)} | {'' if np.isnan(gain.p) else f'{gain.p:.3f}'} | "
        f"{interval_text(gain.closed, 0)} | {gain.cost:.2f} |"
        for gain in gains
    ]
    return "\n".join(lines)


def interval_text(interval: Interval | None, decimals: int = 2) -> str:
    """Returns `+1.20 [0.40, 2.00]`; the value alone where there is no interval, and nothing for None."""
    if interval is None:
        return ""
    bounds = "" if np.isnan(interval.low) else f" [{interval.low:.{decimals}f}, {interval.high:.{decimals}f}]"
    return f"{interval.value:+.{decimals}f}{bounds}"
