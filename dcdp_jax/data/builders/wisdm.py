"""TFDS builder of WISDM v1.1."""

from typing import ClassVar

from dcdp_jax.data.builders.base import RecordingsBuilder
from dcdp_jax.data.readers import wisdm


class Wisdm(RecordingsBuilder):
    """A phone in the pocket of 36 users, 6 activities (Kwapisz, Weiss and Moore 2010)."""

    VERSION = "1.0.0"
    reader: ClassVar = wisdm
