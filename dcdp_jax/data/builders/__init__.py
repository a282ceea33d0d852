"""TFDS builders: each stores the recordings of one data set as array_record, one record per recording.

They need no TensorFlow. `load` prepares on first use and reads from the prepared files afterwards.
"""

from dcdp_jax.data.builders.base import RecordingsBuilder, load
from dcdp_jax.data.builders.uci_har import UciHar

BUILDERS: dict[str, type[RecordingsBuilder]] = {"uci_har": UciHar}

__all__ = ["BUILDERS", "RecordingsBuilder", "UciHar", "load"]
