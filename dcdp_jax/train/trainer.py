"""All of training in one file, in the order in which it happens."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from dcdp_jax.config import RANDOM_FOREST, as_plain_data, check_config
from dcdp_jax.data.dataset import Dataset, Split, build_dataset
from dcdp_jax.distributed import from_first_process
from dcdp_jax.errors import ConfigError, NonFiniteError, Terminated
from dcdp_jax.metrics import Tally
from dcdp_jax.optim import contribution_ratios
from dcdp_jax.runs.checkpoints import Checkpoints
from dcdp_jax.runs.model_card import CARD, make_card
from dcdp_jax.runs.predictions import write_predictions
from dcdp_jax.runs.result import make_result
from dcdp_jax.runs.workdir import (
    CHECKPOINTS,
    RESULT,
    MetricsLog,
    check_workdir,
    make_workdir,
    write_json,
)
from dcdp_jax.train.build import build_branches, build_chain, build_model, build_settings
from dcdp_jax.train.devices import Devices
from dcdp_jax.train.epoch import Epoch
from dcdp_jax.train.evaluation import Evaluation, make_evaluate
from dcdp_jax.train.input_pipeline import divided, feed, place_signals
from dcdp_jax.train.interruption import forget_interruption, save_interrupted, starting_point
from dcdp_jax.train.nonfinite import nonfinite_error
from dcdp_jax.train.preemption import Termination
from dcdp_jax.train.random_forest import train_random_forest
from dcdp_jax.train.seeds import train_divided_seeds, train_seeds
from dcdp_jax.train.state import TrainState, create_state, shapes_of
from dcdp_jax.train.step import Signals, train_steps

SELECTION_SCORE = "f1_macro"


class Run(NamedTuple):
    """What is built from a config before the first step.

    Attributes:
      dataset: the data.
      devices: what the steps are mapped over.
      signals: the recordings, replicated, or on the host with `data.stream`.
      initial_state: seed -> state at step 0, on one device.
      step: the mapped `train_steps` (state, signals, batches) -> (state, metrics); it uses up the state.
      step_together: the same of several seeds, see `dcdp_jax.train.together`.
      divide_seeds: whether the devices divide those seeds, and not the batch.
      evaluate: (state, split) -> `Evaluation`.
      schedule: learning rate by step.
      steps_per_epoch: whole batches in the training part.
      steps_per_dispatch: how many batches `step` takes at once.
    """

    dataset: Dataset
    devices: Devices
    signals: Signals
    initial_state: Callable[[int], TrainState]
    step: Callable[..., Any]
    step_together: Callable[..., Any]
    divide_seeds: bool
    evaluate: Callable[[TrainState, Split], Evaluation]
    schedule: Callable[[int], Any]
    steps_per_epoch: int
    steps_per_dispatch: int


def prepare(config: ConfigDict, dataset: Dataset | None = None, divide_seeds: bool = False) -> Run:
    """Reads the data and builds model, optimiser and steps from a config that `check_config` has passed.

    Args:
      config: of the run.
      dataset: what `build_dataset` made of its `data`; made here by default.
      divide_seeds: whether the devices divide the seeds that are trained together, and not the batch.

    Raises:
      UserError: config or data cannot be used.
    """
    devices = Devices(config.parallel.devices, config.parallel.strategy, precision=config.train.precision)
    batch_size = config.train.batch_size
    if batch_size % len(devices) and not divide_seeds:
        raise ConfigError(
            f"train.batch_size={batch_size} does not divide by the {len(devices)} devices; "
            f"choose a multiple of {len(devices)}, or fewer devices with parallel.devices"
        )
    dataset = dataset or from_first_process(lambda: build_dataset(config.data))
    branches = build_branches(config, dataset)
    training_windows = len(dataset.splits["train"].labels)
    steps_per_epoch = training_windows // batch_size
    if steps_per_epoch == 0:
        raise ConfigError(f"train.batch_size={batch_size}, but there are {training_windows} training windows")
    model = build_model(config, branches, len(dataset.class_names))
    optimizer, schedule = build_chain(config, branches, steps_per_epoch)
    settings = build_settings(config, dataset, steps_per_epoch)
    signals = place_signals(dataset, devices, config.data.stream)
    static = {"donate_state": True, "model": model, "optimizer": optimizer, "settings": settings}
    together = train_divided_seeds if divide_seeds else train_seeds
    return Run(
        dataset=dataset,
        devices=devices,
        signals=signals,
        initial_state=lambda seed: create_state(model, optimizer, seed, dataset.window, len(dataset.channels)),
        step=devices.map_step(train_steps, divide_signals=divided(signals), **static),
        step_together=devices.map_step(together, divide_state=divide_seeds, **static),
        divide_seeds=divide_seeds,
        evaluate=make_evaluate(config, dataset, model, devices, signals),
        schedule=schedule,
        steps_per_epoch=steps_per_epoch,
        steps_per_dispatch=min(steps_per_epoch, config.train.steps_per_dispatch or devices.steps_per_dispatch()),
    )


def train(config: ConfigDict, workdir: Path, run: Run | None = None) -> None:
    """Trains, selects by validation, tests once, and leaves result.json in the workdir; resumes where it was.

    Args:
      config: checked here.
      workdir: a new folder, or that of a run of the same config.
      run: what `prepare` made of this config, or of one that differs in `seed` only; made here by default.

    Raises:
      UserError: config, data or workdir cannot be used, or a loss is not finite.
      OSError: a file could not be written.
      Terminated: SIGTERM came, and what was done is saved.
    """
    check_config(config)
    from_first_process(lambda: check_workdir(workdir, as_plain_data(config)))
    if from_first_process((workdir / RESULT).exists):
        print(f"{workdir} is finished; its result is {workdir / RESULT}")
        return
    if config.model.name == RANDOM_FOREST:
        print(result_lines(train_random_forest(config, workdir), workdir))
        return
    run = run or prepare(config)
    initial = run.initial_state(config.seed)
    from_first_process(lambda: make_workdir(workdir, as_plain_data(config)))
    print(describe(config, run, initial))
    steps_per_epoch = run.steps_per_epoch
    with Checkpoints(workdir / CHECKPOINTS) as checkpoints, Termination() as termination:
        state, epoch = starting_point(workdir, checkpoints, initial)
        if epoch.number > 1 or epoch.steps:
            print(f"resuming after epoch {epoch.number - 1}" + (f" and {epoch.steps} steps" if epoch.steps else ""))
        state = run.devices.replicate(state)
        initial = shapes_of(initial)  # enough from here on
        before = (epoch.number - 1) * steps_per_epoch
        with (
            MetricsLog(workdir, before) as log,
            progress_bar(config.train.epochs * steps_per_epoch, before + epoch.steps) as bar,
        ):
            while epoch.number <= config.train.epochs:
                began = time.perf_counter()
                may_skip = steps_to_skip(config, log)
                state, rate = train_epoch(run, state, epoch, config, may_skip, termination, bar)
                before = (epoch.number - 1) * steps_per_epoch
                if epoch.is_lost(may_skip, steps_per_epoch):
                    raise stopped_by_nonfinite(run, config, workdir, epoch, may_skip, checkpoints)
                if epoch.steps < steps_per_epoch:
                    save_interrupted(workdir, state, epoch, before + epoch.steps)
                    raise Terminated(
                        f"ended by SIGTERM after step {before + epoch.steps}; the same command resumes there"
                    )
                summary = finish_epoch(run, config, state, epoch, rate, began, log, checkpoints)
                forget_interruption(workdir)
                tqdm.write(epoch_line(summary, config.train.epochs))
                epoch = Epoch(epoch.number + 1)
            epochs = log.epochs()
        best = checkpoints.restore(best_epoch(epochs), like=initial)
    print(result_lines(finish_run(run, config, workdir, best, epochs), workdir))


def train_epoch(
    run: Run,
    state: TrainState,
    epoch: Epoch,
    config: ConfigDict,
    may_skip: int,
    termination: Termination,
    bar: tqdm,
) -> tuple[TrainState, float]:
    """The steps of an epoch that are left: all, unless it was asked to end or too many are not finite.

    Args:
      run: gives the step and the data.
      state: replicated; used up.
      epoch: is moved on, and has its records when this returns.
      config: of the run.
      may_skip: how many steps may have a loss or a gradient that is not finite.
      termination: is asked after every step.
      bar: is moved on.

    Returns:
      The state; and training windows per second, the first dispatch, which may have to compile, left out where there
      are more.
    """
    split, steps = run.dataset.splits["train"], run.steps_per_epoch
    since, counted, first = time.perf_counter(), 0, 0
    shuffled, at_once = shuffled_rows(split, config, epoch.number, steps), run.steps_per_dispatch
    dispatches = (batches_of(split, shuffled[at:], at_once)[0] for at in range(epoch.steps, steps, at_once))
    given = feed(run.signals, dispatches, run.dataset.window, run.devices)
    while epoch.steps < steps:
        count = min(at_once, steps - epoch.steps)
        state, metrics = run.step(state, *next(given))
        recorded = epoch.steps // config.train.log_every
        epoch.add(metrics, count)
        bar.update(count)
        if epoch.steps // config.train.log_every > recorded or epoch.steps == steps:
            epoch.record(config.train.log_every, steps)
            if last := epoch.last_record():
                bar.set_postfix_str("loss {loss[total]:.3f}, accuracy {accuracy:.3f}".format(**last))
        if counted == 0:
            jax.block_until_ready(metrics)
            if epoch.steps < steps:
                since, first = time.perf_counter(), count
        counted += count
        if len(epoch.nonfinite) > may_skip or termination.requested((epoch.number - 1) * steps + epoch.steps):
            break
    given.close()
    epoch.fetch()
    jax.block_until_ready(state)
    return state, (counted - first) * config.train.batch_size / (time.perf_counter() - since)


def steps_to_skip(config: ConfigDict, log: MetricsLog) -> int:
    """How many steps that are not finite may still be left out."""
    return config.train.skip_nonfinite - sum(epoch.get("skipped_steps", 0) for epoch in log.epochs())


def finish_epoch(
    run: Run,
    config: ConfigDict,
    state: TrainState,
    epoch: Epoch,
    rate: float,
    began: float,
    log: MetricsLog,
    checkpoints: Checkpoints,
) -> dict[str, Any]:
    """Validates, and writes the records of an epoch and its checkpoint.

    Args:
      run: gives evaluation and data.
      config: of the run.
      state: after the epoch, replicated.
      epoch: with all of its records.
      rate: training windows per second.
      began: when the epoch did, by `time.perf_counter`.
      log: gets the records.
      checkpoints: get the state.

    Returns:
      The epoch's own record.
    """
    before = (epoch.number - 1) * run.steps_per_epoch
    for number, record in epoch.records:
        record |= {"kind": "step", "epoch": epoch.number, "step": before + number}
        record["learning_rate"] = float(run.schedule(record["step"] - 1))
        record["windows"] = config.train.batch_size
    validation = run.evaluate(state, run.dataset.splits["validation"]).tally
    score = validation.scores()[SELECTION_SCORE]
    summary = {
        "kind": "epoch",
        "epoch": epoch.number,
        "step": before + run.steps_per_epoch,
        "train": epoch.means(),
        "validation": evaluation_record(validation),
        "best": all(score > e["validation"][SELECTION_SCORE] for e in log.epochs()),
        "windows_per_second": rate,
        "seconds": time.perf_counter() - began,
    }
    if epoch.nonfinite:
        summary["skipped_steps"] = len(epoch.nonfinite)
    # The log first: a checkpoint without its records could not be resumed from.
    log.append([*(record for _, record in epoch.records), summary])
    checkpoints.save(epoch.number, state, score)
    return summary


def best_epoch(epochs: Sequence[dict[str, Any]]) -> int:
    """Number of the epoch with the best validation score, the first of several equal ones."""
    return next(epoch["epoch"] for epoch in reversed(epochs) if epoch["best"])


def finish_run(
    run: Run,
    config: ConfigDict,
    workdir: Path,
    best: TrainState,
    epochs: Sequence[dict[str, Any]],
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Tests once, and writes predictions, card and result.

    Args:
      run: gives evaluation and data.
      config: of the run.
      workdir: of the run.
      best: the state of the best epoch.
      epochs: all epoch records.
      notes: for the result, behind those of the data.

    Returns:
      The content of result.json.
    """
    state = run.devices.replicate(best)
    test = run.evaluate(state, run.dataset.splits["test"])
    result = make_result(
        config,
        run.dataset,
        validation=run.evaluate(state, run.dataset.splits["validation"]).tally,
        test=test.tally,
        device=run.devices.describe(),
        parameters=count_parameters(best),
        epochs=epochs,
    )
    result["notes"] += notes
    # The result last: where it is, the run is finished.
    from_first_process(lambda: write_predictions(workdir, run.dataset, test.probabilities))
    card = make_card(config.data, run.dataset, build_branches(config, run.dataset), best_epoch(epochs))
    from_first_process(lambda: write_json(workdir / CARD, card.as_json()))
    from_first_process(lambda: write_json(workdir / RESULT, result))
    return result


def stopped_by_nonfinite(
    run: Run, config: ConfigDict, workdir: Path, epoch: Epoch, may_skip: int, checkpoints: Checkpoints
) -> NonFiniteError:
    """The error that names the first step too many that was not finite, its windows, and what to go back to."""
    found = epoch.nonfinite[min(may_skip, len(epoch.nonfinite) - 1)]
    rows = shuffled_rows(run.dataset.splits["train"], config, epoch.number, run.steps_per_epoch)[found["step"] - 1]
    finished = max(checkpoints.numbers(), default=0)
    good = str(workdir / CHECKPOINTS / str(finished)) if finished else None
    step = (epoch.number - 1) * run.steps_per_epoch + found["step"]
    return nonfinite_error(workdir, run.dataset, step, found["values"], rows, good)


def evaluation_record(tally: Tally) -> dict[str, Any]:
    """Scores of one part, and S and R of the branches on it."""
    record = {
        **tally.scores(),
        "branches": tally.branch_accuracy(),
        "windows": int(tally.confusion.sum()),
        "S": {name: float(S) for name, S in tally.confidence.items()},
    }
    if len(tally.confidence) > 1:
        ratios = contribution_ratios(jax.tree.map(jnp.float32, tally.confidence))
        record["R"] = {name: float(R) for name, R in ratios.items()}
    return record


def batches_of(split: Split, rows: np.ndarray, size: int) -> tuple[dict[str, np.ndarray], int]:
    """The next batches for `train_steps`.

    Args:
      split: the part.
      rows: (steps, b) windows of the batches that are left.
      size: n, how many batches one dispatch takes.

    Returns:
      `starts` and `labels` (b, n), the last batch repeated where fewer are left, and `count` (b,); and the count.
    """
    count = min(size, len(rows))
    chosen = np.pad(rows[:count], ((0, size - count), (0, 0)), mode="edge").T
    batches = {"starts": split.starts[chosen], "labels": split.labels[chosen]}
    return batches | {"count": np.full(len(chosen), count, np.int32)}, count


def shuffled_rows(split: Split, config: ConfigDict, epoch: int, steps: int) -> np.ndarray:
    """(steps, b) windows of each batch: a shuffle by (seed, epoch); the incomplete rest is dropped."""
    order = np.random.default_rng((config.seed, epoch)).permutation(len(split.labels))
    return order[: steps * config.train.batch_size].reshape(steps, config.train.batch_size)


def count_parameters(state: TrainState) -> int:
    """Numbers that training changes, running statistics not counted."""
    return sum(x.size for x in jax.tree.leaves(state.params))


def progress_bar(total: int, finished: int) -> tqdm:
    """Steps done, rate and time left; silent where the output is not a terminal."""
    return tqdm(total=total, initial=finished, unit="step", disable=None, leave=False, dynamic_ncols=True)


def describe(config: ConfigDict, run: Run, state: TrainState) -> str:
    """What is about to be trained, on what."""
    dataset = run.dataset
    windows = ", ".join(f"{name} {len(split.labels):,}" for name, split in dataset.splits.items())
    marks = f" [{', '.join(dataset.marks)}]" if dataset.marks else ""
    return (
        f"{config.data.name}{marks}, protocol {config.data.protocol}: {windows} windows of {dataset.window} samples, "
        f"{len(dataset.channels)} channels, {len(dataset.class_names)} classes\n"
        f"{count_parameters(state):,} parameters on {run.devices.describe()}"
    )


def epoch_line(summary: dict[str, Any], epochs: int) -> str:
    """One line of progress."""
    train, validation = summary["train"], summary["validation"]
    return (
        f"epoch {summary['epoch']}/{epochs}: loss {train['loss']:.4f}, accuracy {train['accuracy']:.4f}; "
        f"validation loss {validation['loss']:.4f}, accuracy {validation['accuracy']:.4f}, "
        f"macro F1 {validation['f1_macro']:.4f}{' (best)' if summary['best'] else ''}; "
        f"{summary['windows_per_second']:.0f} windows/s, {summary['seconds']:.1f} s, "
        f"{summary['seconds'] * (epochs - summary['epoch']):.0f} s left"
    )


def result_lines(result: dict[str, Any], workdir: Path) -> str:
    """The scores, for a person."""
    test, validation = result["test"], result["validation"]
    branches = ", ".join(f"{name} {accuracy:.4f}" for name, accuracy in result["branches"].items())
    alone = f"; branches alone: {branches}" if branches else ""
    marks = f" [{', '.join(result['marks'])}]" if result["marks"] else ""
    return (
        f"{result['dataset']}{marks}, protocol {result['protocol']}, epoch {result['best_epoch']} by validation "
        f"macro F1 {validation['f1_macro']:.4f}\n"
        f"test: accuracy {test['accuracy']:.4f}, macro F1 {test['f1_macro']:.4f}, weighted F1 "
        f"{test['f1_weighted']:.4f} on {result['windows']['test']:,} windows{alone}\n"
        f"{workdir / RESULT}"
    )
