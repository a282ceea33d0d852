"""TFDS builder of UCI-HAR."""

from typing import ClassVar

from dcdp_jax.data.builders.base import RecordingsBuilder
from dcdp_jax.data.readers import uci_har


class UciHar(RecordingsBuilder):
    """Smartphone recordings of 30 subjects and 6 activities (Anguita et al. 2013)."""

    VERSION = "1.1.0"
    reader: ClassVar = uci_har
