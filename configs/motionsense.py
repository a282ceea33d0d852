"""MotionSense, 6 activities, a phone in the trouser pocket.

`python launch.py --config=configs/motionsense.py [--config.data.raw_dir=FOLDER]`.
"""

from dcdp_jax.configs import default


def get_config():
    config = default.get_config()
    config.data.name = "motionsense"
    config.data.protocol = "groups"
    config.data.window = 128
    config.data.step = 64
    config.model.branches = (("res", "resnet", ("acc",)), ("dense", "densenet", ("gyro",)))
    return config
