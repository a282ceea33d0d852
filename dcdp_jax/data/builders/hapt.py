"""TFDS builder of HAPT."""

from typing import ClassVar

from dcdp_jax.data.builders.base import RecordingsBuilder
from dcdp_jax.data.readers import hapt


class Hapt(RecordingsBuilder):
    """Continuous smartphone recordings of 30 subjects, 12 activities and transitions (Reyes-Ortiz et al. 2015)."""

    VERSION = "1.0.0"
    reader: ClassVar = hapt
