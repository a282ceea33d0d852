"""Checks at every run that the splits are separate, on the windows that training will use."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from dcdp_jax.data.normalize import Normalizer, blocks, covered_samples, normalize
from dcdp_jax.data.pool import Pool, merge_touching
from dcdp_jax.data.protocols import Protocol
from dcdp_jax.data.shared_samples import find_shared
from dcdp_jax.data.windows import WindowIndex
from dcdp_jax.errors import DataError

# Of a normalised channel's statistics, because the normaliser is rounded to single precision.
TOLERANCE = 1e-5
SHORTEST = 16  # samples of the shortest stretch that is searched for in two parts
BLOCK = 2**14  # samples that are in double precision at a time
LARGEST, FARTHEST = 1e18, 1e9  # largest value, and largest normalised value


def audit(
    pool: Pool,
    protocol: Protocol,
    windows: Mapping[str, WindowIndex],
    window: int,
    normalizer: Normalizer,
    method: str,
    digests: Sequence[str] = (),
    join: bool = False,
) -> list[str]:
    """Checks the windows and statistics themselves, not the intentions of the protocol.

    Args:
      pool: the data.
      protocol: how it was divided.
      windows: {split: its windows}, each of `window` samples.
      window: samples per window.
      normalizer: what training will use, made by the method of `data.normalize`.
      method: see `fit_normalizer`.
      digests: of the content of each recording, to find the same one under two names; () skips this.
      join: whether windows may run from one recording into the next, see `Pool.stretches`.

    Returns:
      What was proved, one sentence each, for the record.

    Raises:
      DataError: a window crosses a gap or leaves its set, or has a value beyond any measurement; two splits share a
        raw sample, a stretch of signal, a copy of a recording, or a subject where the protocol is by subject; the
        normaliser is not the training set's. The message names the splits and the subject, run and sample.
    """
    for split, index in windows.items():
        check_inside(pool, protocol, split, index, window, join)
    covered = {split: covered_samples(index.start, window, len(pool.labels)) for split, index in windows.items()}
    check_sizes(pool, covered, normalizer)
    check_normalizer(pool, covered["train"], normalizer, method)
    proved = [
        f"every window lies within {'' if join else 'one contiguous stretch of '}its own set",
        "the normaliser's statistics are those of the training windows",
    ]
    if protocol.leaky:
        share = np.count_nonzero(covered["test"] & covered["train"]) / np.count_nonzero(covered["test"])
        test, train = (covered_subjects(pool, covered[split]) for split in ("test", "train"))
        leak = f"leaky: {share:.0%} of the test samples lie in training windows, too, and {len(test & train)} of "
        return [*proved, f"{leak}{len(test)} test subjects train"]
    for a, b in combinations(windows, 2):
        both = f"protocol {protocol.name}: {a} and {b} share"
        if len(shared := np.flatnonzero(covered[a] & covered[b])):
            raise DataError(f"{both} {shared.size} samples, the first is {pool.describe(int(shared[0]))}")
        check_copies(pool, a, b, covered, digests)
        check_samples(pool, a, b, covered, window)
        people = covered_subjects(pool, covered[a]) & covered_subjects(pool, covered[b])
        if protocol.by_subject and people and {a, b} != {"calibration", "test"}:
            raise DataError(f"{both} the subjects {[pool.subject_names.get(s, s) for s in sorted(people)]}")
    proved.append("no two sets share a sample, a stretch of signal or a copy of a recording")
    if protocol.by_subject:
        apart = " except for calibration and test" if "calibration" in windows else ""
        proved.append(f"no two sets share a subject{apart}")
    return proved


def covered_subjects(pool: Pool, covered: np.ndarray) -> set[int]:
    """Returns the subjects that have a covered sample."""
    return set(pool.subjects[pool.recording_of(np.flatnonzero(covered))].tolist())


def check_inside(pool: Pool, protocol: Protocol, split: str, index: WindowIndex, window: int, join: bool) -> None:
    """Raises DataError for a window that crosses a gap or leaves the intervals of its split."""
    spans = pool.absolute(protocol.intervals[split])
    breaks = pool.starts
    if join:
        spans, breaks = merge_touching(spans), np.setdiff1d(breaks, pool.offsets)
    last = index.start + window - 1
    owner = np.searchsorted(spans[:, 0], index.start, side="right") - 1
    bounds = np.append(spans[:, 1], 0)  # windows before the first span get the bound 0
    outside = np.flatnonzero((index.start < 0) | (owner < 0) | (last >= bounds[owner]))
    if outside.size:
        at = int(np.clip(index.start[outside[0]], 0, len(pool.labels) - 1))
        raise DataError(f"protocol {protocol.name}: a {split} window from {pool.describe(at)} on leaves the part")
    gap = np.searchsorted(breaks, index.start, side="right") != np.searchsorted(breaks, last, side="right")
    if gap.any():
        at = int(index.start[gap][0])
        raise DataError(f"protocol {protocol.name}: a {split} window from {pool.describe(at)} on crosses a gap")


def check_copies(pool: Pool, a: str, b: str, covered: Mapping[str, np.ndarray], digests: Sequence[str]) -> None:
    """Raises DataError if a recording of one split has the same content as another recording in the other split."""
    if not digests:
        return
    in_a, in_b = (np.unique(pool.recording_of(np.flatnonzero(covered[split]))).tolist() for split in (a, b))
    holders: dict[str, set[int]] = {}
    for i in in_a:
        holders.setdefault(digests[i], set()).add(i)
    for i in in_b:
        for twin in holders.get(digests[i], set()) - {i}:
            raise DataError(
                f"{a} and {b} share a recording: {pool.place(twin)} and {pool.place(i)} have the same content"
            )


def check_sizes(pool: Pool, covered: Mapping[str, np.ndarray], normalizer: Normalizer) -> None:
    """Raises DataError for a value in a window that single precision cannot square, as it is or normalised."""
    shift, scale = (np.asarray(part, np.float64) for part in normalizer)
    for split, part in covered.items():
        for first in range(0, len(part), BLOCK):
            rows = first + np.flatnonzero(part[first : first + BLOCK])
            values = pool.signals[rows].astype(np.float64)
            far = np.abs((values - shift) * scale)
            wrong = ~((np.abs(values) <= LARGEST) & (far <= FARTHEST))
            if wrong.any():
                row, channel = (int(at) for at in np.argwhere(wrong)[0])
                raise DataError(
                    f"{split}, {pool.describe(int(rows[row]))}: {pool.channels[channel].name} is "
                    f"{values[row, channel]:g}, which is {far[row, channel]:g} once normalised by the training set; "
                    f"expected less than {LARGEST:g} and {FARTHEST:g}: correct the value or leave it empty"
                )


def check_samples(pool: Pool, a: str, b: str, covered: Mapping[str, np.ndarray], window: int) -> None:
    """Raises DataError if a stretch of signal as long as a window occurs in both of two splits."""
    shared = find_shared(pool.signals, covered[a], covered[b], max((window + 1) // 2, SHORTEST))
    if shared is not None:
        raise DataError(
            f"{a} and {b} share {shared.length} samples of signal under two names: {pool.describe(shared.a, 'from ')} "
            f"on, and {pool.describe(shared.b, 'from ')} on; leave one of them out, or give both the same subject"
        )


def check_normalizer(pool: Pool, training: np.ndarray, normalizer: Normalizer, method: str) -> None:
    """Raises DataError unless the normalised training samples have the statistics that the method defines."""
    shift, scale = (np.asarray(part, np.float64) for part in normalizer)
    count = np.count_nonzero(training)
    total, squares = np.zeros(len(shift)), np.zeros(len(shift))
    low, high = np.full(len(shift), np.inf), np.full(len(shift), -np.inf)
    for block in blocks(pool.signals, training):
        values = normalize(block, shift, scale)
        total += values.sum(axis=0)
        squares += np.square(values).sum(axis=0)
        low, high = np.minimum(low, values.min(axis=0)), np.maximum(high, values.max(axis=0))
    tolerance = TOLERANCE * (1 + np.abs(shift * scale))
    # A constant channel is only shifted; it then differs from 0 by the rounding of its value.
    flat = (scale == 1) * (2e-7 * np.abs(shift) + 1e-30)
    if method == "zscore":
        mean, std = total / count, np.sqrt(squares / count)
        wrong = (np.abs(mean) > tolerance) | ((np.abs(std - 1) > tolerance) & (std > flat))
    elif method == "minmax":
        wrong = (np.abs(low) > tolerance) | ((np.abs(high - 1) > tolerance) & (high > flat))
    else:
        wrong = (shift != 0) | (scale != 1)
    if wrong.any():
        raise DataError(
            f"the normaliser of channel {pool.channels[int(np.argmax(wrong))].name} is not the training set's"
        )
