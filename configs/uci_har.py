"""UCI-HAR, official split. `python launch.py --config=configs/uci_har.py [--config.data.raw_dir=FOLDER]`."""

from dcdp_jax.configs import default


def get_config():
    config = default.get_config()
    config.data.name = "uci_har"
    config.data.protocol = "official"
    config.data.window = 128
    config.data.step = 64
    return config
