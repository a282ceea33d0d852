"""Protocols: which samples are training, validation and test. Split first, then window, then normalise.

This module has the building blocks of protocols, and the protocols that every data set can have. A protocol of one data
set is in the module of the data set. If the source of a protocol has no validation set, the one chosen here is stated
in the protocol's notes, which the result records.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from dcdp_jax.data.pool import Interval
from dcdp_jax.data.recording import Recording, Recordings
from dcdp_jax.errors import ConfigError, DataError

SPLITS = ("train", "validation", "test")
# Shares of time or of windows that a protocol does not state otherwise: 70 % train, 10 % validate, 20 % test.
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1
FOLDED = ("loso", "groups", "random")


class Protocol(NamedTuple):
    """A division of the recordings of one data set."""

    name: str  # the name in `data.protocol`
    # {split: disjoint intervals of recordings}; what is in none of them is left out
    intervals: Mapping[str, Sequence[Interval]]
    by_subject: bool = False  # whether no subject may be in two splits; the audit checks it
    # whether the splits are random windows of the intervals, which are then the same for all splits
    leaky: bool = False
    notes: tuple[str, ...] = ()  # what a reader of the result must know, one sentence each
    every_class: bool = False  # whether each class must have a training window


class Choice(NamedTuple):
    """The fields of a config that choose a division within a protocol."""

    fold: int = 0  # `loso`: which of the sorted subjects tests. `groups`: which group of subjects. `random`: which draw
    folds: int = 10  # `groups`: number of groups
    # `subject` and `recording` of own tables: subjects or runs that test; () takes the last fifth
    test: tuple[int, ...] | tuple[str, ...] = ()
    validation: tuple[int, ...] | tuple[str, ...] = ()  # likewise those that validate; () takes the fifth before


NO_CHOICE = Choice()
Divide = Callable[[Recordings, Choice], Protocol]


def subjects_of(recordings: Sequence[Recording]) -> list[int]:
    """Returns all subjects, ascending."""
    return sorted({r.subject for r in recordings})


def assign(
    name: str,
    recordings: Sequence[Recording],
    split_of: Callable[[Recording], str | None],
    *,
    by_subject: bool = True,
    notes: Sequence[str] = (),
) -> Protocol:
    """Puts every recording as a whole into the split that `split_of` returns for it; None leaves it out."""
    intervals: dict[str, list[Interval]] = {split: [] for split in SPLITS}
    for i, recording in enumerate(recordings):
        if split := split_of(recording):
            intervals[split].append(Interval(i, 0, len(recording.labels)))
    return Protocol(name, intervals, by_subject, notes=tuple(notes))


def by_subjects(
    name: str,
    recordings: Recordings,
    validation: Collection[int],
    test: Collection[int],
    left_out: Collection[int] = (),
    notes: Sequence[str] = (),
) -> Protocol:
    """Puts the named subjects into validation and test and all others into training.

    Raises:
      DataError: the data has none of the subjects of a split; the message names them.
    """
    present = subjects_of(recordings)
    train = set(present) - set(validation) - set(test) - set(left_out)
    for split, wanted in (("train", train), ("validation", validation), ("test", test)):
        if not set(wanted) & set(present):
            needs = (
                f"a subject of {listed(recordings.names_of(wanted))}"
                if wanted
                else "a subject that neither validates nor tests"
            )
            raise DataError(
                f"data.protocol={name}: its {split} set is empty: it needs {needs}, and the data here has "
                f"{listed(recordings.names_of(present))}; add the missing files or choose another protocol"
            )
    absent = sorted((set(validation) | set(test)) - set(present))
    if absent:
        notes = [*notes, f"subjects {listed(absent)} of the protocol are not in the data"]
    split_of = dict.fromkeys(train, "train") | dict.fromkeys(validation, "validation") | dict.fromkeys(test, "test")
    return assign(name, recordings, lambda r: split_of.get(r.subject), notes=notes)


def listed(values: Sequence[object]) -> str:
    """Returns '1, 2, 3', cut off after ten of more than twelve values, and 'none' without any."""
    if not values:
        return "none"
    shown = [str(value) for value in values]
    return ", ".join(shown if len(shown) <= 12 else [*shown[:10], f"... ({len(shown)} in all)"])


def fixed(name: str, validation: Collection[int], test: Collection[int], *notes: str) -> Divide:
    """Returns a protocol in which these subjects validate and test."""

    def divide_fixed(recordings: Recordings, choice: Choice) -> Protocol:
        return by_subjects(name, recordings, validation, test, notes=notes)

    return divide_fixed


def leave_one_subject_out(left_out: Collection[int] = ()) -> Divide:
    """Returns `loso`: the subject of the fold tests; a tenth of the subjects, at least the next one, validates."""

    def divide_loso(recordings: Recordings, choice: Choice) -> Protocol:
        subjects = [s for s in subjects_of(recordings) if s not in left_out]
        if len(subjects) < 3:
            raise DataError(
                f"data.protocol=loso needs three subjects at least, to test, validate and train; the data here has "
                f"{listed(recordings.names_of(subjects))}{f' without {listed(sorted(left_out))}' if left_out else ''}"
            )
        if not 0 <= choice.fold < len(subjects):
            raise ConfigError(
                f"data.fold={choice.fold} is not between 0 and {len(subjects) - 1}: loso has one fold for each of the "
                f"{len(subjects)} subjects"
            )
        turned = subjects[choice.fold :] + subjects[: choice.fold]
        validation = turned[1 : 1 + max(len(subjects) // 10, 1)]
        who, them = (listed(recordings.names_of(part)) for part in (turned[:1], validation))
        note = f"fold {choice.fold} of {len(subjects)}: subject {who} tests, {them} validate"
        return by_subjects("loso", recordings, validation, turned[:1], left_out, notes=[note])

    return divide_loso


def subject_groups(left_out: Collection[int] = ()) -> Divide:
    """Returns `groups`: subjects are dealt in turn to `data.folds` groups; one tests, the next validates."""

    def divide_groups(recordings: Recordings, choice: Choice) -> Protocol:
        subjects = [s for s in subjects_of(recordings) if s not in left_out]
        if len(subjects) < choice.folds or choice.folds < 3:
            raise ConfigError(
                f"data.folds={choice.folds} is not between 3 and the number of subjects: the data here has "
                f"{len(subjects)} ({listed(recordings.names_of(subjects))})"
            )
        if not 0 <= choice.fold < choice.folds:
            raise ConfigError(f"data.fold={choice.fold} is not between 0 and data.folds - 1 = {choice.folds - 1}")
        test, validation = (subjects[(choice.fold + i) % choice.folds :: choice.folds] for i in (0, 1))
        who, them = (listed(recordings.names_of(part)) for part in (test, validation))
        note = f"fold {choice.fold} of {choice.folds}: subjects {who} test, {them} validate"
        return by_subjects("groups", recordings, validation, test, left_out, [note])._replace(every_class=True)

    return divide_groups


def last_fifths(recordings: Recordings, choice: Choice) -> Protocol:
    """Divides as `subject`: the last fifth of the subjects tests, the one before validates, unless they are named."""
    subjects = subjects_of(recordings)
    test, validation = named_or_last(subjects, choice, "subject", recordings.names_of(subjects))
    return by_subjects("subject", recordings, validation, test)


def by_recording(recordings: Recordings, choice: Choice) -> Protocol:
    """Divides as `recording`: the last fifth of the runs tests, the one before validates, unless they are named.

    A subject may be in more than one split.
    """
    runs = [r.run for r in recordings]
    test, validation = named_or_last(runs, choice, "recording", runs)
    split_of = dict.fromkeys(validation, "validation") | dict.fromkeys(test, "test")
    note = "by recording: a subject may stand in more than one split"
    return assign("recording", recordings, lambda r: split_of.get(r.run, "train"), by_subject=False, notes=[note])


def named_or_last(
    names: Sequence[int] | Sequence[str], choice: Choice, what: str, called: Sequence[str]
) -> tuple[list[Any], list[Any]]:
    """Returns the names or numbers that test and those that validate; messages list the names `called`."""
    for field, wanted in (("test", choice.test), ("validation", choice.validation)):
        if unknown := [name for name in wanted if name not in names]:
            raise ConfigError(f"data.table.{field}: no {what} {unknown[0]!r}; there are {listed(called)}")
    if both := [name for name in choice.test if name in choice.validation]:
        name = called[list(names).index(both[0])]
        raise ConfigError(f"data.table: {what} {name} stands in both test and validation")
    fifth = max(len(names) // 5, 1)
    test = list(choice.test) or [n for n in names if n not in choice.validation][-fifth:]
    validation = list(choice.validation) or [n for n in names if n not in test][-fifth:]
    if len(set(names) - set(test) - set(validation)) == 0 or not validation:
        raise DataError(
            f"data.protocol={what} needs three {what}s at least, to test, validate and train, and one of them left "
            f"for training; the data here has {listed(called)}"
        )
    return test, validation


def random_windows(recordings: Recordings, choice: Choice) -> Protocol:
    """Divides as `random`: by chance after windowing, so that neighbours share samples and every score is too high."""
    everything = [Interval(i, 0, len(r.labels)) for i, r in enumerate(recordings)]
    note = "random windows over overlapping windows: test windows share samples and subjects with training windows"
    return Protocol("random", dict.fromkeys(SPLITS, everything), leaky=True, notes=(note,))


# Protocols for any data set whose recordings name their subjects.
COMMON: dict[str, Divide] = {"loso": leave_one_subject_out(), "groups": subject_groups(), "random": random_windows}
