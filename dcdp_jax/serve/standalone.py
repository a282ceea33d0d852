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

CARD, ARTIFACT, STATISTICS = "card.json", "model.jax", "statistics.bin"
FORMAT = 2
UNKNOWN = "unknown"


class Model:
    """An exported model.

    Attributes:
      card: content of card.json: channels with their units, rate, window, classes, and where the model comes from.
      adapt: whether the statistics of batch normalisation follow the windows.
      unknown: whether probabilities are scaled by the card's temperature, and a class below its threshold is `unknown`.
      statistics: (s,) float32, means and variances of batch normalisation for the next window.
    """

    def __init__(
        self,
        card: dict[str, Any],
        artifact: bytes,
        statistics: bytes,
        adapt: bool | None = None,
        unknown: bool | None = None,
    ) -> None:
        """Reads the contents of card.json, model.jax and statistics.bin, which is empty without batch normalisation.

        For adapt and unknown see the attributes; None is as the model was exported.

        Raises:
          ValueError: this version of jax cannot read it, or the model can not adapt, or has no threshold.
        """
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
        self.adapt = card["serve"]["adapt"] if adapt is None else adapt
        self.unknown = card["serve"]["unknown"] if unknown is None else unknown
        if self.adapt and card["adaptation"] is None:
            raise ValueError("adapt=True: the model has no batch normalisation, and cannot adapt")
        if self.unknown and (card["rejection"] is None or UNKNOWN in card["class_names"]):
            raise ValueError(f"unknown=True: {CARD} has no threshold, or a class {UNKNOWN!r}")
        self._training = np.frombuffer(statistics, "<f4")
        self._plain = jax.jit(lambda windows, statistics: exported.call(windows, statistics)[0])
        self._adapting = jax.jit(exported.call)
        self.restart()

    def restart(self) -> None:
        """Returns to the statistics of the training, as for another wearer or recording."""
        self.statistics = self._training

    def predict(self, windows: np.ndarray, channels: Sequence[str] | None = None) -> np.ndarray:
        """Returns the probabilities of windows.

        A model that adapts answers each window with the statistics of the windows before it since `restart`, in this
        call and in earlier ones; windows are expected in the order of their times. Otherwise every new number of
        windows, n, is compiled once, which takes seconds.

        Args:
          windows: (n, t, c), n at least 1, in the card's channels, units and rate; not normalised.
          channels: c names, where the caller knows them: compared with the card's.

        Returns:
          (n, k) float32, a column for each of the card's `class_names`; scaled ones, with `unknown`, are float64.

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
        if self.adapt:
            answers = []
            for window in windows:
                answer, after = self._adapting(window[None], self.statistics)
                self.statistics = np.asarray(after)
                answers.append(answer)
            found = np.concatenate(answers)
        else:
            found = np.asarray(self._plain(windows, self.statistics))
        return scaled(found, self.card["rejection"]["temperature"]) if self.unknown else found

    def view(self, samples: np.ndarray) -> np.ndarray:
        """Computes the card's channels from a contiguous recording in those of `recording`, as training did.

        Args:
          samples: (t, i) in the channels and units of `recording`, evenly spaced: `rate` times `decimate` a second.

        Returns:
          (n, c) float32, every `decimate`-th of the samples.

        Raises:
          ValueError: another number of channels.
        """
        recording = self.card["recording"]
        count = len(recording["channels"])
        x = np.asarray(samples, np.float32)
        if x.ndim != 2 or x.shape[1] != count:
            names = ", ".join(channel["name"] for channel in recording["channels"])
            raise ValueError(f"samples of shape {x.shape}, expected (t, {count}): {names}")
        x = x[:: recording["decimate"]]
        filtered = recording["gravity"]["inputs"]
        gravity = low_pass(x[:, filtered], recording["gravity"])
        accelerations = [i for i, channel in enumerate(recording["channels"]) if channel["group"] == "acc"]
        body = x[:, filtered] - gravity
        end = filtered[-1] + 1 if filtered else 0
        if recording["view"] == "vertical":
            return vertical(x, gravity, filtered, recording["vectors"])
        parts = {
            "derived": [x, gravity, body],
            "mirror": [x, x[:, accelerations]],
            "body": [x[:, :end], body, x[:, end:]],
        }.get(recording["view"], [x])
        return np.concatenate(parts, axis=1)

    def classes(self, probabilities: np.ndarray) -> list[str]:
        """Returns the most probable class of each window, for probabilities (n, k) that `predict` returned.

        With `unknown`, a class whose probability is below the card's threshold is replaced by 'unknown'.
        """
        names = [self.card["class_names"][label] for label in np.argmax(probabilities, axis=1).tolist()]
        if not self.unknown:
            return names
        sure = np.max(probabilities, axis=1) >= self.card["rejection"]["threshold"]
        return [name if there else UNKNOWN for name, there in zip(names, sure.tolist(), strict=True)]


def scaled(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Returns softmax(log(p) / temperature) of probabilities (n, k), in float64."""
    powers = np.maximum(probabilities.astype(np.float64), np.finfo(np.float32).tiny) ** (1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def low_pass(x: np.ndarray, gravity: dict[str, Any]) -> np.ndarray:
    """Computes gravity (t, c) of accelerations (t, c): second-order sections, in steady state at the first sample."""
    y = x.astype(np.float64)
    for (b0, b1, b2, _, a1, a2), (steady1, steady2) in zip(gravity["sections"], gravity["steady"], strict=True):
        z1, z2 = (steady * x[0].astype(np.float64) for steady in (steady1, steady2))
        for t, sample in enumerate(y.copy()):
            y[t] = b0 * sample + z1
            z1, z2 = b1 * sample - a1 * y[t] + z2, b2 * sample - a2 * y[t]
    return y.astype(np.float32)


def vertical(x: np.ndarray, gravity: np.ndarray, filtered: list[int], vectors: list[dict[str, Any]]) -> np.ndarray:
    """Computes vertical component and horizontal length of every vector in (t, i); other channels stay."""
    first = {vector["axes"][0]: vector for vector in vectors}
    among = {i for vector in vectors for i in vector["axes"]}
    columns = []
    for i in range(x.shape[1]):
        if i in first:
            up = gravity[:, [filtered.index(k) for k in first[i]["gravity"]]].astype(np.float64)
            length = np.linalg.norm(up, axis=1, keepdims=True)
            up /= np.where(length > 0, length, 1)
            part = x[:, first[i]["axes"]].astype(np.float64)
            along = np.sum(part * up, axis=1, keepdims=True)
            columns += [along[:, 0], np.linalg.norm(part - along * up, axis=1)]
        elif i not in among:
            columns.append(x[:, i])
    return np.stack(columns, axis=1).astype(np.float32)


def load(folder: str | Path, adapt: bool | None = None, unknown: bool | None = None) -> Model:
    """Reads an exported folder and compares the digests of its files with the card's.

    For adapt and unknown see `Model`; None is as the model was exported.

    Raises:
      ValueError: the files are damaged, do not belong together, or are of another version; the message names the file.
        Or the model cannot adapt, or has no threshold for `unknown`.
      OSError: a file is missing.
    """
    path = Path(folder) / CARD
    try:
        card = json.loads(path.read_text())
        found, digests = card["format"], {ARTIFACT: card["files"][ARTIFACT]["sha256"]}
        if found == FORMAT and card["adaptation"] is not None:
            digests[STATISTICS] = card["adaptation"]["sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not the card of an exported {ARTIFACT} ({error})") from error
    if found != FORMAT:
        raise ValueError(f"{path}: format {found!r}, expected {FORMAT}; use the loader that was exported beside it")
    contents = {name: (Path(folder) / name).read_bytes() for name in digests}
    for name, content in contents.items():
        if hashlib.sha256(content).hexdigest() != digests[name]:
            raise ValueError(f"{Path(folder) / name}: damaged, its SHA-256 is not the one in {CARD}; copy it anew")
    return Model(card, contents[ARTIFACT], contents.get(STATISTICS, b""), adapt, unknown)
