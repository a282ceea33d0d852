"""TFDS builder of DSADS."""

from typing import ClassVar

from dcdp_jax.data.builders.base import RecordingsBuilder
from dcdp_jax.data.readers import dsads


class Dsads(RecordingsBuilder):
    """Five inertial units on 8 subjects, 19 daily and sports activities (Barshan and Yuksek 2014)."""

    VERSION = "1.0.0"
    reader: ClassVar = dsads
