"""Hyperparameters: the numbers of a config that are arguments of the compiled training step, not constants in it.

Runs that differ in these numbers and in their seed share one compiled program. The hyperparameters are the fields of
type float outside `data` and `serve`, except `optimizer.warmup_fraction`, which gives an integer number of steps. A
number that is 0 stays a constant, because 0 may switch off a part of the step, such as dropout, clipping or mixup.
"""

import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.config import as_plain_data, flatten
from dcdp_jax.fields import FIELDS

NAMES = tuple(
    field.name
    for field in FIELDS
    if isinstance(field.default, float)
    and not field.name.startswith(("data.", "serve."))
    and field.name != "optimizer.warmup_fraction"
)


def hyperparameters(config: ConfigDict) -> dict[str, Any]:
    """Returns {field: () float32} of the hyperparameters of a config that are not 0."""
    values = dict(flatten(config.to_dict()))
    return {name: np.float32(values[name]) for name in NAMES if values[name] != 0}


def with_hyperparameters(config: ConfigDict, numbers: Mapping[str, jax.Array]) -> ConfigDict:
    """Returns a copy of a config with other numbers, {field: ()}, which may be traced."""
    copy = config.copy_and_resolve_references()
    with copy.ignore_type():
        copy.update_from_flattened_dict(numbers)
    return copy


def program_of(config: ConfigDict) -> str:
    """Returns a string that is equal for all configs that one `build.Run` can train."""
    values = dict(flatten(as_plain_data(config)))
    values["train.skip_nonfinite"] = values["train.skip_nonfinite"] > 0  # all that the step reads of it
    arguments = hyperparameters(config)
    free = {*arguments, "train.checkpoint_every", "train.diagnosis_batches"}
    if config.model.partition != "random":  # a random partition of the channels depends on the seed
        free.add("seed")
    return json.dumps([sorted(arguments), {name: value for name, value in values.items() if name not in free}])
