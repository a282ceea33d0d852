"""Runs a study from its config to its tables, its figures and its page, which lists all results."""

import shlex
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.calibration import MAIN_SCORES
from dcdp_jax.config import check_study
from dcdp_jax.runs.files import markdown_table, number_or_blank, write_atomically
from dcdp_jax.runs.reading import seconds_of
from dcdp_jax.runs.workdir import LOCK, locked, refuse_others
from dcdp_jax.studies.engine import run_study
from dcdp_jax.studies.figures import FIGURES, draw_figures
from dcdp_jax.studies.grid import is_inner
from dcdp_jax.studies.oracle import branch_section, gain_section
from dcdp_jax.studies.outcomes import Outcome, validation_mean
from dcdp_jax.studies.rendering import as_csv, as_latex, as_markdown
from dcdp_jax.studies.tables import Table, make_tables

TABLES = "tables"


def study(config: ConfigDict, workdir: Path) -> int:
    """Runs the unfinished trials of a study, writes its tables and figures, and prints which trials failed.

    The workdir gets `trials/`, `tables/` (Markdown, CSV and LaTeX per data set), `figures/`, `page.md` with all tables
    and their provenance, and `study.json`, the config. Returns the exit status: 1 if a trial failed. Raises UserError
    if the config cannot be used, every trial failed, or another process runs a study in the workdir.
    """
    check_study(config)
    if not (workdir / "study.json").exists():
        refuse_others(workdir, (LOCK,), "study")
    workdir.mkdir(parents=True, exist_ok=True)
    with locked(workdir):
        return run_and_show(config, workdir)


def run_and_show(config: ConfigDict, workdir: Path) -> int:
    """Runs a study in a workdir that this process has locked, see `study`."""
    stages = run_study(config, workdir)
    settings = config.study
    for folder in (TABLES, FIGURES):
        (workdir / folder).mkdir(exist_ok=True)
    tables = make_tables(stages, settings.scores, settings.selection, dict(settings.compare), settings.paper)
    for table in tables:
        for ending, write in ((".md", as_markdown), (".csv", as_csv), (".tex", as_latex)):
            write_atomically(workdir / TABLES / f"{table.dataset}{ending}", write(table))
        print(f"\n{as_markdown(table)}")
    outcomes = [outcome for stage in stages for outcome in stage.outcomes]
    compared = outcomes, dict(settings.compare), dict(settings.oracles)
    for path in draw_figures(stages, settings.shown, *compared[1:], workdir):
        print(path)
    page = workdir / "page.md"
    sections = "\n\n".join(filter(None, (gain_section(*compared), branch_section(*compared))))
    write_atomically(page, make_page(workdir.name, outcomes, tables, sections))
    print(page)
    failed = [outcome for outcome in outcomes if outcome.result is None]
    if failed:
        print(f"{len(failed)} trials failed; the same command tries them again:")
    for outcome in failed:
        print(f"{outcome.trial.name}: {outcome.error}")
    if stages[-1].best is None and len(stages) < len(settings.stages):
        finished = any(outcome.result for outcome in stages[-1].outcomes)
        why = "every row lacks a trial that another has finished" if finished else "no trial was finished"
        print(f"stage {stages[-1].stage.name!r}: {why}; the next stages build on its best row")
    return 1 if failed else 0


def make_page(name: str, outcomes: Sequence[Outcome], tables: Sequence[Table], gains: str) -> str:
    """Returns the page in Markdown: command, provenance, tables, gains, failed trials and all trials."""
    parts = [f"## {name}", f"`python {shlex.join(sys.argv)}`, {date.today().isoformat()}. {provenance(outcomes)}"]
    parts += [as_markdown(table).strip() for table in tables] + [gains] * bool(gains)
    if failed := [outcome for outcome in outcomes if outcome.result is None]:
        lines = "\n".join(f"- {outcome.trial.name}: {outcome.error}" for outcome in failed)
        parts.append(f"Failed, {len(failed)} of {len(outcomes)} trials:\n\n{lines}")
    parts.append(trial_list(outcomes))
    return "\n\n".join(parts) + "\n"


def provenance(outcomes: Sequence[Outcome]) -> str:
    """Returns a line with the devices, the JAX versions, the commits and the training times of the results."""
    results = [outcome.result for outcome in outcomes if outcome.result]
    devices = sorted({result["device"] for result in results})
    jax = sorted({result["versions"]["jax"] for result in results})
    commits = sorted({(result["git_revision"] or "unknown")[:7] for result in results})
    seconds = np.array([seconds_of(result) for result in results])
    return (
        f"{len(results)} trials on {', '.join(devices)}; jax {', '.join(jax)}; commit {', '.join(commits)}; "
        f"training took {seconds.sum() / 3600:.2f} hours in all, {np.median(seconds):.0f} s in the median."
    )


def trial_list(outcomes: Sequence[Outcome]) -> str:
    """Returns the folder of every trial with the scores that the tables are made from.

    A trial that is tested on a fold of the training subjects has no test scores.
    """
    lines = []
    for outcome in (outcome for outcome in outcomes if outcome.result):
        validation = validation_mean([outcome], outcome.trial.row, "f1_macro")
        tested = None if is_inner(outcome.trial) else outcome.result["test"]
        shown = [validation, *(tested and tested[score] for score in MAIN_SCORES)]
        epochs = f"{outcome.result['best_epoch']} of {outcome.result['epochs']}"
        lines.append([outcome.trial.name, epochs, *(number_or_blank(None if x is None else 100 * x) for x in shown)])
    header = ["`trials/`", "selected epoch", "validation macro F1", "test accuracy", "test macro F1"]
    return f"<details><summary>Every trial</summary>\n\n{markdown_table(header, lines)}\n\n</details>"
