"""DSADS, 19 activities, 5 inertial units.

`python launch.py --config=configs/dsads.py [--config.data.raw_dir=FOLDER]`.
"""

from dcdp_jax.configs import default


def get_config():
    config = default.get_config()
    config.data.name = "dsads"
    config.data.protocol = "standard"
    config.data.window = 64
    config.data.step = 32
    config.model.branches = (("res", "resnet", ("acc",)), ("dense", "densenet", ("gyro", "mag")))
    return config
