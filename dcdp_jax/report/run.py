"""All that a finished run has left, as the pages show it."""

import pathlib
from typing import Any, NamedTuple

from dcdp_jax.report.predictions import Predictions, read_predictions
from dcdp_jax.report.robustness import read_robustness
from dcdp_jax.report.worst import read_worst_windows
from dcdp_jax.runs.reading import read_config, read_metrics, read_result


class Run(NamedTuple):
    """The files of a workdir, read; None for those that not every run has."""

    result: dict[str, Any]
    config: dict[str, Any]
    steps: list[dict[str, Any]]
    epochs: list[dict[str, Any]]
    predictions: Predictions | None
    worst: dict[str, Any] | None
    robustness: dict[str, Any] | None


def read_run(workdir: pathlib.Path) -> Run:
    """Reads a workdir.

    Args:
      workdir: folder of a finished run.

    Returns:
      `Run`.

    Raises:
      UserError: `result.json`, `config.json` or `metrics.jsonl` is missing, or a file is damaged.
    """
    result = read_result(workdir)
    windows = sum(map(sum, result["confusion"]))
    return Run(
        result,
        read_config(workdir),
        *read_metrics(workdir),
        read_predictions(workdir, result["class_names"], windows),
        read_worst_windows(workdir),
        read_robustness(workdir),
    )
