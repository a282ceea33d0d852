"""MHEALTH, 12 activities, units at chest, ankle and arm.

`python launch.py --config=configs/mhealth.py [--config.data.raw_dir=FOLDER]`.
"""

from dcdp_jax.configs import default


def get_config():
    config = default.get_config()
    config.data.name = "mhealth"
    config.data.protocol = "standard"
    config.data.window = 128
    config.data.step = 64
    config.model.branches = (("res", "resnet", ("acc",)), ("dense", "densenet", ("gyro", "mag")))
    return config
