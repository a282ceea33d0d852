"""The exported model, with nothing but jax, flatbuffers and NumPy: `load(folder).predict(windows)`.

This file is copied into the exported folder as recognizer.py, and must not import anything else.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

CARD, ARTIFACT = "card.json", "model.jax"
FORMAT = 1


class Model:
    """An exported model.

    Attributes:
      card: content of card.json: channels with their units, rate, window, classes, and where the model comes from.
    """

    def __init__(self, card: dict[str, Any], artifact: bytes) -> None:
        """Reads an artifact of jax.export with its card; raises ValueError where this version of jax cannot read it."""
        self.card = card
        try:
            exported = export.deserialize(bytearray(artifact))
        except ImportError as error:  # flatbuffers
            raise ImportError(f"{ARTIFACT}: {error}; pip install jax flatbuffers") from error
        except Exception as error:  # an older jax raises many kinds
            made = card["versions"]["jax"]
            raise ValueError(
                f"{ARTIFACT}: jax {jax.__version__} cannot read it, it was written by jax {made}; use that or a later"
            ) from error
        self._call = jax.jit(exported.call)

    def predict(self, windows: np.ndarray, channels: Sequence[str] | None = None) -> np.ndarray:
        """Returns the probabilities of windows. Every new number of windows, n, is compiled once, which takes seconds.

        Args:
          windows: (n, t, c), n at least 1, in the card's channels, units and rate; not normalised.
          channels: c names, where the caller knows them: compared with the card's.

        Returns:
          (n, k) float32, a column for each of the card's `class_names`.

        Raises:
          ValueError: another shape, other channels, or a value that is not finite.
        """
        names = [channel["name"] for channel in self.card["channels"]]
        if channels is not None and list(channels) != names:
            raise ValueError(f"channels {', '.join(channels)}; expected, in this order: {', '.join(names)}")
        windows = np.asarray(windows, np.float32)
        shape = (self.card["window"], len(names))
        if windows.ndim != 3 or windows.shape[1:] != shape or not len(windows):
            raise ValueError(
                f"windows of shape {windows.shape}, expected (n, {shape[0]}, {shape[1]}): {shape[0]} samples, "
                f"{self.card['rate']:g} a second, of {', '.join(names)}"
            )
        finite = np.all(np.isfinite(windows), axis=(0, 1))
        if not np.all(finite):
            raise ValueError(f"the channel {names[int(np.argmin(finite))]} has values that are not finite numbers")
        return np.asarray(self._call(windows))

    def classes(self, probabilities: np.ndarray) -> list[str]:
        """Returns the most probable class of each window, for probabilities (n, k)."""
        return [self.card["class_names"][label] for label in np.argmax(probabilities, axis=1).tolist()]


def load(folder: str | Path) -> Model:
    """Reads an exported folder and compares the artifact's digest with the card's.

    Raises:
      ValueError: the files are damaged, do not belong together, or are of another version; the message names the file.
      OSError: a file is missing.
    """
    path = Path(folder) / CARD
    try:
        card = json.loads(path.read_text())
        found, expected = card["format"], card["files"][ARTIFACT]["sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not the card of an exported {ARTIFACT} ({error})") from error
    if found != FORMAT:
        raise ValueError(f"{path}: format {found!r}, expected {FORMAT}; use the loader that was exported beside it")
    artifact = (Path(folder) / ARTIFACT).read_bytes()
    if hashlib.sha256(artifact).hexdigest() != expected:
        raise ValueError(f"{Path(folder) / ARTIFACT}: damaged, its SHA-256 is not the one in {CARD}; copy it anew")
    return Model(card, artifact)
