"""HAPT, the continuous recordings behind UCI-HAR. `python launch.py --config=configs/hapt.py [--config.data.raw_dir=FOLDER]`."""

from configs import default


def get_config():
    config = default.get_config()
    config.data.name = "hapt"
    config.data.protocol = "official"
    config.data.window = 128
    config.data.step = 64
    config.model.branches = (("res", "resnet", ("acc",)), ("dense", "densenet", ("gyro",)))
    return config
