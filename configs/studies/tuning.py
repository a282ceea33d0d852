"""Learning rate, then augmentation, then label smoothing of DCDP-HAR, each chosen on validation.

`python launch.py --config=configs/studies/tuning.py:uci_har`; several data sets are tuned together.
"""

from dcdp_jax.configs.studies import default
from dcdp_jax.configs.studies.table3 import DATASETS

GENTLE = {"augment.rotation": False, "augment.time_warp_sigma": 0.0, "augment.permutation_segments": 1}
STAGES = {
    "learning rate": {f"rate {rate:g}": {"optimizer.learning_rate": rate} for rate in (1e-3, 3e-3)},
    "augmentation": {
        "no augmentation": {},
        "jitter and scaling": {"augment.enabled": True} | GENTLE,
        "all augmentation": {"augment.enabled": True},
    },
    "label smoothing": {f"smoothing {amount:g}": {"loss.label_smoothing": amount} for amount in (0.0, 0.1)},
}


def get_config(datasets="uci_har"):
    config = default.get_config()
    for name, get in default.choose(DATASETS, datasets).items():
        config.datasets[name] = get()
    config.study.stages = tuple(default.stage(name, rows) for name, rows in STAGES.items())
    return config
