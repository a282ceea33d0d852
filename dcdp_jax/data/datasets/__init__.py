"""All data sets. A module here with a `DatasetSpec` named `DATASET` is a data set, under the name of the module."""

import dataclasses
import importlib
import pkgutil

from dcdp_jax.data.spec import DatasetSpec
from dcdp_jax.errors import ConfigError


def discover() -> dict[str, DatasetSpec]:
    """Imports every module of this package and returns {name: its specification}."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        loaded = importlib.import_module(f"{__name__}.{module.name}")
        found[module.name] = dataclasses.replace(loaded.DATASET, name=module.name, description=loaded.__doc__)
    return found


DATASETS = discover()


def find_dataset(name: str) -> DatasetSpec:
    """Returns the data set of a name; raises ConfigError where there is none."""
    if name not in DATASETS:
        raise ConfigError(f"data.name={name!r} is not one of {', '.join(DATASETS)}")
    return DATASETS[name]
