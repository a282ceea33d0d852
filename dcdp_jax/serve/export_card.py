"""Describes an exported model: card.json for programs, README.txt and the lines on the terminal for people."""

from pathlib import Path
from typing import Any

from dcdp_jax.calibration import MAIN_SCORES
from dcdp_jax.runs.files import marks_suffix
from dcdp_jax.serve import standalone
from dcdp_jax.serve.channels import describe_view
from dcdp_jax.serve.model import TrainedModel
from dcdp_jax.versions import version_of


def exported_card(model: TrainedModel, result: dict[str, Any]) -> dict[str, Any]:
    """Returns the content of card.json without its list of files."""
    card = model.card.as_json()
    return {
        "format": standalone.FORMAT,
        **{name: card[name] for name in ("dataset", "protocol", "marks", "class_names", "channels")},
        **{name: card[name] for name in ("rate", "window", "step", "rejection", "best_epoch")},
        "normalization": {"inside": True, "shift": card["shift"], "scale": card["scale"]},
        "recording": {
            "channels": card["inputs"],
            "decimate": card["decimate"],
            "view": card["view"],
            **describe_view(model.card),
        },
        "serve": {"adapt": model.adapt > 0, "unknown": model.rejection is not None},
        "adaptation": None,
        "test": {name: result["test"][name] for name in MAIN_SCORES},
        **{name: result[name] for name in ("parameters", "data_fingerprint", "git_revision")},
        "versions": {name: version_of(name) for name in ("dcdp_jax", "jax", "flax", "numpy")},
        "files": {},
    }


def readme(card: dict[str, Any]) -> str:
    """Returns the text of README.txt."""
    names = ", ".join(f"{channel['name']} [{channel['unit']}]" for channel in card["channels"])
    view = card["recording"]["view"]
    computed = f" Channels that a recording lacks are computed from it by the view {view!r}." if view != "raw" else ""
    lines = [
        f"Human-activity recognition by dcdp_jax {card['versions']['dcdp_jax']}, trained on {card['dataset']}"
        f"{marks_suffix(card['marks'])}: {', '.join(card['class_names'])}.",
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
            + (" Its method view computes the channels of a recording." if view != "raw" else "")
        )
    if card["adaptation"]:
        lines.append(
            f"{standalone.STATISTICS} holds the statistics of batch normalisation; with load('this folder', "
            "adapt=True) they follow the windows of a wearer, without labels."
        )
    if "web" in card["files"]:
        lines.append("web/ is a page for any static server: python -m http.server --directory web.")
    return "\n".join(lines) + "\n"


def summary(card: dict[str, Any], folder: Path) -> str:
    """Returns lines for the terminal: each file with its size and how it was checked, and the folder."""
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
            checked = f"differs by {facts['largest_difference']:.1e} at most on {facts['checked_windows']} windows"
        lines.append(f"{name}: {facts['bytes'] / 1e6:.1f} MB, {checked}")
    return "\n".join([*lines, str(folder)])
