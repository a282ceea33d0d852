"""Matches the channels of an input to those that a model reads, by name and unit."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from dcdp_jax.data.gravity import gravity_filter
from dcdp_jax.data.recording import Channel
from dcdp_jax.data.units import unit_name
from dcdp_jax.data.views import BODY, TOTAL, make_view, vectors_of
from dcdp_jax.errors import ConfigError, DataError
from dcdp_jax.runs.model_card import ModelCard


def check_channels(where: str, came: Sequence[Channel], expected: Sequence[Channel]) -> list[int]:
    """Returns the index of each channel that a model expects among those that came.

    These may be in any order, and more. Raises DataError, which begins with `where`, for a channel that is missing or
    has another unit.
    """
    names = [channel.name for channel in came]
    if absent := [channel.name for channel in expected if channel.name not in names]:
        raise DataError(
            f"{where}: no {', '.join(absent)}; the model reads {with_units(expected)}, and here are {', '.join(names)}"
            f"{computable(absent, names)}"
        )
    positions = [names.index(channel.name) for channel in expected]
    for position, channel in zip(positions, expected, strict=True):
        if unit_name(came[position].unit) != unit_name(channel.unit):
            raise DataError(
                f"{where}: {channel.name} is in {came[position].unit}, and the model reads it in {channel.unit}"
            )
    return positions


def find_columns(where: str, header: Sequence[str], expected: Sequence[Channel]) -> dict[str, str]:
    """Returns {channel: column} of a model's channels in a table, whose columns are named `acc_x` or `acc_x [g]`.

    Raises DataError, which begins with `where`, for a column in another unit, or two of the same channel.
    """
    columns: dict[str, str] = {}
    units = {channel.name: channel.unit for channel in expected}
    for column in header:
        match = re.fullmatch(r"\s*(.+?)\s*\[\s*(.*?)\s*\]\s*", column)
        name = column if column in units else match[1] if match else column.strip()
        if name not in units:
            continue
        if name in columns:
            raise DataError(f"{where}: the channel {name!r} stands twice, as {columns[name]!r} and {column!r}")
        if column not in units and match and unit_name(match[2]) != unit_name(units[name]):
            raise DataError(f"{where}: {name} is in {match[2]}, and the model reads it in {units[name]}")
        columns[name] = column
    return columns


def with_units(channels: Sequence[Channel]) -> str:
    """Formats channels with their units, as 'acc_x [g], acc_y [g]'."""
    return ", ".join(f"{channel.name} [{channel.unit}]" for channel in channels)


def has_total(name: str, names: Sequence[str]) -> bool:
    """Returns whether a channel is a `body_X` whose `total_X` is among the names."""
    return name.startswith(BODY) and name.replace(BODY, TOTAL, 1) in names


def computable(absent: Sequence[str], names: Sequence[str]) -> str:
    """Returns the end of a message about absent channels: the field that computes them from the others, if possible."""
    if absent and all(has_total(name, names) for name in absent):
        return f"; --config.serve.compute_body=True computes {', '.join(absent)}"
    return ""


def compute_body(card: ModelCard) -> ModelCard:
    """Returns the card of a model whose channels `body_X` are computed from `total_X`, as by the view `body`.

    Raises ConfigError if the model reads no such channels, or another view of them.
    """
    if card.view == "body":
        return card
    if card.view != "raw":
        raise ConfigError(f"serve.compute_body=True: the model has data.view={card.view!r}, expected 'raw'")
    names = [channel.name for channel in card.inputs]
    if not any(has_total(name, names) for name in names):
        raise ConfigError(
            f"serve.compute_body=True: the model reads {with_units(card.inputs)}, expected {BODY}X beside {TOTAL}X"
        )
    view = make_view(card.inputs, "body")
    if view.channels != card.channels:
        raise ConfigError(
            f"serve.compute_body=True: the model reads {', '.join(names)}; computed would be "
            f"{', '.join(channel.name for channel in view.channels)}, in this order"
        )
    return msgspec.structs.replace(card, view="body", inputs=tuple(card.inputs[i] for i in view.inputs))


def describe_view(card: ModelCard) -> dict[str, Any]:
    """Returns the data from which a program computes a model's view, as JSON types.

    `gravity` has the positions of the filtered accelerations among the inputs, the filter's second-order sections, and
    their steady state for a constant signal of 1. `vectors` has the x, y, z positions of each vector of the view
    `vertical`, and of the acceleration that holds its gravity.
    """
    filtered = make_view(card.inputs, card.view).filtered
    sections, steady = gravity_filter(card.rate) if filtered else (np.zeros((0, 6)), np.zeros((0, 2, 1)))
    return {
        "gravity": {"inputs": filtered, "sections": sections.tolist(), "steady": steady[:, :, 0].tolist()},
        "vectors": [vector._asdict() for vector in vectors_of(card.inputs)] if card.view == "vertical" else [],
    }
