"""Which labels a protocol is about: the label track that it takes them from, and the classes that it keeps."""

from collections.abc import Sequence
from typing import NamedTuple

from dcdp_jax.data.readers import opportunity, pamap2
from dcdp_jax.errors import ConfigError

# OPPORTUNITY's samples without a label are a class of their own: every sample was annotated.
NULL = "null"


class Task(NamedTuple):
    """What a label means, and what becomes of it.

    Attributes:
      track: name of the label track; '' for the recordings' labels.
      names: of the labels that the track has.
      unlabelled: name of the class of samples without a label; '' where that is no class.
      classes: those to keep; a window's label is an index into them.
    """

    track: str
    names: tuple[str, ...]
    unlabelled: str
    classes: tuple[str, ...]


def choose_task(dataset: str, protocol: str, names: Sequence[str], chosen: Sequence[str] = ()) -> Task:
    """The task of a protocol.

    OPPORTUNITY is about its 17 gestures; `challenge` keeps null as well, and `locomotion` has a track of its own.
    PAMAP2 is about the 12 activities of its protocol, and 6 optional ones on request. Everything else keeps all.

    Args:
      dataset: name of the data set.
      protocol: name of one of its protocols.
      names: class names of its recordings' labels.
      chosen: `data.classes`, the names to keep, in this order; () keeps the protocol's own.

    Returns:
      `Task`.

    Raises:
      ConfigError: a chosen name that is unknown or stands twice, or fewer than two classes.
    """
    track, unlabelled, own = "", "", tuple(names)
    if dataset == "opportunity":
        unlabelled = NULL
        if protocol == "locomotion":
            track = protocol
            names = own = opportunity.TRACK_CLASS_NAMES[track]
        elif protocol == "challenge":
            own = (NULL, *names)
    elif dataset == "pamap2":
        own = pamap2.PROTOCOL_CLASS_NAMES
    known = (*names, unlabelled) if unlabelled else tuple(names)
    classes = tuple(chosen) or own
    for name in classes:
        if name not in known:
            raise ConfigError(f"data.classes: no class {name!r}; there are {', '.join(known)}")
        if classes.count(name) > 1:
            raise ConfigError(f"data.classes: {name!r} stands twice")
    if len(classes) < 2:
        raise ConfigError(f"data.classes={classes!r}: two classes at least are needed to tell apart")
    return Task(track, tuple(names), unlabelled, classes)
