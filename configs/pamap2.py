"""PAMAP2, 12 activities, the paper's protocol.

`python launch.py --config=configs/pamap2.py [--config.data.raw_dir=FOLDER]`.
"""

from dcdp_jax.configs import default


def get_config():
    config = default.get_config()
    config.data.name = "pamap2"
    config.data.protocol = "paper"
    config.data.decimate = 3  # 100 Hz to 33.3 Hz
    config.data.window = 171
    config.data.step = 85
    config.model.branches = (("res", "resnet", ("acc",)), ("dense", "densenet", ("gyro", "mag")))
    return config
