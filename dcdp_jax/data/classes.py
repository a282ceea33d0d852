"""The task of a protocol: which label track it reads and which classes it keeps."""

from collections.abc import Sequence
from typing import NamedTuple

from dcdp_jax.errors import ConfigError


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
