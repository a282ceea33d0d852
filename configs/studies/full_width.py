"""The main figures: full width, all training subjects, no validation set, the last epoch is tested, five seeds.

`python launch.py --config=configs/studies/full_width.py:uci_har --config.study.seeds_at_once=5` on one GPU; without
names, all three data sets. There are also rows without modulation and with instance normalisation. The tables add the
ensemble of the seeds and confidence intervals over people. docs/results.md has the scores and times.
"""

from dcdp_jax.configs import hapt, uci_har
from dcdp_jax.configs.studies import default, table3

DATASETS = {"uci_har": uci_har.get_config, "hapt": hapt.get_config, "wisdm_paper": table3.wisdm_paper}
ROWS = {
    "DCDP-HAR": {},
    "DCDP-HAR without CGM": {"cgm.enabled": False},
    "DCDP-HAR with instance normalisation": {"model.instance_norm": True},
}


def get_config(datasets="uci_har,hapt,wisdm_paper"):
    config = default.get_config()
    for name, get in default.choose(DATASETS, datasets).items():
        config.datasets[name] = get()
    for dataset in (*config.datasets.values(), *config.quick.datasets.values()):
        dataset.data.validation = "none"
        dataset.train.selection = "last"
    config.study.stages = (default.stage("", ROWS),)
    config.study.compare = default.compare_with("DCDP-HAR", ROWS)
    config.study.shown = "DCDP-HAR"
    return config
