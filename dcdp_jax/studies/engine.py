"""Runs the trials of a study, several at once, each group of seeds in a process of its own."""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from dcdp_jax.errors import UserError
from dcdp_jax.report.results import read_result
from dcdp_jax.studies.grid import Fields, Stage, Trial, slug, stages_of, trials_of
from dcdp_jax.studies.worker import ERROR
from dcdp_jax.train.config import as_plain_data
from dcdp_jax.train.workdir import RESULT, write_json

TRIALS, GROUPS = "trials", "groups"
POLL_SECONDS = 0.3


class Outcome(NamedTuple):
    """What became of a trial: its result, or the error that it ended with."""

    trial: Trial
    result: dict[str, Any] | None
    error: str | None


class StageOutcome(NamedTuple):
    """A stage, what became of its trials, and the row that the next stage builds on."""

    stage: Stage
    outcomes: list[Outcome]
    best: str | None


def run_study(config: ConfigDict, workdir: Path) -> list[StageOutcome]:
    """Trains whatever has no result yet, stage after stage.

    Args:
      config: of a study, see configs/studies/default.py.
      workdir: `trials/NAME` of it is the workdir of each run.

    Returns:
      A `StageOutcome` per stage.

    Raises:
      UserError: the config cannot be used, or no trial of a stage came to an end.
    """
    stages = stages_of(config)
    for stage in stages:  # what is wrong with a later stage should show before the first has been trained
        trials_of(config, stage, {})
    base: Fields = {}
    done = []
    for stage in stages:
        trials = trials_of(config, stage, base)
        run_trials(trials, workdir, config.study.workers, config.study.keep_checkpoints, stage.name)
        outcomes = [outcome_of(trial, workdir) for trial in trials]
        best = best_row(stage, outcomes, config.study.selection)
        done.append(StageOutcome(stage, outcomes, best))
        if best is None:
            first = outcomes[0]
            raise UserError(f"no trial of stage {stage.name!r} came to an end; {first.trial.name}: {first.error}")
        base = {**base, **next(row.fields for row in stage.rows if row.name == best)}
    return done


def run_trials(trials: Sequence[Trial], workdir: Path, workers: int, keep_checkpoints: bool, stage: str) -> None:
    """Trains the trials that have no result yet; shows progress and the time left.

    Args:
      trials: those that differ by seed alone stand beside each other.
      workdir: of the study.
      workers: processes at once; cores, and GPUs where there are any, are divided between them.
      keep_checkpoints: False removes those of a finished trial.
      stage: for the progress bar.
    """
    queue = list(groups_of(trials, workdir))
    waiting = {trial.name: trial for group in queue for trial in group}
    finished = len(trials) - len(waiting)
    running: dict[int, tuple[subprocess.Popen[bytes], list[Trial]]] = {}
    with tqdm(total=len(trials), initial=finished, desc=stage or "trials", unit="trial", dynamic_ncols=True) as bar:
        try:
            while queue or running:
                for place in range(workers):
                    if queue and place not in running:
                        group = queue.pop(0)
                        running[place] = start_worker(group, workdir, place, workers, keep_checkpoints), group
                time.sleep(POLL_SECONDS)
                for place, (process, group) in list(running.items()):
                    if process.poll() is not None:
                        del running[place]
                        note_death(process, group, workdir)
                for trial in [trial for trial in waiting.values() if has_ended(trial, workdir)]:
                    del waiting[trial.name]
                    tqdm.write(outcome_line(outcome_of(trial, workdir)))
                    bar.update()
        finally:
            for process, _ in running.values():
                process.kill()


def groups_of(trials: Sequence[Trial], workdir: Path) -> Iterator[list[Trial]]:
    """Trials without a result; those of one data set, row and fold, which differ by seed alone, together."""
    for _, group in itertools.groupby(trials, key=lambda trial: (trial.dataset, trial.row, trial.fold)):
        left = [trial for trial in group if not (folder_of(trial, workdir) / RESULT).exists()]
        for trial in left:
            (folder_of(trial, workdir) / ERROR).unlink(missing_ok=True)
        if left:
            yield left


def start_worker(
    group: Sequence[Trial], workdir: Path, place: int, workers: int, keep_checkpoints: bool
) -> subprocess.Popen[bytes]:
    """Starts the process that trains a group, on its share of the machine; its output goes into a file beside it."""
    folder = workdir / GROUPS
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{slug(group[0].name)}.json"
    content = {
        "keep_checkpoints": keep_checkpoints,
        "trials": [
            {"config": as_plain_data(trial.config), "folder": str(folder_of(trial, workdir).absolute())}
            for trial in group
        ],
    }
    write_json(path, content)
    cores, gpus = share_of(sorted(cores_available()), place, workers), share_of(gpus_available(), place, workers)
    environment = dict(os.environ)
    if gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        if workers > len(gpus_available()):
            on_this = -(-workers // len(gpus_available()))
            environment.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{0.9 / on_this:.2f}")
    with path.with_suffix(".log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dcdp_jax.studies.worker", str(path)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment,
        )
    if hasattr(os, "sched_setaffinity") and workers > 1:
        os.sched_setaffinity(process.pid, cores)
    return process


def cores_available() -> set[int]:
    """Cores that this process may use."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def gpus_available() -> list[str]:
    """CUDA devices, found without starting CUDA in this process."""
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        return visible.split(",")
    return [path.name.removeprefix("nvidia") for path in sorted(Path("/dev").glob("nvidia[0-9]*"))]


def share_of(things: Sequence[Any], place: int, workers: int) -> list[Any]:
    """The things that one of several workers may use; shared where there are fewer than workers."""
    if len(things) >= workers:
        return list(np.array_split(np.array(things), workers)[place].tolist())
    return [things[place % len(things)]] if things else []


def note_death(process: subprocess.Popen[bytes], group: Sequence[Trial], workdir: Path) -> None:
    """Records an error for the trials that a process left behind when it died."""
    for trial in group:
        if not has_ended(trial, workdir):
            folder = folder_of(trial, workdir)
            folder.mkdir(parents=True, exist_ok=True)
            log = workdir / GROUPS / f"{slug(group[0].name)}.log"
            (folder / ERROR).write_text(f"its process ended with status {process.returncode}; see {log}\n")


def folder_of(trial: Trial, workdir: Path) -> Path:
    """The workdir of a trial."""
    return workdir / TRIALS / trial.name


def has_ended(trial: Trial, workdir: Path) -> bool:
    """Whether a trial has a result or an error."""
    folder = folder_of(trial, workdir)
    return (folder / RESULT).exists() or (folder / ERROR).exists()


def outcome_of(trial: Trial, workdir: Path) -> Outcome:
    """What became of a trial."""
    folder = folder_of(trial, workdir)
    if (folder / RESULT).exists():
        return Outcome(trial, read_result(folder), None)
    error = (folder / ERROR).read_text() if (folder / ERROR).exists() else "not run"
    return Outcome(trial, None, error.splitlines()[0])


def outcome_line(outcome: Outcome) -> str:
    """One line of progress."""
    trial, result = outcome.trial, outcome.result
    head = f"{trial.dataset}, {trial.row}, fold {trial.fold}, seed {trial.seed}: "
    if result is None:
        return f"{head}FAILED: {outcome.error}"
    return f"{head}test accuracy {result['test']['accuracy']:.4f}, macro F1 {result['test']['f1_macro']:.4f}"


def best_row(stage: Stage, outcomes: Sequence[Outcome], score: str) -> str | None:
    """The row with the highest mean validation score over all its trials; the first of several equal ones."""
    means = {row.name: validation_mean(outcomes, row.name, score) for row in stage.rows}
    known = {name: mean for name, mean in means.items() if mean is not None}
    return max(known, key=lambda name: known[name]) if known else None


def validation_mean(outcomes: Sequence[Outcome], row: str, score: str) -> float | None:
    """Mean validation score of a row; None where none of its trials came to an end."""
    values = [o.result["validation"][score] for o in outcomes if o.trial.row == row and o.result]
    return float(np.mean(values)) if values else None
