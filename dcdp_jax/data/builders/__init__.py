"""TFDS builders: each stores the recordings of one data set as array_record, one record per recording.

They need no TensorFlow. `load` prepares on first use and reads from the prepared files afterwards.
"""

from dcdp_jax.data.builders.base import RecordingsBuilder, load
from dcdp_jax.data.builders.dsads import Dsads
from dcdp_jax.data.builders.hapt import Hapt
from dcdp_jax.data.builders.opportunity import Opportunity
from dcdp_jax.data.builders.pamap2 import Pamap2
from dcdp_jax.data.builders.uci_har import UciHar
from dcdp_jax.data.builders.wisdm import Wisdm

BUILDERS: dict[str, type[RecordingsBuilder]] = {
    "opportunity": Opportunity,
    "pamap2": Pamap2,
    "wisdm": Wisdm,
    "uci_har": UciHar,
    "hapt": Hapt,
    "dsads": Dsads,
}

__all__ = ["BUILDERS", "Dsads", "Hapt", "Opportunity", "Pamap2", "RecordingsBuilder", "UciHar", "Wisdm", "load"]
