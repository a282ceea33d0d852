"""RealWorld (HAR), 8 activities, a phone at the waist; `--config.data.realworld.position=shin` is another position.

`python launch.py --config=configs/realworld.py [--config.data.raw_dir=FOLDER]`.
"""

from dcdp_jax.configs import default


def get_config():
    config = default.get_config()
    config.data.name = "realworld"
    config.data.protocol = "groups"
    config.data.window = 128
    config.data.step = 64
    return config
