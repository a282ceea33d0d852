"""WISDM v1.1, by subject. `python launch.py --config=configs/wisdm.py [--config.data.raw_dir=FOLDER]`.

One accelerometer does not have two modalities, so the second branch reads derived channels. `configs/wisdm.py:mirror`
gives both branches the same signals; `configs/wisdm.py:axis` gives one the axes x and y and the other z.
"""

from dcdp_jax.configs import default
from dcdp_jax.errors import ConfigError

SECOND_BRANCH = {"derived": ("gravity", "residual"), "mirror": ("mirror",), "axis": ("z",)}


def get_config(view="derived"):
    if view not in SECOND_BRANCH:
        raise ConfigError(f"configs/wisdm.py:{view} is not one of {', '.join(SECOND_BRANCH)}")
    config = default.get_config()
    config.data.name = "wisdm"
    config.data.protocol = "subject"
    config.data.window = 200
    config.data.step = 100
    config.data.view = view
    first = ("x", "y") if view == "axis" else ("acc",)
    config.model.branches = (("res", "resnet", first), ("dense", "densenet", SECOND_BRANCH[view]))
    return config
