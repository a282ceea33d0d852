"""Table 3: DCDP-HAR and its baselines, networks and classical models that are fitted on a CPU.

`python launch.py --config=configs/studies/table3.py:uci_har,wisdm,wisdm_paper`; without names, the paper's four.
`table3.py:uci_har,hapt:groups,5` tests every person once, in five folds over groups of people, instead of the
protocols of the data sets' configs. `table3.py:uci_har,hapt:groups,5:classical` trains only the classical rows, and
`:networks` the others. Their trials are named as in the whole table, so two machines can share the work: copy the
folders `trials/*` of both into the workdir of the whole table, and its command makes the tables.
"""

from dcdp_jax.configs import dsads, hapt, oppo, pamap2, uci_har, wisdm
from dcdp_jax.configs.studies import default
from dcdp_jax.errors import ConfigError

MAIN = "DCDP-HAR"
# All networks are trained with the optimiser and the epochs of the data set's config, 100 unless set otherwise, and at
# model.width=64 they have the published widths (docs/baselines.md has the sources).
NETWORKS = {
    "CNN": {"model.name": "cnn"},  # Zeng et al. 2014
    "LSTM": {"model.name": "lstm"},
    "LSTM-CNN": {"model.name": "lstm_cnn"},  # Xia et al. 2020
    "CNN-GRU": {"model.name": "cnn_gru"},  # Dua et al. 2021
    "ELK": {"model.name": "elk"},  # after Ding et al. 2022
    "DanHAR": {"model.name": "danhar"},  # Gao et al. 2021
    "DeepConvLSTM": {"model.name": "deepconvlstm"},  # Ordonez and Roggen 2016
    # github.com/hfawaz/InceptionTime: 1500 epochs, batch 64, on sets of some hundred series, so fewer updates than here
    "InceptionTime": {"model.name": "inception_time"},
    # github.com/teco-kit/ISWC22-HAR: at most 150 epochs, batch 256, Adam 0.001, stopped after 15 epochs without a gain
    "TinyHAR": {"model.name": "tinyhar"},
    "Transformer": {"model.name": "transformer"},  # Vaswani et al. 2017
}
# Fitted once, with the settings of their sources (dcdp_jax/models/classical).
CLASSICAL = {
    "Random forest": {"model.name": "random_forest"},
    "Linear": {"model.name": "linear"},
    "Gradient boosting": {"model.name": "gradient_boosting"},
    "MiniRocket": {"model.name": "minirocket"},
    "Hydra": {"model.name": "hydra"},
    "Quant": {"model.name": "quant"},
}
ROWS = {"all": NETWORKS | CLASSICAL | {MAIN: {}}, "networks": NETWORKS | {MAIN: {}}, "classical": CLASSICAL}
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
    "hapt": hapt.get_config,
    "dsads": dsads.get_config,
}


def get_config(asked="opportunity,wisdm_paper,uci_har,pamap2"):
    datasets, _, rest = asked.partition(":")
    division, _, chosen = rest.partition(":")
    if (chosen or "all") not in ROWS:
        raise ConfigError(f"{asked!r}: the choice of rows {chosen!r} is not one of {', '.join(ROWS)}")
    config = default.get_config()
    for name, get in default.choose(DATASETS, datasets).items():
        config.datasets[name] = get()
    if division:
        default.divide(config, division)
    rows = {row: dict(fields) for row, fields in ROWS[chosen or "all"].items()}
    for row, fields in rows.items():
        if row != MAIN:  # a baseline has one input and reads the sensor's own three axes
            fields["cgm.enabled"] = False
            fields |= {f"{name}:data.view": "raw" for name in config.datasets if name.startswith("wisdm")}
    config.study.stages = (default.stage("", rows),)
    if MAIN in rows:
        config.study.compare = default.compare_with(MAIN, rows)
        config.study.shown = MAIN
    if not division:
        config.study.paper = tuple(
            (row, dataset, "accuracy", value)
            for dataset, values in PAPER.items()
            for row, value in zip((*list(NETWORKS)[:6], MAIN), values, strict=True)
        )
    return config
