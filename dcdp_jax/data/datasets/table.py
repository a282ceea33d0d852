"""The user's own recordings in tables; see docs/your_own_data.md. Their channels and classes are in the config."""

from typing import Any

from ml_collections import ConfigDict

from dcdp_jax.data.protocols import COMMON, Choice, by_recording, last_fifths
from dcdp_jax.data.recording import Recordings
from dcdp_jax.data.spec import DatasetSpec
from dcdp_jax.errors import ConfigError


def make(raw_dir: str, table: Any) -> Recordings:
    """Reads the tables in a folder that the config part `data.table` describes."""
    if table is None:
        raise ConfigError("data.name='table' needs the fields of data.table; give them as options")
    from dcdp_jax.data.tables import read_tables  # pandas, which other data sets do without

    return read_tables(ConfigDict(table), raw_dir)


def choose(config: ConfigDict, recordings: Recordings) -> Choice:
    """Returns the fold, and the subjects or runs that the config names for testing and validation."""
    from dcdp_jax.data.tables import check_classes

    check_classes(config.table, recordings.class_names)
    test, validation = (tuple(str(name) for name in names) for names in (config.table.test, config.table.validation))
    if config.protocol == "subject":
        numbers = [find_subjects(recordings, *named) for named in (("test", test), ("validation", validation))]
        return Choice(config.fold, config.folds, *numbers)
    if config.protocol != "recording" and (test or validation):
        raise ConfigError(
            f"data.table.test and data.table.validation are for the protocols subject and recording; "
            f"{config.protocol} chooses by itself"
        )
    return Choice(config.fold, config.folds, test, validation)


def find_subjects(recordings: Recordings, field: str, names: tuple[str, ...]) -> tuple[int, ...]:
    """Returns the numbers of the subjects that `data.table.FIELD` names; raises ConfigError for an unknown one."""
    numbers = {recordings.subject_names.get(r.subject, str(r.subject)): r.subject for r in recordings}
    for name in names:
        if name not in numbers:
            raise ConfigError(f"data.table.{field}: no subject {name!r}; there are {', '.join(sorted(numbers))}")
    return tuple(numbers[name] for name in names)


DATASET = DatasetSpec(make=make, choose=choose, protocols={"subject": last_fifths, "recording": by_recording, **COMMON})
