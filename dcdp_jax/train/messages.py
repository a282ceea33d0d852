"""Formats the messages that training prints."""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from dcdp_jax.config import BEST, EMA, LAST, unread_notes
from dcdp_jax.data.dataset import Dataset
from dcdp_jax.metrics import accuracy_text
from dcdp_jax.runs.files import RESULT, marks_suffix


def data_lines(config: ConfigDict, dataset: Dataset) -> str:
    """Formats the name, marks, protocol and sizes of a data set, and the notes on its reading and on the config."""
    windows = ", ".join(f"{name} {len(split.labels):,}" for name, split in dataset.splits.items())
    notes = "".join(f"\nnote: {note}" for note in (*dataset.notes, *unread_notes(config)))
    return (
        f"{config.data.title or config.data.name}{marks_suffix(dataset.marks)}, protocol {config.data.protocol}: "
        f"{windows} windows of {dataset.window} samples, "
        f"{len(dataset.channels)} channels, {len(dataset.class_names)} classes{notes}"
    )


def epoch_line(summary: dict[str, Any], epochs: int, seconds: float | None) -> str:
    """Formats the record of an epoch as one line of progress.

    The seconds are the estimated time of each remaining epoch; None if there is no estimate yet.
    """
    train, validation = summary["train"], summary.get("validation")
    scores = f"loss {train['loss']:.4f}, accuracy {train['accuracy']:.4f}"
    if validation:
        scores += (
            f"; validation loss {validation['loss']:.4f}, {accuracy_text(validation)}"
            f"{' (best)' if summary['best'] else ''}"
        )
    left = "" if seconds is None else f", {seconds * (epochs - summary['epoch']):.0f} s left"
    return (
        f"epoch {summary['epoch']}/{epochs}: {scores}; {summary['windows_per_second']:.0f} windows/s, "
        f"{summary['seconds']:.1f} s{left}"
    )


def result_lines(result: dict[str, Any], workdir: Path) -> str:
    """Formats the scores of a finished run."""
    test, epoch = result["test"], result["best_epoch"]
    validated = f"validation macro F1 {result['validation']['f1_macro']:.4f}" if "validation" in result else ""
    chosen = {
        BEST: f"epoch {epoch} by {validated}",
        LAST: f"last epoch {epoch}",
        EMA: f"average of the weights after epoch {epoch}",
        None: validated or "no validation set",
    }[result["selection"]]
    branches = ", ".join(f"{name} {accuracy:.4f}" for name, accuracy in result["branches"].items())
    alone = f"; branches alone: {branches}" if branches else ""
    left_out = result.get("left_out")
    unknown = f"\nunknown {left_out['name']}: area under the ROC curve {left_out['auroc']:.4f}" if left_out else ""
    if left_out and "distance" in left_out:
        unknown += f" by probability, {left_out['distance']['auroc']:.4f} by distance"
    return (
        f"{result['dataset']}{marks_suffix(result['marks'])}, protocol {result['protocol']}, {chosen}\n"
        f"test: {accuracy_text(test)}, weighted F1 {test['f1_weighted']:.4f} "
        f"on {result['windows']['test']:,} windows{alone}{unknown}\n"
        f"{workdir / RESULT}"
    )
