"""Recordings by the name of their data set."""

from collections.abc import Mapping, Sequence
from typing import Any

from dcdp_jax.data import synthetic
from dcdp_jax.data.builders import BUILDERS, load
from dcdp_jax.data.readers.reading import Reading
from dcdp_jax.data.recording import Recording
from dcdp_jax.errors import ConfigError

DATASETS = ("synthetic", *BUILDERS)


def load_recordings(
    name: str, raw_dir: str = "", *, cache_dir: str = "", synthetic_options: Mapping[str, Any] | None = None
) -> list[Recording]:
    """All recordings of a data set.

    Args:
      name: one of `DATASETS`.
      raw_dir: where the publisher's files are; '' takes the variable DCDP_RAW_DIR, else they are downloaded.
      cache_dir: where downloads and prepared data are kept; '' takes the user's cache folder.
      synthetic_options: arguments of `synthetic.make_recordings`, for `synthetic` only.

    Returns:
      Recordings, in the publisher's order; of a published data set a `Reading`, with what was noted about them.

    Raises:
      ConfigError: an unknown name.
      DataError: files that are missing or damaged.
    """
    if name == "synthetic":
        return synthetic.make_recordings(**(synthetic_options or {}))
    if name not in BUILDERS:
        raise ConfigError(f"data.name={name!r} is none of {', '.join(DATASETS)}")
    return load(BUILDERS[name], raw_dir, cache_dir)


def class_names(name: str) -> tuple[str, ...]:
    """Names of a data set's classes; a label is an index into them."""
    return synthetic.CLASS_NAMES if name == "synthetic" else BUILDERS[name].reader.CLASS_NAMES


def completeness(name: str, recordings: Sequence[Recording]) -> list[str]:
    """What a data set lacks against the published one.

    Args:
      name: one of `DATASETS`.
      recordings: what `load_recordings` returned for it; of another sequence only the counts can be judged.

    Returns:
      A sentence for each thing that is missing or not as published; empty for a complete data set.
    """
    if isinstance(recordings, Reading):
        return list(recordings.missing)
    return [] if name == "synthetic" else BUILDERS[name].reader.shortfall(recordings)
