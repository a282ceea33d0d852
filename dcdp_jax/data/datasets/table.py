"""The user's own recordings in tables; see docs/your_own_data.md. Their channels and classes are in the config."""

from typing import Any

from ml_collections import ConfigDict

from dcdp_jax.data.protocols import COMMON, Choice, by_recording, last_fifths, subjects_of
from dcdp_jax.data.recording import Recordings
from dcdp_jax.data.spec import DatasetSpec
from dcdp_jax.errors import ConfigError, DataError


def make(raw_dir: str, table: Any) -> Recordings:
    """Reads the tables in a folder that the config part `data.table` describes."""
    if table is None:
        raise ConfigError("data.name='table' needs the fields of data.table; give them as options")
    from dcdp_jax.data.tables import read_tables  # imports pandas, which the other data sets do not need

    return read_tables(ConfigDict(table), raw_dir)


def choose(config: ConfigDict, recordings: Recordings) -> Choice:
    """Returns the fold, and the subjects or runs that the config names for testing and validation."""
    table, names = config.table, recordings.class_names
    if len(names) < 2:
        if not (table.label or "(?P<label>" in table.path_pattern or table.annotations):
            raise ConfigError("data.table.label is empty: name the column with the class of each row")
        source = f"data.table.label={table.label!r}" if table.label else "data.table.path_pattern or annotations"
        found = f"the class {names[0]!r} alone" if names else "no class at all"
        raise DataError(f"{source}: the tables have {found}, and a training needs two classes at least")
    test, validation = (tuple(str(name) for name in names) for names in (table.test, table.validation))
    if config.protocol == "subject":
        subjects = subjects_of(recordings)
        numbers = dict(zip(recordings.names_of(subjects), subjects, strict=True))
        for field, wanted in (("test", test), ("validation", validation)):
            for name in wanted:
                if name not in numbers:
                    there = ", ".join(sorted(numbers))
                    raise ConfigError(f"data.table.{field}: no subject {name!r}; there are {there}")
        chosen = (tuple(numbers[name] for name in wanted) for wanted in (test, validation))
        return Choice(config.fold, config.folds, *chosen)
    if config.protocol != "recording" and (test or validation):
        raise ConfigError(
            f"data.table.test and data.table.validation are for the protocols subject and recording; "
            f"{config.protocol} chooses by itself"
        )
    return Choice(config.fold, config.folds, test, validation)


DATASET = DatasetSpec(make=make, choose=choose, protocols={"subject": last_fifths, "recording": by_recording, **COMMON})
