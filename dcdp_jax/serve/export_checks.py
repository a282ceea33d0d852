"""Compares the answers of an exported file with those of the model that it was made of."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from dcdp_jax.errors import ExportError
from dcdp_jax.runs.model_card import ModelCard

TOLERANCE = 1e-4
CHECKED_WINDOWS = 32


def plausible_windows(card: ModelCard) -> np.ndarray:
    """Returns (n, t, c) random windows with the training's mean and standard deviation, from a fixed seed."""
    noise = np.random.default_rng(0).normal(size=(CHECKED_WINDOWS, card.window, len(card.channels)))
    return (np.asarray(card.shift) + noise / np.asarray(card.scale)).astype(np.float32)


def follow(
    step: Callable[[np.ndarray, Any], Sequence[Any]], statistics: np.ndarray, windows: np.ndarray
) -> list[np.ndarray]:
    """Runs windows (n, t, c) one after the other, each with the statistics (s,) after those before it.

    The step is a function of a window and statistics that returns arrays, the last of which is the statistics after
    the window. Returns the other arrays, each with n rows.
    """
    found, given = [], statistics
    for window in windows:
        *arrays, given = step(window[None], given)
        found.append(arrays)
    return [np.concatenate(rows) for rows in zip(*found, strict=True)]


def check_all(name: str, pairs: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    """Returns facts about the largest difference of pairs of probabilities, found and expected; see `check`."""
    largest = max(check(name, np.asarray(found), np.asarray(expected)) for found, expected in pairs)
    return {"checked_windows": CHECKED_WINDOWS, "largest_difference": largest}


def check(name: str, found: np.ndarray, expected: np.ndarray) -> float:
    """Returns the largest difference of probabilities (n, k); raises ExportError for a large one or another class."""
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
