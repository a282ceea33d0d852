"""Baselines on recordings of your own: random forest, CNN, and the main model with and without modulation.

`python launch.py --config=configs/studies/your_own.py --config.datasets.own.data.raw_dir=FOLDER` reads the tables that
configs/your_own.py describes; for columns of other names see docs/your_own_data.md. It trains every row with three
seeds in each of five folds, which are groups of people. `your_own.py:groups,10` uses ten groups, and
`your_own.py:loso,24` leaves out each of 24 people in turn. The networks are small, for a machine without a GPU.
"""

from dcdp_jax.configs import your_own
from dcdp_jax.configs.studies import default

FOREST = "Random forest"
ROWS = {
    FOREST: {"model.name": "random_forest", "cgm.enabled": False},
    "CNN": {"model.name": "cnn", "cgm.enabled": False},
    "DCDP-HAR without CGM": {"cgm.enabled": False},
    "DCDP-HAR": {},
}


def get_config(division="groups,5"):
    config = default.get_config()
    config.datasets.own = your_own.get_config()
    config.datasets.own.data.table.test = config.datasets.own.data.table.validation = ()  # the folds choose
    config.datasets.own.model.width = 16
    config.datasets.own.model.resnet_blocks = (1, 1, 1, 1)
    config.datasets.own.model.densenet_blocks = (2, 2, 2, 2)
    config.datasets.own.train.epochs = 30
    config.datasets.own.train.batch_size = 64
    default.divide(config, division)
    config.study.seeds = (0, 1, 2)
    config.study.stages = (default.stage("", ROWS),)
    config.study.compare = default.compare_with(FOREST, ROWS)
    config.study.shown = "DCDP-HAR"
    return config
