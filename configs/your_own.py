"""Recordings of your own, the worked example of docs/your_own_data.md: copy this file and name your own columns.

`python launch.py --config=configs/your_own.py --config.data.raw_dir=FOLDER`, with the folder of your tables. The
network is tiny, so the example trains in seconds; remove the lines from model.width on to train the paper's network.
"""

from dcdp_jax.configs import default


def get_config():
    config = default.get_config()
    config.data.name = "table"
    config.data.protocol = "subject"
    config.data.table.files = ("*.csv",)
    config.data.table.time = "time"
    config.data.table.time_unit = "ms"
    config.data.table.label = "activity"
    config.data.table.subject = "person"
    config.data.table.channels = (  # column, group, where it is worn, unit
        ("acc_x", "acc", "wrist", "g"),
        ("acc_y", "acc", "wrist", "g"),
        ("acc_z", "acc", "wrist", "g"),
        ("gyro_x", "gyro", "wrist", "rad/s"),
        ("gyro_y", "gyro", "wrist", "rad/s"),
        ("gyro_z", "gyro", "wrist", "rad/s"),
    )
    config.data.table.rate = 25.0
    config.data.table.max_gap = 0.5
    config.data.table.validation = ("ben",)
    config.data.table.test = ("carla",)
    config.data.window = 50
    config.data.step = 25
    config.model.branches = (("res", "resnet", ("acc",)), ("dense", "densenet", ("gyro",)))
    config.model.width = 8
    config.model.resnet_blocks = (1,)
    config.model.densenet_blocks = (1,)
    config.train.epochs = 5
    config.train.batch_size = 16
    return config
