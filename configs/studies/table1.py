"""Table 1: optimiser, depth, lambda and tau, and alpha, chosen one after the other; Figures 2 and 3 show the scores.

`python launch.py --config=configs/studies/table1.py:uci_har`; without a name, the paper's OPPORTUNITY.

Each stage uses the row of the previous stage with the best validation score. The paper does not state how it chose,
and its stage A, with a smaller network, scores higher than its stage B.
"""

from dcdp_jax.configs import dsads, hapt, oppo, pamap2, uci_har, wisdm
from dcdp_jax.configs.studies import default

DATASETS = {"opportunity": oppo, "pamap2": pamap2, "uci_har": uci_har, "wisdm": wisdm, "hapt": hapt, "dsads": dsads}
PAPER = {"A1": 88.12, "B3": 87.67, "C4": 87.80, "D5": 88.62}


def optimizers() -> dict:
    small = depth((1, 2, 2, 1), (2, 2, 3, 2))
    rows = (("adamw", 1e-3), ("adamw", 5e-4), ("adam", 1e-3), ("sgd", 1e-3), ("sgd", 5e-4))
    return {
        f"A{i}": {"optimizer.name": name, "optimizer.learning_rate": rate} | small
        for i, (name, rate) in enumerate(rows, 1)
    }


def depth(resnet: tuple, densenet: tuple) -> dict:
    """Returns the fields for the depth of both branches; in quick form only a third of the first stage."""
    shallow = [(-(-stages[0] // 3),) for stages in (resnet, densenet)]
    return {
        "model.resnet_blocks": resnet,
        "model.densenet_blocks": densenet,
        "synthetic:model.resnet_blocks": shallow[0],
        "synthetic:model.densenet_blocks": shallow[1],
    }


def get_config(dataset="opportunity"):
    config = default.get_config()
    for name, module in default.choose(DATASETS, dataset).items():
        config.datasets[name] = module.get_config()
    depths = {
        "B1": depth((1, 1, 1, 1), (2, 2, 2, 2)),
        "B2": depth((2, 2, 2, 2), (3, 3, 4, 3)),
        "B3": depth((3, 4, 6, 3), (4, 4, 6, 4)),
        "B4": depth((3, 4, 23, 3), (6, 8, 12, 6)),
    }
    weights = ((0.1, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.5), (1.0, 0.3))
    contrast = {f"C{i}": {"loss.align_weight": w, "loss.temperature": t} for i, (w, t) in enumerate(weights, 1)}
    alphas = {f"D{i}": {"cgm.alpha": alpha} for i, alpha in enumerate((0.1, 0.3, 0.5, 0.7, 0.9), 1)}
    config.study.stages = tuple(
        default.stage(name, rows) for name, rows in (("A", optimizers()), ("B", depths), ("C", contrast), ("D", alphas))
    )
    config.study.paper = tuple((row, "opportunity", "accuracy", value) for row, value in PAPER.items())
    return config
