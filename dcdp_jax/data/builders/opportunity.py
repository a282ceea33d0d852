"""TFDS builder of OPPORTUNITY."""

from typing import ClassVar

from dcdp_jax.data.builders.base import RecordingsBuilder
from dcdp_jax.data.readers import opportunity


class Opportunity(RecordingsBuilder):
    """Body-worn sensors of 4 subjects in a kitchen, 17 gestures (Roggen et al. 2010)."""

    VERSION = "1.0.0"
    reader: ClassVar = opportunity
