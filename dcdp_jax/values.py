"""The values of a config by their dotted names, and their checks against the table of fields."""

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dcdp_jax.errors import ConfigError
from dcdp_jax.fields import FIELDS, Field, choices_of

LARGEST = 3.4e38  # of the float32 numbers that fields become
TYPE_NAMES = {bool: "True or False", int: "a whole number", float: "a number", str: "text", tuple: "a tuple"}


def fields_of(section: str) -> list[Field]:
    """Returns the fields of a section, as `data.table`."""
    return [field for field in FIELDS if field.name.rpartition(".")[0] == section]


def unknown_field(name: str, names: Sequence[str]) -> str:
    """Returns the message on a field that does not exist, with the most similar of the names that do."""
    near = difflib.get_close_matches(name, names, 1)
    return f"there is no field {name}" + (f"; did you mean {near[0]}?" if near else "")


def check_values(values: Mapping[str, Any], fields: Sequence[Field]) -> None:
    """Checks {field: value} against a table of fields.

    Raises:
      ConfigError: a field is unknown or absent, or its value has another type, is outside the range, is not one of the
        choices, or holds a number that is not finite.
    """
    names = [field.name for field in fields]
    for name in values:
        if name not in names:
            raise ConfigError(unknown_field(name, names))
    for field in fields:
        if field.name not in values:
            raise ConfigError(f"{field.name} is not set; derive the config from configs/default.py")
        check_value(field, values[field.name])


def check_value(field: Field, value: Any) -> None:
    """Raises ConfigError unless a field may have this value."""
    said = f"{field.name}={value!r}"
    if isinstance(field.default, tuple):
        if isinstance(value, str):
            raise ConfigError(f"{said} must be a tuple, as ({value!r},)")
        if not isinstance(value, tuple | list):
            raise ConfigError(f"{said} is not a tuple")
        if field.items and any(isinstance(item, bool) or not isinstance(item, field.items) for item in value):
            kinds = field.items if isinstance(field.items, tuple) else (field.items,)
            raise ConfigError(f"{said}: each item must be {' or '.join(TYPE_NAMES[kind] for kind in kinds)}")
    elif not has_type(value, type(field.default)):
        raise ConfigError(f"{said} is not {TYPE_NAMES[type(field.default)]}")
    if any(isinstance(number, float) and not math.isfinite(number) for number in leaves(value)):
        raise ConfigError(f"{said} is not finite")
    if any(isinstance(number, int | float) and abs(number) > LARGEST for number in leaves(value)):
        raise ConfigError(f"{said} is larger than float32 can hold, {LARGEST:g}")
    for item in (value if isinstance(field.default, tuple) else (value,)) if field.choices else ():
        if item not in (choices := choices_of(field)):
            which = f": {item!r}" if isinstance(field.default, tuple) else ""
            raise ConfigError(f"{said}{which} is not one of {', '.join(map(str, choices))}")
    for number in leaves(value) if field.low is not None or field.above is not None else ():
        if field.low is not None and field.high is not None and not field.low <= number <= field.high:
            raise ConfigError(f"{said} is not between {field.low:g} and {field.high:g}")
        if field.low is not None and number < field.low:
            raise ConfigError(f"{said} is below {field.low:g}")
        if field.above is not None and number <= field.above:
            raise ConfigError(f"{said} is not above {field.above:g}")
        if field.high is not None and number > field.high:
            raise ConfigError(f"{said} is above {field.high:g}")


def has_type(value: Any, expected: type) -> bool:
    """Returns whether a value has the type of a field; a whole number is a number, True and False are not."""
    if isinstance(value, bool):
        return expected is bool
    return isinstance(value, int | float if expected is float else expected)


def leaves(value: Any) -> Iterator[Any]:
    """Yields a value, or all that a nested tuple or list holds."""
    if isinstance(value, tuple | list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the leaves of nested dictionaries, empty ones included: {'a': {'b': 1}} -> ('a.b', 1), ..."""
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
