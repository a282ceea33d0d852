"""--mode=predict: applies a trained model to files, and writes the predictions as tables and as a picture."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.data.recording import UNLABELLED, Recording
from dcdp_jax.data.units import GRAVITY, NONE, sensors_of, unit_name, units_seen
from dcdp_jax.data.windows import window_starts
from dcdp_jax.evaluate.segments import Segment, divide, grade_segments, segment_lines, true_segments
from dcdp_jax.runs.files import as_csv, number_or_blank, write_atomically, write_json
from dcdp_jax.runs.model_card import ModelCard
from dcdp_jax.serve.adaptation import AdaptingModel
from dcdp_jax.serve.events import UNKNOWN, Event, class_name, merge_events
from dcdp_jax.serve.inputs import Input, folder_names, read_input
from dcdp_jax.serve.model import TrainedModel, load_serving_model, predict
from dcdp_jax.serve.smoothing import Smoother

PREDICTIONS = "predictions"
FILES = ("windows.csv", "segments.csv", "grades.json", "timeline.png", "timeline.svg")  # of one recording
FIRST_COLUMNS = ("start", "end", "class", "confidence")  # of windows.csv and segments.csv
DECIMALS = ".6f"  # of probabilities
BLOCK = 1024  # windows that are in memory at a time
# Sizes of the training's mean acceleration, in g, from which it had gravity or had none. Lowest values are beyond both.
WITH_GRAVITY, WITHOUT_GRAVITY = (0.25, 1.15), 0.1
FAR = 6.0  # scaled distance of a channel's median from training's from which its unit is doubted


def predict_recording(
    model: TrainedModel, recording: Recording, time: np.ndarray | None = None, smoothing: tuple[str, int] = ("", 1)
) -> list[Event]:
    """Returns an event for each window of a recording, in order, bit for bit those of `Recognizer`.

    The recording has the channels and the rate of the card, see `inputs.prepare`; missing values are NaN. `time` has
    the (t,) seconds of its samples, by default 1 / rate apart. The smoothing is a method and a number of windows, see
    `Smoother`, whose ConfigError is raised.
    """
    card = model.card
    time = np.arange(len(recording.labels)) / card.rate if time is None else time
    starts = window_starts(recording.stretches, card.window, card.step)
    stretches = np.searchsorted(recording.starts, starts, side="right") - 1
    smoother = Smoother(*smoothing, model.rejection)
    events: list[Event] = []
    adapting = AdaptingModel(model) if model.adapt else None
    for first in range(0, len(starts), BLOCK):
        some = starts[first : first + BLOCK]
        # One at a time, as in a stream: the program for larger batches rounds differently, up to 1e-6 in probability.
        windows = recording.signals[some[:, None] + np.arange(card.window)]
        found = adapting.predict(windows) if adapting else predict(model, windows, batch=1)
        owners = stretches[first : first + BLOCK].tolist()
        for start, stretch, p, there, distance in zip(some.tolist(), owners, *found, strict=True):
            if events and stretch != events[-1].stretch:
                smoother.reset()
            label, smooth = smoother(p, distance)
            end = float(time[start + card.window - 1]) + 1 / card.rate
            events.append(Event(float(time[start]), end, label, smooth, missing_branches(card, there), stretch))
    return events


def missing_branches(card: ModelCard, complete: np.ndarray) -> tuple[str, ...]:
    """Returns the names of the branches that lack a channel; a baseline, which has no branches, is called `all`."""
    names = [branch.name for branch in card.branches] or ["all"]
    return tuple(name for name, there in zip(names, complete, strict=True) if not there)


def predict_files(config: ConfigDict, workdir: Path, paths: Sequence[str], smoothing: tuple[str, int]) -> None:
    """Predicts files, prints a summary, and writes windows.csv, segments.csv and a picture for each recording.

    A recording with labels gets grades.json as well, see `dcdp_jax.evaluate.segments.grade_segments`. The files have
    different names; see `inputs.read_input` for their content and `Smoother` for the smoothing. Raises UserError if the
    run is not finished, or a file is not what the model reads.
    """
    model = load_serving_model(config, workdir)
    for path in map(Path, paths):
        inputs = read_input(path, model.card, config.data)
        for name, item in zip(folder_names(inputs), inputs, strict=True):
            folder = workdir / PREDICTIONS / path.stem
            folder = folder / name if len(inputs) > 1 else folder
            predict_input(model, item, path, folder, smoothing, config.data.title or model.card.dataset)


def predict_input(
    model: TrainedModel, item: Input, path: Path, folder: Path, smoothing: tuple[str, int], trained_on: str
) -> None:
    """Predicts one recording of a file, and writes and prints the results."""
    from dcdp_jax.serve.timeline import draw_timeline, save_timeline  # matplotlib takes a second

    card, recording = model.card, item.recording
    events = predict_recording(model, recording, item.time, smoothing)
    seconds = len(recording.labels) / card.rate
    where = str(path) if item.name == path.stem else f"{path}, {item.name}"
    print(f"{where}: {seconds:.1f} s, {len(events)} windows of {card.window / card.rate:g} s")
    for note in (*item.notes, *strange_values(card, recording)):
        print(f"  {note}")
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    if not events:
        longest = np.diff(recording.stretches).max() / card.rate
        print(f"  nothing is predicted: the longest part without a gap has {longest:.1f} s, less than a window")
        return
    for branches, count in Counter(event.missing for event in events if event.missing).items():
        print(f"  {count} of {len(events)} windows lack a channel of the branch {', '.join(branches)}")
    segments = merge_events(events)
    truth = [window_label(recording, item.time, event, card) for event in events]
    if known := [event.label == label for event, label in zip(events, truth, strict=True) if label != UNLABELLED]:
        print(f"  {sum(known)} of {len(known)} windows of one class are labelled as in the file")
    if model.rejection:
        unknown = sum(event.label == UNKNOWN for event in events)
        known_classes = f": the model knows {', '.join(card.class_names)}" if unknown == len(events) else ""
        print(f"  {unknown} of {len(events)} windows are unknown{known_classes}")
    folder.mkdir(parents=True, exist_ok=True)
    if labelled := true_segments(recording.labels, item.time, recording.starts, card.rate):
        grades = grade_segments(divide(labelled, segments), card.class_names)
        write_json(folder / "grades.json", grades)
        print("\n".join(f"  {line}" for line in segment_lines(grades)))
    write_atomically(folder / "windows.csv", windows_table(card, events, truth))
    rows = [[*first_cells(card, segment), segment.windows] for segment in segments]
    write_atomically(folder / "segments.csv", as_csv([*FIRST_COLUMNS, "windows"], rows))
    title = f"{where.removeprefix(str(path.parent) + '/')}, by a model trained on {trained_on}"
    save_timeline(draw_timeline(card, recording, item.time, events, segments, title), folder / "timeline")
    print(f"  {len(segments)} segment{'s' if len(segments) != 1 else ''}: {folder}")


def window_label(recording: Recording, time: np.ndarray, event: Event, card: ModelCard) -> int:
    """Returns the label that all samples of an event's window have, else `UNLABELLED`."""
    first = int(np.searchsorted(time, event.start))
    labels = recording.labels[first : first + card.window]
    return int(labels[0]) if np.all(labels == labels[0]) else UNLABELLED


def strange_values(card: ModelCard, recording: Recording) -> list[str]:
    """Returns sentences about channels unlike the training's: of another unit, or with gravity on one side only.

    Medians are compared by the normaliser, in standard deviations or ranges of the training set.
    """
    if all(scale == 1 for scale in card.scale):
        return []
    there = [column[np.isfinite(column)] for column in recording.signals.T]
    middle = np.array([np.median(column) if len(column) else np.nan for column in there])
    size = np.abs((middle - card.shift) * np.array(card.scale))
    far = [f"{c.name} [{c.unit}]" for c, s in zip(card.channels, size, strict=True) if s > FAR]
    notes = [f"values unlike the training's, is the unit right? {', '.join(far)}"] if far else []
    had_gravity = trained_gravity(card)
    for (group, site, unit), seen in units_seen(card.channels, recording.signals, card.rate).items():
        had = had_gravity.get((group, site, unit))
        if seen == NONE and had:
            notes.append(f"{group} at {site} is without gravity, and the training's is with it")
        elif seen == unit and had is False:
            notes.append(f"{group} at {site} is with gravity, and the training's is without it")
    return notes


def trained_gravity(card: ModelCard) -> dict[tuple[str, str, str], bool]:
    """Returns whether the training's accelerations had gravity, {(group, site, unit): bool}, where it can be told.

    They had if their mean is a large part of it, as long as the device was worn in a usual direction.
    """
    had = {}
    for sensor, axes in sensors_of(card.channels).items():
        size = np.linalg.norm(np.take(card.shift, axes)) / GRAVITY.get(unit_name(sensor[2]), np.inf)
        if len(axes) == 3 and (WITH_GRAVITY[0] < size < WITH_GRAVITY[1] or 0 < size < WITHOUT_GRAVITY):
            had[sensor] = bool(size > WITHOUT_GRAVITY)
    return had


def first_cells(card: ModelCard, part: Event | Segment) -> list[str]:
    """Returns the cells of `FIRST_COLUMNS` for a window or a segment."""
    times = [f"{part.start:.3f}", f"{part.end:.3f}"]
    return [*times, class_name(card, part.label), number_or_blank(part.confidence, DECIMALS)]


def windows_table(card: ModelCard, events: Sequence[Event], truth: Sequence[int]) -> str:
    """Returns the content of windows.csv."""
    header = [*FIRST_COLUMNS, "label", *(f"p_{name}" for name in card.class_names)]
    rows = (
        [
            *first_cells(card, event),
            card.class_names[label] if label != UNLABELLED else "",
            *(number_or_blank(p, DECIMALS) for p in event.probabilities),
        ]
        for event, label in zip(events, truth, strict=True)
    )
    return as_csv(header, rows)
