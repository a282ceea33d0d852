"""The demo on synthetic recordings, without a download. `make demo` or `python launch.py --config=configs/demo.py`.

A small network (the paper's stage A) on ten synthetic subjects whose gyroscopes are the weaker modality.
"""

from dcdp_jax.configs import default


def get_config():
    config = default.get_config()
    config.data.name = "synthetic"
    config.data.protocol = "subject"
    config.data.window = 64
    config.data.step = 32
    config.model.width = 16
    config.model.resnet_blocks = (1, 2, 2, 1)
    config.model.densenet_blocks = (2, 2, 3, 2)
    config.train.epochs = 12
    config.train.batch_size = 64
    return config
