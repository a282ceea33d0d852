"""Named protocols: which samples are training, validation and test. Split first, then window, then normalise."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from dcdp_jax.data.recording import Recording
from dcdp_jax.data.windows import Interval
from dcdp_jax.errors import ConfigError

SPLITS = ("train", "validation", "test")


class Protocol(NamedTuple):
    """A named way to divide the recordings of one data set.

    Attributes:
      name: as in `data.protocol`.
      intervals: {split: intervals of recordings}.
      by_subject: whether no subject may stand in two splits; the audit holds the protocol to it.
    """

    name: str
    intervals: Mapping[str, list[Interval]]
    by_subject: bool


def whole(recordings: Sequence[Recording], chosen: Collection[int]) -> list[Interval]:
    """The recordings with these indices, from first to last sample."""
    return [Interval(i, 0, len(recordings[i].labels)) for i in sorted(chosen)]


def by_subjects(
    name: str, recordings: Sequence[Recording], validation: Collection[int], test: Collection[int]
) -> Protocol:
    """Subjects named for validation and test; everyone else trains."""
    split_of = dict.fromkeys(validation, "validation") | dict.fromkeys(test, "test")
    chosen: dict[str, list[int]] = {split: [] for split in SPLITS}
    for i, recording in enumerate(recordings):
        chosen[split_of.get(recording.subject, "train")].append(i)
    return Protocol(name, {split: whole(recordings, chosen[split]) for split in SPLITS}, by_subject=True)


def uci_har_official(recordings: Sequence[Recording]) -> Protocol:
    """The publisher's 21 training and 9 test subjects; training subjects 7 and 22 validate."""
    test = {r.subject for r in recordings if r.run == "test"}
    return by_subjects("official", recordings, validation={7, 22}, test=test)


def synthetic_subject(recordings: Sequence[Recording]) -> Protocol:
    """The last fifth of the subjects tests, the fifth before it validates."""
    subjects = sorted({r.subject for r in recordings})
    fifth = max(len(subjects) // 5, 1)
    return by_subjects("subject", recordings, subjects[-2 * fifth : -fifth], subjects[-fifth:])


PROTOCOLS = {
    "uci_har": {"official": uci_har_official},
    "synthetic": {"subject": synthetic_subject},
}


def divide(dataset: str, protocol: str, recordings: Sequence[Recording]) -> Protocol:
    """Divides the recordings of a data set by one of its named protocols.

    Args:
      dataset: name of the data set.
      protocol: `data.protocol`.
      recordings: all its recordings.

    Returns:
      `Protocol`.

    Raises:
      ConfigError: the data set has no protocol of this name.
    """
    known = PROTOCOLS[dataset]
    if protocol not in known:
        raise ConfigError(f"data.protocol={protocol!r} is none of {dataset}'s: {', '.join(sorted(known))}")
    return known[protocol](recordings)
