"""model.json: everything that is needed to use a trained model without the data that it was trained on."""

import json
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from dcdp_jax.data.dataset import Dataset
from dcdp_jax.data.recording import Channel
from dcdp_jax.errors import CheckpointError
from dcdp_jax.models.multipath import BranchSpec

CARD = "model.json"
FORMAT = 1


class ModelCard(NamedTuple):
    """What a model reads and what its answers mean.

    Attributes:
      version: of the package that trained it.
      dataset: name of the data set.
      protocol: by which it was divided.
      class_names: k names.
      inputs: channels that a recording must have.
      decimate: every n-th sample of such a recording is read.
      view: what makes the network's channels of the inputs, see `dcdp_jax.data.views`.
      channels: the network's c channels; the inputs themselves where the view is `raw`.
      rate: windows' samples per second, those of a recording divided by `decimate`.
      window: samples per window.
      step: samples from one window to the next.
      shift: c numbers that are subtracted from the channels.
      scale: c numbers that multiply what remains.
      branches: each reads its own of the channels; none for a baseline.
      best_epoch: number of its checkpoint.
      marks: those of its result, any of synthetic, leaky, incomplete.
    """

    version: str
    dataset: str
    protocol: str
    class_names: tuple[str, ...]
    inputs: tuple[Channel, ...]
    decimate: int
    view: str
    channels: tuple[Channel, ...]
    rate: float
    window: int
    step: int
    shift: tuple[float, ...]
    scale: tuple[float, ...]
    branches: tuple[BranchSpec, ...]
    best_epoch: int
    marks: tuple[str, ...]

    @property
    def input_rate(self) -> float:
        """Samples per second of a recording like those of the training."""
        return self.rate * self.decimate

    def as_json(self) -> dict[str, Any]:
        """Plain data; `card_from_json` makes an equal card of it."""
        content = {"format": FORMAT, **self._asdict()}
        for field in ("inputs", "channels", "branches"):
            content[field] = [part._asdict() for part in content[field]]
        return json.loads(json.dumps(content, allow_nan=False))


def make_card(data: Mapping[str, Any], dataset: Dataset, branches: Sequence[BranchSpec], best_epoch: int) -> ModelCard:
    """The card of a trained model.

    Args:
      data: the `data` part of its config.
      dataset: made from it.
      branches: of its network.
      best_epoch: number of its checkpoint.

    Returns:
      `ModelCard`.
    """
    return ModelCard(
        version=version("dcdp_jax"),
        dataset=data["name"],
        protocol=data["protocol"],
        class_names=dataset.class_names,
        inputs=dataset.inputs,
        decimate=data["decimate"],
        view=data["view"],
        channels=dataset.channels,
        rate=dataset.rate,
        window=dataset.window,
        step=data["step"],
        shift=tuple(dataset.normalizer.shift.tolist()),
        scale=tuple(dataset.normalizer.scale.tolist()),
        branches=tuple(branches),
        best_epoch=best_epoch,
        marks=dataset.marks,
    )


def read_card(workdir: Path) -> ModelCard:
    """The card of a finished run.

    Raises:
      CheckpointError: there is none, or it is damaged; the message names the file and what is wrong with it.
    """
    path = workdir / CARD
    if not path.is_file():
        raise CheckpointError(f"{path} is missing: {workdir} holds no finished run of a network")
    try:
        return card_from_json(json.loads(path.read_text()))
    except ValueError as error:  # also not JSON, and not UTF-8
        raise CheckpointError(f"{path}: damaged: {error}") from error


def card_from_json(content: Any) -> ModelCard:
    """A card from what `ModelCard.as_json` gave.

    Raises:
      ValueError: it is something else; the message says what came and what was expected.
    """
    if not isinstance(content, dict) or "format" not in content:
        raise ValueError("no model card, expected an object with a 'format'")
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']!r}, this version reads format {FORMAT}")
    fields = {name: value for name, value in content.items() if name != "format"}
    if missing := [name for name in ModelCard._fields if name not in fields]:
        raise ValueError(f"no field {missing[0]!r}")
    if unknown := [name for name in fields if name not in ModelCard._fields]:
        raise ValueError(f"unknown field {unknown[0]!r}")
    for name in ("version", "dataset", "protocol", "view"):
        expect(isinstance(fields[name], str), name, fields[name], "a string")
    for name in ("decimate", "window", "step", "best_epoch"):
        expect(type(fields[name]) is int and fields[name] > 0, name, fields[name], "a positive whole number")
    expect(is_finite(fields["rate"]) and fields["rate"] > 0, "rate", fields["rate"], "a positive number")
    for name, least in (("class_names", 2), ("marks", 0)):
        value = fields[name]
        good = isinstance(value, list) and all(isinstance(x, str) for x in value) and len(value) >= least
        expect(good and len(set(value)) == len(value), name, value, f"{least} different names at least")
        fields[name] = tuple(value)
    for name in ("inputs", "channels"):
        fields[name] = records(name, fields[name], Channel)
        for channel in fields[name]:
            expect(all(isinstance(x, str) for x in channel), name, tuple(channel), "four strings for each")
        names = [channel.name for channel in fields[name]]
        expect(len(names) > 0 and len(set(names)) == len(names), name, names, "different names")
    count = len(fields["channels"])
    for name in ("shift", "scale"):
        good = isinstance(fields[name], list) and len(fields[name]) == count and all(map(is_finite, fields[name]))
        expect(good, name, fields[name], f"{count} finite numbers, one for each channel")
        fields[name] = tuple(map(float, fields[name]))
    fields["branches"] = check_branches(records("branches", fields["branches"], BranchSpec), count)
    fields["rate"] = float(fields["rate"])
    return ModelCard(**fields)


def check_branches(branches: Sequence[Any], channels: int) -> tuple[BranchSpec, ...]:
    """Branches whose channels are, together, all of so many; raises ValueError for others."""
    checked = []
    for name, backbone, indices in branches:
        good = isinstance(name, str) and isinstance(backbone, str) and isinstance(indices, list)
        expect(good, "branches", (name, backbone, indices), "a name, a backbone and channel numbers")
        checked.append(BranchSpec(name, backbone, tuple(indices)))
    numbers = [index for branch in checked for index in branch.channels]
    whole = all(type(index) is int for index in numbers) and sorted(numbers) == list(range(channels))
    expect(whole or not checked, "branches", numbers, f"each of the {channels} channels in one branch")
    return tuple(checked)


def records(name: str, value: Any, kind: Any) -> tuple[Any, ...]:
    """Named tuples from a list of objects with their fields; raises ValueError for anything else."""
    good = isinstance(value, list) and all(isinstance(x, dict) and set(x) == set(kind._fields) for x in value)
    expect(good, name, value, f"objects with {', '.join(kind._fields)}")
    return tuple(kind(**x) for x in value)


def is_finite(value: Any) -> bool:
    """Whether it is a number, and a finite one."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def expect(good: bool, name: str, came: Any, expected: str) -> None:
    """Raises ValueError unless a field is good."""
    if not good:
        shown = repr(came)
        raise ValueError(f"{name}={shown if len(shown) < 100 else shown[:97] + '...'}, expected {expected}")
