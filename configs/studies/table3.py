"""Table 3: DCDP-HAR beside its baselines, accuracy.

`python launch.py --config=configs/studies/table3.py:uci_har,wisdm,wisdm_paper`; without names, the paper's four.
"""

from dcdp_jax.configs import oppo, pamap2, uci_har, wisdm
from dcdp_jax.configs.studies import default

MAIN = "DCDP-HAR"
BASELINES = {
    "CNN": "cnn",
    "LSTM": "lstm",
    "LSTM-CNN": "lstm_cnn",
    "CNN-GRU": "cnn_gru",
    "ELK": "elk",
    "DanHAR": "danhar",
    "DeepConvLSTM": "deepconvlstm",
    "InceptionTime": "inception_time",
    "TinyHAR": "tinyhar",
    "Transformer": "transformer",
    "Random forest": "random_forest",
}
PAPER = {
    "opportunity": (82.15, 81.65, 77.64, 79.85, 87.96, 86.16, 88.34),
    "wisdm_paper": (93.31, 96.71, 95.90, 94.95, 98.05, 94.35, 98.75),
    "uci_har": (92.39, 95.52, 97.01, 95.11, 97.25, 91.44, 97.79),
    "pamap2": (90.96, 91.51, 91.43, 91.58, 95.53, 92.18, 93.71),
}


def wisdm_paper():
    config = wisdm.get_config()
    config.data.protocol = "paper"
    return config


DATASETS = {
    "opportunity": oppo.get_config,
    "wisdm_paper": wisdm_paper,
    "uci_har": uci_har.get_config,
    "pamap2": pamap2.get_config,
    "wisdm": wisdm.get_config,
}


def get_config(datasets="opportunity,wisdm_paper,uci_har,pamap2"):
    config = default.get_config()
    for name, get in default.choose(DATASETS, datasets).items():
        config.datasets[name] = get()
    rows = {row: {"model.name": name, "cgm.enabled": False} for row, name in BASELINES.items()}
    for fields in rows.values():  # a baseline has one input, and takes the sensor's own three axes
        fields |= {f"{name}:data.view": "raw" for name in config.datasets if name.startswith("wisdm")}
    rows[MAIN] = {}
    config.study.stages = (default.stage("", rows),)
    config.study.compare = default.compare_with(MAIN, rows)
    config.study.shown = MAIN
    config.study.paper = tuple(
        (row, dataset, "accuracy", value)
        for dataset, values in PAPER.items()
        for row, value in zip((*list(BASELINES)[:6], MAIN), values, strict=True)
    )
    return config
