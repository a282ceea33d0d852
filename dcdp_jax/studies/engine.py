"""Runs the trials of a study, several at once. Trials that share a process form a job: most differ only in the seed."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from tqdm import tqdm

from dcdp_jax.config import as_plain_data
from dcdp_jax.errors import ConfigError, Terminated, UserError
from dcdp_jax.metrics import accuracy_text
from dcdp_jax.runs.files import RESULT, write_json
from dcdp_jax.studies.grid import Fields, Trial, is_inner, overridden, slug, stages_of, trials_of
from dcdp_jax.studies.local_engine import LocalEngine
from dcdp_jax.studies.outcomes import StageOutcome, best_row, folder_of, outcome_of
from dcdp_jax.studies.ray_engine import RayEngine
from dcdp_jax.studies.worker import ERROR, has_ended
from dcdp_jax.train.hyperparameters import program_of
from dcdp_jax.train.preemption import Termination

Engine = LocalEngine | RayEngine  # a context manager; its exit ends the jobs that are running
ENGINES: dict[str, type[Engine]] = {"local": LocalEngine, "ray": RayEngine}
JOBS = "jobs"
POLL_SECONDS = 0.3


def run_study(config: ConfigDict, workdir: Path) -> list[StageOutcome]:
    """Writes study.json, and trains the trials that have no result yet, stage after stage, each in `trials/NAME`.

    The study ends after a stage in which every trial failed, because the next would build on its best row. Raises
    UserError if the config cannot be used or every trial failed, and Terminated after a SIGTERM, when all is saved.
    """
    stages = stages_of(config)
    for stage in stages:  # errors of a later stage are raised before the first is trained
        trials = trials_of(config, stage, {})
        check_compared(trials, dict(config.study.compare))
        if stage != stages[-1] and not stage.inner and any(trial.config.data.validation == "none" for trial in trials):
            raise ConfigError(
                f"stage {stage.name!r}: data.validation='none', and its rows are chosen by validation scores; "
                "study.inner_folds chooses them by folds over the training subjects"
            )
    write_json(workdir / "study.json", as_plain_data(config))
    base: Fields = {}
    done = []
    with ENGINES[config.study.engine](config.study) as engine, Termination() as sigterm:
        for stage in stages:
            trials = trials_of(config, stage, base)
            run_trials(trials, workdir, engine, sigterm, config.study, stage.name)
            outcomes = [outcome_of(trial, workdir) for trial in trials]
            best = best_row(stage, outcomes, config.study.selection)
            done.append(StageOutcome(stage, outcomes, best))
            if best is None:
                break
            base = overridden(base, next(row.fields for row in stage.rows if row.name == best))
    if not any(outcome.result for stage_outcome in done for outcome in stage_outcome.outcomes):
        first = done[0].outcomes[0]
        raise UserError(f"no trial of the study was finished; {first.trial.name}: {first.error}")
    return done


def check_compared(trials: Sequence[Trial], compare: Mapping[str, str]) -> None:
    """Raises ConfigError for rows, {row: reference}, that are compared by fold though their folds test other people."""
    divisions = {}
    for trial in trials:
        data = trial.config.data
        division = {"data.protocol": data.protocol, "data.within": data.within}
        divisions[trial.dataset, trial.row] = division | (
            {"data.folds": data.folds} if data.protocol == "groups" else {}
        )
    for (dataset, row), division in divisions.items():
        other = divisions.get((dataset, compare.get(row, "")), division)
        if differing := [field for field in division if division[field] != other.get(field)]:
            field = differing[0]
            raise ConfigError(
                f"study.compare: rows {row!r} and {compare[row]!r} have {field}={division[field]!r} and "
                f"{other.get(field)!r} on {dataset}, expected the same: a fold must test the same people in both"
            )


def run_trials(
    trials: Sequence[Trial], workdir: Path, engine: Engine, sigterm: Termination, study: ConfigDict, stage: str
) -> None:
    """Trains the trials of a stage that have no result yet, and shows progress and the time left.

    Trials that differ only in the seed follow each other. Raises Terminated after a SIGTERM, when all is saved.
    """
    jobs = list(jobs_of(trials, workdir, study.seeds_at_once))
    waiting = {trial.name: trial for job in jobs for trial in job}
    finished = len(trials) - len(waiting)
    engine.submit([write_job(job, workdir, study) for job in jobs])
    running = True
    with tqdm(total=len(trials), initial=finished, desc=stage or "trials", unit="trial", dynamic_ncols=True) as bar:
        while running:
            running = engine.poll()
            for trial in [trial for trial in waiting.values() if has_ended(folder_of(trial, workdir))]:
                del waiting[trial.name]
                outcome, part = outcome_of(trial, workdir), "held-out" if is_inner(trial) else "test"
                line = (
                    f"{part} {accuracy_text(outcome.result['test'])}" if outcome.result else f"FAILED: {outcome.error}"
                )
                tqdm.write(f"{trial.dataset}, {trial.row}, fold {trial.fold}, seed {trial.seed}: {line}")
                bar.update()
            if sigterm.received:
                engine.terminate()
                raise Terminated("ended by SIGTERM; every trial has saved where it was, and the same command resumes")
            time.sleep(POLL_SECONDS if running else 0)


def jobs_of(trials: Sequence[Trial], workdir: Path, at_once: int) -> Iterator[Sequence[Trial]]:
    """Yields the jobs of the trials without a result, each of which is trained once, and removes their error files.

    With `at_once` 1, a job has the trials of one data set, row and fold, which differ only in the seed. Otherwise it
    has up to `at_once` trials of one program, see `hyperparameters.program_of`.
    """
    left = {trial.name: trial for trial in trials if not (folder_of(trial, workdir) / RESULT).exists()}
    jobs: dict[Any, list[Trial]] = {}
    for trial in left.values():
        (folder_of(trial, workdir) / ERROR).unlink(missing_ok=True)
        row = (trial.dataset, trial.row, trial.fold)
        jobs.setdefault(row if at_once == 1 else program_of(trial.config), []).append(trial)
    for job in jobs.values():
        size = len(job) if at_once == 1 else at_once
        yield from (job[first : first + size] for first in range(0, len(job), size))


def write_job(job: Sequence[Trial], workdir: Path, study: ConfigDict) -> Path:
    """Writes the file of a job, from which a process reads its trials, and returns its path."""
    path = workdir / JOBS / f"{slug(job[0].name)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "keep_checkpoints": study.keep_checkpoints,
        "seeds_at_once": study.seeds_at_once,
        "divide_seeds": study.devices_divide == "seeds",
        "trials": [
            {"config": as_plain_data(trial.config), "folder": str(folder_of(trial, workdir).absolute())}
            for trial in job
        ],
    }
    write_json(path, content)
    return path
