"""HARTH, 12 activities of daily life, accelerometers at back and thigh, one branch each.

`python launch.py --config=configs/harth.py [--config.data.raw_dir=FOLDER]`.
"""

from dcdp_jax.configs import default


def get_config():
    config = default.get_config()
    config.data.name = "harth"
    config.data.protocol = "groups"
    config.data.window = 128
    config.data.step = 64
    config.model.branches = (
        ("res", "resnet", tuple(f"back_{axis}" for axis in "xyz")),
        ("dense", "densenet", tuple(f"thigh_{axis}" for axis in "xyz")),
    )
    return config
