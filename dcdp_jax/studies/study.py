"""A study from its config to its tables and figures."""

from pathlib import Path

from ml_collections import ConfigDict

from dcdp_jax.config import as_plain_data, check_study
from dcdp_jax.errors import CheckpointError
from dcdp_jax.runs.files import write_atomically, write_json
from dcdp_jax.studies.branches import branch_section, draw_branches
from dcdp_jax.studies.engine import run_study
from dcdp_jax.studies.figures import draw_figures
from dcdp_jax.studies.oracle import as_section
from dcdp_jax.studies.page import make_page
from dcdp_jax.studies.rendering import as_csv, as_latex, as_markdown
from dcdp_jax.studies.tables import make_tables

TABLES, FIGURES = "tables", "figures"


def study(config: ConfigDict, workdir: Path) -> int:
    """Runs what is left of a study, writes its tables and figures, and prints which trials failed.

    The workdir gets `trials/`, `tables/` (Markdown, CSV and LaTeX per data set), `figures/`, `page.md` with all tables
    and where their numbers come from, and `study.json`.

    Returns:
      The exit status: 1 if a trial failed.

    Raises:
      UserError: the config cannot be used, or every trial failed.
    """
    check_study(config)
    if workdir.exists() and not (workdir / "study.json").exists() and (not workdir.is_dir() or any(workdir.iterdir())):
        raise CheckpointError(f"{workdir} is not an empty folder and holds no study; choose another --workdir")
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(workdir / "study.json", as_plain_data(config))
    stages = run_study(config, workdir)
    asked = config.study
    for folder in (TABLES, FIGURES):
        (workdir / folder).mkdir(exist_ok=True)
    tables = make_tables(stages, asked.scores, asked.selection, dict(asked.compare), asked.paper)
    for table in tables:
        for ending, write in ((".md", as_markdown), (".csv", as_csv), (".tex", as_latex)):
            write_atomically(workdir / TABLES / f"{table.dataset}{ending}", write(table))
        print(f"\n{as_markdown(table)}")
    outcomes = [outcome for stage in stages for outcome in stage.outcomes]
    compared = outcomes, dict(asked.compare), dict(asked.oracles)
    for path in (*draw_figures(stages, asked.shown, workdir), *draw_branches(*compared, workdir)):
        print(path)
    page = workdir / "page.md"
    sections = "\n\n".join(filter(None, (as_section(*compared), branch_section(*compared))))
    write_atomically(page, make_page(workdir.name, outcomes, tables, sections))
    print(page)
    failed = [outcome for outcome in outcomes if outcome.result is None]
    if failed:
        print(f"{len(failed)} trials failed; the same command tries them again:")
    for outcome in failed:
        print(f"{outcome.trial.name}: {outcome.error}")
    if stages[-1].best is None and len(stages) < len(asked.stages):
        print(f"no trial of stage {stages[-1].stage.name!r} was finished; the next stages build on its best row")
    return 1 if failed else 0
