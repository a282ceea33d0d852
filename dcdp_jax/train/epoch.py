"""The epoch in progress, the state from which a run starts or resumes, and the check for values that are not finite."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dcdp_jax.data.dataset import Dataset, Split
from dcdp_jax.distributed import from_first_process
from dcdp_jax.errors import CheckpointError, NonFiniteError
from dcdp_jax.runs.checkpoints import Checkpoints
from dcdp_jax.runs.files import INTERRUPTED
from dcdp_jax.runs.log import NOTHING
from dcdp_jax.train.state import TrainState
from dcdp_jax.values import flatten

NAMED_IN_MESSAGE = 3
SMALLER_STEPS = "a smaller optimizer.learning_rate may help"


@dataclasses.dataclass
class Epoch:
    """An epoch in progress. With the training state, it is all that resuming within the epoch needs."""

    number: int  # from 1
    steps: int = 0  # number of steps taken
    seconds: float = 0.0  # that these steps took, in all processes that trained in the epoch
    # (step, mean metrics of the steps since the previous record)
    records: list[tuple[int, dict[str, Any]]] = dataclasses.field(default_factory=list)
    # (step, metrics) of the finite steps that are in no record yet
    pending: list[tuple[int, dict[str, Any]]] = dataclasses.field(default_factory=list)
    # {step, values} of the steps whose loss or gradient was not finite; they enter no record
    nonfinite: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def add(self, metrics: dict[str, Any], count: int) -> None:
        """Adds the metrics of `count` steps, on the host, each with a leading axis of at least `count`."""
        for i in range(count):
            step = jax.tree.map(lambda x, i=i: float(x[i]), metrics)
            self.steps += 1
            if step["finite"]:
                self.pending.append((self.steps, step))
            else:
                self.nonfinite.append({"step": self.steps, "values": nonfinite_values(step)})

    def record(self, every: int, last: int) -> None:
        """Averages the pending metrics over each complete group of `every` steps with at least one finite step.

        The epoch has `last` steps; its last group may be shorter.
        """
        complete = self.steps if self.steps == last else self.steps // every * every
        ready = [(step, metrics) for step, metrics in self.pending if step <= complete]
        for _, group in itertools.groupby(ready, key=lambda pair: (pair[0] - 1) // every):
            numbers, metrics = zip(*group, strict=True)
            self.records.append((numbers[-1], mean_metrics(metrics)))
        self.pending = self.pending[len(ready) :]

    def means(self) -> dict[str, float]:
        """Returns the mean total loss and accuracy over the recorded steps."""
        steps = [record["steps"] for _, record in self.records]
        return {
            "loss": float(np.average([record["loss"]["total"] for _, record in self.records], weights=steps)),
            "accuracy": float(np.average([record["accuracy"] for _, record in self.records], weights=steps)),
        }


def mean_metrics(metrics: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Averages metrics over steps, as Python numbers, and adds the number of steps as `steps`."""
    means = jax.tree.map(lambda *values: float(np.mean(values, dtype=np.float64)), *metrics)
    del means["finite"]
    return {**means, "steps": len(metrics)}


def nonfinite_values(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Returns {name: nan or inf} of the numbers that are not finite."""
    numbers = [(name, value) for name, value in flatten(dict(metrics)) if isinstance(value, float)]
    return {name: str(value) for name, value in numbers if not math.isfinite(value)}


def check_finite(where: str, metrics: Mapping[str, Any], checkpoint: Callable[[], Path | None]) -> None:
    """Raises NonFiniteError where a number of nested metrics is NaN or infinite; the message begins with `where`.

    The message names the last good checkpoint, which `checkpoint` returns; None if there is none yet.
    """
    if values := nonfinite_values(metrics):
        what = ", ".join(f"{name} is {value}" for name, value in list(values.items())[:NAMED_IN_MESSAGE])
        raise NonFiniteError(f"{where}: {what}; {describe_checkpoint(checkpoint())}; {SMALLER_STEPS}")


def describe_checkpoint(checkpoint: Path | None) -> str:
    """Returns the part of a message that names the last good checkpoint, or says that there is none (None)."""
    return f"the last good checkpoint is {checkpoint}" if checkpoint else "there is no checkpoint yet"


def starting_point(
    workdir: Path, checkpoints: Checkpoints, initial: TrainState, proved: set[Path]
) -> tuple[TrainState, Epoch, Mapping[str, Any]]:
    """Restores the latest state of a run. Without one, checks that a checkpoint can be saved and read.

    Args:
      workdir: of the run.
      checkpoints: of its finished epochs.
      initial: its state at step 0.
      proved: see `Checkpoints.prove`.

    Returns:
      The state; the epoch to train next, with the steps already taken in it; and the notes for `MetricsLog`.

    Raises:
      CheckpointError: a checkpoint is damaged, or that of the best epoch is missing.
      OSError: checkpoints cannot be written, or there is no room for them.
    """
    numbers = checkpoints.numbers()
    finished = max(numbers, default=0)
    state, epoch, notes = initial, Epoch(finished + 1), NOTHING
    if from_first_process((workdir / INTERRUPTED).is_dir):
        with Checkpoints(workdir / INTERRUPTED) as within:
            step = max(within.numbers(), default=0)
            noted = within.notes(step) if step else {}
            progress = Epoch(**noted.get("epoch", {"number": 0}))
            if progress.number > finished:
                state, epoch, notes = within.restore(step, like=initial), progress, noted["log"]
    if notes is NOTHING and finished:
        state, notes = checkpoints.restore(finished, like=initial), checkpoints.notes(finished)
    if state is initial:
        checkpoints.prove(initial, proved)
    if notes.get("best") and notes["best"]["epoch"] not in numbers:
        best = checkpoints.folder / str(notes["best"]["epoch"])
        raise CheckpointError(
            f"{best}: the checkpoint of the best epoch is missing; restore it from a copy, or train again in another "
            "--workdir"
        )
    return state, epoch, notes


def window_record(dataset: Dataset, split: Split, row: int) -> dict[str, Any]:
    """Describes a training window for nonfinite.json.

    Returns its `row` in the training set, `subject`, `start` (its first sample in the concatenated recordings),
    `class`, and whether all its samples are `finite`.
    """
    start = int(split.starts[row])
    return {
        "row": row,
        "subject": dataset.subject_names.get(int(split.subjects[row]), int(split.subjects[row])),
        "start": start,
        "class": dataset.class_names[int(split.labels[row])],
        "finite": bool(np.isfinite(dataset.signals[start : start + dataset.window]).all()),
    }
