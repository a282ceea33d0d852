"""A run that was asked to end within an epoch: what is saved, and where it goes on."""

import dataclasses
import shutil
from pathlib import Path

from dcdp_jax.distributed import from_first_process, is_first_process
from dcdp_jax.runs.checkpoints import Checkpoints
from dcdp_jax.train.epoch import Epoch
from dcdp_jax.train.state import TrainState

INTERRUPTED = "interrupted"


def save_interrupted(workdir: Path, state: TrainState, epoch: Epoch, step: int) -> None:
    """Saves the middle of an epoch, whole or not at all.

    Args:
      workdir: of the run.
      state: after the epoch's steps.
      epoch: with its pending metrics fetched.
      step: since the beginning of training.

    Raises:
      OSError: it could not be written.
    """
    with Checkpoints(workdir / INTERRUPTED) as checkpoints:
        if step not in checkpoints.numbers():
            checkpoints.save(step, state, 0.0, notes=dataclasses.asdict(epoch))


def starting_point(workdir: Path, checkpoints: Checkpoints, initial: TrainState) -> tuple[TrainState, Epoch]:
    """Where training goes on.

    Args:
      workdir: of the run.
      checkpoints: of the finished epochs.
      initial: the state at step 0.

    Returns:
      The state, and the epoch that comes next, with what was done of it.

    Raises:
      CheckpointError: a checkpoint is damaged.
    """
    finished = max(checkpoints.numbers(), default=0)
    if from_first_process((workdir / INTERRUPTED).is_dir):
        with Checkpoints(workdir / INTERRUPTED) as interrupted:
            step = max(interrupted.numbers(), default=0)
            if step:
                state, notes = interrupted.restore(step, like=initial), interrupted.notes(step)
                if notes["number"] > finished:
                    return state, Epoch(**notes)
    return (checkpoints.restore(finished, like=initial) if finished else initial), Epoch(finished + 1)


def forget_interruption(workdir: Path) -> None:
    """Removes what `save_interrupted` has left, once the epoch has a checkpoint."""
    if is_first_process() and (workdir / INTERRUPTED).exists():
        shutil.rmtree(workdir / INTERRUPTED)
