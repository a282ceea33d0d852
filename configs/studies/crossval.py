"""Nested cross-validation: fields and the number of epochs are chosen by folds over the training subjects only.

`python launch.py --config=configs/studies/crossval.py:uci_har --config.study.workers=2`

The stages `fields` and `epochs` train every row in five folds over the training subjects with each seed, and evaluate
it on the held-out subjects of the fold. Stage `epochs` uses the best row of `fields`, and the last stage the best row
of `epochs`. The last stage trains on all training subjects with each seed, and only it evaluates the test set. The same
command resumes.
"""

from dcdp_jax.configs import hapt, uci_har
from dcdp_jax.configs.studies import default

DATASETS = {"uci_har": uci_har, "hapt": hapt}
GENTLE = {"augment.enabled": True, "augment.time_warp_sigma": 0.0, "augment.permutation_segments": 1}
MIXUP = {"augment.enabled": True, "augment.probability": 0.0, "augment.mixup_alpha": 0.2}
FIELDS = {
    "as configured": {},
    "instance normalisation": {"model.instance_norm": True},
    "instance normalisation and mixup": {"model.instance_norm": True} | MIXUP,
    "learning rate 0.003": {"optimizer.learning_rate": 3e-3},
    "batch size 64": {"train.batch_size": 64},
    "label smoothing 0.1": {"loss.label_smoothing": 0.1},
    "balanced class weights": {"train.class_weights": ("balanced",)},
    "average of the weights": {"train.selection": "ema"},
    "SAM 0.05": {"train.sam_rho": 0.05},
    "mixup 0.2": MIXUP,
    "random window starts": {"data.train_starts": "random"},
    "jitter and scaling": GENTLE | {"augment.rotation": False},
    "rotation that keeps gravity": GENTLE
    | {"augment.jitter_sigma": 0.0, "augment.scaling_sigma": 0.0, "augment.rotation_kind": "gravity"},
}
EPOCHS = {f"{epochs} epochs": {"train.epochs": epochs, "synthetic:train.epochs": epochs // 20} for epochs in (20, 40)}
FINAL = "final"


def get_config(datasets="uci_har"):
    config = default.get_config()
    for name, module in default.choose(DATASETS, datasets).items():
        config.datasets[name] = module.get_config()
    for dataset in (*config.datasets.values(), *config.quick.datasets.values()):
        dataset.train.selection = "last"  # there is no validation set for choosing an epoch
    for dataset in config.datasets.values():
        dataset.train.epochs = 20
    config.study.inner_folds = 5
    config.study.seeds = (0, 1, 2)
    config.study.stages = (
        default.stage("fields", FIELDS),
        default.stage("epochs", EPOCHS),
        default.stage("test", {FINAL: {}}),
    )
    config.study.compare = default.compare_with("as configured", FIELDS)
    config.study.shown = FINAL
    return config
