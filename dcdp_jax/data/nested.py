"""Leaves out the subjects that a protocol tests, so that a config can be chosen by folds over the others."""

from ml_collections import ConfigDict

from dcdp_jax.data.protocols import FOLDED
from dcdp_jax.data.recording import Recordings
from dcdp_jax.data.spec import DatasetSpec
from dcdp_jax.errors import ConfigError

BY_SUBJECT = ("groups", "loso")


def subjects_tested_by(spec: DatasetSpec, config: ConfigDict, recordings: Recordings) -> set[int]:
    """Returns the numbers of the subjects that the protocol `data.within` tests, of all recordings of a data set.

    Raises:
      ConfigError: `data.protocol` does not divide subjects, or `data.within` has folds or does not test subjects who
        are in no other part.
    """
    if config.protocol not in BY_SUBJECT:
        raise ConfigError(
            f"data.within={config.within!r} is for the protocols {' and '.join(BY_SUBJECT)}; data.protocol is "
            f"{config.protocol!r}"
        )
    if config.within in FOLDED:
        raise ConfigError(f"data.within={config.within!r} has folds of its own; name a protocol with one test part")
    outer = config.copy_and_resolve_references()
    outer.protocol, outer.within, outer.fold = config.within, "", 0
    protocol = spec.divide(outer.protocol, recordings, spec.choose(outer, recordings))
    if not protocol.by_subject:
        raise ConfigError(f"data.within={config.within!r}: that protocol trains on people whom it tests")
    return {recordings[part.recording].subject for part in protocol.intervals["test"]}
