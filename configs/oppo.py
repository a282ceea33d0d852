"""OPPORTUNITY, 17 gestures, the paper's protocol.

`python launch.py --config=configs/oppo.py [--config.data.raw_dir=FOLDER]`.
"""

from dcdp_jax.configs import default


def get_config():
    config = default.get_config()
    config.data.name = "opportunity"
    config.data.protocol = "paper"
    config.data.window = 30
    config.data.step = 15
    config.model.branches = (("res", "resnet", ("acc",)), ("dense", "densenet", ("gyro", "mag", "orientation")))
    return config
