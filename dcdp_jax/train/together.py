"""Runs that differ in their seed alone, trained at once by one program; each has the folder of a single run."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.config import as_plain_data, check_config
from dcdp_jax.data.dataset import Split
from dcdp_jax.errors import Terminated
from dcdp_jax.runs.checkpoints import Checkpoints
from dcdp_jax.runs.workdir import CHECKPOINTS, MetricsLog, check_workdir, make_workdir
from dcdp_jax.train.epoch import Epoch
from dcdp_jax.train.interruption import forget_interruption, save_interrupted, starting_point
from dcdp_jax.train.preemption import Termination
from dcdp_jax.train.state import TrainState, shapes_of
from dcdp_jax.train.trainer import (
    Run,
    batches_of,
    best_epoch,
    describe,
    epoch_line,
    finish_epoch,
    finish_run,
    result_lines,
    shuffled_rows,
    steps_to_skip,
    stopped_by_nonfinite,
)

Failed = Callable[[Path, Exception], None]


@dataclasses.dataclass
class Member:
    """One of the runs.

    Attributes:
      place: of its state among those of all.
      config: of the run.
      workdir: of the run.
      shapes: of its state.
      checkpoints: of its finished epochs.
      log: its metrics.jsonl.
      epoch: that comes next, with what was done of it.
      failed: whether an error has ended it.
    """

    place: int
    config: ConfigDict
    workdir: Path
    shapes: TrainState
    checkpoints: Checkpoints
    log: MetricsLog
    epoch: Epoch
    failed: bool = False

    def trains(self) -> bool:
        """Whether it has steps to take."""
        return not self.failed and self.epoch.number <= self.config.train.epochs


def train_together(trials: Sequence[tuple[ConfigDict, Path]], run: Run, failed: Failed) -> None:
    """Trains runs at once. Each computes what it would alone, and resumes where it was.

    Those that are behind, as after a kill, are brought level first, while the others wait.

    Args:
      trials: config and workdir of each run, none of them finished; the configs differ in `seed` alone.
      run: what `prepare` made of one of the configs.
      failed: is told the workdir and the error of a run that an error has ended; the others go on.

    Raises:
      Terminated: SIGTERM came, and what was done is saved.
    """
    with contextlib.ExitStack() as files, Termination() as termination:
        members: list[Member] = []
        states: list[TrainState] = []
        for config, workdir in trials:
            with reporting(workdir, failed):
                member, state = open_member(len(members), config, workdir, run, files)
                members.append(member)
                states.append(state)
        if not members:
            return
        seeds = ", ".join(str(member.config.seed) for member in members)
        print(f"{describe(members[0].config, run, members[0].shapes)}; seeds {seeds} at once")
        joint = lay_out(states, run)
        states.clear()
        while any(member.trains() for member in members):
            began = time.perf_counter()
            chosen, steps = next_steps(members, run.steps_per_epoch)
            joint, rate, ended = train_steps_of(chosen, steps, joint, run, failed, termination)
            for member in chosen:
                if member.trains() and member.epoch.steps == run.steps_per_epoch:
                    with ending(member, failed):
                        state = state_of(member, joint, run)
                        record = finish_epoch(
                            run, member.config, state, member.epoch, rate, began, member.log, member.checkpoints
                        )
                        forget_interruption(member.workdir)
                        print(f"seed {member.config.seed}: {epoch_line(record, member.config.train.epochs)}")
                        member.epoch = Epoch(member.epoch.number + 1)
            left = [member for member in members if member.trains()]
            if left and ended:
                for member in left:
                    if member.epoch.steps:
                        with ending(member, failed):
                            step = step_of(member, run.steps_per_epoch)
                            save_interrupted(member.workdir, state_of(member, joint, run), member.epoch, step)
                raise Terminated(f"ended by SIGTERM; the same command resumes the seeds {seeds} where they were")
        for member in members:
            if not member.failed:
                with ending(member, failed):
                    epochs = member.log.epochs()
                    best = member.checkpoints.restore(best_epoch(epochs), like=member.shapes)
                    notes = [f"one program trained the seeds {seeds} at once: the times are those of all together"]
                    result = finish_run(run, member.config, member.workdir, best, epochs, notes)
                    print(result_lines(result, member.workdir))


@contextlib.contextmanager
def reporting(workdir: Path, failed: Failed) -> Iterator[None]:
    """Tells of an error in one of the runs, and keeps it from the others."""
    try:
        yield
    except Exception as error:
        failed(workdir, error)


@contextlib.contextmanager
def ending(member: Member, failed: Failed) -> Iterator[None]:
    """`reporting`, and an error ends the member."""
    with reporting(member.workdir, failed):
        try:
            yield
        except Exception:
            member.failed = True
            raise


def open_member(
    place: int, config: ConfigDict, workdir: Path, run: Run, files: contextlib.ExitStack
) -> tuple[Member, TrainState]:
    """One of the runs and its state, where it goes on."""
    check_config(config)
    check_workdir(workdir, as_plain_data(config))
    make_workdir(workdir, as_plain_data(config))
    initial = run.initial_state(config.seed)
    checkpoints = files.enter_context(Checkpoints(workdir / CHECKPOINTS))
    state, epoch = starting_point(workdir, checkpoints, initial)
    if epoch.number > 1 or epoch.steps:
        print(f"seed {config.seed}: resuming after epoch {epoch.number - 1} and {epoch.steps} steps")
    log = files.enter_context(MetricsLog(workdir, (epoch.number - 1) * run.steps_per_epoch))
    return Member(place, config, workdir, shapes_of(initial), checkpoints, log, epoch), state


def step_of(member: Member, steps_per_epoch: int) -> int:
    """Steps that it has taken since the beginning of training."""
    return (member.epoch.number - 1) * steps_per_epoch + member.epoch.steps


def next_steps(members: Sequence[Member], steps_per_epoch: int) -> tuple[list[Member], int]:
    """The members furthest behind, and how many steps they take: to the end of their epoch, or to where the next is."""
    steps = {member.place: step_of(member, steps_per_epoch) for member in members if member.trains()}
    behind = min(steps.values())
    chosen = [member for member in members if steps.get(member.place) == behind]
    ahead = [step - behind for step in steps.values() if step > behind]
    return chosen, min([steps_per_epoch - chosen[0].epoch.steps, *ahead])


def places_of(members: int, run: Run) -> int:
    """How many states a program has: one per member, and as many on every device where the devices divide them."""
    return -(-members // len(run.devices)) * len(run.devices) if run.divide_seeds else members


def lay_out(states: Sequence[TrainState], run: Run) -> TrainState:
    """The states of all members on the devices, the first one again in places that are left over."""
    filled = [*states, *[states[0]] * (places_of(len(states), run) - len(states))]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *filled)
    return run.devices.divide_states(stacked) if run.divide_seeds else run.devices.replicate(stacked)


def state_of(member: Member, joint: TrainState, run: Run) -> TrainState:
    """A member's state, replicated."""
    return run.devices.replicate_one(joint, member.place, member.shapes)


def train_steps_of(
    members: Sequence[Member], steps: int, joint: TrainState, run: Run, failed: Failed, termination: Termination
) -> tuple[TrainState, float, bool]:
    """Takes steps within an epoch: all, unless it was asked to end or no member is left.

    Args:
      members: those that take them, all at the same step; the others keep their state. Their epochs are moved on. One
        with too many losses or gradients that are not finite fails.
      steps: how many.
      joint: the states of all; used up.
      run: gives the step and the data.
      failed: see `train_together`.
      termination: is asked after every dispatch.

    Returns:
      The states; training windows per second of each member, the first dispatch left out where there are more; and
      whether it was asked to end.
    """
    config, split, begin = members[0].config, run.dataset.splits["train"], members[0].epoch.steps
    every, before, places = config.train.log_every, step_of(members[0], run.steps_per_epoch), joint.step.size
    shuffled = {
        member.place: shuffled_rows(split, member.config, member.epoch.number, run.steps_per_epoch)[begin:][:steps]
        for member in members
    }
    dispatched: list[tuple[dict[str, Any], int]] = []
    since, first, taken, ended = time.perf_counter(), 0, 0, False
    while taken < steps and not ended and (training := [member for member in members if member.trains()]):
        rows = {member.place: shuffled[member.place][taken:] for member in training}
        batches, count = joint_batches(split, rows, places, run)
        joint, metrics = run.step_together(joint, run.signals, run.devices.shard(batches))
        dispatched.append((metrics, count))
        if taken == 0:
            jax.block_until_ready(metrics)
            if count < steps:
                since, first = time.perf_counter(), count
        recorded, taken = (begin + taken) // every, taken + count
        ended = termination.requested(before + taken)
        if ended or taken == steps or (begin + taken) // every > recorded:
            hand_out(dispatched, training, run, failed)
            dispatched = []
    jax.block_until_ready(joint)
    return joint, (taken - first) * config.train.batch_size / (time.perf_counter() - since), ended


def joint_batches(
    split: Split, rows: Mapping[int, np.ndarray], places: int, run: Run
) -> tuple[dict[str, np.ndarray], int]:
    """The next batches for `run.step_together`.

    Args:
      split: the part.
      rows: {place: (steps, b) windows that are left} of the members that take the steps.
      places: of all states.
      run: says how many steps a dispatch takes, and what the devices divide.

    Returns:
      The arrays that `train_seeds` takes, or `train_divided_seeds`; and how many steps they are.
    """
    found = {place: batches_of(split, left, run.steps_per_dispatch) for place, left in rows.items()}
    some, count = next(iter(found.values()))
    size = len(some["count"])
    each = [found[place][0] if place in found else some for place in range(places)]
    axis = 0 if run.divide_seeds else 1
    batches = {name: np.stack([batch[name] for batch in each], axis) for name in ("starts", "labels")}
    active = np.isin(np.arange(places), list(found))
    batches["active"] = np.stack([active] * size, 1 - axis)
    batches["count"] = np.full(places if run.divide_seeds else size, count, np.int32)
    return batches, count


def hand_out(
    dispatched: Sequence[tuple[dict[str, Any], int]], members: Sequence[Member], run: Run, failed: Failed
) -> None:
    """Waits for steps, and gives each member its metrics; too many that are not finite end it."""
    fetched = jax.device_get(list(dispatched))
    for member in members:
        for metrics, count in fetched:
            own = jax.tree.map(lambda x, place=member.place: x.reshape(-1, x.shape[-1])[place], metrics)
            member.epoch.add(own, count)
        member.epoch.record(member.config.train.log_every, run.steps_per_epoch)
        may_skip = steps_to_skip(member.config, member.log)
        if member.epoch.is_lost(may_skip, run.steps_per_epoch):
            with ending(member, failed):
                raise stopped_by_nonfinite(
                    run, member.config, member.workdir, member.epoch, may_skip, member.checkpoints
                )
