"""The specification of a data set: everything about it that is known before its files are read."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from dcdp_jax.data.download import Source
from dcdp_jax.data.protocols import FOLDED, NO_CHOICE, Choice, Divide, Protocol
from dcdp_jax.data.recording import Channel, Recording, Recordings
from dcdp_jax.errors import ConfigError

BY_SUBJECT = ("groups", "loso")


class Task(NamedTuple):
    """The labels that a model learns."""

    track: str  # name of the label track; '' for `Recording.labels`
    names: tuple[str, ...]  # of the labels in the track
    unlabelled: str  # name of the class of samples without a label; '' where they have no class
    classes: tuple[str, ...]  # names of the classes to keep; the label of a window is an index into them


def choose_classes(task: Task, chosen: Sequence[str] = ()) -> Task:
    """Returns a task with the classes that `data.classes` names, in its order; () keeps the protocol's own.

    Raises:
      ConfigError: a name is unknown or given twice, or fewer than two classes are left.
    """
    known = (*task.names, task.unlabelled) if task.unlabelled else task.names
    classes = tuple(chosen) or task.classes
    for name in classes:
        if name not in known:
            raise ConfigError(f"data.classes: no class {name!r}; there are {', '.join(known)}")
        if classes.count(name) > 1:
            raise ConfigError(f"data.classes: {name!r} stands twice")
    if len(classes) < 2:
        raise ConfigError(f"data.classes={classes!r}: two classes at least are needed to tell apart")
    return task._replace(classes=classes)


def choose_fold(config: ConfigDict, recordings: Recordings) -> Choice:
    """Returns the fold that the `data` part of a config chooses."""
    return Choice(config.fold, config.folds)


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """A data set. Each module of `dcdp_jax.data.datasets` has one as its attribute `DATASET`.

    A published data set gives `source`, `read`, `class_names`, `channels` and `rate`; its recordings are prepared once
    and cached. Any other data set gives `make`, which makes or reads its recordings each time.
    """

    protocols: Mapping[str, Divide]  # {name in `data.protocol`: function that divides the recordings}
    source: Source | None = None  # where the publisher's files are found and downloaded
    # function from the publisher's unpacked folder to all recordings in it
    read: Callable[[Path], Recordings] | None = None
    # function of all recordings and the config part `data.NAME` that returns those that it chooses
    select: Callable[[Recordings, Any], Recordings] | None = None
    # function of `data.raw_dir` and of the config part `data.NAME`, if there is one, that makes the recordings
    make: Callable[[str, Any], Recordings] | None = None
    # function from the path of one of the publisher's files to the recordings in it, without the rest of the data set;
    # None where the name of the file is not one of the data set's
    read_one: Callable[[Path], list[Recording] | None] | None = None
    example: str = ""  # path of a file that `read_one` reads, for messages
    class_names: tuple[str, ...] = ()  # a label is an index into them
    channels: tuple[Channel, ...] = ()  # the columns of every recording's signals
    rate: float = 0.0  # samples per second
    # {protocol: its task}; that of '' is for all other protocols. A protocol without a task has all classes
    tasks: Mapping[str, Task] = dataclasses.field(default_factory=dict)
    # function of the `data` part of a config and the recordings that returns the choices within a protocol
    choose: Callable[[ConfigDict, Recordings], Choice] = choose_fold
    # {site: axis} that is reflected when the device is worn on the other side, see `vectors.mirror_signs`
    mirror: Mapping[str, str] = dataclasses.field(default_factory=dict)
    marks: tuple[str, ...] = ()  # of every result on this data
    samples_note: str = ""  # note on the number of samples, for describe.html
    version: str = "1.0.0"  # of the prepared files; a change makes all users prepare them again
    name: str = ""  # in `data.name`, which is that of the module
    description: str = ""  # for the prepared files, the docstring of the module

    def __post_init__(self) -> None:
        published = (self.source, self.read, self.class_names, self.channels, self.rate)
        if (self.make is None) != all(published) or (self.make and (self.source or self.read)):
            raise ValueError(
                f"data set {self.name!r}: give source, read, class_names, channels and rate of a published one, or make"
            )
        if self.name and self.source and self.source.dataset != self.name:
            raise ValueError(f"data set {self.name!r}: its source is that of {self.source.dataset!r}")
        if unknown := set(self.tasks) - {"", *self.protocols}:
            raise ValueError(f"data set {self.name!r}: tasks of unknown protocols: {', '.join(sorted(unknown))}")

    @property
    def tracks(self) -> tuple[str, ...]:
        """Names of the label tracks beside the labels."""
        return tuple(dict.fromkeys(task.track for task in self.tasks.values() if task.track))

    def task(self, protocol: str, class_names: Sequence[str] = (), chosen: Sequence[str] = ()) -> Task:
        """Returns the task of a protocol with the classes chosen, see `choose_classes`.

        Its class names are those of the recordings; () takes the data set's.
        """
        names = tuple(class_names) or self.class_names
        return choose_classes(self.tasks.get(protocol) or self.tasks.get("") or Task("", names, "", names), chosen)

    def divide(self, protocol: str, recordings: Recordings, choice: Choice = NO_CHOICE) -> Protocol:
        """Divides all recordings of the data set by one of the protocols, so that no split is empty.

        Raises:
          ConfigError: the data set has no protocol of this name, or the choice cannot be used.
          DataError: a split would be empty with these recordings.
        """
        if protocol not in self.protocols:
            known = ", ".join(sorted(self.protocols))
            raise ConfigError(f"data.protocol={protocol!r} is not one of {self.name}'s: {known}")
        if choice.fold < 0 or (choice.fold and protocol not in FOLDED):
            raise ConfigError(
                f"data.fold={choice.fold}, but only {', '.join(FOLDED)} have folds, from 0 on; set it to 0"
            )
        return self.protocols[protocol](recordings, choice)

    def tested_within(self, config: ConfigDict, recordings: Recordings) -> set[int]:
        """Returns the subjects that the protocol `data.within` tests, whom the folds of `data.protocol` leave out.

        Raises:
          ConfigError: `data.protocol` does not divide subjects, or `data.within` has folds or trains on those it tests.
        """
        if config.protocol not in BY_SUBJECT:
            raise ConfigError(
                f"data.within={config.within!r} is for the protocols {' and '.join(BY_SUBJECT)}; data.protocol is "
                f"{config.protocol!r}"
            )
        if config.within not in self.protocols:
            known = ", ".join(sorted(set(self.protocols) - set(FOLDED)))
            raise ConfigError(
                f"data.within={config.within!r} is not one of {self.name}'s protocols with one test set: {known}"
            )
        if config.within in FOLDED:
            raise ConfigError(f"data.within={config.within!r} has folds of its own; name a protocol with one test set")
        outer = config.copy_and_resolve_references()
        outer.protocol, outer.within, outer.fold = config.within, "", 0
        protocol = self.divide(outer.protocol, recordings, self.choose(outer, recordings))
        if not protocol.by_subject:
            raise ConfigError(f"data.within={config.within!r}: that protocol trains on people whom it tests")
        return {recordings[part.recording].subject for part in protocol.intervals["test"]}
