"""TFDS builder of PAMAP2."""

from typing import ClassVar

from dcdp_jax.data.builders.base import RecordingsBuilder
from dcdp_jax.data.readers import pamap2


class Pamap2(RecordingsBuilder):
    """Three inertial units on 9 subjects, 18 activities (Reiss and Stricker 2012)."""

    VERSION = "1.0.0"
    reader: ClassVar = pamap2
