"""One module per data set: publisher's files -> recordings. Each has CLASS_NAMES, CHANNELS, RATE, SOURCE and read()."""

from types import ModuleType

from dcdp_jax.data.readers import uci_har

READERS: dict[str, ModuleType] = {"uci_har": uci_har}
