"""Chooses SGD's learning rate for configs/studies/placement.py, on validation with one seed and no modulation.

`python launch.py --config=configs/studies/sgd_learning_rate.py --config.study.workers=2`
"""

from dcdp_jax.configs.studies import default, placement

RATES = (0.01, 0.03, 0.1, 0.3)


def get_config():
    config = placement.get_config()
    rows = {
        f"SGD {rate:g}": {"optimizer.name": "sgd", "optimizer.learning_rate": rate, "cgm.enabled": False}
        for rate in RATES
    }
    config.study.stages = (default.stage("", rows),)
    config.study.compare = ()
    config.study.shown = ""
    config.study.seeds = (0,)
    return config
