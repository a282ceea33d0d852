"""Named protocols: which samples are training, validation and test. Split first, then window, then normalise.

Every protocol selects models on a validation part of its own. Where its source has none, the choice here is stated in
the protocol's notes, which the result records.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dcdp_jax.data.pool import Interval
from dcdp_jax.data.recording import UNLABELLED, Recording
from dcdp_jax.data.windows import cut_at_label_changes
from dcdp_jax.errors import ConfigError, DataError

SPLITS = ("train", "validation", "test")
# Shares of time or of windows that a protocol does not state otherwise: 70 % train, 10 % validate, 20 % test.
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1

UCI_HAR_TEST = (2, 4, 9, 10, 12, 13, 18, 20, 24)
UCI_HAR_VALIDATION = (7, 22)


class Protocol(NamedTuple):
    """A way to divide the recordings of one data set.

    Attributes:
      name: as in `data.protocol`.
      intervals: {split: disjoint intervals of recordings}; recordings in none of them are left out.
      by_subject: whether no subject may stand in two splits; the audit holds the protocol to it.
      leaky: the splits are random windows of the intervals, which are then the same for all three.
      notes: what a reader of the result must know.
    """

    name: str
    intervals: Mapping[str, Sequence[Interval]]
    by_subject: bool = False
    leaky: bool = False
    notes: tuple[str, ...] = ()


class Choice(NamedTuple):
    """What a config says about the division, besides the protocol's name.

    Attributes:
      fold: `loso`: which of the sorted subjects tests. `random`: which draw.
      test: `subject` and `recording` of own tables: subjects or runs that test; () takes the last fifth.
      validation: likewise those that validate; () takes the fifth before.
    """

    fold: int = 0
    test: tuple[int, ...] | tuple[str, ...] = ()
    validation: tuple[int, ...] | tuple[str, ...] = ()


NO_CHOICE = Choice()
Divide = Callable[[Sequence[Recording], Choice], Protocol]


def subjects_of(recordings: Sequence[Recording]) -> list[int]:
    """All subjects, ascending."""
    return sorted({r.subject for r in recordings})


def assign(
    name: str,
    recordings: Sequence[Recording],
    split_of: Callable[[Recording], str | None],
    *,
    by_subject: bool = True,
    notes: Sequence[str] = (),
) -> Protocol:
    """Puts every recording as a whole into the split that `split_of` gives it; None leaves it out."""
    intervals: dict[str, list[Interval]] = {split: [] for split in SPLITS}
    for i, recording in enumerate(recordings):
        if split := split_of(recording):
            intervals[split].append(Interval(i, 0, len(recording.labels)))
    return Protocol(name, intervals, by_subject, notes=tuple(notes))


def by_subjects(
    name: str,
    recordings: Sequence[Recording],
    validation: Collection[int],
    test: Collection[int],
    left_out: Collection[int] = (),
    notes: Sequence[str] = (),
) -> Protocol:
    """Subjects named for validation and test; everyone else trains.

    Raises:
      DataError: the data has none of the subjects of a part; the message names them.
    """
    present = subjects_of(recordings)
    train = set(present) - set(validation) - set(test) - set(left_out)
    for split, wanted in (("train", train), ("validation", validation), ("test", test)):
        if not set(wanted) & set(present):
            needs = f"a subject of {listed(sorted(wanted))}" if wanted else "a subject that neither validates nor tests"
            raise DataError(
                f"data.protocol={name}: its {split} part is empty: it needs {needs}, and the data here has "
                f"{listed(present)}; add the missing files or choose another protocol"
            )
    absent = sorted((set(validation) | set(test)) - set(present))
    if absent:
        notes = [*notes, f"subjects {listed(absent)} of the protocol are not in the data"]
    split_of = dict.fromkeys(train, "train") | dict.fromkeys(validation, "validation") | dict.fromkeys(test, "test")
    return assign(name, recordings, lambda r: split_of.get(r.subject), notes=notes)


def listed(values: Sequence[object]) -> str:
    """'1, 2, 3', shortened where there are many, 'none' where there is none."""
    if not values:
        return "none"
    shown = [str(value) for value in values]
    return ", ".join(shown if len(shown) <= 12 else [*shown[:10], f"... ({len(shown)} in all)"])


def fixed(name: str, validation: Collection[int], test: Collection[int], *notes: str) -> Divide:
    """A protocol with the subjects of validation and test given."""

    def divide_fixed(recordings: Sequence[Recording], choice: Choice) -> Protocol:
        return by_subjects(name, recordings, validation, test, notes=notes)

    return divide_fixed


def leave_one_subject_out(left_out: Collection[int] = ()) -> Divide:
    """`loso`: fold f tests the f-th subject; the next subjects in turn validate, a tenth of all and at least one."""

    def divide_loso(recordings: Sequence[Recording], choice: Choice) -> Protocol:
        subjects = [s for s in subjects_of(recordings) if s not in left_out]
        if len(subjects) < 3:
            raise DataError(
                f"data.protocol=loso needs three subjects at least, to test, validate and train; the data here has "
                f"{listed(subjects)}{f' without {listed(sorted(left_out))}' if left_out else ''}"
            )
        if not 0 <= choice.fold < len(subjects):
            raise ConfigError(
                f"data.fold={choice.fold} is not between 0 and {len(subjects) - 1}: loso has one fold for each of the "
                f"{len(subjects)} subjects"
            )
        turned = subjects[choice.fold :] + subjects[: choice.fold]
        validation = turned[1 : 1 + max(len(subjects) // 10, 1)]
        note = f"fold {choice.fold} of {len(subjects)}: subject {turned[0]} tests, {listed(validation)} validate"
        return by_subjects("loso", recordings, validation, turned[:1], left_out, notes=[note])

    return divide_loso


def last_fifths(recordings: Sequence[Recording], choice: Choice) -> Protocol:
    """`subject`: the last fifth of the subjects tests and the fifth before it validates, unless they are named."""
    subjects = subjects_of(recordings)
    test, validation = named_or_last(subjects, choice, "subject")
    return by_subjects("subject", recordings, validation, test)


def by_recording(recordings: Sequence[Recording], choice: Choice) -> Protocol:
    """`recording`: the last fifth of the runs tests and the fifth before it validates, unless they are named.

    A subject may stand in more than one split.
    """
    test, validation = named_or_last([r.run for r in recordings], choice, "recording")
    split_of = dict.fromkeys(validation, "validation") | dict.fromkeys(test, "test")
    note = "by recording: a subject may stand in more than one split"
    return assign("recording", recordings, lambda r: split_of.get(r.run, "train"), by_subject=False, notes=[note])


def named_or_last(names: Sequence[int] | Sequence[str], choice: Choice, what: str) -> tuple[list[Any], list[Any]]:
    """The names that test and those that validate."""
    for field, wanted in (("test", choice.test), ("validation", choice.validation)):
        if unknown := [name for name in wanted if name not in names]:
            raise ConfigError(f"data.table.{field}: no {what} {unknown[0]!r}; there are {listed(names)}")
    if both := [name for name in choice.test if name in choice.validation]:
        raise ConfigError(f"data.table: {what} {both[0]!r} stands in both test and validation")
    fifth = max(len(names) // 5, 1)
    test = list(choice.test) or [n for n in names if n not in choice.validation][-fifth:]
    validation = list(choice.validation) or [n for n in names if n not in test][-fifth:]
    if len(set(names) - set(test) - set(validation)) == 0 or not validation:
        raise DataError(
            f"data.protocol={what} needs three {what}s at least, to test, validate and train, and one of them left "
            f"for training; the data here has {listed(names)}"
        )
    return test, validation


def random_windows(recordings: Sequence[Recording], choice: Choice) -> Protocol:
    """`random`: windows are made first and divided by chance: neighbours share samples, so every score is too good."""
    everything = [Interval(i, 0, len(r.labels)) for i, r in enumerate(recordings)]
    note = "random windows over overlapping windows: test windows share samples and subjects with training windows"
    return Protocol("random", dict.fromkeys(SPLITS, everything), leaky=True, notes=(note,))


def opportunity_runs(name: str) -> Divide:
    """Subjects 1 to 3 as in the OPPORTUNITY challenge: S2 and S3 test on ADL4 and ADL5 and validate on ADL3."""

    def divide_opportunity(recordings: Sequence[Recording], choice: Choice) -> Protocol:
        def split_of(r: Recording) -> str | None:
            if r.subject not in (1, 2, 3):
                return None
            if r.subject == 1:
                return "train"
            return {"ADL3": "validation", "ADL4": "test", "ADL5": "test"}.get(r.run, "train")

        notes = ["as in the challenge, subject 4 is left out and S2 and S3 validate on ADL3"]
        if name == "paper":
            notes.append("the paper names no validation part: this one is the challenge's")
        protocol = assign(name, recordings, split_of, by_subject=False, notes=notes)
        needs = {
            "train": "S1, or S2 and S3 Drill, ADL1, ADL2",
            "validation": "S2 or S3 ADL3",
            "test": "S2 or S3 ADL4, ADL5",
        }
        for split, intervals in protocol.intervals.items():
            if not intervals:
                present = sorted({f"S{r.subject}-{r.run}" for r in recordings})
                raise DataError(
                    f"data.protocol={name}: its {split} part is empty: it needs {needs[split]}, and the data here has "
                    f"{listed(present)}; add the missing files or choose another protocol"
                )
        return protocol

    return divide_opportunity


def wisdm_paper(recordings: Sequence[Recording], choice: Choice) -> Protocol:
    """Per user and class, the first 80 % in time train and the last 20 % test; the last tenth of those 80 % validates.

    The parts of a class are counted in labelled samples, over all recordings of a user in order.
    """
    intervals: dict[str, list[Interval]] = {split: [] for split in SPLITS}
    total: dict[tuple[int, int], int] = {}
    for r in recordings:
        for label in range(int(r.labels.max()) + 1):
            total[r.subject, label] = total.get((r.subject, label), 0) + int((r.labels == label).sum())
    seen = dict.fromkeys(total, 0)
    for i, r in enumerate(recordings):
        whole = np.array([[0, len(r.labels)]], np.int64)
        for start, stop in cut_at_label_changes(r.labels, whole).tolist():
            if r.labels[start] == UNLABELLED:
                continue
            key = r.subject, int(r.labels[start])
            test_from = round(total[key] * (1 - TEST_SHARE))
            validation_from = round(test_from * (1 - VALIDATION_SHARE))
            bounds = [0, validation_from, test_from, total[key]]
            for split, low, high in zip(SPLITS, bounds[:-1], bounds[1:], strict=True):
                first, last = (min(max(start + at - seen[key], start), stop) for at in (low, high))
                if first < last:
                    intervals[split].append(Interval(i, first, last))
            seen[key] += stop - start
    notes = (
        "per user and class: the first 80 % in time train, the last 20 % test; the paper names no validation part: "
        "here it is the last tenth of each training part",
    )
    return Protocol("paper", intervals, notes=notes)


OFFICIAL = fixed("official", UCI_HAR_VALIDATION, UCI_HAR_TEST, "training subjects 7 and 22 validate")
LOSO = leave_one_subject_out()

PROTOCOLS: dict[str, dict[str, Divide]] = {
    "opportunity": {
        **{name: opportunity_runs(name) for name in ("paper", "challenge", "locomotion")},
        "loso": LOSO,
        "random": random_windows,
    },
    "pamap2": {
        "paper": fixed("paper", (106,), (105,), "the paper names no validation part: subject 106 validates"),
        "standard": fixed("standard", (105,), (106,)),
        "loso": leave_one_subject_out(left_out=(109,)),
        "random": random_windows,
    },
    "wisdm": {
        "paper": wisdm_paper,
        "subject": fixed("subject", range(27, 31), range(31, 37)),
        "loso": LOSO,
        "random": random_windows,
    },
    "uci_har": {"official": OFFICIAL, "loso": LOSO, "random": random_windows},
    "hapt": {"official": OFFICIAL, "loso": LOSO, "random": random_windows},
    "dsads": {"standard": fixed("standard", (7,), (8,)), "loso": LOSO, "random": random_windows},
    "synthetic": {"subject": last_fifths, "loso": LOSO, "random": random_windows},
    "table": {"subject": last_fifths, "recording": by_recording, "loso": LOSO, "random": random_windows},
}


def divide(dataset: str, protocol: str, recordings: Sequence[Recording], choice: Choice = NO_CHOICE) -> Protocol:
    """Divides the recordings of a data set by one of its named protocols.

    Args:
      dataset: name of the data set.
      protocol: `data.protocol`.
      recordings: all its recordings.
      choice: the rest of what a config says about it.

    Returns:
      `Protocol`, no part of it empty.

    Raises:
      ConfigError: the data set has no protocol of this name, or a choice cannot be used.
      DataError: a part would be empty with the recordings at hand.
    """
    known = PROTOCOLS[dataset]
    if protocol not in known:
        raise ConfigError(f"data.protocol={protocol!r} is none of {dataset}'s: {', '.join(sorted(known))}")
    if choice.fold < 0 or (choice.fold and protocol not in ("loso", "random")):
        raise ConfigError(f"data.fold={choice.fold}, but only loso and random have folds, from 0 on; set it to 0")
    return known[protocol](recordings, choice)
