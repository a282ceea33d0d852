"""Table 2: the contribution of each module, and controls that the paper does not have.

`python launch.py --config=configs/studies/table2.py:uci_har,dsads`; without names, the paper's PAMAP2 and OPPORTUNITY.

DPFE: both branches. CL: contrast and alignment. CGM: modulation. DA: augmentation. Without CL, lambda is 0.
"""

from dcdp_jax.configs import dsads, hapt, oppo, pamap2, uci_har
from dcdp_jax.configs.studies import default

MAIN = "DPFE+CL+CGM+DA"
DATASETS = {"pamap2": pamap2, "opportunity": oppo, "uci_har": uci_har, "dsads": dsads, "hapt": hapt}
# Weighted F1 on PAMAP2.
PAPER = {
    "ResNet, own channels": 85.52,
    "DPFE": 91.71,
    "DPFE+CL": 91.24,
    "DPFE+CGM": 91.33,
    "DPFE+DA": 91.62,
    "DPFE+CL+CGM": 92.00,
    "DPFE+CGM+DA": 92.86,
    "DPFE+CL+DA": 90.57,
    MAIN: 93.90,
}


def modules(contrast=False, modulation=False, augmentation=False) -> dict:
    off = {} if contrast else {"loss.align_weight": 0.0}
    return off | {"cgm.enabled": modulation, "augment.enabled": augmentation}


def own_channels(datasets, place: int) -> dict:
    """Returns the fields of one of the two branches alone, on its own channels."""
    fields = {"cgm.enabled": False}
    for name, dataset in datasets.items():
        branch = dataset.model.branches[place]
        fields |= {f"{name}:model.branches": (branch,), f"{name}:data.channels": branch[2]}
    return fields


def backbones(datasets, *names: str) -> dict:
    """Returns the fields of the same channels with other backbones."""
    return {
        f"{dataset_name}:model.branches": tuple(
            (branch, backbone, channels)
            for (branch, _, channels), backbone in zip(dataset.model.branches, names, strict=True)
        )
        for dataset_name, dataset in datasets.items()
    }


def get_config(datasets="pamap2,opportunity"):
    config = default.get_config()
    for name, module in default.choose(DATASETS, datasets).items():
        config.datasets[name] = module.get_config()
    every = dict(config.datasets.items()) | dict(config.quick.datasets.items())
    everything = modules(True, True, True)
    ablation = {
        "ResNet, own channels": own_channels(every, 0),
        "DPFE": modules(),
        "DPFE+CL": modules(contrast=True),
        "DPFE+CGM": modules(modulation=True),
        "DPFE+DA": modules(augmentation=True),
        "DPFE+CL+CGM": modules(True, True),
        "DPFE+CGM+DA": modules(False, True, True),
        "DPFE+CL+DA": modules(True, False, True),
        MAIN: everything,
    }
    controls = {
        "ResNet, all channels": {"model.partition": "single", "cgm.enabled": False},
        "DenseNet, own channels": own_channels(every, 1),
        "two ResNets": everything | backbones(every, "resnet", "resnet"),
        "swapped channels": everything | {"model.partition": "swap"},
        "matched width": everything | {"model.width": 32, "model.densenet_width": 64},
    }
    config.study.stages = (default.stage("", ablation | controls),)
    config.study.compare = default.compare_with(MAIN, ablation | controls)
    config.study.shown = MAIN
    config.study.scores = ("precision_weighted", "recall_weighted", "f1_weighted", "accuracy")
    config.study.paper = tuple((row, "pamap2", "f1_weighted", value) for row, value in PAPER.items())
    return config
