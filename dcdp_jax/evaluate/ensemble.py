"""`--mode=ensemble`: the mean of the test probabilities of several finished runs, scored like a run."""

import itertools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dcdp_jax.calibration import MAIN_SCORES, calibration
from dcdp_jax.config import differences
from dcdp_jax.errors import UserError
from dcdp_jax.metrics import accuracy_text, count_predictions, scores
from dcdp_jax.rejection import mean_cross_entropy
from dcdp_jax.runs.files import DIGESTS, PREDICTIONS, RESULT, as_json, write_recorded
from dcdp_jax.runs.predictions import write_table
from dcdp_jax.runs.reading import (
    WINDOW_COLUMNS,
    rate_of,
    read_config,
    read_predictions,
    read_result,
    seconds_of,
    true_labels,
)
from dcdp_jax.runs.result import git_revision, package_versions
from dcdp_jax.runs.workdir import LOCK, locked, refuse_others
from dcdp_jax.values import flatten

FILES = (RESULT, PREDICTIONS, DIGESTS, LOCK)


class Member(NamedTuple):
    """A finished run of an ensemble: its folder, its files, the n test windows, and their (n, k) probabilities."""

    folder: Path
    result: dict[str, Any]
    config: dict[str, Any]  # by the dotted names of the fields
    windows: Sequence[tuple[str, ...]]
    probabilities: np.ndarray


# What the runs must have in common, because only probabilities of the same classes and windows can be averaged.
SAME: dict[str, Callable[[Member], Any]] = {
    "data sets": lambda member: member.result["dataset"],
    "protocols": lambda member: member.result["protocol"],
    "classes": lambda member: member.result["class_names"],
    "data fingerprints": lambda member: member.result["data_fingerprint"],
    "window lengths (data.window)": lambda member: member.config.get("data.window"),
}


def write_ensemble(runs: Sequence[Path], workdir: Path) -> dict[str, Any]:
    """Writes `predictions.csv` and `result.json` of the mean probabilities of runs, and returns the latter.

    The runs are folders, two at least, tested on the same windows: seeds of one config, or models trained on different
    folds of the training set. The workdir is new, empty, or has an ensemble, which is replaced. Raises UserError where
    a run is named or copied twice, unfinished or damaged, or the runs are not of the same classes and windows.
    """
    if len(runs) < 2:
        raise UserError(f"--mode=ensemble takes the folders of two or more finished runs, got {len(runs)}")
    folders = [run.resolve() for run in runs]
    if twice := [run for run, folder in zip(runs, folders, strict=True) if folders.count(folder) > 1]:
        raise UserError(f"{twice[0]} is named twice, and would count twice in the mean")
    members = [read_member(run) for run in runs]
    check_same(members)
    mean = mean_probabilities([member.probabilities for member in members])
    result = ensemble_result(members, mean)
    refuse_others(workdir, FILES, "ensemble")
    workdir.mkdir(parents=True, exist_ok=True)
    names = result["class_names"]
    rows = [
        {**dict(zip(WINDOW_COLUMNS, window, strict=True)), "predicted": names[p.argmax()], "confidence": float(p.max())}
        for window, p in zip(members[0].windows, mean, strict=True)
    ]
    with locked(workdir):
        (workdir / RESULT).unlink(missing_ok=True)  # of the ensemble that is replaced, whose predictions go first
        write_table(workdir, rows, names, mean)
        write_recorded(workdir, RESULT, as_json(result))
    return result


def read_member(folder: Path) -> Member:
    """Reads a run; raises UserError if it is unfinished, damaged, an ensemble, or has no probabilities."""
    result = read_result(folder)
    if "ensemble" in result:
        raise UserError(f"{folder} holds an ensemble; name the runs that it was made from instead")
    predictions = read_predictions(folder, result)
    if predictions is None or predictions.probabilities is None:
        raise UserError(f"{folder} has no {PREDICTIONS} with probabilities; --mode=evaluate of that run writes it")
    return Member(folder, result, dict(flatten(read_config(folder))), predictions.windows, predictions.probabilities)


def check_same(members: Sequence[Member]) -> None:
    """Raises UserError for runs whose probabilities are not of the same classes and windows, or copies of a run."""
    first = members[0]
    for other in members[1:]:
        both = f"{first.folder} and {other.folder}"
        for what, of in SAME.items():
            if of(first) != of(other):
                raise UserError(f"{both} have different {what}: {of(first)!r} and {of(other)!r}")
        a, b = first.windows, other.windows
        if len(a) != len(b):
            raise UserError(f"{both} have different test windows: {len(a)} and {len(b)} of them")
        if differing := [i for i, (one, two) in enumerate(zip(a, b, strict=True)) if one != two]:
            i = differing[0]
            raise UserError(f"{both} have different test windows: {PREDICTIONS}, row {i + 2}, has {a[i]} and {b[i]}")
    for one, other in itertools.combinations(members, 2):
        same_config = not differences(one.config, other.config)
        if same_config and np.array_equal(one.probabilities, other.probabilities):
            raise UserError(
                f"{one.folder} and {other.folder} are copies of one run: the same config and probabilities, which "
                "would count twice in the mean"
            )


def mean_probabilities(probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the (n, k) float32 mean, summed in float64, of the probabilities that several runs give to n windows."""
    return np.stack(probabilities).mean(axis=0, dtype=np.float64).astype(np.float32)


def count_windows(windows: Sequence[Sequence[str]], probabilities: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Counts windows by true class (rows) and most probable class (columns): (k, k) int64. See `true_labels`."""
    return count_predictions(true_labels(windows, names), probabilities.argmax(axis=1), len(names))


def ensemble_result(members: Sequence[Member], mean: np.ndarray) -> dict[str, Any]:
    """Returns the content of result.json, from (n, k) float32 mean probabilities of the runs.

    Parameters and seconds are sums over the runs, and the rate is that of training one after the other. `seed` is that
    of the first; `ensemble` lists all. The test loss takes a probability of 0 for the smallest positive float32.
    """
    first = members[0].result
    results = [member.result for member in members]
    windows, names = members[0].windows, first["class_names"]
    counts, true = count_windows(windows, mean, names), true_labels(windows, names)
    bins = calibration(mean.argmax(axis=1) == true, mean.max(axis=1))
    rates = [rate_of(result) for result in results]  # 0 where it is not known

    def equal_parts(key: str) -> dict[str, Any]:
        return {part: value for part, value in first[key].items() if all(r[key].get(part) == value for r in results)}

    return {
        **{key: first[key] for key in ("dataset", "protocol", "seed", "class_names", "data_fingerprint")},
        "test": scores(counts) | {"loss": mean_cross_entropy(mean, true), "ece": bins.error()},
        "branches": {},
        "confusion": counts.tolist(),
        "windows": equal_parts("windows"),
        "subjects": equal_parts("subjects"),
        "marks": list(dict.fromkeys(mark for result in results for mark in result["marks"])),
        "notes": [f"mean of the probabilities of {len(members)} runs"],
        "versions": package_versions(),
        "git_revision": git_revision(),
        "device": ", ".join(dict.fromkeys(result["device"] for result in results)),
        "parameters": sum(result["parameters"] for result in results),
        "best_epoch": None,
        "wall_seconds": sum(seconds_of(result) for result in results),
        "windows_per_second": 1 / sum(1 / rate for rate in rates) if all(rates) else 0.0,
        "command": " ".join(sys.argv),
        "ensemble": [
            {
                "run": str(member.folder),
                "seed": member.result["seed"],
                "fold": member.config.get("data.fold"),
                "git_revision": member.result["git_revision"],
                **{key: member.result["test"][key] for key in MAIN_SCORES},
            }
            for member in members
        ],
    }


def ensemble_lines(result: dict[str, Any]) -> str:
    """Returns what the command prints: the scores of the runs and of their mean probabilities."""
    lines = [f"{member['run']}: {accuracy_text(member)}" for member in result["ensemble"]]
    return "\n".join([*lines, f"ensemble: {accuracy_text(result['test'])}"])
