"""Where modulation acts: {none, before, after, decoupled} x {SGD, AdamW} x scope, on UCI-HAR and DSADS.

`python launch.py --config=configs/studies/placement.py --config.study.workers=2`

docs/adam_and_modulation.md has the tables and the conclusions.
"""

from dcdp_jax.configs import dsads, uci_har
from dcdp_jax.configs.studies import default


def rows() -> dict[str, dict]:
    optimizers = {
        "SGD": {"optimizer.name": "sgd", "optimizer.learning_rate": 0.3},
        "AdamW": {"optimizer.name": "adamw", "optimizer.learning_rate": 1e-3},
    }
    modulations = {"none": {"cgm.enabled": False}}
    for scope in ("branch", "head"):
        for placement in ("before", "after", "decoupled"):
            modulations[f"{placement}, {scope}"] = {"cgm.scope": scope, "cgm.placement": placement}
    modulations["before, classification"] = {"cgm.scope": "classification"}
    return {
        f"{optimizer}, {modulation}": chosen | fields
        for optimizer, chosen in optimizers.items()
        for modulation, fields in modulations.items()
        if not (optimizer == "SGD" and fields.get("cgm.placement") == "decoupled")  # SGD has no second moment
    }


def get_config():
    config = default.get_config()
    config.study.stages = (default.stage("", rows()),)
    config.study.compare = tuple(
        pair
        for optimizer in ("SGD", "AdamW")
        for pair in default.compare_with(f"{optimizer}, none", [row for row in rows() if row.startswith(optimizer)])
    )
    config.study.shown = "AdamW, none"
    for name, dataset in (("uci_har", uci_har.get_config()), ("dsads", dsads.get_config())):
        dataset.model.width = 8
        dataset.model.resnet_blocks = (1, 1, 1, 1)
        dataset.model.densenet_blocks = (2, 2, 2, 2)
        dataset.train.epochs = 12
        config.datasets[name] = dataset
    return config
