"""HAPT, the recordings behind UCI-HAR. `python launch.py --config=configs/hapt.py [--config.data.raw_dir=FOLDER]`.

Twelve classes, six of them postural transitions; `configs/hapt.py:6` keeps the six of UCI-HAR.
"""

from dcdp_jax.configs import default
from dcdp_jax.errors import ConfigError

UCI_HAR_CLASSES = ("walking", "walking_upstairs", "walking_downstairs", "sitting", "standing", "laying")


def get_config(classes="12"):
    if classes not in ("6", "12"):
        raise ConfigError(f"configs/hapt.py:{classes} is not one of 6, 12")
    config = default.get_config()
    config.data.name = "hapt"
    config.data.protocol = "official"
    config.data.window = 128
    config.data.step = 64
    if classes == "6":
        config.data.classes = UCI_HAR_CLASSES
    config.model.branches = (("res", "resnet", ("acc",)), ("dense", "densenet", ("gyro",)))
    return config
