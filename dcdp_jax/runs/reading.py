"""Readers of the files that a training run leaves in its workdir; they say where a file is damaged."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from dcdp_jax.errors import UserError

RESULT_TYPES: Mapping[str, type] = {
    "dataset": str,
    "protocol": str,
    "class_names": list,
    "test": dict,
    "validation": dict,
    "branches": dict,
    "confusion": list,
    "windows": dict,
    "subjects": dict,
    "marks": list,
}
RESULT_KEYS = (
    *RESULT_TYPES,
    *("seed", "data_fingerprint", "versions", "git_revision", "device", "parameters"),
    *("best_epoch", "wall_seconds", "windows_per_second", "command"),
)
STEP_GROUPS = ("loss", "S", "R", "M", "gradient_norm", "update_norm")
EPOCH_GROUPS = ("train", "validation")


def read_result(workdir: pathlib.Path) -> dict[str, Any]:
    """Reads `result.json`.

    Args:
      workdir: folder of a finished run.

    Returns:
      The result as written; keys that the report does not know are kept.

    Raises:
      UserError: the file is missing, is no JSON object, lacks a key, or its confusion matrix does not fit its
        classes.
    """
    path = workdir / "result.json"
    result = read_object(path)
    missing = [key for key in RESULT_KEYS if key not in result]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}: it was not written by a finished training run")
    for key, kind in RESULT_TYPES.items():
        if not isinstance(result[key], kind):
            raise UserError(f"{path}: {key} is {result[key]!r}, expected a JSON {kind.__name__}")
    k = len(result["class_names"])
    rows = result["confusion"]
    square = len(rows) == k and all(isinstance(row, list) and len(row) == k for row in rows)
    if not square or not all(isinstance(count, int) and count >= 0 for row in rows for count in row):
        raise UserError(f"{path}: confusion is not a {k} x {k} list of counts, though class_names has {k} names")
    return result


def read_config(workdir: pathlib.Path) -> dict[str, Any]:
    """Reads `config.json`.

    Args:
      workdir: folder of a run.

    Returns:
      The nested configuration.

    Raises:
      UserError: the file is missing or is no JSON object.
    """
    return read_object(workdir / "config.json")


def read_metrics(workdir: pathlib.Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Reads `metrics.jsonl`.

    A run that was stopped and resumed may have logged a step twice: the later line counts.

    Args:
      workdir: folder of a run.

    Returns:
      The step records in order of step, and the epoch records in order of epoch.

    Raises:
      UserError: the file is missing, or a line is no JSON object, of no known kind, or has text for a number;
        the message names the line.
    """
    path = workdir / "metrics.jsonl"
    records: dict[str, dict[float, dict[str, Any]]] = {"step": {}, "epoch": {}}
    for number, line in enumerate(read_bytes(path).removesuffix(b"\n").split(b"\n"), start=1):
        if not line and number == 1:
            break
        where = f"{path}, line {number}"
        record = _parse_object(line, where)
        kind = record.get("kind")
        if kind not in ("step", "epoch"):
            raise UserError(f"{where}: kind is {kind!r}, expected 'step' or 'epoch'")
        for field in ("step", "epoch"):
            if not isinstance(record.get(field), int):
                raise UserError(f"{where}: {field} is {record.get(field)!r}, expected a whole number")
        if kind == "step":
            for name in ("windows", "steps"):
                _require_numbers(record.get(name), f"{where}: {name}")
            _require_groups(record, STEP_GROUPS, where)
        else:
            _require_groups(record, EPOCH_GROUPS, where, optional=False)
            _require_groups(record["validation"], ("S", "R"), f"{where}: validation")
        records[kind][record[kind]] = record
    steps, epochs = ([found[index] for index in sorted(found)] for found in records.values())
    return steps, epochs


def _require_groups(record: Mapping[str, Any], names: Sequence[str], where: str, optional: bool = True) -> None:
    for name in names:
        if optional and name not in record:
            continue
        group = record.get(name)
        if not isinstance(group, dict):
            raise UserError(f"{where}: {name} is {group!r}, expected an object of numbers")
        _require_numbers(group, f"{where}: {name}")


def _require_numbers(value: object, where: str) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _require_numbers(inner, f"{where}.{key}")
    elif not isinstance(value, int | float | None):
        raise UserError(f"{where} is {value!r}, expected a number")


def read_object(path: pathlib.Path) -> dict[str, Any]:
    """A file's JSON object; the UserError where it is none names the file."""
    return _parse_object(read_bytes(path), str(path))


def read_text(path: pathlib.Path) -> str:
    """A file's text; the UserError where it is none names the file."""
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error}); the file was cut off or edited") from None


def read_bytes(path: pathlib.Path) -> bytes:
    """A file's content; a UserError where it is missing."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is missing: a report needs the files of a finished training run") from None


def _parse_object(text: bytes, where: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise UserError(f"{where} is not valid JSON ({error}); the file was cut off or edited") from error
    if not isinstance(parsed, dict):
        raise UserError(f"{where} holds a JSON {type(parsed).__name__}, expected an object")
    return parsed
