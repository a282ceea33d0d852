"""Recordings of whatever the config names: a published data set, synthetic ones, or the user's own tables."""

from collections.abc import Mapping
from typing import NamedTuple

from ml_collections import ConfigDict

from dcdp_jax.data.load import DATASETS, class_names, completeness, load_recordings
from dcdp_jax.data.readers.reading import Reading
from dcdp_jax.data.recording import Recording
from dcdp_jax.data.tables import read_tables
from dcdp_jax.errors import ConfigError

NAMES = (*DATASETS, "table")


class Loaded(NamedTuple):
    """Recordings and what to call things.

    Attributes:
      recordings: as they were read.
      class_names: a label is an index into them.
      subject_names: {number: name} of subjects that the data calls by something else than their number.
      missing: what a complete data set would have, a sentence each.
      notes: what happened while reading, a sentence each.
      missing_values: {channel name: values that the files lack}.
    """

    recordings: list[Recording]
    class_names: tuple[str, ...]
    subject_names: Mapping[int, str] = {}
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    missing_values: Mapping[str, int] = {}

    def subject_numbers(self, field: str, names: tuple[str, ...]) -> tuple[int, ...]:
        """Numbers of subjects that are named in `data.table.FIELD`.

        Raises:
          ConfigError: no subject has this name.
        """
        numbers = {str(r.subject): r.subject for r in self.recordings}
        numbers = {self.subject_names.get(number, name): number for name, number in numbers.items()}
        for name in names:
            if name not in numbers:
                raise ConfigError(f"data.table.{field}: no subject {name!r}; there are {', '.join(sorted(numbers))}")
        return tuple(numbers[name] for name in names)


def read_recordings(config: ConfigDict) -> Loaded:
    """Reads the recordings of the `data` part of a config.

    Raises:
      ConfigError: a field cannot be used.
      DataError: files that are missing or damaged.
    """
    if config.name == "table":
        tables = read_tables(config.table, config.raw_dir)
        return Loaded(
            tables.recordings,
            tables.class_names,
            subject_names=tables.subject_names,
            notes=tables.notes,
            missing_values=tables.missing_values,
        )
    if config.name not in DATASETS:
        raise ConfigError(f"data.name={config.name!r} is none of {', '.join(NAMES)}")
    options = config.synthetic.to_dict() if config.name == "synthetic" else None
    recordings = load_recordings(config.name, config.raw_dir, cache_dir=config.cache_dir, synthetic_options=options)
    return Loaded(
        recordings,
        class_names(config.name),
        missing=tuple(completeness(config.name, recordings)),
        notes=recordings.notes if isinstance(recordings, Reading) else (),
        missing_values=recordings.missing_values if isinstance(recordings, Reading) else {},
    )
