"""model.json and density.npz: all that is needed to use a trained model without the data that it was trained on."""

import io
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta

from dcdp_jax.data.dataset import Dataset
from dcdp_jax.data.normalize import Normalizer
from dcdp_jax.data.recording import Channel
from dcdp_jax.density import Density
from dcdp_jax.errors import CheckpointError
from dcdp_jax.models.multipath import BranchSpec
from dcdp_jax.rejection import Rejection
from dcdp_jax.runs.files import CARD, DENSITY, as_json, read_recorded, write_recorded
from dcdp_jax.runs.reading import read_json
from dcdp_jax.runs.schemas import Number, Positive
from dcdp_jax.versions import version_of

# Fields that are objects in the file and named tuples in the card.
RECORDS: Mapping[str, Any] = {"inputs": Channel, "channels": Channel, "branches": BranchSpec}


class ModelCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that using a model needs besides its checkpoint: inputs, windows, normalisation and classes."""

    version: str  # of the package that trained it
    dataset: str  # name of the data set
    protocol: str  # by which it was divided
    class_names: Annotated[tuple[str, ...], Meta(min_length=2)]  # k names
    inputs: Annotated[tuple[Channel, ...], Meta(min_length=1)]  # channels that a recording must have
    decimate: Number  # every n-th sample of such a recording is read
    view: str  # computes the network's channels from the inputs, see `dcdp_jax.data.views`
    # the network's c channels; the inputs themselves where the view is `raw`
    channels: Annotated[tuple[Channel, ...], Meta(min_length=1)]
    rate: Positive  # samples per second of the windows: those of a recording divided by `decimate`
    window: Number  # samples per window
    step: Number  # samples from one window to the next
    shift: tuple[float, ...]  # c numbers that are subtracted from the channels
    scale: tuple[float, ...]  # c numbers that multiply the differences
    branches: tuple[BranchSpec, ...]  # each reads its own of the channels; none for a baseline
    best_epoch: Number  # number of its checkpoint
    marks: tuple[str, ...]  # those of its result, any of synthetic, leaky, incomplete
    rejection: Rejection | None = None  # rule by which a window is `unknown`; None without a validation set
    format: Literal[1] = 1  # of the file

    def __post_init__(self) -> None:
        """Checks the fields that must fit each other; raises ValueError."""
        for name, values in (
            ("class_names", self.class_names),
            ("marks", self.marks),
            ("inputs", [channel.name for channel in self.inputs]),
            ("channels", [channel.name for channel in self.channels]),
        ):
            if len(set(values)) < len(values):
                raise ValueError(f"{name}={list(values)}, expected different names")
        count = len(self.channels)
        for name, numbers in (("shift", self.shift), ("scale", self.scale)):
            if len(numbers) != count or not all(map(math.isfinite, (*numbers, self.rate))):
                raise ValueError(f"{name}={list(numbers)}, expected {count} finite numbers, one for each channel")
        read = sorted(index for branch in self.branches for index in branch.channels)
        if self.branches and read != list(range(count)):
            raise ValueError(f"branches={read}, expected each of the {count} channels in one branch")

    @property
    def input_rate(self) -> float:
        """Samples per second of a recording like those of the training."""
        return self.rate * self.decimate

    @property
    def normalizer(self) -> Normalizer:
        """Shift and scale in the precision of the network."""
        return Normalizer(np.array(self.shift, np.float32), np.array(self.scale, np.float32))

    def as_json(self) -> dict[str, Any]:
        """Returns plain data; `card_from_json` makes an equal card of it."""
        content = msgspec.to_builtins(self)
        return content | {name: [part._asdict() for part in getattr(self, name)] for name in RECORDS}


def make_card(
    data: Mapping[str, Any],
    dataset: Dataset,
    branches: Sequence[BranchSpec],
    best_epoch: int,
    rejection: Rejection | None = None,
) -> ModelCard:
    """Makes the card of a trained model.

    Args:
      data: `data` part of its config.
      dataset: Data that it was trained on.
      branches: Its branches; none for a baseline.
      best_epoch: Number of its checkpoint.
      rejection: Rule chosen on the validation set; None without one.
    """
    return ModelCard(
        version=version_of("dcdp_jax"),
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
        rejection=rejection,
    )


def write_card(workdir: Path, card: ModelCard) -> None:
    """Writes model.json."""
    write_recorded(workdir, CARD, as_json(card.as_json()))


def read_card(workdir: Path) -> ModelCard:
    """Reads the card of a finished run; raises CheckpointError, which names the field, if it is missing or damaged."""
    try:
        return card_from_json(read_json(workdir, CARD, dict[str, Any]))
    except ValueError as error:
        raise CheckpointError(f"{workdir / CARD}: damaged: {error}") from None


def card_from_json(content: Mapping[str, Any]) -> ModelCard:
    """Makes a card from what `ModelCard.as_json` returned; raises ValueError, which names the field, if it cannot."""
    if "format" not in content:
        raise ValueError("no model card, expected an object with a 'format'")
    fields = dict(content)
    for name, kind in RECORDS.items():
        if name in fields:
            try:
                fields[name] = [tuple(kind(**part)) for part in msgspec.convert(fields[name], list[dict[str, Any]])]
            except (TypeError, msgspec.ValidationError):
                raise ValueError(f"{name}, expected a list of objects with {', '.join(kind._fields)}") from None
    try:
        return msgspec.convert(fields, ModelCard)
    except msgspec.ValidationError as error:
        raise ValueError(str(error).replace("$.", "")) from None


def write_density(workdir: Path, density: Density) -> None:
    """Writes density.npz, from which the distance of a window to the training windows is computed."""
    content = io.BytesIO()
    np.savez(content, **density._asdict())
    write_recorded(workdir, DENSITY, content.getvalue())


def read_density(workdir: Path) -> Density:
    """Reads density.npz of a finished run; raises CheckpointError where it is missing or damaged."""
    content = io.BytesIO(read_recorded(workdir, DENSITY))
    try:
        with np.load(content) as arrays:
            density = Density(*(arrays[name] for name in Density._fields))
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{workdir / DENSITY}: damaged: {error}") from None
    size = density.whitening.shape[-1:]
    if density.whitening.shape != size * 2 or density.means.shape[1:] != size:
        shapes = f"{density.means.shape} and {density.whitening.shape}"
        raise CheckpointError(f"{workdir / DENSITY}: arrays of {shapes}, expected (m, f) and (f, f)")
    return density
