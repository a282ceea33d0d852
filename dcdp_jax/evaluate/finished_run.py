"""`--mode=evaluate`: the best checkpoint of a finished run, evaluated again."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.config import as_plain_data, check_config, is_network
from dcdp_jax.data.dataset import Dataset, Split, build_dataset
from dcdp_jax.data.windows import cut_at_label_changes, window_starts
from dcdp_jax.distributed import from_first_process
from dcdp_jax.errors import CheckpointError, ConfigError
from dcdp_jax.evaluate import segments
from dcdp_jax.evaluate.calibrated import calibration_line, measure_calibration
from dcdp_jax.evaluate.robustness import measure_robustness, robustness_lines
from dcdp_jax.runs import files
from dcdp_jax.runs.checkpoints import Checkpoints
from dcdp_jax.runs.predictions import write_predictions
from dcdp_jax.runs.reading import read_config, read_result
from dcdp_jax.runs.workdir import check_workdir, claim
from dcdp_jax.train.build import build_branches, build_model, has_validation, prepare
from dcdp_jax.train.devices import Devices
from dcdp_jax.train.state import TrainState, evaluated_state


def evaluate_run(config: ConfigDict, workdir: Path) -> None:
    """Evaluates the best checkpoint of a finished run again, measures its robustness and grades its segments.

    Compares the scores with result.json. Writes robustness.json; segments.json if the test set has continuous
    recordings; calibration.json if `data.calibration` is not 0, which may differ from that of the run; and
    predictions.csv and worst_windows.json if one of them is missing. Raises UserError if the workdir holds no finished
    run of this config, or a score differs from that of result.json by more than 1e-4.
    """
    result = from_first_process(lambda: read_result(workdir))
    if files.ADAPTED in result["marks"]:
        raise CheckpointError(f"{workdir} holds an adapted model, which no longer has the scores of its {files.RESULT}")
    check_config(config)
    calibration, config = config.data.calibration, config.copy_and_resolve_references()
    stored = from_first_process(lambda: read_config(workdir))
    config.data.calibration = stored.get("data", {}).get("calibration", 0.0)
    from_first_process(lambda: check_workdir(workdir, as_plain_data(config)))
    if not is_network(config.model.name):
        raise ConfigError(
            f"model.name={config.model.name} leaves no checkpoint to evaluate; trained again in another --workdir it "
            "gives the same scores"
        )
    run = prepare(config)
    with Checkpoints(workdir / files.CHECKPOINTS, read_only=True) as checkpoints:
        restored = checkpoints.restore(result["best_epoch"], like=run.initial_state(config.seed))
    state = run.devices.replicate(evaluated_state(restored))
    for part in ("validation", "test") if has_validation(run.dataset) else ("test",):
        found = run.evaluate(state, run.dataset.splits[part])
        again = found.tally.scores()
        print(f"{part}: " + ", ".join(f"{name} {value:.4f}" for name, value in again.items()))
        if off := [name for name, value in again.items() if not abs(value - result[part][name]) <= 1e-4]:
            raise CheckpointError(
                f"{workdir / files.RESULT}: {part} {', '.join(off)} differ from what the checkpoint gives"
                f"{computed_elsewhere(result, run.devices)}"
            )
    print(f"equal to the scores in {workdir / files.RESULT}")
    robustness = measure_robustness(config, run.dataset, run.devices, state, run.signals)
    grades = grade_test_part(run.dataset, config.data.step, lambda split: run.evaluate(state, split).probabilities)
    calibrated = calibration and adapt_test_subjects(config, run.dataset, state, calibration)

    def write() -> None:
        if not all((workdir / name).exists() for name in (files.PREDICTIONS, files.WORST_WINDOWS)):
            write_predictions(workdir, run.dataset, found.probabilities)
        measured = {files.ROBUSTNESS: robustness, files.SEGMENTS: grades, files.CALIBRATION: calibrated}
        for name, content in measured.items():
            if content:
                files.write_recorded(workdir, name, files.as_json(content))

    with claim(workdir, as_plain_data(config)):
        from_first_process(write)
    print("\n".join([robustness_lines(robustness), *(segments.segment_lines(grades) if grades else [])]))
    if calibrated:
        print(calibration_line(calibrated))


def computed_elsewhere(result: Mapping[str, Any], devices: Devices) -> str:
    """Returns the end of a message that names precision and devices of a run if they are others; else ''."""
    trained, here = (result.get("precision"), result["device"]), (devices.precision, devices.describe())
    # Scores do not depend on the number of devices, which precedes their kind.
    if (trained[0], trained[1].partition(" x ")[2]) == (here[0], here[1].partition(" x ")[2]):
        return ""
    return f"; it was trained in {trained[0]} on {trained[1]}, and this is {here[0]} on {here[1]}: evaluate it there"


def adapt_test_subjects(config: ConfigDict, dataset: Dataset, state: TrainState, seconds: float) -> dict[str, Any]:
    """Measures adaptation to the test subjects with their first seconds of each class, see `measure_calibration`."""
    if config.data.calibration != seconds:
        data = config.data.copy_and_resolve_references()
        data.calibration = seconds
        dataset = build_dataset(data)
    network = build_model(config, build_branches(config, dataset), len(dataset.class_names))
    variables = jax.device_get({"params": state.params, "batch_stats": state.batch_stats})
    return measure_calibration(dataset, network, variables, seconds)


def grade_test_part(
    dataset: Dataset, step: int, probabilities_of: Callable[[Split], np.ndarray]
) -> dict[str, Any] | None:
    """Grades the segments that a model finds in the contiguous stretches of the test set.

    The windows of scores lie within one label each (`data.label_rule=mode`); those here follow each other every `step`
    samples from the beginning of a stretch, as in predict and stream. `probabilities_of` returns (n, k) class
    probabilities. Returns None where the test set has no continuous recordings: its windows are random ones, no
    stretch has a change of label, or none is as long as a window.
    """
    stretches = dataset.test_stretches
    starts = window_starts(stretches, dataset.window, step)
    continuous = len(cut_at_label_changes(dataset.labels, stretches)) > len(stretches)
    if "leaky" in dataset.marks or not continuous or not len(starts):
        return None
    nothing = np.zeros(len(starts), np.int32)
    probabilities = probabilities_of(Split(starts.astype(np.int32), nothing, nothing))
    found = zip(starts.tolist(), probabilities.argmax(axis=1).tolist(), probabilities.max(axis=1).tolist(), strict=True)
    owner = np.searchsorted(stretches[:, 0], starts, side="right") - 1
    windows = [
        segments.PredictedWindow(
            start / dataset.rate, (start + dataset.window) / dataset.rate, label, confidence, stretch
        )
        for (start, label, confidence), stretch in zip(found, owner.tolist(), strict=True)
    ]
    graded = []
    for i, (first, end) in enumerate(stretches.tolist()):
        time = np.arange(first, end) / dataset.rate
        true = segments.true_segments(dataset.labels[first:end], time, np.zeros(1, np.int64), dataset.rate)
        graded += segments.divide(true, segments.merge_windows([window for window in windows if window.stretch == i]))
    return segments.grade_segments(graded, dataset.class_names)
