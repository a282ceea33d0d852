"""Recordings of any data set by its name."""

from typing import Any

from dcdp_jax.data.datasets import find_dataset
from dcdp_jax.data.prepared import load_prepared
from dcdp_jax.data.recording import Recording, Recordings


def load_recordings(name: str, raw_dir: str = "", *, cache_dir: str = "", options: Any = None) -> list[Recording]:
    """Returns all recordings of a data set, in the publisher's order.

    Args:
      name: the name of a data set, as in `data.name`.
      raw_dir: folder with the publisher's files; '' takes the variable DCDP_RAW_DIR, else they are downloaded.
      cache_dir: folder for downloads and prepared data; '' takes the user's cache folder.
      options: for `synthetic`, `table` and `realworld` their part of a config, as `data.table`; None for `realworld`
        gives the recordings of all positions.

    Raises:
      ConfigError: there is no data set of this name, or an option cannot be used.
      DataError: files are missing or damaged.
    """
    return list(read_dataset(name, raw_dir, cache_dir, options))


def read_dataset(name: str, raw_dir: str, cache_dir: str, options: Any) -> Recordings:
    """Reads the recordings of a data set with what is known of them; see `load_recordings`."""
    spec = find_dataset(name)
    if spec.make:
        return spec.make(raw_dir, options)
    recordings = load_prepared(spec, raw_dir, cache_dir)
    return spec.select(recordings, options) if spec.select and options is not None else recordings
