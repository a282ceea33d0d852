"""One module per data set: publisher's files -> recordings. Each has CLASS_NAMES, CHANNELS, RATE, SOURCE and read()."""

from types import ModuleType

from dcdp_jax.data.readers import dsads, hapt, opportunity, pamap2, uci_har, wisdm

READERS: dict[str, ModuleType] = {
    "opportunity": opportunity,
    "pamap2": pamap2,
    "wisdm": wisdm,
    "uci_har": uci_har,
    "hapt": hapt,
    "dsads": dsads,
}
