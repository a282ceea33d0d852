"""--mode=export: writes a trained model as files that run without this package, and checks each of them."""

import functools
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.calibration import MAIN_SCORES
from dcdp_jax.data.dataset import Dataset, build_dataset
from dcdp_jax.distributed import is_first_process
from dcdp_jax.errors import ConfigError, DataError, ExportError
from dcdp_jax.metrics import count_predictions, scores
from dcdp_jax.runs.files import as_json, replaced_folder, sha256
from dcdp_jax.runs.model_card import ModelCard
from dcdp_jax.runs.reading import read_result
from dcdp_jax.serve import standalone, web
from dcdp_jax.serve.adaptation import AdaptingForward, adapting_forward
from dcdp_jax.serve.export_card import exported_card, readme, summary
from dcdp_jax.serve.formats import PLATFORMS, Run, to_jax, to_onnx, to_tflite
from dcdp_jax.serve.model import DISTANCE, NORM, TrainedModel, forward, load_serving_model

EXPORT = "export"
FILES = {
    "jax": standalone.ARTIFACT,
    "onnx": "model.onnx",
    "tflite": "model.tflite",
    "tflite_int8": "model.int8.tflite",
    "web": "web",
}
FIXED = ("tflite", "tflite_int8")  # formats whose statistics of batch normalisation are constants
WITH_UNKNOWN = ("jax", "web")  # formats whose program can predict `unknown`
NEXT = "next_statistics"
TOLERANCE = 1e-4  # largest difference of a probability
CHECKED_WINDOWS = 32
EXAMPLES = 1024  # training windows from which int8 takes its ranges; with 256, rare peaks are cut off
BATCH = 256  # windows that are scored at a time


def export_run(config: ConfigDict, workdir: Path, formats: Sequence[str], smoothing: tuple[str, int] = ("", 1)) -> None:
    """Writes WORKDIR/export atomically: the model in each of the formats, a card and a README.txt.

    The data set is read for `tflite_int8` only.

    Raises:
      ConfigError: the packages of a format are not installed; and as `check_formats` does.
      CheckpointError: the workdir holds no finished run of a network.
      DataError: the data is missing or not that of the run.
      ExportError: the predictions of a file differ from those of the trained model.
    """
    check_formats(config, formats)
    model = load_serving_model(config, workdir)
    result = read_result(workdir)
    site = web.make_site(config.data.table, smoothing) if "web" in formats else None
    dataset = data_of_the_run(config, result) if "tflite_int8" in formats else None
    if not is_first_process():
        return
    with replaced_folder(workdir / EXPORT) as folder:
        names = list(dict.fromkeys(formats))
        card = write_files(model, result, names, folder, rate=config.serve.adapt_rate, dataset=dataset, site=site)
    print(summary(card, workdir / EXPORT))


def check_formats(config: ConfigDict, formats: Sequence[str]) -> None:
    """Raises ConfigError if a format is unknown, or cannot do what the `serve` fields ask for."""
    if unknown := [name for name in formats if name not in FILES]:
        raise ConfigError(f"--formats={unknown[0]} is not one of {', '.join(FILES)}")
    if not formats:
        raise ConfigError(f"--formats is empty; choose of {', '.join(FILES)}")
    if config.serve.unknown and config.serve.unknown_score == DISTANCE:
        raise ConfigError(
            f"--formats={','.join(formats)}: an exported model says 'unknown' by the probability of its answer; set "
            "serve.unknown_score='probability'"
        )
    for name in formats:
        if config.serve.adapt == NORM and name in FIXED:
            raise ConfigError(
                f"--formats={name}: its statistics of batch normalisation are constants, so that it adapts to nobody; "
                f"leave serve.adapt='none', or choose of {', '.join(other for other in FILES if other not in FIXED)}"
            )
        if config.serve.unknown and name not in WITH_UNKNOWN:
            raise ConfigError(
                f"--formats={name}: it gives probabilities, and does not answer 'unknown'; leave serve.unknown=False, "
                f"or choose of {', '.join(WITH_UNKNOWN)}"
            )


def data_of_the_run(config: ConfigDict, result: dict[str, Any]) -> Dataset:
    """Builds the data set that a model was trained on."""
    dataset = build_dataset(config.data)
    if dataset.fingerprint != result["data_fingerprint"]:
        raise DataError(
            "--formats=tflite_int8 takes its ranges from the training windows, and the data is not that of the run: "
            f"fingerprint {dataset.fingerprint[:12]}, expected {result['data_fingerprint'][:12]}"
        )
    return dataset


def write_files(
    model: TrainedModel,
    result: dict[str, Any],
    formats: Sequence[str],
    folder: Path,
    *,
    rate: float,
    dataset: Dataset | None = None,
    site: web.Site | None = None,
) -> dict[str, Any]:
    """Fills a new folder and returns the content of its card; see `export_run`.

    The model's `adapt` and `rejection` are the defaults of the exported model; `rate` is the weight of each window if
    it adapts. The data set is for `tflite_int8`, the site for `web`.
    """
    # In a lower precision, which GPUs and TPUs use by default, the predictions would differ between platforms.
    with jax.default_matmul_precision("float32"):
        adapting, statistics = adapting_forward(model, rate)
        probabilities = forward(model)

        def whole(windows: Any) -> jax.Array:
            return probabilities(windows).fusion

        def step(windows: Any, statistics: Any) -> tuple[jax.Array, jax.Array]:
            found, after = adapting(windows, statistics)
            return found.fusion, after

        @functools.cache
        def expected(adapt: bool) -> np.ndarray:
            return follow(jax.jit(step), statistics, windows)[0] if adapt else np.asarray(jax.jit(whole)(windows))

        windows = plausible_windows(model.card)
        shape = windows.shape[1:]
        card = exported_card(model, result)
        if statistics.size and ("jax" in formats or ("onnx" in formats and model.adapt)):
            content = statistics.astype("<f4").tobytes()
            (folder / standalone.STATISTICS).write_bytes(content)
            facts: dict[str, Any] = {"rate": rate, "share": model.adapt_share, "statistics": statistics.size}
            card["adaptation"] = facts | {"sha256": sha256(content)}
        for name in formats:
            if name == "web":
                assert site is not None
                card["files"][FILES[name]] = export_page(model, adapting, statistics, card, site, folder / FILES[name])
                continue
            facts = {"format": name}
            pairs = []
            if name == "jax":
                content = to_jax(step, shape, statistics.size)
                for adapt in (False, True) if statistics.size else (False,):
                    loaded = standalone.Model(card, content, statistics.tobytes(), adapt=adapt, unknown=False)
                    pairs.append((loaded.predict(windows), expected(adapt)))
                facts |= {"platforms": list(PLATFORMS), "batch": "any"}
            elif name == "onnx" and model.adapt:
                outputs = ["probabilities", NEXT]
                content, session = to_onnx(step, shape, outputs, statistics.size)
                pairs.append((follow(session, statistics, windows)[0], expected(True)))
                facts |= {"input": ["windows", "statistics"], "output": outputs, "batch": 1}
            elif name == "onnx":
                content, session = to_onnx(whole, shape)
                pairs.append((session(windows)[0], expected(False)))
                facts |= {"input": "windows", "output": "probabilities", "batch": "any"}
            elif name == "tflite":
                content, run = to_tflite(whole, shape)
                pairs.append((run(windows), expected(False)))
                facts |= {"batch": 1}
            else:
                assert dataset is not None
                content, run = to_tflite(whole, shape, some_windows(dataset, "train", EXAMPLES))
                part = "validation" if "validation" in dataset.splits else "train"
                facts |= {"batch": 1, part: quantisation_loss(jax.jit(whole), run, dataset, part)}
            if pairs:
                facts |= check_all(FILES[name], pairs)
            (folder / FILES[name]).write_bytes(content)
            facts |= {"bytes": len(content), "sha256": sha256(content)}
            card["files"][FILES[name]] = facts
    (folder / standalone.CARD).write_text(as_json(card))
    if "jax" in formats:
        shutil.copyfile(standalone.__file__, folder / "recognizer.py")
        standalone.load(folder)
    (folder / "README.txt").write_text(readme(card))
    return card


def export_page(
    model: TrainedModel,
    adapting: AdaptingForward,
    statistics: np.ndarray,
    card: dict[str, Any],
    site: web.Site,
    folder: Path,
) -> dict[str, Any]:
    """Writes the page with its own ONNX model, which has an output for each branch; returns its entry for the card.

    If the model has batch normalisation, this ONNX model has its statistics as an input and an output. Raises
    ExportError if its predictions differ from those of the trained model.
    """
    names = [branch.name for branch in model.card.branches]
    outputs = ["probabilities", *(f"probabilities_{name}" for name in names)]
    windows = plausible_windows(model.card)

    def every(windows: Any, given: Any = statistics) -> tuple[jax.Array, ...]:
        found, after = adapting(windows, given)
        probabilities = (found.fusion, *(found.branches[name] for name in names))
        return (*probabilities, after) if statistics.size else probabilities

    compiled, given = jax.jit(every), (statistics,) if statistics.size else ()
    outputs += [NEXT] if given else []
    content, run = to_onnx(every, windows.shape[1:], outputs, statistics.size)
    pairs = list(zip(run(windows, *given), compiled(windows, *given), strict=True))[: 1 + len(names)]
    if given:
        pairs += zip(follow(run, statistics, windows), follow(compiled, statistics, windows), strict=True)
    facts = check_all(f"web/{web.NETWORK}", pairs)
    loaded = web.write_site(folder, model.card, card, content, statistics, site)
    return {"format": "web", "outputs": outputs, "bytes": loaded} | facts


def some_windows(dataset: Dataset, part: str, most: int | None = None) -> np.ndarray:
    """Returns (n, t, c) windows of a split in the recordings' units: all, or `most` of them, evenly spread."""
    starts = dataset.splits[part].starts
    if most is not None and len(starts) > most:
        starts = starts[np.linspace(0, len(starts) - 1, most).round().astype(int)]
    return dataset.windows_at(starts)


def quantisation_loss(whole: Run, run: Run, dataset: Dataset, part: str) -> dict[str, Any]:
    """Computes the scores of the model and of its int8 version on a split of the data, for the card.

    `whole` takes batches of `BATCH` windows, `run` any number.
    """
    split = dataset.splits[part]
    classes = len(dataset.class_names)
    counts = {name: np.zeros((classes, classes), np.int64) for name in ("float32", "int8")}
    for first in range(0, len(split.labels), BATCH):
        starts, labels = split.starts[first : first + BATCH], split.labels[first : first + BATCH]
        windows = dataset.windows_at(starts)
        padded = np.pad(windows, ((0, BATCH - len(windows)), (0, 0), (0, 0)))
        for name, found in (("float32", np.asarray(whole(padded))[: len(labels)]), ("int8", run(windows))):
            counts[name] += count_predictions(labels, found.argmax(1), classes)
    facts = {name: {score: scores(n)[score] for score in MAIN_SCORES} for name, n in counts.items()}
    lost = facts["float32"]["accuracy"] - facts["int8"]["accuracy"]
    return {"windows": len(split.labels), **facts, "accuracy_lost": lost}


def plausible_windows(card: ModelCard) -> np.ndarray:
    """Returns (n, t, c) random windows with the mean and standard deviation of the training data, from a fixed seed."""
    noise = np.random.default_rng(0).normal(size=(CHECKED_WINDOWS, card.window, len(card.channels)))
    return (np.asarray(card.shift) + noise / np.asarray(card.scale)).astype(np.float32)


def follow(
    step: Callable[[np.ndarray, Any], Sequence[Any]], statistics: np.ndarray, windows: np.ndarray
) -> list[np.ndarray]:
    """Runs windows (n, t, c) one after the other, each with the statistics (s,) that the previous window left.

    The step maps a window and statistics to arrays, the last of which is the statistics after the window. Returns the
    other arrays, each with n rows.
    """
    found, given = [], statistics
    for window in windows:
        *arrays, given = step(window[None], given)
        found.append(arrays)
    return [np.concatenate(rows) for rows in zip(*found, strict=True)]


def check_all(name: str, pairs: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    """Returns the largest difference of pairs (found, expected) of probabilities, for the card; see `check_one`."""
    largest = max(check_one(name, np.asarray(found), np.asarray(expected)) for found, expected in pairs)
    return {"checked_windows": CHECKED_WINDOWS, "largest_difference": largest}


def check_one(name: str, found: np.ndarray, expected: np.ndarray) -> float:
    """Returns the largest difference of probabilities (n, k).

    Raises ExportError if it is above `TOLERANCE`, or a clearly most probable class differs.
    """
    difference = float(np.max(np.abs(found - expected)))  # NaN if any probability is
    if not difference <= TOLERANCE:
        raise ExportError(
            f"{name}: its probabilities differ by {difference:.2g} from the model's, more than {TOLERANCE}; "
            "nothing is kept"
        )
    first, second = np.sort(expected, axis=1)[:, :-3:-1].T
    clear = first - second > 2 * TOLERANCE
    if np.any(found.argmax(1)[clear] != expected.argmax(1)[clear]):
        raise ExportError(f"{name}: it gives other classes than the model; nothing is kept")
    return difference
