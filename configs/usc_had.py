"""USC-HAD, 12 activities, a unit at the hip.

`python launch.py --config=configs/usc_had.py [--config.data.raw_dir=FOLDER]`.
"""

from dcdp_jax.configs import default


def get_config():
    config = default.get_config()
    config.data.name = "usc_had"
    config.data.protocol = "standard"
    config.data.window = 200
    config.data.step = 100
    config.model.branches = (("res", "resnet", ("acc",)), ("dense", "densenet", ("gyro",)))
    return config
