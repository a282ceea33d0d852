"""WISDM v1.1, by subject. `python launch.py --config=configs/wisdm.py [--config.data.raw_dir=FOLDER]`."""

from configs import default


def get_config():
    config = default.get_config()
    config.data.name = "wisdm"
    config.data.protocol = "subject"
    config.data.window = 200
    config.data.step = 100
    config.model.branches = (("res", "resnet", ("acc",)), ("dense", "densenet", ("gravity", "residual")))
    return config
