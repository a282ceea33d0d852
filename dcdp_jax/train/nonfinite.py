"""What is said when a loss or a gradient is NaN or infinite."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dcdp_jax.data.dataset import Dataset
from dcdp_jax.distributed import is_first_process
from dcdp_jax.errors import NonFiniteError
from dcdp_jax.runs.workdir import write_json

NONFINITE = "nonfinite.json"
NAMED_IN_MESSAGE = 3


def nonfinite_error(
    workdir: Path, dataset: Dataset, step: int, values: dict[str, str], rows: Sequence[int], checkpoint: str | None
) -> NonFiniteError:
    """Writes nonfinite.json and makes the error that names it.

    Args:
      workdir: of the run.
      dataset: that it is trained on.
      step: the training step.
      values: {metric: nan or inf}.
      rows: the windows of the step, as indices into the training part.
      checkpoint: path of the last good one; None where there is none yet.

    Returns:
      The error to raise.
    """
    windows = [window_record(dataset, int(row)) for row in rows]
    content = {"step": step, "values": values, "last_good_checkpoint": checkpoint, "windows": windows}
    if is_first_process():
        write_json(workdir / NONFINITE, content)
    causes = sorted(values, key=lambda name: not name.startswith("loss"))[:NAMED_IN_MESSAGE]
    what = ", ".join(f"{name} is {values[name]}" for name in causes)
    bad = [window for window in windows if not window["finite"]] or windows
    named = "; ".join(
        f"{window['row']} (subject {window['subject']}, start {window['start']})" for window in bad[:NAMED_IN_MESSAGE]
    )
    more = f" and {len(bad) - NAMED_IN_MESSAGE} more" if len(bad) > NAMED_IN_MESSAGE else ""
    whose = "training windows" if bad is windows else "training windows with values that are not finite:"
    good = f"the last good checkpoint is {checkpoint}" if checkpoint else "there is no checkpoint yet"
    return NonFiniteError(
        f"step {step}: {what}; {whose} {named}{more}, all of them in {workdir / NONFINITE}; {good}; a smaller "
        "optimizer.learning_rate may help, and train.skip_nonfinite=N leaves up to N such steps out"
    )


def window_record(dataset: Dataset, row: int) -> dict[str, Any]:
    """Which window it is: row of the training part, subject, first sample in the recordings end to end, class."""
    split = dataset.splits["train"]
    start = int(split.starts[row])
    return {
        "row": row,
        "subject": int(split.subjects[row]),
        "start": start,
        "class": dataset.class_names[int(split.labels[row])],
        "finite": bool(np.isfinite(dataset.signals[start : start + dataset.window]).all()),
    }
