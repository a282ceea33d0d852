"""Compares methods of modulation on unbalanced branches, by how much of the gap to an oracle each closes.

`python launch.py --config=configs/studies/imbalance.py --config.study.workers=2`: the three synthetic tasks, 5 seeds.
`python launch.py --config=configs/studies/imbalance.py:complementary`: one of them.
`python launch.py --config=configs/studies/imbalance.py:uci_har,hapt,dsads --config.study.raw_dir=RAW`: 5 groups of
subjects instead of seeds.
The word `main` among the names selects one method of each kind, and `SGD` or `AdamW` the rows of one optimiser.

docs/imbalance.md has the question, the budget and the results.
"""

from dcdp_jax.configs import default, dsads, hapt, uci_har
from dcdp_jax.configs.studies import default as studies
from dcdp_jax.errors import ConfigError

FOLDS = 5
OPTIMIZERS = {
    "SGD": {"optimizer.name": "sgd", "optimizer.learning_rate": 0.3},
    "AdamW": {"optimizer.name": "adamw", "optimizer.learning_rate": 1e-2},
}
PUBLISHED_RATES = {"AdamW": {"optimizer.learning_rate": 1e-3}}  # that differ on published data
ADAPTIVE_ONLY = "decoupled"  # SGD has no second moment
PLAIN = "none"


def methods() -> dict[str, dict]:
    """Returns {name: fields} of every method at every placement that it supports, and of the controls."""
    placed = {
        "CGGM": {"modulation.name": "cggm"},
        "OGM": {"modulation.name": "ogm"},
        "slow the strong": {"modulation.name": "rank", "modulation.strong": 0.5, "modulation.weak": 1.0},
        "slow the weak": {"modulation.name": "rank", "modulation.strong": 1.0, "modulation.weak": 0.5},
        "ARL": {"modulation.name": "arl"},
        "random": {"modulation.name": "random"},
        "random, mean 1": {"modulation.name": "random_mean_one"},
    }
    rows = {PLAIN: {"modulation.name": "none"}}
    rows |= {f"CGM, {place}": {"cgm.placement": place} for place in ("before", "after", ADAPTIVE_ONLY)}
    rows |= {
        f"{name}, {place}": fields | {"modulation.placement": place}
        for name, fields in placed.items()
        for place in ("before", "after")
    }
    rows |= {
        "OGM-GE, before": {"modulation.name": "ogm_ge"},
        "InfoReg, before": {"modulation.name": "inforeg"},
        "MMPareto, before": {"modulation.name": "mmpareto"},
        "CGM held out, after": {"cgm.placement": "after", "modulation.confidence": "heldout"},
        "CGM averaged, after": {"cgm.placement": "after", "modulation.confidence": "ema"},
    }
    # The gain from another fusion head, without modulation.
    for name, fields in {
        "gated fusion": {"model.fusion": "gated"},
        "sum of logits": {"model.fusion": "sum"},
        "modality dropout": {"model.modality_dropout": 0.3},
    }.items():
        rows[name] = rows[PLAIN] | fields
    return rows


def synthetic(task: str):
    """Returns the config of a synthetic task, with a network and a budget that train in seconds."""
    config = default.get_config()
    config.data.name = "synthetic"
    config.data.synthetic.task = task
    config.data.synthetic.subjects = 24
    config.data.synthetic.minutes = 1.5
    config.data.synthetic.noise = 0.5
    config.data.protocol = "groups"
    config.data.folds = 3
    config.data.window = 32
    config.data.step = 32
    config.model.width = 8
    config.model.resnet_blocks = (1,)
    config.model.densenet_blocks = (1,)
    config.model.embedding = 16
    config.model.projection_hidden = 16
    config.model.projection = 8
    config.model.fusion_hidden = 32
    config.train.epochs = 8
    config.train.batch_size = 20
    config.train.selection = "last"
    return config


def in_groups(config):
    """Returns the config of a published data set with few parameters and subjects in groups."""
    config.data.protocol = "groups"
    config.data.folds = FOLDS
    config.model.width = 8
    config.model.resnet_blocks = (1, 1, 1, 1)
    config.model.densenet_blocks = (2, 2, 2, 2)
    config.train.epochs = 8
    config.train.selection = "last"
    return config


TASKS = ("complementary", "redundant", "noise")
MAIN = "main"
MAIN_METHODS = (
    *(PLAIN, "CGM, before", "CGM, after", "slow the strong, after", "slow the weak, after", "ARL, before"),
    *("InfoReg, before", "MMPareto, before", "random, after", "random, mean 1, after"),
)
PUBLISHED = {"uci_har": uci_har.get_config, "hapt": lambda: hapt.get_config("6"), "dsads": dsads.get_config}


def get_config(datasets="complementary,redundant,noise"):
    config = studies.get_config()
    every = {task: lambda task=task: synthetic(task) for task in TASKS} | {
        name: lambda get=get: in_groups(get()) for name, get in PUBLISHED.items()
    }
    words = datasets.split(",")
    optimizers = {name: fields for name, fields in OPTIMIZERS.items() if name in words} or OPTIMIZERS
    for name, get in studies.choose(every, ",".join(w for w in words if w not in (MAIN, *OPTIMIZERS))).items():
        config.datasets[name] = get()
    if published := [name for name in config.datasets if name in PUBLISHED]:
        if len(published) < len(config.datasets):
            raise ConfigError(
                f"{datasets}: name synthetic tasks, which have seeds, or data sets with groups of subjects"
            )
        config.study.seeds, config.study.folds = (0,), tuple(range(FOLDS))
    alone = {branch: alone_fields(config.datasets, branch) for branch in ("res", "dense")}
    rows, compare = {}, ()
    for optimizer, chosen in optimizers.items():
        chosen = chosen | (PUBLISHED_RATES.get(optimizer, {}) if published else {})
        named = {
            f"{optimizer}, {name}": chosen | fields
            for name, fields in methods().items()
            if not (optimizer == "SGD" and ADAPTIVE_ONLY in name) and (name in MAIN_METHODS or MAIN not in words)
        }
        # A gain above this row does not come from larger steps.
        faster = {"optimizer.learning_rate": 2 * chosen["optimizer.learning_rate"]}
        named[f"{optimizer}, {PLAIN} at twice the rate"] = chosen | faster | methods()[PLAIN]
        rows |= {f"{optimizer}, {branch} alone": chosen | fields for branch, fields in alone.items()} | named
        compare += studies.compare_with(f"{optimizer}, {PLAIN}", named)
    config.study.stages = (studies.stage("", rows),)
    config.study.compare = compare
    config.study.oracles = tuple(
        (f"{optimizer}, {PLAIN}", tuple(f"{optimizer}, {branch} alone" for branch in alone)) for optimizer in optimizers
    )
    config.study.shown = f"{list(optimizers)[-1]}, {PLAIN}"
    return config


def alone_fields(datasets, branch: str) -> dict:
    """Returns the fields that train one branch of each data set without the others, on its channels."""
    fields: dict = {"modulation.name": "none"}
    named = {"synthetic": default.get_config(), **datasets}  # the first is that of study.quick
    for name, config in named.items():
        own = next(one for one in config.model.branches if one[0] == branch)
        fields |= {f"{name}:model.branches": (own,), f"{name}:data.channels": own[2]}
    return fields
