"""All of training in one file, in the order in which it happens."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from dcdp_jax.data.dataset import Dataset, Split, build_dataset
from dcdp_jax.errors import CheckpointError, ConfigError
from dcdp_jax.metrics import Tally
from dcdp_jax.optim import contribution_ratios
from dcdp_jax.train.augment import build_augmentation
from dcdp_jax.train.build import build_branches, build_chain, build_model, modulation_schedule
from dcdp_jax.train.checkpoint import Checkpoints
from dcdp_jax.train.config import RANDOM_FOREST, as_plain_data, check_config
from dcdp_jax.train.parallel import Devices
from dcdp_jax.train.random_forest import train_random_forest
from dcdp_jax.train.result import make_result
from dcdp_jax.train.state import TrainState, create_state
from dcdp_jax.train.step import Signals, StepSettings, evaluation_step, train_step
from dcdp_jax.train.workdir import CHECKPOINTS, RESULT, MetricsLog, check_workdir, make_workdir, write_json

SELECTION_SCORE = "f1_macro"


class Run(NamedTuple):
    """What is built from a config before the first step.

    Attributes:
      dataset: the data.
      devices: what the steps are mapped over.
      signals: the recordings, replicated.
      initial_state: seed -> state at step 0, on one device.
      step: the mapped training step (state, signals, batch) -> (state, metrics); it uses up the state.
      evaluate: (state, split) -> `Tally`.
      schedule: learning rate by step.
      steps_per_epoch: whole batches in the training part.
    """

    dataset: Dataset
    devices: Devices
    signals: Signals
    initial_state: Callable[[int], TrainState]
    step: Callable[..., Any]
    evaluate: Callable[[TrainState, Split], Tally]
    schedule: Callable[[int], Any]
    steps_per_epoch: int


def prepare(config: ConfigDict) -> Run:
    """Reads the data and builds model, optimiser and steps from a config that `check_config` has passed.

    Raises:
      UserError: config or data cannot be used.
    """
    devices = Devices(config.parallel.devices, config.parallel.strategy)
    batch_size = config.train.batch_size
    if batch_size % len(devices):
        raise ConfigError(
            f"train.batch_size={batch_size} does not divide by the {len(devices)} devices; "
            f"choose a multiple of {len(devices)}, or fewer devices with parallel.devices"
        )
    dataset = build_dataset(config.data)
    branches = build_branches(config, dataset)
    training_windows = len(dataset.splits["train"].labels)
    steps_per_epoch = training_windows // batch_size
    if steps_per_epoch == 0:
        raise ConfigError(f"train.batch_size={batch_size}, but there are {training_windows} training windows")
    model = build_model(config, branches, len(dataset.class_names))
    optimizer, schedule = build_chain(config, branches, steps_per_epoch)
    loss = config.loss
    settings = StepSettings(
        window=dataset.window,
        align_weight=loss.align_weight,
        temperature=loss.temperature,
        label_smoothing=loss.label_smoothing,
        augmentation=build_augmentation(config.augment, dataset.channels),
        classification_modulation=(modulation_schedule(config, steps_per_epoch), config.cgm.eps)
        if config.cgm.enabled and config.cgm.scope == "classification"
        else None,
    )
    signals = devices.replicate(Signals(dataset.signals, dataset.normalizer.shift, dataset.normalizer.scale))
    return Run(
        dataset=dataset,
        devices=devices,
        signals=signals,
        initial_state=lambda seed: create_state(model, optimizer, seed, dataset.window, len(dataset.channels)),
        step=devices.map_step(train_step, donate_state=True, model=model, optimizer=optimizer, settings=settings),
        evaluate=make_evaluate(config, dataset, model, devices, signals),
        schedule=schedule,
        steps_per_epoch=steps_per_epoch,
    )


def train(config: ConfigDict, workdir: Path, run: Run | None = None) -> None:
    """Trains, selects by validation, tests once, and leaves result.json in the workdir; resumes where it was.

    Args:
      config: checked here.
      workdir: a new folder, or that of a run of the same config.
      run: what `prepare` made of this config, or of one that differs in `seed` only; made here by default.

    Raises:
      UserError: config, data or workdir cannot be used.
      OSError: a file could not be written.
    """
    check_config(config)
    check_workdir(workdir, as_plain_data(config))
    if (workdir / RESULT).exists():
        print(f"{workdir} is finished; its result is {workdir / RESULT}")
        return
    if config.model.name == RANDOM_FOREST:
        print(result_lines(train_random_forest(config, workdir), workdir))
        return
    run = run or prepare(config)
    initial = run.initial_state(config.seed)
    make_workdir(workdir, as_plain_data(config))
    print(describe(config, run, initial))
    splits, steps_per_epoch = run.dataset.splits, run.steps_per_epoch
    with Checkpoints(workdir / CHECKPOINTS) as checkpoints:
        finished = max(checkpoints.epochs(), default=0)
        if finished:
            print(f"resuming after epoch {finished}")
        state = run.devices.replicate(checkpoints.restore(finished, like=initial) if finished else initial)
        with (
            MetricsLog(workdir, finished * steps_per_epoch) as log,
            progress_bar(config.train.epochs * steps_per_epoch, finished * steps_per_epoch) as bar,
        ):
            for epoch in range(finished + 1, config.train.epochs + 1):
                began = time.perf_counter()
                batches = training_batches(splits["train"], config, epoch, steps_per_epoch)
                state, records, rate = train_epoch(run, state, map(run.devices.shard, batches), config, bar)
                for number, record in records:
                    record |= {"kind": "step", "epoch": epoch, "step": (epoch - 1) * steps_per_epoch + number}
                    record["learning_rate"] = float(run.schedule(record["step"] - 1))
                    record["windows"] = config.train.batch_size
                validation = run.evaluate(state, splits["validation"])
                score = validation.scores()[SELECTION_SCORE]
                summary = {
                    "kind": "epoch",
                    "epoch": epoch,
                    "step": epoch * steps_per_epoch,
                    "train": epoch_means(records),
                    "validation": evaluation_record(validation),
                    "best": all(score > e["validation"][SELECTION_SCORE] for e in log.epochs()),
                    "windows_per_second": rate,
                    "seconds": time.perf_counter() - began,
                }
                # The log first: a checkpoint without its records could not be resumed from.
                log.append([*(record for _, record in records), summary])
                checkpoints.save(epoch, state, score)
                tqdm.write(epoch_line(summary, config.train.epochs))
            epochs = log.epochs()
        best_epoch = next(e["epoch"] for e in reversed(epochs) if e["best"])
        state = run.devices.replicate(checkpoints.restore(best_epoch, like=initial))

    result = make_result(
        config,
        run.dataset,
        validation=run.evaluate(state, splits["validation"]),
        test=run.evaluate(state, splits["test"]),
        device=run.devices.describe(),
        parameters=count_parameters(initial),
        epochs=epochs,
    )
    write_json(workdir / RESULT, result)
    print(result_lines(result, workdir))


def evaluate_run(config: ConfigDict, workdir: Path) -> None:
    """Evaluates the best checkpoint of a finished run again, and says whether its result.json can be repeated.

    Args:
      config: that of the run.
      workdir: of the run.

    Raises:
      UserError: the workdir holds no finished run of this config, or its scores are not repeated to 1e-4.
    """
    if not (workdir / RESULT).exists():
        raise CheckpointError(f"{workdir} holds no finished run ({RESULT} is missing); train it first")
    check_config(config)
    check_workdir(workdir, as_plain_data(config))
    if config.model.name == RANDOM_FOREST:
        raise ConfigError(
            "model.name=random_forest leaves no checkpoint to evaluate; trained again in another --workdir it gives "
            "the same scores"
        )
    result = json.loads((workdir / RESULT).read_text())
    run = prepare(config)
    with Checkpoints(workdir / CHECKPOINTS) as checkpoints:
        state = run.devices.replicate(checkpoints.restore(result["best_epoch"], like=run.initial_state(config.seed)))
    for part in ("validation", "test"):
        again = run.evaluate(state, run.dataset.splits[part]).scores()
        print(f"{part}: " + ", ".join(f"{name} {value:.4f}" for name, value in again.items()))
        if off := [name for name, value in again.items() if abs(value - result[part][name]) > 1e-4]:
            raise CheckpointError(f"{workdir / RESULT}: {part} {', '.join(off)} differ from what the checkpoint gives")
    print(f"as in {workdir / RESULT}")


def train_epoch(
    run: Run,
    state: TrainState,
    batches: Iterable[Mapping[str, np.ndarray]],
    config: ConfigDict,
    bar: tqdm,
) -> tuple[TrainState, list[tuple[int, dict[str, Any]]], float]:
    """All steps of an epoch.

    Args:
      run: gives the step and the recordings.
      state: replicated; used up.
      batches: global batches, laid out for the devices.
      config: `train.log_every` and `train.batch_size` are read.
      bar: is moved on.

    Returns:
      The state; records (number of the last step in the epoch, means over the steps since the last record); and
      training windows per second, the first step, which may have to compile, left out where there are more.
    """
    records, pending = [], []
    since, counted = time.perf_counter(), 0
    for number, batch in enumerate(batches, 1):
        state, metrics = run.step(state, run.signals, batch)
        pending.append(metrics)
        bar.update()
        if number % config.train.log_every == 0:
            records.append((number, mean_of(pending)))
            bar.set_postfix_str("loss {loss[total]:.3f}, accuracy {accuracy:.3f}".format(**records[-1][1]))
            pending = []
        if number == 1:
            jax.block_until_ready(metrics)
            since = time.perf_counter()
        else:
            counted += 1
    if pending:
        records.append((number, mean_of(pending)))
    jax.block_until_ready(state)
    return state, records, counted * config.train.batch_size / (time.perf_counter() - since)


def mean_of(metrics: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over steps, as Python numbers; the number of steps they stand for as `steps`."""
    fetched = jax.device_get(list(metrics))
    means = jax.tree.map(lambda *values: float(np.mean(values, dtype=np.float64)), *fetched)
    return {**means, "steps": len(fetched)}


def epoch_means(records: Sequence[tuple[int, dict[str, Any]]]) -> dict[str, float]:
    """Mean total loss and accuracy over the steps of an epoch."""
    steps = [record["steps"] for _, record in records]
    return {
        "loss": float(np.average([record["loss"]["total"] for _, record in records], weights=steps)),
        "accuracy": float(np.average([record["accuracy"] for _, record in records], weights=steps)),
    }


def evaluation_record(tally: Tally) -> dict[str, Any]:
    """Scores of one part, and S and R of the branches on it."""
    record = {
        **tally.scores(),
        "branches": tally.branch_accuracy(),
        "windows": int(tally.confusion.sum()),
        "S": {name: float(S) for name, S in tally.confidence.items()},
    }
    if len(tally.confidence) > 1:
        record["R"] = {name: float(R) for name, R in contribution_ratios(tally.confidence).items()}
    return record


def make_evaluate(
    config: ConfigDict, dataset: Dataset, model: nn.Module, devices: Devices, signals: Signals
) -> Callable[[TrainState, Split], Tally]:
    """A function that counts all windows of a part; the last batch is padded with windows that do not count."""
    step = devices.map_step(evaluation_step, donate_state=False, model=model, window=dataset.window)
    size = -(-config.train.batch_size // len(devices)) * len(devices)

    def evaluate(state: TrainState, split: Split) -> Tally:
        tallies = []
        for start in range(0, len(split.labels), size):
            rows = np.arange(start, min(start + size, len(split.labels)))
            batch = {
                "starts": split.starts[rows],
                "labels": split.labels[rows],
                "mask": np.ones(len(rows), bool),
            }
            batch = {name: np.pad(x, (0, size - len(rows))) for name, x in batch.items()}
            tallies.append(step(state, signals, devices.shard(batch)))
        fetched = jax.device_get(tallies)
        return jax.tree.map(lambda *values: np.sum(values, axis=0, dtype=np.float64), *fetched)

    return evaluate


def training_batches(split: Split, config: ConfigDict, epoch: int, steps: int) -> Iterator[dict[str, np.ndarray]]:
    """A shuffle of all training windows, a function of (seed, epoch), in whole batches; the rest is dropped."""
    order = np.random.default_rng((config.seed, epoch)).permutation(len(split.labels))
    for rows in order[: steps * config.train.batch_size].reshape(steps, config.train.batch_size):
        yield {"starts": split.starts[rows], "labels": split.labels[rows]}


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
