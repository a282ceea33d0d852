"""Finds a stretch of signal that occurs in two places, in time linear in the number of samples."""

from typing import NamedTuple

import numpy as np

BLOCK = 1 << 16  # rows that are hashed at a time
MULTIPLIER = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64


class Shared(NamedTuple):
    """The same rows in two places."""

    a: int  # first sample of the one
    b: int  # first sample of the other
    length: int  # rows that are equal from there on, as far as compared


def find_shared(signals: np.ndarray, part_a: np.ndarray, part_b: np.ndarray, length: int) -> Shared | None:
    """Finds a run of rows of (t, c) float32 signals in one part, (t,) bool, that also occurs in another part.

    Every run of 2 * length - 1 equal rows is found, and none shorter than length, which is 2 at least. Runs with little
    information, such as a sensor at rest or a signal of zeros, are ignored: more than half of the rows must differ from
    the row before, and more than half must be distinct. Returns None if there is no such run.
    """
    if len(signals) < length or length < 2:
        return None
    rows = hash_rows(signals)
    moves = np.concatenate([[0], np.cumsum(rows[1:] != rows[:-1])])
    hashes = rolling_hash(rows, length)
    lively = moves[length - 1 :] - moves[: len(moves) - length + 1] > length // 2
    in_a, in_b = (np.flatnonzero(whole_runs(part, length) & lively) for part in (part_a, part_b))
    in_a = in_a[in_a % length == 0]  # every run of 2 * length - 1 rows contains one of these
    table, at = np.unique(hashes[in_a], return_index=True)
    if not len(table) or not len(in_b):
        return None
    places = np.minimum(np.searchsorted(table, hashes[in_b]), len(table) - 1)
    found = table[places] == hashes[in_b]
    for a, b in zip(in_a[at[places[found]]].tolist(), in_b[found].tolist(), strict=True):
        equal = a != b and np.array_equal(signals[a : a + length], signals[b : b + length])
        if equal and len(np.unique(rows[a : a + length])) > length // 2:
            return grow(signals, part_a, part_b, Shared(a, b, length))
    return None


def hash_rows(signals: np.ndarray) -> np.ndarray:
    """Returns a (t,) uint64 hash of each row of (t, c) float32 signals; 0.0 and -0.0 are one value."""
    total = np.zeros(len(signals), np.uint64)
    for first in range(0, len(signals), BLOCK):
        part = total[first : first + BLOCK]
        words = (signals[first : first + BLOCK] + np.float32(0)).view(np.uint32)
        for column in words.T:
            part ^= column
            part *= np.uint64(MULTIPLIER)
            part ^= part >> np.uint64(29)
    return total


def rolling_hash(rows: np.ndarray, length: int) -> np.ndarray:
    """Returns the (t - length + 1,) hash of every run of `length` rows, a polynomial modulo 2**64."""
    inverse = np.uint64(pow(MULTIPLIER, -1, 2**64))
    powers = np.full(len(rows), MULTIPLIER, np.uint64)
    powers[0] = 1
    inverses = np.full(len(rows), inverse, np.uint64)
    inverses[0] = 1
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(rows * np.cumprod(inverses), dtype=np.uint64)])
    return (sums[length:] - sums[:-length]) * np.cumprod(powers)[: len(rows) - length + 1]


def whole_runs(part: np.ndarray, length: int) -> np.ndarray:
    """Returns for each first sample whether `length` samples from there on are in a part."""
    counts = np.concatenate([[0], np.cumsum(part)])
    return counts[length:] - counts[:-length] == length


def grow(signals: np.ndarray, part_a: np.ndarray, part_b: np.ndarray, shared: Shared) -> Shared:
    """Extends a run of equal rows to both sides while the rows are equal and within their parts."""
    a, b, length = shared
    while a > 0 and b > 0 and part_a[a - 1] and part_b[b - 1] and np.array_equal(signals[a - 1], signals[b - 1]):
        a, b, length = a - 1, b - 1, length + 1
    end = len(signals)
    while max(a, b) + length < end and part_a[a + length] and part_b[b + length]:
        if not np.array_equal(signals[a + length], signals[b + length]):
            break
        length += 1
    return Shared(a, b, length)
