"""--mode=export: writes a trained model as files that run without this package, and checks each of them."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.data.dataset import Dataset, build_dataset
from dcdp_jax.distributed import is_first_process
from dcdp_jax.errors import ConfigError, DataError, ExportError
from dcdp_jax.metrics import count_predictions, scores
from dcdp_jax.runs.model_card import ModelCard
from dcdp_jax.runs.reading import read_result
from dcdp_jax.serve import standalone, web
from dcdp_jax.serve.formats import PLATFORMS, Run, to_jax, to_onnx, to_tflite
from dcdp_jax.serve.model import TrainedModel, forward, load_model
from dcdp_jax.versions import version_of

EXPORT = "export"
FILES = {
    "jax": standalone.ARTIFACT,
    "onnx": "model.onnx",
    "tflite": "model.tflite",
    "tflite_int8": "model.int8.tflite",
    "web": "web",
}
TOLERANCE = 1e-4
CHECKED_WINDOWS = 32
EXAMPLES = 1024  # training windows from which int8 takes its ranges; with 256, rare peaks are cut off


def export_run(config: ConfigDict, workdir: Path, formats: Sequence[str], smoothing: tuple[str, int] = ("", 1)) -> None:
    """Writes WORKDIR/export anew, whole or not at all: the model in each format of `FILES`, its card and how to use it.

    The data set is read for `tflite_int8` only.

    Raises:
      ConfigError: an unknown format, or one whose packages are not installed.
      CheckpointError: the workdir holds no finished run of a network.
      DataError: the data for `tflite_int8` is missing, or not that of the run.
      ExportError: a file does not answer as the trained model does.
    """
    if unknown := [name for name in formats if name not in FILES]:
        raise ConfigError(f"--formats={unknown[0]} is none of {', '.join(FILES)}")
    if not formats:
        raise ConfigError(f"--formats is empty; choose of {', '.join(FILES)}")
    if "web" in formats and (config.serve.unknown or config.serve.adapt != "none"):
        raise ConfigError(
            "--formats=web: the page answers every window and adapts to nobody; leave serve.unknown=False and "
            "serve.adapt='none'"
        )
    model = load_model(workdir)
    result = read_result(workdir)
    site = web.make_site(config.data.table, smoothing) if "web" in formats else None
    dataset = data_of_the_run(config, result) if "tflite_int8" in formats else None
    if not is_first_process():
        return
    with tempfile.TemporaryDirectory(prefix=f".{EXPORT}.", suffix=".writing", dir=workdir) as temporary:
        folder = Path(temporary) / EXPORT
        folder.mkdir()
        card = write_files(model, result, dataset, list(dict.fromkeys(formats)), folder, site)
        if (workdir / EXPORT).exists():
            (workdir / EXPORT).rename(Path(temporary) / "before")
        folder.rename(workdir / EXPORT)
    print(summary(card, workdir / EXPORT))


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
    dataset: Dataset | None,
    formats: Sequence[str],
    folder: Path,
    site: web.Site | None = None,
) -> dict[str, Any]:
    """Fills a new folder and returns the content of its card; see `export_run`."""
    # Else a GPU or TPU may round to fewer digits, and the platforms' answers would differ.
    with jax.default_matmul_precision("float32"):
        probabilities = forward(model)

        def whole(windows: Any) -> jax.Array:
            return probabilities(windows).fusion

        windows = plausible_windows(model.card)
        expected = np.asarray(jax.jit(whole)(windows))
        shape = windows.shape[1:]
        card = exported_card(model.card, result)
        for name in formats:
            if name == "web":
                assert site is not None
                card["files"][FILES[name]] = export_page(model, card, site, folder / FILES[name])
                continue
            facts: dict[str, Any] = {"format": name}
            if name == "jax":
                content, run = to_jax(whole, shape, card)
                found = run(windows)
                facts |= {"platforms": list(PLATFORMS), "batch": "any"}
            elif name == "onnx":
                content, outputs = to_onnx(whole, shape)
                (found,) = outputs(windows)
                facts |= {"input": "windows", "output": "probabilities", "batch": "any"}
            elif name == "tflite":
                content, run = to_tflite(whole, shape)
                found = run(windows)
                facts |= {"batch": 1}
            else:
                assert dataset is not None
                content, run = to_tflite(whole, shape, some_windows(dataset, "train", EXAMPLES))
                part = "validation" if "validation" in dataset.splits else "train"
                facts |= {"batch": 1, part: quantisation_loss(jax.jit(whole), run, dataset, part)}
            if name != "tflite_int8":
                facts["largest_difference"] = check(FILES[name], found, expected)
            (folder / FILES[name]).write_bytes(content)
            facts |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            card["files"][FILES[name]] = facts
    (folder / standalone.CARD).write_text(json.dumps(card, indent=2, allow_nan=False) + "\n")
    if "jax" in formats:
        shutil.copyfile(standalone.__file__, folder / "recognizer.py")
        standalone.load(folder)
    (folder / "README.txt").write_text(readme(card))
    return card


def export_page(model: TrainedModel, card: dict[str, Any], site: web.Site, folder: Path) -> dict[str, Any]:
    """Writes the page with an ONNX model of its own, which has an output for each branch; returns its facts.

    Raises:
      ExportError: the ONNX model does not answer as the trained model does.
    """
    names = [branch.name for branch in model.card.branches]
    probabilities = forward(model)

    def every(windows: Any) -> tuple[jax.Array, ...]:
        found = probabilities(windows)
        return found.fusion, *(found.branches[name] for name in names)

    windows = plausible_windows(model.card)
    outputs = ["probabilities", *(f"probabilities_{name}" for name in names)]
    content, run = to_onnx(every, windows.shape[1:], outputs)
    expected = map(np.asarray, jax.jit(every)(windows))
    differences = [check(f"web/{web.NETWORK}", *pair) for pair in zip(run(windows), expected, strict=True)]
    loaded = web.write_site(folder, model.card, card, content, site)
    return {"format": "web", "outputs": outputs, "largest_difference": max(differences), "bytes": loaded}


def exported_card(card: ModelCard, result: dict[str, Any]) -> dict[str, Any]:
    """Returns the content of card.json, before any file is listed in it."""
    return {
        "format": standalone.FORMAT,
        "dataset": card.dataset,
        "protocol": card.protocol,
        "marks": list(card.marks),
        "class_names": list(card.class_names),
        "channels": [channel._asdict() for channel in card.channels],
        "rate": card.rate,
        "window": card.window,
        "step": card.step,
        "normalization": {"inside": True, "shift": list(card.shift), "scale": list(card.scale)},
        "recording": {
            "channels": [channel._asdict() for channel in card.inputs],
            "decimate": card.decimate,
            "view": card.view,
        },
        "test": {name: result["test"][name] for name in ("accuracy", "f1_macro")},
        "parameters": result["parameters"],
        "best_epoch": card.best_epoch,
        "data_fingerprint": result["data_fingerprint"],
        "git_revision": result["git_revision"],
        "versions": {name: version_of(name) for name in ("dcdp_jax", "jax", "flax", "numpy")},
        "files": {},
    }


def plausible_windows(card: ModelCard) -> np.ndarray:
    """Returns (n, t, c) random windows with the training's mean and standard deviation, from a fixed seed."""
    noise = np.random.default_rng(0).normal(size=(CHECKED_WINDOWS, card.window, len(card.channels)))
    return (np.asarray(card.shift) + noise / np.asarray(card.scale)).astype(np.float32)


def check(name: str, found: np.ndarray, expected: np.ndarray) -> float:
    """Returns the largest difference of probabilities (n, k).

    Raises:
      ExportError: more than `TOLERANCE`, or another class.
    """
    difference = float(np.max(np.abs(found - expected)))  # NaN where anything is
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


def some_windows(dataset: Dataset, part: str, most: int | None = None) -> np.ndarray:
    """Returns (n, t, c) windows of a part in the recordings' units, evenly spread over those that there are."""
    starts = dataset.splits[part].starts
    if most is not None and len(starts) > most:
        starts = starts[np.linspace(0, len(starts) - 1, most).round().astype(int)]
    return dataset.windows_at(starts)


def quantisation_loss(whole: Run, run: Run, dataset: Dataset, part: str, batch: int = 256) -> dict[str, Any]:
    """Computes the scores of the model and of its int8 version on a part of the data, for the card."""
    split = dataset.splits[part]
    classes = len(dataset.class_names)
    counts = {name: np.zeros((classes, classes), np.int64) for name in ("float32", "int8")}
    for first in range(0, len(split.labels), batch):
        starts, labels = split.starts[first : first + batch], split.labels[first : first + batch]
        windows = dataset.windows_at(starts)
        padded = np.pad(windows, ((0, batch - len(windows)), (0, 0), (0, 0)))
        for name, found in (("float32", np.asarray(whole(padded))[: len(labels)]), ("int8", run(windows))):
            counts[name] += count_predictions(labels, found.argmax(1), classes)
    facts: dict[str, Any] = {"windows": len(split.labels)}
    for name, matrix in counts.items():
        facts[name] = {score: scores(matrix)[score] for score in ("accuracy", "f1_macro")}
    facts["accuracy_lost"] = facts["float32"]["accuracy"] - facts["int8"]["accuracy"]
    return facts


def readme(card: dict[str, Any]) -> str:
    """Returns the text of README.txt."""
    names = ", ".join(f"{channel['name']} [{channel['unit']}]" for channel in card["channels"])
    view = card["recording"]["view"]
    computed = f" Channels that a recording lacks are computed from it by the view {view!r}." if view != "raw" else ""
    lines = [
        f"Human-activity recognition by dcdp_jax {card['versions']['dcdp_jax']}, trained on {card['dataset']}"
        + (f" [{', '.join(card['marks'])}]" if card["marks"] else "")
        + f": {', '.join(card['class_names'])}.",
        f"Input: float32 windows of {card['window']} samples at {card['rate']:g} a second, a new one every "
        f"{card['step']}, not normalised. Channels in this order: {names}.{computed}",
        "Output: a probability for each class, in the order above. card.json says all of this for programs, and where "
        "the model comes from.",
        "Files: " + ", ".join(f"{name} ({facts['bytes'] / 1e6:.1f} MB)" for name, facts in card["files"].items()) + ".",
    ]
    if standalone.ARTIFACT in card["files"]:
        lines.append(
            "With jax, flatbuffers and NumPy, and this folder on Python's path: from recognizer import load; "
            "load('this folder').predict(windows)."
        )
    if FILES["web"] in card["files"]:
        lines.append("web/ is a page for any static server: python -m http.server --directory web.")
    return "\n".join(lines) + "\n"


def summary(card: dict[str, Any], folder: Path) -> str:
    """Returns a line for the terminal that says what was written."""
    lines = []
    for name, facts in card["files"].items():
        if facts["format"] == "tflite_int8":
            part = "validation" if "validation" in facts else "train"
            loss = facts[part]
            checked = (
                f"accuracy {loss['int8']['accuracy']:.4f} on {loss['windows']:,} {part} windows, "
                f"float32 {loss['float32']['accuracy']:.4f}"
            )
        else:
            checked = f"differs by {facts['largest_difference']:.1e} at most on {CHECKED_WINDOWS} windows"
        lines.append(f"{name}: {facts['bytes'] / 1e6:.1f} MB, {checked}")
    return "\n".join([*lines, str(folder)])
