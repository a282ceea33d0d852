"""Trains one run, or several runs of one compiled program. The functions stand in the order in which they run."""

import contextlib
import dataclasses
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from dcdp_jax.config import BEST, as_plain_data, check_config, is_network
from dcdp_jax.data.dataset import Split
from dcdp_jax.distributed import from_first_process, is_first_process
from dcdp_jax.errors import NonFiniteError, Terminated
from dcdp_jax.runs.checkpoints import Checkpoints
from dcdp_jax.runs.files import CHECKPOINTS, INTERRUPTED, NONFINITE, RESULT, as_json, write_json, write_recorded
from dcdp_jax.runs.log import MetricsLog
from dcdp_jax.runs.model_card import make_card, write_card, write_density
from dcdp_jax.runs.predictions import write_predictions
from dcdp_jax.runs.result import best_epoch, make_result
from dcdp_jax.runs.workdir import check_workdir, claim, make_workdir
from dcdp_jax.train.build import Run, build_branches, build_schedule, confidence_notes, has_validation, prepare
from dcdp_jax.train.classical import train_classical
from dcdp_jax.train.epoch import (
    NAMED_IN_MESSAGE,
    SMALLER_STEPS,
    Epoch,
    check_finite,
    describe_checkpoint,
    starting_point,
    window_record,
)
from dcdp_jax.train.evaluation import evaluation_record
from dcdp_jax.train.hyperparameters import hyperparameters, program_of
from dcdp_jax.train.input_pipeline import batches_of, feed, joint_batches, shuffled_rows, windows_of_epoch
from dcdp_jax.train.messages import data_lines, epoch_line, result_lines
from dcdp_jax.train.preemption import Termination
from dcdp_jax.train.state import TrainState, count_parameters
from dcdp_jax.train.unknown import choose_rule, unknown_results

T = TypeVar("T")
SELECTION_SCORE = "f1_macro"
Failed = Callable[[Path, Exception], None] | None


@dataclasses.dataclass
class Member:
    """One of the runs that are trained together."""

    place: int  # index of its state among those of all members
    config: ConfigDict  # of the run
    workdir: Path  # of the run
    shapes: TrainState  # of its state
    checkpoints: Checkpoints  # of its finished epochs
    log: MetricsLog  # its metrics.jsonl
    epoch: Epoch  # in progress, or next
    failed: bool = False  # whether an error has ended it

    def trains(self) -> bool:
        """Returns whether it has steps to take."""
        return not self.failed and self.epoch.number <= self.config.train.epochs


def train(config: ConfigDict, workdir: Path, run: Run | None = None) -> None:
    """Trains one run, see `train_runs`."""
    train_runs([(config, workdir)], run)


def train_runs(trials: Sequence[tuple[ConfigDict, Path]], run: Run | None = None, failed: Failed = None) -> None:
    """Trains runs at once. Each run resumes where it was, selects a state, tests it once and writes result.json.

    One program trains all runs; for a single run it has no seed axis. Each run has the files and, up to the order of
    sums, the results of a single run. Runs that are behind the others, for example after a kill, are trained first
    until they have caught up.

    Args:
      trials: config and workdir of each run. The workdir is new or that of a run of the same config. The configs belong
        to one program: they differ only in `seed` and hyperparameters, see `hyperparameters.program_of`.
      run: result of `prepare` for a config of this program; built here by default.
      failed: function that receives the workdir and the error of a failed run while the others continue; without it the
        error is raised.

    Raises:
      UserError: config, data or workdir cannot be used, or a loss is not finite.
      OSError: a file could not be written.
      Terminated: SIGTERM came, and the progress is saved.
    """
    with contextlib.ExitStack() as claims:
        unfinished = []
        for config, workdir in trials:
            with reporting(workdir, failed):
                check_config(config)
                from_first_process(lambda: check_workdir(workdir, as_plain_data(config)))  # noqa: B023 - called at once
                if from_first_process((workdir / RESULT).exists):
                    print(f"{workdir} is finished; its result is {workdir / RESULT}")
                    continue
                claims.enter_context(claim(workdir, as_plain_data(config)))
                if not is_network(config.model.name):
                    print(result_lines(train_classical(config, workdir), workdir))
                else:
                    unfinished.append((config, workdir))
        if unfinished:
            run = run or prepare(unfinished[0][0])
            if any(program_of(config) != run.program for config, _ in unfinished):
                raise ValueError("the configs are not all of the program that the run was prepared for")
            train_unfinished(unfinished, run, failed)


def train_unfinished(unfinished: Sequence[tuple[ConfigDict, Path]], run: Run, failed: Failed) -> None:
    """Trains networks in workdirs that this process has claimed, see `train_runs`."""
    with contextlib.ExitStack() as files, Termination(jax.process_count()) as termination:
        members: list[Member] = []
        states: list[TrainState] = []
        for config, workdir in unfinished:
            with reporting(workdir, failed):
                member, state = open_member(len(members), config, workdir, run, files)
                members.append(member)
                states.append(state)
        if not members:
            return
        names = names_of(members) if len(members) > 1 else ""
        config, parameters = members[0].config, count_parameters(members[0].shapes)
        print(data_lines(config, run.dataset))
        print(f"{parameters:,} parameters on {run.devices.describe()}" + (f"; {names} at once" if names else ""))
        for member in members:
            if member.epoch.number > 1 or member.epoch.steps:
                within = f" and {member.epoch.steps} steps" if member.epoch.steps else ""
                print(f"{prefix(member, names)}resuming after epoch {member.epoch.number - 1}{within}")
        state = lay_out(states, run)
        states.clear()
        numbers = lay_out([hyperparameters(member.config) for member in members], run)
        taken = [step_of(member, run) for member in members]
        total = config.train.epochs * run.steps_per_epoch * len(members)
        bar = files.enter_context(
            tqdm(total=total, initial=sum(taken), unit="step", disable=None, leave=False, dynamic_ncols=True)
        )
        if not has_validation(run.dataset):
            # Compiles the evaluation, which is not needed before the end, so that its errors come before training.
            windows = run.dataset.splits["train"]
            first = Split(windows.starts[:1], windows.labels[:1], windows.subjects[:1])
            run.evaluate(state_of(members[0], state, run), first)
        compiled = False
        while any(member.trains() for member in members):
            began = time.perf_counter()
            chosen, steps = next_steps(members, run)
            state, rate, ended = take_steps(run, state, numbers, chosen, steps, failed, termination, bar)
            since = time.perf_counter()
            for member in chosen:
                member.epoch.seconds += since - began
                if member.trains() and member.epoch.steps == run.steps_per_epoch:
                    with ending(member, failed):
                        summary = finish_epoch(run, member, state_of(member, state, run), rate, since)
                        seconds = summary["seconds"]
                        if not compiled:  # the rate leaves out the first dispatch, which compiles
                            known = steps > run.steps_per_dispatch
                            seconds = run.steps_per_epoch * config.train.batch_size / rate if known else None
                        tqdm.write(prefix(member, names) + epoch_line(summary, config.train.epochs, seconds))
                        member.epoch = Epoch(member.epoch.number + 1)
                compiled = True
            left = [member for member in members if member.trains()]
            if left and ended:
                for member in left:
                    with ending(member, failed):
                        step = step_of(member, run)
                        progress = {"epoch": dataclasses.asdict(member.epoch), "log": member.log.notes()}
                        with Checkpoints(member.workdir / INTERRUPTED) as held:
                            if step not in held.numbers():
                                held.save(step, state_of(member, state, run), 0.0, notes=progress)
                raise Terminated(
                    f"ended by SIGTERM; the same command resumes the {names} where they were"
                    if names
                    else f"ended by SIGTERM after step {step}; the same command resumes there"
                )
        bar.close()
        notes = [f"one program trained the {names} at once: the times are those of all together"] if names else []
        for member in members:
            if not member.failed:
                with ending(member, failed):
                    result = finish_run(run, member, notes, len(members))
                    print(result_lines(result, member.workdir))


@contextlib.contextmanager
def reporting(workdir: Path, failed: Failed) -> Iterator[None]:
    """Passes an error in one of the runs to `failed`, so that the others continue."""
    try:
        yield
    except Exception as error:
        if failed is None:
            raise
        failed(workdir, error)


@contextlib.contextmanager
def ending(member: Member, failed: Failed) -> Iterator[None]:
    """Ends a member that raises an error, and reports the error."""
    with reporting(member.workdir, failed):
        try:
            yield
        except Exception:
            member.failed = True
            raise


def names_of(members: Sequence[Member]) -> str:
    """Returns the name of several members in messages: their seeds, or their workdirs if two have the same seed."""
    seeds = [str(member.config.seed) for member in members]
    if len(set(seeds)) == len(seeds):
        return f"seeds {', '.join(seeds)}"
    return f"runs {', '.join(member.workdir.name for member in members)}"


def prefix(member: Member, names: str) -> str:
    """Returns the prefix of a line about one of several members, see `names_of`; '' if there is only one."""
    if names.startswith("runs"):
        return f"{member.workdir.name}: "
    return f"seed {member.config.seed}: " if names else ""


def open_member(
    place: int, config: ConfigDict, workdir: Path, run: Run, files: contextlib.ExitStack
) -> tuple[Member, TrainState]:
    """Opens the files of a run and restores the state from which it continues."""
    initial = run.initial_state(config.seed)
    from_first_process(lambda: make_workdir(workdir, as_plain_data(config)))
    checkpoints = files.enter_context(Checkpoints(workdir / CHECKPOINTS))
    state, epoch, notes = starting_point(workdir, checkpoints, initial, run.proved)
    log = files.enter_context(MetricsLog(workdir, notes))
    shapes = jax.eval_shape(lambda same: same, initial)
    return Member(place, config, workdir, shapes, checkpoints, log, epoch), state


def step_of(member: Member, run: Run) -> int:
    """Returns the number of steps taken since the beginning of training."""
    return (member.epoch.number - 1) * run.steps_per_epoch + member.epoch.steps


def next_steps(members: Sequence[Member], run: Run) -> tuple[list[Member], int]:
    """Returns the members that are furthest behind, and the steps to the end of their epoch or to the next member."""
    steps = {member.place: step_of(member, run) for member in members if member.trains()}
    behind = min(steps.values())
    chosen = [member for member in members if steps.get(member.place) == behind]
    ahead = [step - behind for step in steps.values() if step > behind]
    return chosen, min([run.steps_per_epoch - chosen[0].epoch.steps, *ahead])


def lay_out(trees: Sequence[T], run: Run) -> T:
    """Puts the states or the hyperparameters of all members on the devices: one without a seed axis, several with one.

    If the devices divide the seeds, each has equally many, and copies of the first tree fill the remaining places.
    """
    if len(trees) == 1 and not run.divide_seeds:
        return run.devices.replicate(trees[0])
    places = -(-len(trees) // len(run.devices)) * len(run.devices) if run.divide_seeds else len(trees)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *trees, *[trees[0]] * (places - len(trees)))
    return run.devices.divide_states(stacked) if run.divide_seeds else run.devices.replicate(stacked)


def state_of(member: Member, state: TrainState, run: Run) -> TrainState:
    """Returns a member's state, replicated, from what `lay_out` made."""
    return run.devices.replicate_one(state, member.place, member.shapes) if state.step.ndim else state


def take_steps(
    run: Run,
    state: TrainState,
    numbers: Mapping[str, Any],
    members: Sequence[Member],
    steps: int,
    failed: Failed,
    termination: Termination,
    bar: tqdm,
) -> tuple[TrainState, float, bool]:
    """Takes steps within an epoch: all of them, unless preempted or no member is left.

    Args:
      run: steps and data.
      state: of all members, see `lay_out`; donated.
      numbers: hyperparameters of all members, see `lay_out`.
      members: members that take the steps, all at the same step; the others keep their state. Their epochs advance. A
        member with too many non-finite losses or gradients fails.
      steps: number of steps.
      failed: see `train_runs`.
      termination: checked after every dispatch.
      bar: progress bar to advance.

    Returns:
      The states; training windows per second of each member, without the first dispatch (which may compile) if there
      are more; and whether the run was preempted.
    """
    config, split, begin = members[0].config, run.dataset.splits["train"], members[0].epoch.steps
    every, before, at_once = config.train.log_every, step_of(members[0], run), run.steps_per_dispatch
    splits = {member.place: windows_of_epoch(split, member.config, member.epoch.number) for member in members}
    rows = {
        member.place: shuffled_rows(split, member.config, member.epoch.number, run.steps_per_epoch)[begin:][:steps]
        for member in members
    }

    places = state.step.size if state.step.ndim else None

    def batches(taken: int) -> dict[str, np.ndarray]:
        if places is None:
            return batches_of(splits[0], rows[0][taken:], at_once)
        left = {place: member_rows[taken:] for place, member_rows in rows.items()}
        return joint_batches(splits, left, at_once, places, run.divide_seeds)

    step = run.step if places is None else run.step_together
    dispatched: list[tuple[dict[str, Any], int]] = []
    since, first, taken, ended = time.perf_counter(), 0, 0, False
    with contextlib.closing(
        feed(run.signals, map(batches, range(0, steps, at_once)), run.dataset.window, run.devices)
    ) as given:
        while taken < steps and not ended and (training := [member for member in members if member.trains()]):
            count = min(at_once, steps - taken)
            state, metrics = step(state, *next(given), numbers)
            dispatched.append((metrics, count))
            bar.update(count * len(training))
            if taken == 0:
                jax.block_until_ready(metrics)
                if count < steps:
                    since, first = time.perf_counter(), count
            recorded, taken = (begin + taken) // every, taken + count
            ended = termination.requested(before + taken)
            if ended or taken == steps or (begin + taken) // every > recorded:
                distribute_metrics(dispatched, training, run, failed)
                dispatched = []
                if records := members[0].epoch.records:
                    bar.set_postfix_str("loss {loss[total]:.3f}, accuracy {accuracy:.3f}".format(**records[-1][1]))
    jax.block_until_ready(state)
    return state, (taken - first) * config.train.batch_size / (time.perf_counter() - since), ended


def distribute_metrics(
    dispatched: Sequence[tuple[dict[str, Any], int]], members: Sequence[Member], run: Run, failed: Failed
) -> None:
    """Waits for dispatched steps and gives each member its metrics. A member with too many non-finite steps fails."""
    fetched = jax.device_get(list(dispatched))
    for member in members:
        for metrics, count in fetched:
            own = jax.tree.map(lambda x, place=member.place: x.reshape(-1, x.shape[-1])[place], metrics)
            member.epoch.add(own, count)
        member.epoch.record(member.config.train.log_every, run.steps_per_epoch)
        # Resuming may lower the limit below the number of steps that were skipped before.
        may_skip = max(member.config.train.skip_nonfinite - skipped_steps(member.log), 0)
        whole = member.epoch.steps == run.steps_per_epoch
        if len(member.epoch.nonfinite) > may_skip or (whole and not member.epoch.records):
            with ending(member, failed):
                raise stopped_by_nonfinite(run, member, may_skip)


def skipped_steps(log: MetricsLog) -> int:
    """Returns the number of steps that were skipped in the finished epochs of a run."""
    return sum(epoch.get("skipped_steps", 0) for epoch in log.epochs())


def stopped_by_nonfinite(run: Run, member: Member, may_skip: int) -> NonFiniteError:
    """Writes nonfinite.json and returns the error, which names it, the first step over the limit and its windows."""
    epoch, checkpoint = member.epoch, last_checkpoint(member)
    split = windows_of_epoch(run.dataset.splits["train"], member.config, epoch.number)
    found = epoch.nonfinite[min(may_skip, len(epoch.nonfinite) - 1)]
    rows = shuffled_rows(split, member.config, epoch.number, run.steps_per_epoch)[found["step"] - 1]
    step, values = (epoch.number - 1) * run.steps_per_epoch + found["step"], found["values"]
    windows = [window_record(run.dataset, split, int(row)) for row in rows]
    path = member.workdir / NONFINITE
    if is_first_process():
        saved = str(checkpoint) if checkpoint else None
        write_json(path, {"step": step, "values": values, "last_good_checkpoint": saved, "windows": windows})
    causes = sorted(values, key=lambda name: not name.startswith("loss"))[:NAMED_IN_MESSAGE]
    what = ", ".join(f"{name} is {values[name]}" for name in causes)
    bad = [window for window in windows if not window["finite"]] or windows
    named = "; ".join(
        f"{window['row']} (subject {window['subject']}, start {window['start']})" for window in bad[:NAMED_IN_MESSAGE]
    )
    more = f" and {len(bad) - NAMED_IN_MESSAGE} more" if len(bad) > NAMED_IN_MESSAGE else ""
    whose = "training windows" if bad is windows else "training windows with values that are not finite:"
    return NonFiniteError(
        f"step {step}: {what}; {whose} {named}{more}, all of them in {path}; {describe_checkpoint(checkpoint)}; "
        f"{SMALLER_STEPS}, and train.skip_nonfinite=N leaves up to N such steps out"
    )


def last_checkpoint(member: Member) -> Path | None:
    """Returns the folder of the last finished epoch's checkpoint, or None before the first."""
    finished = max(member.checkpoints.numbers(), default=0)
    return member.workdir / CHECKPOINTS / str(finished) if finished else None


def finish_epoch(run: Run, member: Member, state: TrainState, rate: float, since: float) -> dict[str, Any]:
    """Validates, writes the records of an epoch and its checkpoint if one is due, and returns the epoch's record.

    The state is the replicated one after the epoch, `rate` is in training windows per second, and `since` is the end of
    its last step by `time.perf_counter`.

    Raises:
      NonFiniteError: a number to be logged is NaN or infinite, for example a validation loss that overflows.
      OSError: the records, or the checkpoint of an earlier epoch, could not be written.
    """
    epoch, log, settings = member.epoch, member.log, member.config.train
    last = epoch.number == settings.epochs
    before = (epoch.number - 1) * run.steps_per_epoch
    schedule = build_schedule(member.config, run.steps_per_epoch)
    skipped_before = skipped_steps(log)
    for number, record in epoch.records:
        record |= {"kind": "step", "epoch": epoch.number, "step": before + number}
        # The optimiser does not count the steps that were skipped.
        skipped = skipped_before + sum(found["step"] < number for found in epoch.nonfinite)
        record["learning_rate"] = float(schedule(record["step"] - 1 - skipped))
        record["windows"] = settings.batch_size
    summary: dict[str, Any] = {
        "kind": "epoch",
        "epoch": epoch.number,
        "step": before + run.steps_per_epoch,
        "train": epoch.means(),
        "best": last,
        "windows_per_second": rate,
    }
    if has_validation(run.dataset):
        summary["validation"] = evaluation_record(run.evaluate(state, run.dataset.splits["validation"]).tally)
    if settings.selection == BEST:
        score = summary["validation"][SELECTION_SCORE]
        summary["best"] = all(score > finished["validation"][SELECTION_SCORE] for finished in log.epochs())
    else:
        score = float(epoch.number)  # the last epoch is the selected one
    if settings.diagnosis_batches:
        summary["gradient_cosine"] = run.diagnose(state, member.config, epoch.number)
    summary["seconds"] = epoch.seconds + time.perf_counter() - since
    if epoch.nonfinite:
        summary["skipped_steps"] = len(epoch.nonfinite)
    for record in (*(record for _, record in epoch.records), summary):
        check_finite(f"epoch {epoch.number}", record, lambda: last_checkpoint(member))
    member.checkpoints.check()
    # The log is written first: training cannot resume from a checkpoint without its records.
    log.append([*(record for _, record in epoch.records), summary])
    if summary["best"] or last or epoch.number % settings.checkpoint_every == 0:
        member.checkpoints.save(epoch.number, state, score, log.notes())
        if is_first_process() and (member.workdir / INTERRUPTED).exists():
            member.checkpoints.wait()  # the checkpoint within an epoch is removed only after a later one is on disk
            shutil.rmtree(member.workdir / INTERRUPTED)
    return summary


def finish_run(run: Run, member: Member, notes: Sequence[str], at_once: int) -> dict[str, Any]:
    """Tests the selected state once, writes predictions, model card and result, and returns the content of result.json.

    Temperature and thresholds of the card are chosen on the validation set. The notes follow those of the data.
    `at_once` is the number of runs that were trained together.

    Raises:
      NonFiniteError: a score is NaN or infinite.
    """
    config, workdir, epochs = member.config, member.workdir, member.log.epochs()
    state = run.devices.replicate(member.checkpoints.restore(best_epoch(epochs), like=member.shapes))
    test = run.evaluate(state, run.dataset.splits["test"])
    validation = run.evaluate(state, run.dataset.splits["validation"]) if has_validation(run.dataset) else None
    result = make_result(
        config,
        run.dataset,
        validation=validation and validation.tally,
        test=test.tally,
        device=run.devices.describe(),
        parameters=count_parameters(state),
        epochs=epochs,
    )
    check_finite(f"the state of epoch {best_epoch(epochs)}", result, lambda: last_checkpoint(member))
    branches = build_branches(config, run.dataset)
    names = [branch.name for branch in branches]
    rule = validation and choose_rule(
        run.dataset, lambda split: run.evaluate(state, split), validation, names, config.serve.coverage
    )
    left_out = None
    if unknown := run.dataset.unknown:
        # The evaluation counts by label, and the model has no class for these windows.
        left_out = run.evaluate(state, dataclasses.replace(unknown, labels=np.zeros_like(unknown.labels)))
        check_finite(
            f"the windows of {config.data.left_out_class}", left_out.tally.scores(), lambda: last_checkpoint(member)
        )
    result |= unknown_results(run.dataset, rule, test, left_out, names)
    if unknown:
        result["left_out"] |= {"name": config.data.left_out_class, "windows": len(unknown.labels)}
    result["precision"] = run.devices.precision
    result["at_once"] = at_once
    result["notes"] += [*notes, *confidence_notes(config, run.dataset)]
    from_first_process(lambda: write_predictions(workdir, run.dataset, test.probabilities))
    if rule:
        from_first_process(lambda: write_density(workdir, rule.density))
    card = make_card(config.data, run.dataset, branches, best_epoch(epochs), rule and rule.rejection)
    from_first_process(lambda: write_card(workdir, card))
    member.log.finish()
    # The result is written last: a run with a result is finished.
    from_first_process(lambda: write_recorded(workdir, RESULT, as_json(result)))
    return result
