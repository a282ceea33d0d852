"""The page of a study: its tables, what made them, and every result file that a number comes from."""

import shlex
import sys
from collections.abc import Sequence
from datetime import date

import numpy as np

from dcdp_jax.studies.engine import Outcome, validation_mean
from dcdp_jax.studies.grid import is_inner
from dcdp_jax.studies.rendering import as_markdown, markdown_table, number
from dcdp_jax.studies.tables import Table


def make_page(name: str, outcomes: Sequence[Outcome], tables: Sequence[Table], gains: str) -> str:
    """Returns the page in Markdown: command, provenance, tables, gains, failed trials and all trials."""
    parts = [f"## {name}", f"`python {shlex.join(sys.argv)}`, {date.today().isoformat()}. {provenance(outcomes)}"]
    parts += [as_markdown(table).strip() for table in tables] + [gains] * bool(gains)
    if failed := [outcome for outcome in outcomes if outcome.result is None]:
        lines = "\n".join(f"- {outcome.trial.name}: {outcome.error}" for outcome in failed)
        parts.append(f"Not there, {len(failed)} of {len(outcomes)} trials:\n\n{lines}")
    parts.append(trial_list(outcomes))
    return "\n\n".join(parts) + "\n"


def provenance(outcomes: Sequence[Outcome]) -> str:
    """Returns machine, versions, commits and time, as the results have them."""
    results = [outcome.result for outcome in outcomes if outcome.result]
    devices = sorted({result["device"] for result in results})
    jax = sorted({result["versions"]["jax"] for result in results})
    commits = sorted({(result["git_revision"] or "unknown")[:7] for result in results})
    seconds = np.array([result["wall_seconds"] for result in results])
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
        shown = [validation, *(tested and tested[score] for score in ("accuracy", "f1_macro"))]
        epochs = f"{outcome.result['best_epoch']} of {outcome.result['epochs']}"
        lines.append([outcome.trial.name, epochs, *(number(None if x is None else 100 * x) for x in shown)])
    header = ["`trials/`", "selected epoch", "validation macro F1", "test accuracy", "test macro F1"]
    return f"<details><summary>Every trial</summary>\n\n{markdown_table(header, lines)}\n\n</details>"
