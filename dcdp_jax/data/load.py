"""Recordings by the name of their data set."""

from collections.abc import Mapping
from typing import Any

from dcdp_jax.data import synthetic
from dcdp_jax.data.builders import BUILDERS, load
from dcdp_jax.data.recording import Recording
from dcdp_jax.errors import ConfigError

# Data sets that have a config, and whose readers are not written yet.
PLANNED = ("opportunity", "pamap2", "wisdm", "hapt", "dsads")
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
      Recordings, in the publisher's order.

    Raises:
      ConfigError: an unknown name.
      DataError: files that are missing or damaged.
    """
    if name == "synthetic":
        return synthetic.make_recordings(**(synthetic_options or {}))
    if name in PLANNED:
        raise ConfigError(f"data.name={name!r}: its reader is not written yet; there are {', '.join(DATASETS)}")
    if name not in BUILDERS:
        raise ConfigError(f"data.name={name!r} is none of {', '.join(DATASETS)}")
    return load(BUILDERS[name], raw_dir, cache_dir)


def class_names(name: str) -> tuple[str, ...]:
    """Names of a data set's classes; a label is an index into them."""
    return synthetic.CLASS_NAMES if name == "synthetic" else BUILDERS[name].reader.CLASS_NAMES
