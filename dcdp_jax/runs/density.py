"""Reads and writes density.npz, by which a model tells windows unlike those of training."""

import io
import zipfile
from pathlib import Path

import numpy as np

from dcdp_jax.density import Density
from dcdp_jax.errors import CheckpointError
from dcdp_jax.runs.files import DENSITY, read_recorded, write_recorded


def write_density(workdir: Path, density: Density) -> None:
    """Writes density.npz."""
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
